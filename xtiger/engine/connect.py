"""The consent and its tokens: connecting, choosing organisations, and access for every call."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from xtiger.domain.defaults import DEFAULTS
from xtiger.domain.errors import (
    AuthorisationError,
    LeaseLost,
    PermanentError,
    TransientError,
)
from xtiger.domain.records import DOCUMENTS
from xtiger.engine import intake
from xtiger.engine.services import Services
from xtiger.ports import Access, TokenSet
from xtiger.store import leases, logs, profiles
from xtiger.store.leases import Lease
from xtiger.store.models import Connection, Organisation, Profile, Template

T = TypeVar("T")

#: Seconds before its end at which an access token is renewed.
EARLY = 120
#: How long a started Connect may take, in seconds.
CONSENT_SECONDS = 900
#: What XTiger asks for (granular scopes: the only ones newer Xero apps get).
SCOPES = (
    "openid profile email offline_access accounting.contacts accounting.settings "
    "accounting.invoices accounting.payments accounting.attachments"
)


@dataclass(frozen=True, slots=True)
class AppDetails:
    """The Xero app as the page may show it: never the secret itself."""

    client_id: str
    secret_set: bool
    secret_ends: str
    locked: frozenset[str]


@dataclass(frozen=True, slots=True)
class Begun:
    """A started Connect: where to send the person, and what the browser keeps meanwhile."""

    url: str
    state: str
    sealed: str


def app_details(services: Services) -> AppDetails:
    """Client id and what may be shown of the secret."""
    client_id, secret = _app(services, required=False)
    return AppDetails(client_id, bool(secret), secret[-4:], services.settings.locked())


def save_app(services: Services, *, client_id: str, secret: str | None, who: str) -> None:
    """Stores the app's id and, if given, its secret (sealed)."""
    now = services.clock.now()
    locked = services.settings.locked()
    with services.database.write() as session:
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
        # A consent that broke over a wrong secret gets another chance with the new one.
        session.execute(update(Connection).values(broken=None, broken_at=None))
        for row in profiles.organisations(session):
            if row.held_why:
                row.held_until = row.held_why = None
                row.held_times = 0
                _carry_on(session, row, "new app details", now)


def _app(services: Services, *, required: bool = True) -> tuple[str, str]:
    settings = services.settings
    with services.database.read() as session:
        client_id = settings.xero_client_id or profiles.setting(session, "xero_client_id") or ""
        secret = (
            settings.xero_client_secret
            or profiles.setting(session, "xero_client_secret", services.ring)
            or ""
        )
    if required and not (client_id and secret):
        raise PermanentError("Enter the client id and secret of your Xero app first.")
    return str(client_id), str(secret)


