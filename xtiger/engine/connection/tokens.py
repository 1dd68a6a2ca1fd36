"""The tokens of a consent: a good one for every call, renewed by one worker for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from xtiger.domain.errors import (
    AuthorisationError,
    LeaseLost,
    PermanentError,
    TransientError,
    XTigerError,
)
from xtiger.engine.connection import permissions
from xtiger.engine.services import Services
from xtiger.ports import Access, TokenSet, Usage
from xtiger.store import leases, logs, profiles, usage
from xtiger.store.leases import Lease
from xtiger.store.models import Connection, Organisation
from xtiger.store.prepared import Prepared
from xtiger.telemetry import logger

T = TypeVar("T")

#: The kinds of connection: a person's consent, and Xero's custom connection (FACTS section 1).
WEB, CUSTOM = "web", "custom"
#: Seconds before its end at which an access token is renewed.
EARLY = 120
#: Seconds for which Xero still takes a refresh token that it has replaced.
GRACE = 1800
#: A connection that was quiet for so long is renewed and looked at; refresh tokens die at 60 days.
QUIET = timedelta(days=1)

log = logger("tokens")


@dataclass(frozen=True, slots=True)
class App:
    """The Xero app as calls to the token endpoint need it."""

    client_id: str
    secret: str = field(repr=False)
    kind: str
    #: Names of the permissions that were ticked beyond what XTiger needs.
    extras: tuple[str, ...]
    broad: bool

    @property
    def scopes(self) -> str:
        """What this app asks for."""
        return permissions.scopes(self.extras, broad=self.broad, custom=self.kind == CUSTOM)


def app(services: Services, *, required: bool = True) -> App:
    """The app's details: the environment's, else those of the page. Raises PermanentError."""
    settings = services.settings
    with services.database.read() as session:
        client_id = settings.xero_client_id or profiles.setting(session, "xero_client_id") or ""
        secret = (
            settings.xero_client_secret
            or profiles.setting(session, "xero_client_secret", services.ring)
            or ""
        )
        kind = settings.xero_app_kind or profiles.setting(session, "xero_app_kind") or WEB
        extras = profiles.setting(session, "xero_permissions") or ()
    if required and not (client_id and secret):
        raise PermanentError("Enter the client id and secret of your Xero app first.")
    return App(
        client_id=str(client_id),
        secret=str(secret),
        kind=str(kind),
        extras=tuple(extras),
        broad=settings.xero_scopes == "broad",
    )


def put(services: Services, row: Connection, tokens: TokenSet, *, used: str | None = None) -> None:
    """Seals a token set into its row. `used` is the refresh token it was had for.

    That one stays with it until its successor has worked: should Xero not know the successor,
    it still takes the old one for half an hour.
    """
    now = services.clock.now()
    grace = timedelta(seconds=GRACE * services.settings.time_factor)
    row.tokens = services.ring.seal(
        {
            "access": tokens.access_token,
            "refresh": tokens.refresh_token or used,
            "old": used,
            "old_until": (now + grace).isoformat() if used else None,
        }
    )
    row.expires_at = tokens.expires_at
    row.refreshed_at = now
    row.scope = tokens.scope
    row.email = tokens.email or row.email
    row.broken = row.broken_at = None


def refresh_token_of(services: Services, row: Connection) -> str | None:
    """What revoking needs; None for a custom connection, or where no key opens it."""
    if row.tokens is None:
        return None
    try:
        found = services.ring.open(row.tokens).get("refresh")
    except PermanentError:
        return None
    return str(found) if found else None


# calls


class Tenant(NamedTuple):
    """What of an organisation's row a call to it needs."""

    id: int
    name: str
    tenant_id: str
    connection_id: int | None
    removed: str | None
    minute_began: datetime | None
    minute_left: int | None


_COLUMNS = Organisation.__table__.c
_TENANT = Prepared(
    select(*(_COLUMNS[name] for name in Tenant._fields)).where(_COLUMNS.id == bindparam("of"))
)


class _Stored(NamedTuple):
    """What of a consent's row a call needs."""

    tokens: bytes | None
    broken: str | None
    expires_at: datetime | None


_STORED = Prepared(
    select(*(Connection.__table__.c[name] for name in _Stored._fields)).where(
        Connection.__table__.c.id == bindparam("of")
    )
)


def call(
    services: Services,
    lease: Lease,
    send: Callable[[Access], T],
    *,
    until: datetime | None = None,
) -> T:
    """Makes one call of a drain with a fresh token; once more if the token had just ended.

    `until` is the last moment at which it may start (TransientError after it): later its lease
    might not outlive it, or Xero might have forgotten the key that makes it a repeat.
    """
    with services.database.read() as session:
        (known,) = _TENANT.rows(session, {"of": lease.organisation_id})
    tenant = Tenant(*known)

    def in_time(access: Access) -> T:
        if until and services.clock.now() > until:
            raise TransientError(
                "Getting ready for a call took too long; XTiger begins it again by itself.",
                retry_after=0,
                counts=False,
            )
        return send(access)

    return with_access(services, tenant, in_time)


