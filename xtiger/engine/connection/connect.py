"""Connecting: the app, the consent, the organisations in use, and leaving them again."""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from xtiger.domain.defaults import DEFAULTS
from xtiger.domain.errors import AuthorisationError, PermanentError, XTigerError
from xtiger.domain.records import DOCUMENTS
from xtiger.engine import intake
from xtiger.engine.connection import permissions, tokens
from xtiger.engine.connection.reference import refresh_reference as refresh_reference
from xtiger.engine.services import Services
from xtiger.ports import TokenSet
from xtiger.store import leases, logs, profiles, usage
from xtiger.store.models import Connection, Organisation, Profile, Template
from xtiger.telemetry import logger

#: How long a started Connect may take, in seconds.
CONSENT_SECONDS = 900
#: What XTiger needs in any case, in the scopes that every newer Xero app has.
SCOPES = permissions.scopes()

log = logger("connect")


@dataclass(frozen=True, slots=True)
class AppDetails:
    """The Xero app as the page may show it: never the secret itself."""

    client_id: str
    secret_set: bool
    secret_ends: str
    locked: frozenset[str]
    #: web: people give consent on a page of Xero; custom: Xero's custom connection.
    kind: str = tokens.WEB
    #: Permissions ticked beyond what XTiger needs, and what it asks for in all.
    extras: tuple[str, ...] = ()
    scopes: str = SCOPES
    broad: bool = False

    @property
    def ready(self) -> bool:
        """Whether Connect can begin."""
        return bool(self.client_id and self.secret_set)


@dataclass(frozen=True, slots=True)
class Begun:
    """A started Connect: where to send the person, and what the browser keeps meanwhile."""

    url: str
    state: str
    sealed: str


def app_details(services: Services) -> AppDetails:
    """Client id and what may be shown of the secret."""
    app = tokens.app(services, required=False)
    return AppDetails(
        app.client_id,
        bool(app.secret),
        app.secret[-4:],
        services.settings.locked(),
        kind=app.kind,
        extras=app.extras,
        scopes=app.scopes,
        broad=app.broad,
    )


def save_app(
    services: Services,
    *,
    client_id: str,
    secret: str | None,
    who: str,
    kind: str | None = None,
    extras: Collection[str] | None = None,
) -> None:
    """Stores the app's id, its kind, what it asks for and, if given, its secret (sealed).

    What the environment fixes and what is None stays as it is.
    """
    now = services.clock.now()
    locked = services.settings.locked()
    if "xero_client_id" not in locked and not re.fullmatch(r"[A-Za-z0-9-]*", client_id.strip()):
        raise PermanentError("A client ID has only letters and digits. Copy it from your Xero app.")
    with services.database.write() as session:
        leases.lock_all(session)
        if "xero_client_id" not in locked:
            profiles.put_setting(session, "xero_client_id", client_id.strip(), who=who, now=now)
        if secret and "xero_client_secret" not in locked:
            profiles.put_setting(
                session,
                "xero_client_secret",
                secret.strip(),
                who=who,
                now=now,
                ring=services.ring,
            )
        if kind in (tokens.WEB, tokens.CUSTOM) and "xero_app_kind" not in locked:
            profiles.put_setting(session, "xero_app_kind", kind, who=who, now=now)
        if extras is not None:
            ticked = [each for each in permissions.EXTRAS if each in extras]
            profiles.put_setting(session, "xero_permissions", ticked, who=who, now=now)
        # A consent that broke over a wrong secret gets another chance with the new one.
        session.execute(update(Connection).values(broken=None, broken_at=None))
        for row in profiles.organisations(session):
            if row.held_why:
                row.held_until = row.held_why = None
                row.held_times = 0
                tokens.carry_on(session, row, "new app details", now)


def begin(services: Services, *, who: str) -> Begun:
    """Starts a Connect: state and PKCE verifier go sealed into the person's own session."""
    app = tokens.app(services)
    state, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(64)
    url = services.xero.authorise_url(
        client_id=app.client_id,
        redirect_uri=services.links.callback(),
        scopes=app.scopes,
        state=state,
        verifier=verifier,
    )
    at = services.clock.now().timestamp()
    sealed = services.ring.seal({"state": state, "verifier": verifier, "at": str(at), "who": who})
    return Begun(url, state, sealed.decode())