def begin(services: Services, *, who: str) -> Begun:
    """Starts a Connect: state and PKCE verifier go sealed into the person's own session."""
    client_id, _secret = _app(services)
    state, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(64)
    url = services.xero.authorise_url(
        client_id=client_id,
        redirect_uri=services.links.callback(),
        scopes=SCOPES,
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
    client_id, secret = _app(services)
    tokens = services.xero.exchange(
        client_id=client_id,
        secret=secret,
        redirect_uri=services.links.callback(),
        code=args["code"],
        verifier=str(begun["verifier"]),
    )
    return _keep(services, tokens)


def _keep(services: Services, tokens: TokenSet) -> list[Organisation]:
    """Stores a consent and the organisations it covers; what waited for it goes on."""
    tenants = services.xero.tenants(tokens.access_token)
    now = services.clock.now()
    with services.database.write() as session:
        connection = Connection(connected_at=now)
        _put_tokens(services, connection, tokens)
        session.add(connection)
        session.flush()
        known = {row.tenant_id: row for row in session.scalars(select(Organisation))}
        covered = []
        for tenant in tenants:
            row = known.get(tenant.tenant_id) or Organisation(tenant_id=tenant.tenant_id)
            row.name = tenant.name
            row.link_id = tenant.connection_id
            row.connection_id = connection.id
            row.held_until = row.held_why = None
            row.held_times = 0
            session.add(row)
            covered.append(row)
        session.flush()
        _drop_unused(session)
        for row in covered:
            _carry_on(session, row, "reconnected", now)
    for row in covered:
        services.dispatcher.wake(row.id)
    return covered


def _put_tokens(services: Services, row: Connection, tokens: TokenSet) -> None:
    row.tokens = services.ring.seal(
        {"access": tokens.access_token, "refresh": tokens.refresh_token}
    )
    row.expires_at = tokens.expires_at
    row.scope = tokens.scope
    row.email = tokens.email or row.email
    row.broken = row.broken_at = None


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
        refresh_reference(services, row.id)
    now = services.clock.now()
    with services.database.write() as session:
        for offered in rows:
            row = session.get_one(Organisation, offered.id)
            row.chosen = True
            session.flush()
            _default_profiles(services, session, row, now)
    with services.database.read() as session:
        return [row for row in profiles.organisations(session) if row.tenant_id in tenant_ids]


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


def pause(services: Services, organisation_id: int, *, who: str) -> None:
    """Holds an organisation after the calls under way; capturing goes on."""
    with services.database.write() as session:
        row = session.get_one(Organisation, organisation_id)
        row.paused_at, row.paused_by = services.clock.now(), who


def resume(services: Services, organisation_id: int) -> None:
    """Lets a paused organisation go on, in order; a run is asked for what waits."""
    now = services.clock.now()
    with services.database.write() as session:
        row = session.get_one(Organisation, organisation_id)
        row.paused_at = row.paused_by = None
        row.held_until = row.held_why = None
        _carry_on(session, row, "resumed", now)
    services.dispatcher.wake(organisation_id)


def _carry_on(session: Session, row: Organisation, why: str, now: datetime) -> None:
    """Asks for a run of what waits, unless one that was stopped goes on by itself."""
    if row.chosen and row.live_since and not logs.unended_runs(session, row.id):
        logs.ask_run(session, row.id, kind="scheduled", requested_by=why, now=now)


def disconnect(services: Services, organisation_id: int, *, who: str) -> None:
    """Takes an organisation out of the consent and out of use; links and logs stay."""
    now = services.clock.now()
    with services.database.read() as session:
        row = session.get_one(Organisation, organisation_id)
        connection_id, link_id = row.connection_id, row.link_id
    if connection_id and link_id:
        # A consent that is gone already has nothing left to disconnect.
        with suppress(AuthorisationError):
            token = _token(services, connection_id)
            services.xero.disconnect(access_token=token, connection_id=link_id)
    with services.database.write() as session:
        row = session.get_one(Organisation, organisation_id)
        row.chosen = row.auto_sync = False
        row.live_since = None
        row.connection_id = row.link_id = None
        logs.end_runs(session, organisation_id, sentence=f"{row.name} was disconnected.", now=now)
        session.flush()
        _drop_unused(session)


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


def refresh_reference(services: Services, organisation_id: int) -> None:
    """Reads organisation, accounts and tax rates from Xero (3 calls) and keeps them."""
    with services.database.read() as session:
        row = session.get_one(Organisation, organisation_id)
    paths = {"organisation": "Organisation", "accounts": "Accounts", "tax_rates": "TaxRates"}
    read = {
        kind: _with_access(services, row, partial(_read, services, path))
        for kind, path in paths.items()
    }
    now = services.clock.now()
    with services.database.write() as session:
        profiles.put_reference(session, organisation_id, read, now)
        kept = session.get_one(Organisation, organisation_id)
        facts = read["organisation"][0] if read["organisation"] else {}
        kept.name = str(facts.get("Name") or kept.name)
        kept.country = facts.get("CountryCode")
        kept.currency = facts.get("BaseCurrency")
        kept.short_code = facts.get("ShortCode")
        kept.time_zone = facts.get("Timezone")


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
        row = session.get_one(Organisation, lease.organisation_id)

    def in_time(access: Access) -> T:
        if until and services.clock.now() > until:
            raise TransientError(
                "Getting ready for a call took too long; XTiger begins it again by itself.",
                retry_after=0,
                counts=False,
            )
        return send(access)

    return _with_access(services, row, in_time)


def _read(services: Services, path: str, access: Access) -> Sequence[Mapping[str, Any]]:
    return services.xero.read(access, path)


def _with_access(services: Services, row: Organisation, send: Callable[[Access], T]) -> T:
    if row.connection_id is None:
        raise AuthorisationError(f"{row.name} isn't connected. Connect it under API details.")
    token = _token(services, row.connection_id)
    try:
        return send(Access(token, row.tenant_id))
    except AuthorisationError as refusal:
        if not refusal.expired:
            raise
    # Refused before anything was stored: the same call may go again with a new token.
    token = _token(services, row.connection_id, not_this=token)
    return send(Access(token, row.tenant_id))


def _token(services: Services, connection_id: int, *, not_this: str | None = None) -> str:
    """A good access token; whatever keeps it from us is a matter of the consent, not of a call."""
    try:
        return _good_token(services, connection_id, not_this)
    except PermanentError as refusal:
        raise AuthorisationError(refusal.sentence) from refusal
    except LeaseLost as lost:
        raise TransientError("The connection was renewed elsewhere.", counts=False) from lost


def _good_token(services: Services, connection_id: int, not_this: str | None) -> str:
    """A good access token of a consent, refreshed if it ends soon or was just refused.

    1. A stored token that is good for a while is used.
    2. Else whoever gets the refresh lease refreshes, and stores before anybody uses it.
    3. The others wait and read again.
    """
    deadline = services.clock.now() + timedelta(seconds=2 * services.patience.call)
    while services.clock.now() < deadline:
        with services.database.read() as session:
            row = session.get(Connection, connection_id)
        if row is None or row.tokens is None:
            raise AuthorisationError("Xero isn't connected. Connect it under API details.")
        if row.broken:
            raise AuthorisationError(row.broken)
        stored = services.ring.open(row.tokens)
        ends = row.expires_at or services.clock.now()
        fresh = ends - timedelta(seconds=EARLY) > services.clock.now()
        if fresh and stored["access"] != not_this:
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


def _refresh(services: Services, connection_id: int, fence: int, not_this: str | None) -> str:
    """Rotates the tokens as the one refresher; a dead consent is noted for everybody."""
    client_id, secret = _app(services)
    with services.database.read() as session:
        row = session.get_one(Connection, connection_id)
    stored = services.ring.open(row.tokens or b"")
    ends = row.expires_at or services.clock.now()
    if stored["access"] != not_this and ends - timedelta(seconds=EARLY) > services.clock.now():
        return str(stored["access"])  # somebody refreshed between our two looks
    try:
        tokens = services.xero.refresh(
            client_id=client_id, secret=secret, refresh_token=str(stored["refresh"])
        )
    except AuthorisationError as refusal:
        with services.database.write() as session:
            kept = leases.held_refresh(session, connection_id, fence)
            kept.broken, kept.broken_at = refusal.sentence, services.clock.now()
        raise
    with services.database.write() as session:
        _put_tokens(services, leases.held_refresh(session, connection_id, fence), tokens)
    return tokens.access_token


def _free(services: Services, connection_id: int, fence: int) -> None:
    with services.database.write() as session:
        session.execute(
            update(Connection)
            .where(Connection.id == connection_id, Connection.refresh_fence == fence)
            .values(refresh_until=None, refresher=None)
            .execution_options(synchronize_session=False)
        )
