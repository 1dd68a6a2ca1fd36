"""New keys: what an older one sealed is sealed anew, so that the older one can go."""

from __future__ import annotations

from sqlalchemy import select

from xtiger.engine.services import Services
from xtiger.store.models import Setting
from xtiger.telemetry import logger

log = logger("keys")


def seal_anew(services: Services) -> int:
    """Seals settings anew that an older key of the ring sealed; answers with their number.

    The tokens of consents aren't among them: each refresh, a day apart at most, stores them by
    the newest key. What no key opens stays as it is, for the key may be put back.
    """
    ring = services.ring
    sealed = select(Setting).where(Setting.sealed.is_(True))
    with services.database.read() as session:
        names = [
            row.name for row in session.scalars(sealed) if ring.by_older(str(row.value).encode())
        ]
    for name in names:
        with services.database.write() as session:
            row = session.get(Setting, name, with_for_update=True, populate_existing=True)
            # Somebody may have stored another one meanwhile. Who changed it, and when, stays.
            if row is not None and row.sealed and ring.by_older(str(row.value).encode()):
                row.value = ring.seal(ring.open(str(row.value).encode())).decode()
    if names:
        log.info("sealed anew", settings=names)
    return len(names)