def finish(
    services: Services, *, sealed: str | None, args: Mapping[str, str], who: str
) -> list[Organisation]:
    """Ends a Connect with what Xero's redirect brought; answers with the offered organisations.

    Raises PermanentError with the page's sentence where the answer isn't for this Connect or
    the person didn't allow access.
    """
    strange = "This answer doesn't belong to the Connect you started here. Start again."
    if not sealed:
        raise PermanentError(strange)
    begun = services.ring.open(sealed.encode())
    late = services.clock.now().timestamp() - float(begun["at"]) > CONSENT_SECONDS
    if late or not hmac.compare_digest(str(begun["state"]), args.get("state", "")):
        raise PermanentError(strange)
    if args.get("error") == "access_denied":
        raise PermanentError("You didn't press Allow access. Nothing changed.")
    if "code" not in args:
        raise PermanentError(f"Xero didn't connect and says: “{args.get('error', 'nothing')}”.")
    app = tokens.app(services)
    given = services.xero.exchange(
        client_id=app.client_id,
        secret=app.secret,
        redirect_uri=services.links.callback(),
        code=args["code"],
        verifier=str(begun["verifier"]),
    )
    return _keep(services, given, kind=tokens.WEB)


def connect_custom(services: Services, *, who: str) -> list[Organisation]:
    """Connects by a custom connection: no page of Xero, the app itself is the consent.

    Raises PermanentError or AuthorisationError with the page's sentence.
    """
    return _keep(services, tokens.mint(services), kind=tokens.CUSTOM)


def _keep(services: Services, given: TokenSet, *, kind: str) -> list[Organisation]:
    """Stores a consent and the organisations it covers; what waited for it goes on."""
    tenants = services.xero.tenants(given.access_token)
    if not tenants:
        raise PermanentError("Xero let XTiger into no organisation. Connect again and tick one.")
    now = services.clock.now()
    with services.database.write() as session:
        leases.lock_all(session)
        connection = Connection(kind=kind, connected_at=now, checked_at=now)
        tokens.put(services, connection, given)
        session.add(connection)
        session.flush()
        known = {row.tenant_id: row for row in session.scalars(select(Organisation))}
        covered = []
        for tenant in tenants:
            row = known.get(tenant.tenant_id) or Organisation(tenant_id=tenant.tenant_id)
            row.name = tenant.name
            row.link_id = tenant.connection_id
            row.connection_id = connection.id
            session.add(row)
            covered.append(row)
        session.flush()
        _drop_unused(session)
        for row in covered:
            tokens.welcome(session, row, "reconnected", now)
    for row in covered:
        services.dispatcher.wake(row.id)
    return covered


def choose(services: Services, tenant_ids: Sequence[str], *, who: str) -> list[Organisation]:
    """Takes organisations of the consent into use: reads what rules need, sets defaults up.

    The first one is where documents go by default; a later one takes the documents in its
    own currency, or none until somebody says which.
    """
    with services.database.read() as session:
        rows = [
            row
            for row in profiles.organisations(session, chosen=None)
            if row.tenant_id in tenant_ids
        ]
    for row in rows:
        refresh_reference(services, row.id, whole=True)
    now = services.clock.now()
    with services.database.write() as session:
        # Of two that are chosen at once the second sees what the first takes.
        leases.lock_all(session)
        for offered in rows:
            row = session.get_one(Organisation, offered.id)
            row.chosen = True
            session.flush()
            _default_profiles(services, session, row, now)
    with services.database.read() as session:
        return [row for row in profiles.organisations(session) if row.tenant_id in tenant_ids]


def complete(services: Services) -> None:
    """Gives the organisations in use what modules begin with that the CRM has got since."""
    with services.database.write() as session:
        leases.lock_all(session)
        for row in profiles.organisations(session):
            _default_profiles(services, session, row, services.clock.now())


def _default_profiles(
    services: Services, session: Session, row: Organisation, now: datetime
) -> None:
    present = set(session.scalars(select(Profile.module).where(Profile.organisation_id == row.id)))
    others = [each for each in profiles.profiles(session) if each.organisation_id != row.id]
    currencies = {other.currency for other in profiles.organisations(session) if other.id != row.id}
    for module in services.crm.modules():
        if module.value in present:
            continue
        first = not any(other.module is module for other in others)
        document = module in DOCUMENTS
        session.add(
            Profile(
                organisation_id=row.id,
                module=module.value,
                enabled=first or not document or row.currency not in currencies,
                rule="ticked",
                statuses=[],
                route_field=None if first or not document else "currency",
                route_value=None if first or not document else row.currency,
                target_status="AUTHORISED",
                add_needed=True,
                retries=0,
            )
        )
    kinds = {
        (module, kind)
        for module, kind in session.execute(
            select(Template.module, Template.document_type).where(
                Template.organisation_id == row.id
            )
        )
    }
    for (module, document_type), body in DEFAULTS.items():
        kind = document_type.value if document_type else ""
        if (module.value, kind) not in kinds:
            session.add(
                Template(
                    organisation_id=row.id,
                    module=module.value,
                    document_type=kind,
                    version=1,
                    body=body,
                    author="XTiger",
                    made_at=now,
                )
            )


