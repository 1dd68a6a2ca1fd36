"""A server of pages minds that somebody works: inside a host, it may be all that is left alive."""

from __future__ import annotations

import threading
import time

from flask import Blueprint, Response, current_app
from flask.sansio.blueprints import BlueprintSetupState

from xtiger.domain.errors import XTigerError
from xtiger.engine.alerting import alerts
from xtiger.engine.services import Services
from xtiger.telemetry import logger

#: Seconds between two looks of one process, however many pages it serves.
EVERY = 60.0
#: Where an app keeps when it last looked (time.monotonic).
_LOOKED = "xtiger_minded"

log = logger("minding")


def put_on(blueprint: Blueprint) -> None:
    """Looks now and then, behind the answer to a request; a page never waits for it.

    Nothing runs before the first request, and nothing between two: a host's own processes stay
    as they are.
    """
    blueprint.record_once(_begin)
    blueprint.after_request(_mind)


def _begin(state: BlueprintSetupState) -> None:
    state.app.extensions[_LOOKED] = time.monotonic()


def _mind(answer: Response) -> Response:
    kept = current_app.extensions
    if time.monotonic() - kept[_LOOKED] >= EVERY:
        kept[_LOOKED] = time.monotonic()
        services = kept["xtiger"].services
        threading.Thread(target=_look, args=(services,), name="xtiger-minding", daemon=True).start()
    return answer


def _look(services: Services) -> None:
    try:
        alerts.stand_in(services)
    except XTigerError as failure:
        log.warning("not looked", why=failure.sentence)
    except Exception:
        log.exception("looking broke")
