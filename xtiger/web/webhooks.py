"""Where Xero's webhooks arrive: signed, kept, answered at once with nothing."""

from __future__ import annotations

from flask import Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from xtiger.domain.errors import XTigerError
from xtiger.engine.connection import webhooks
from xtiger.engine.connection.webhooks import Refusal
from xtiger.telemetry import logger
from xtiger.web.frame import xt
from xtiger.web.routes import Routes
from xtiger.xero.webhooks import signed

routes = Routes()

#: Bytes a delivery may have: a thousand events take less than half of it.
MOST_BYTES = 1_000_000

log = logger("webhooks")


@routes.post("/webhooks/xero")
def xero_webhook() -> Response:
    """Keeps a delivery that Xero signed; anything else is 401. Nobody is signed in here.

    Xero wants its answer within 5 s, empty and without a cookie (FACTS section 8), so nothing
    here may touch the session. Its "intent to receive" is answered the same way. Where the
    database is away it gets 503 and sends again for a day.
    """
    # The true bytes are signed: they are read raw, and never more of them than may come.
    request.max_content_length = MOST_BYTES
    try:
        body = request.get_data(cache=False)
    except RequestEntityTooLarge:
        return _refused(Refusal.SIZE, 413)
    services = xt().services
    signature = request.headers.get("x-xero-signature", "")
    try:
        key = webhooks.key(services)
        if key is None or not signed(body, signature, key):
            why = Refusal.SIGNATURE if signature else Refusal.UNSIGNED
            return _refused(Refusal.NO_KEY if key is None else why, 401)
        webhooks.receive(services, body)
    except XTigerError:
        return Response(status=503)
    return Response(status=200)


def _refused(why: Refusal, status: int) -> Response:
    """Leaves a note for API details; where that can't be, the answer is the same."""
    try:
        webhooks.refuse(xt().services, why)
    except XTigerError as failure:
        log.warning("refusal not noted", why=failure.sentence)
    return Response(status=status)