def with_access(services: Services, row: Organisation | Tenant, send: Callable[[Access], T]) -> T:
    """Makes one call to an organisation. AuthorisationError where Xero doesn't let us in.

    A refusal may mean that somebody took the organisation out of the consent, which the
    consent itself tells.
    """
    if row.connection_id is None:
        raise AuthorisationError(f"{row.name} isn't connected. Connect it under API details.")
    if row.removed:
        raise AuthorisationError(row.removed)
    try:
        return _sent(services, row, row.connection_id, send)
    except AuthorisationError as refusal:
        why = _removed(services, row)
        raise AuthorisationError(why or refusal.sentence) from refusal


def _sent(
    services: Services, row: Organisation | Tenant, connection_id: int, send: Callable[[Access], T]
) -> T:
    minute = usage.minute_of(row)
    token = access_token(services, connection_id)
    try:
        return send(Access(token, row.tenant_id, minute))
    except AuthorisationError as refusal:
        if not refusal.expired:
            raise
    # Refused before anything was stored: the same call may go again with a new token.
    token = access_token(services, connection_id, not_this=token)
    return send(Access(token, row.tenant_id, minute))


def _removed(services: Services, row: Organisation | Tenant) -> str | None:
    """Why Xero lets us in no more, if the consent lives and has lost this organisation."""
    with suppress(XTigerError):
        look(services, row.connection_id or 0)
    with services.database.read() as session:
        return session.get_one(Organisation, row.id).removed


def count_usage(services: Services) -> None:
    """Adds what this process's calls took since the last time to the day's figures.

    What the database doesn't take now is added the next time; no work stops for a figure.
    """
    services.uncounted.extend(services.xero.usage())
    taken: list[Usage] = []
    with suppress(IndexError):
        while True:
            taken.append(services.uncounted.popleft())
    try:
        usage.flush(services.database, taken, now=services.clock.now())
    except XTigerError as failure:
        services.uncounted.extend(taken)
        log.warning("usage not counted", why=failure.sentence)


# the consent


def look(services: Services, connection_id: int) -> None:
    """Reads the organisations of a consent: added ones are offered, removed ones noticed.

    Whatever is queued for a removed one waits as for a broken consent, and goes on in order
    once it is back. An organisation that another connection serves stays with that one.
    """
    covered = {
        each.tenant_id: each
        for each in services.xero.tenants(access_token(services, connection_id))
    }
    now = services.clock.now()
    back: list[int] = []
    with services.database.write() as session:
        leases.lock_all(session)
        connection = session.get(Connection, connection_id)
        if connection is None:
            return
        connection.checked_at = now
        known = {row.tenant_id: row for row in session.scalars(select(Organisation))}
        for tenant in covered.values():
            row = known.get(tenant.tenant_id) or Organisation(tenant_id=tenant.tenant_id)
            if row.connection_id not in (None, connection_id):
                continue
            row.name, row.link_id, row.connection_id = (
                tenant.name,
                tenant.connection_id,
                connection_id,
            )
            session.add(row)
            if row.removed:
                welcome(session, row, "connected again", now)
                back.append(row.id)
        for row in known.values():
            if row.connection_id != connection_id or row.tenant_id in covered:
                continue
            if not row.chosen:
                row.connection_id = row.link_id = None
            elif row.removed is None:
                row.removed_at = now
                row.removed = (
                    f"{row.name} was taken out of the connection in Xero. Connect again and tick "
                    "it there."
                )
                log.warning("organisation removed", organisation=row.id)
    for one in back:
        services.dispatcher.wake(one)


def welcome(session: Session, row: Organisation, why: str, now: datetime) -> None:
    """Takes away what kept us out of an organisation; what waited goes on."""
    row.removed = row.removed_at = None
    # A limit of Xero's holds for a new consent too.
    if not row.held_by_xero:
        row.held_until = row.held_why = None
    row.held_times = 0
    carry_on(session, row, why, now)


def carry_on(session: Session, row: Organisation, why: str, now: datetime) -> None:
    """Asks for a run of what waits, unless one that was stopped goes on by itself."""
    if row.chosen and row.live_since and not logs.unended_runs(session, row.id):
        logs.ask_run(session, row.id, kind="scheduled", requested_by=why, now=now)


def keep_alive(services: Services) -> int:
    """Renews connections that were quiet for a day, and looks at their organisations.

    So no connection dies of age while nothing is due. Any number of workers may do it at the
    same time; one that fails is noted and tried again next time. Answers with their number.
    """
    now = services.clock.now()
    with services.database.read() as session:
        rows = session.scalars(select(Connection).where(Connection.broken.is_(None))).all()
    kept = 0
    for row in rows:
        quiet = now - (row.refreshed_at or row.connected_at) >= QUIET
        unseen = now - (row.checked_at or row.connected_at) >= QUIET
        try:
            if quiet and row.kind != CUSTOM:
                _renew(services, row)
            if unseen or quiet:
                look(services, row.id)
                kept += 1
        except XTigerError as failure:
            log.warning("connection not kept", connection=row.id, why=failure.sentence)
    return kept


