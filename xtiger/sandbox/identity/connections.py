"""The connections endpoint: which organisations the app reaches, and how it lets go of one."""

from __future__ import annotations

from flask import Blueprint, Response, request

from xtiger.sandbox.identity import callers
from xtiger.sandbox.shared import current
from xtiger.sandbox.wire import identifier

blueprint = Blueprint("connections", __name__)


@blueprint.get("/connections")
def connections() -> Response:
    """A plain JSON array (Xero OpenAPI identity)."""
    state = current().state
    try:
        who = callers.caller(state, request.headers.get("Authorization"))
    except callers.Refused as refused:
        return callers.unauthorised(str(refused))
    event = request.args.get("authEventId")
    return callers.as_json(
        [
            body
            for _, _, body in state.grants.of("connection")
            if body["tenantId"] in who.tenants and (not event or body["authEventId"] == event)
        ]
    )


@blueprint.delete("/connections/<connection>")
def disconnect(connection: str) -> Response:
    """`connection` is the connection's id, not the organisation's."""
    state = current().state
    try:
        callers.caller(state, request.headers.get("Authorization"))
    except callers.Refused as refused:
        return callers.unauthorised(str(refused))
    with state.transaction():
        wanted = identifier(connection) or ""
        if state.grants.get("connection", wanted) is None:
            return Response(b"", 404, content_type="text/html; charset=utf-8")
        state.grants.end("connection", wanted)
    return Response(b"", 204)