def go_live(services: Services, organisation_id: int, *, who: str) -> None:
    """From now on Sync, Add to Queue and the schedule send; what is selected already goes.

    Raises PermanentError for an organisation that isn't in use.
    """
    with services.database.write() as session:
        row = session.get_one(Organisation, organisation_id)
        if not row.chosen:
            raise PermanentError(f"{row.name} isn't connected. Connect it first.")
        row.live_since = row.live_since or services.clock.now()
        row.auto_sync = True
    intake.add_selected(services, organisation_id=organisation_id, modules=None, who=who)
    services.dispatcher.wake(organisation_id)


def set_auto_sync(services: Services, organisation_id: int, on: bool) -> None:
    """On: the schedule sends; off: only Sync does."""
    with services.database.write() as session:
        session.get_one(Organisation, organisation_id).auto_sync = on


def disconnect(services: Services, organisation_id: int, *, who: str) -> None:
    """Takes an organisation out of the consent and out of use; links and logs stay.

    The last one in use ends its consent: no key to the books is kept that nothing needs.
    Organisations that were only offered then need a new Connect.
    """
    now = services.clock.now()
    with services.database.read() as session:
        row = session.get_one(Organisation, organisation_id)
        connection_id, link_id = row.connection_id, row.link_id
    if connection_id and link_id:
        # A consent that is gone already has nothing left to disconnect.
        with suppress(AuthorisationError):
            token = tokens.access_token(services, connection_id)
            services.xero.disconnect(access_token=token, connection_id=link_id)
    with services.database.write() as session:
        leases.lock_all(session)
        row = session.get_one(Organisation, organisation_id)
        row.chosen = row.auto_sync = False
        row.live_since = None
        row.connection_id = row.link_id = None
        row.removed = row.removed_at = None
        logs.end_runs(session, organisation_id, sentence=f"{row.name} was disconnected.", now=now)
        session.flush()
        ended = _let_go(session, connection_id)
    if ended is not None:
        _revoke(services, ended)


def _let_go(session: Session, connection_id: int | None) -> Connection | None:
    """Forgets a consent none of whose organisations is in use; answers with it."""
    row = session.get(Connection, connection_id, with_for_update=True) if connection_id else None
    if row is None:
        return None
    covered = session.scalars(
        select(Organisation).where(Organisation.connection_id == row.id)
    ).all()
    if any(one.chosen for one in covered):
        return None
    for one in covered:
        one.connection_id = one.link_id = None
    session.flush()
    session.delete(row)
    return row


def _revoke(services: Services, row: Connection) -> None:
    """Ends a consent at Xero. Where that fails its tokens are forgotten all the same."""
    refresh_token = tokens.refresh_token_of(services, row)
    if refresh_token is None:
        return
    try:
        app = tokens.app(services)
        services.xero.revoke(
            client_id=app.client_id, secret=app.secret, refresh_token=refresh_token
        )
    except XTigerError as failure:
        log.warning("consent not revoked", connection=row.id, why=failure.sentence)


def _drop_unused(session: Session) -> None:
    """Deletes consents that cover no organisation of ours any more, their tokens with them."""
    session.execute(
        delete(Connection)
        .where(
            Connection.id.not_in(
                select(Organisation.connection_id).where(Organisation.connection_id.is_not(None))
            )
        )
        .execution_options(synchronize_session=False)
    )


def set_day_limit(services: Services, organisation_id: int, limit: int) -> None:
    """Says how many calls a day the app's tier allows. Raises PermanentError for others."""
    if limit not in usage.DAY_LIMITS:
        raise PermanentError("Xero allows 1,000 or 5,000 calls a day; choose one of them.")
    with services.database.write() as session:
        session.get_one(Organisation, organisation_id).day_limit = limit