def _renew(services: Services, row: Connection) -> None:
    """Rotates the tokens as they were found; somebody else's newer ones are as good."""
    found = services.ring.open(row.tokens or b"")
    access_token(services, row.id, not_this=str(found["access"]))


# tokens


def access_token(services: Services, connection_id: int, *, not_this: str | None = None) -> str:
    """A good access token; whatever keeps it from us is a matter of the consent, not of a call."""
    try:
        return _good_token(services, connection_id, not_this)
    except PermanentError as refusal:
        raise AuthorisationError(refusal.sentence) from refusal
    except LeaseLost as lost:
        raise TransientError("The connection was renewed elsewhere.", counts=False) from lost


def _good_token(services: Services, connection_id: int, not_this: str | None) -> str:
    """A good access token of a consent, renewed if it ends soon or was just refused.

    1. A stored token that is good for a while is used.
    2. Else whoever gets the refresh lease renews, and stores before anybody uses it.
    3. The others wait and read again.
    """
    deadline = services.clock.now() + timedelta(seconds=2 * services.patience.call)
    while services.clock.now() < deadline:
        with services.database.read() as session:
            found = _STORED.rows(session, {"of": connection_id})
        row = _Stored(*found[0]) if found else None
        if row is None or row.tokens is None:
            raise AuthorisationError("Xero isn't connected. Connect it under API details.")
        if row.broken:
            raise AuthorisationError(row.broken)
        stored = services.ring.open(row.tokens)
        if _fresh(services, row.expires_at) and stored["access"] != not_this:
            return str(stored["access"])
        fence = leases.take_refresh(
            services.database,
            connection_id,
            holder=services.worker,
            now=services.clock.now(),
            seconds=2 * services.patience.call,
        )
        if fence is None:
            services.clock.sleep(0.2)
            continue
        try:
            return _refresh(services, connection_id, fence, not_this)
        finally:
            _free(services, connection_id, fence)
    raise TransientError("The connection to Xero is being renewed elsewhere; XTiger goes on then.")


def _fresh(services: Services, expires_at: datetime | None) -> bool:
    now = services.clock.now()
    return (expires_at or now) - timedelta(seconds=EARLY) > now


def _refresh(services: Services, connection_id: int, fence: int, not_this: str | None) -> str:
    """Renews the tokens as the one refresher; a dead consent is noted for everybody."""
    with services.database.read() as session:
        row = leases.held_refresh(session, connection_id, fence)
    stored = services.ring.open(row.tokens or b"")
    if stored["access"] != not_this and _fresh(services, row.expires_at):
        return str(stored["access"])  # somebody renewed between our two looks
    try:
        tokens, used = _new_tokens(services, row, stored)
    except AuthorisationError as refusal:
        with services.database.write() as session:
            kept = leases.held_refresh(session, connection_id, fence)
            kept.broken, kept.broken_at = refusal.sentence, services.clock.now()
        raise
    with services.database.write() as session:
        put(services, leases.held_refresh(session, connection_id, fence), tokens, used=used)
    return tokens.access_token


def _new_tokens(
    services: Services, row: Connection, stored: Mapping[str, Any]
) -> tuple[TokenSet, str | None]:
    """New tokens from Xero, and the refresh token that brought them.

    Where Xero doesn't take the newest refresh token, the one before is tried once while it is
    still in its grace: the answer that carried the newest may have been somebody else's.
    """
    details = app(services)
    if row.kind == CUSTOM:
        return _minted(services, details), None
    newest = str(stored.get("refresh") or "")
    until = stored.get("old_until")
    old = str(stored.get("old") or "")
    in_grace = bool(until) and services.clock.now() < datetime.fromisoformat(str(until))
    try:
        return _rotated(services, details, newest), newest
    except AuthorisationError:
        if not old or old == newest or not in_grace:
            raise
    log.warning("the refresh token before is tried", connection=row.id)
    return _rotated(services, details, old), old


def _rotated(services: Services, details: App, refresh_token: str) -> TokenSet:
    return services.xero.refresh(
        client_id=details.client_id, secret=details.secret, refresh_token=refresh_token
    )


def _minted(services: Services, details: App) -> TokenSet:
    return services.xero.client_credentials(
        client_id=details.client_id,
        secret=details.secret,
        scopes=permissions.scopes(details.extras, broad=details.broad, custom=True),
    )


def mint(services: Services) -> TokenSet:
    """The first tokens of a custom connection: no consent page, the app itself is the consent."""
    return _minted(services, app(services))


def _free(services: Services, connection_id: int, fence: int) -> None:
    with services.database.write() as session:
        session.execute(
            update(Connection)
            .where(Connection.id == connection_id, Connection.refresh_fence == fence)
            .values(refresh_until=None, refresher=None)
            .execution_options(synchronize_session=False)
        )
