"""The Accounting API's front door: authorisation, limits, idempotency, methods, the log."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from flask import Blueprint, Response, current_app, request

from xtiger.sandbox.accounting import annexes, queries, settings
from xtiger.sandbox.accounting.accounts import Accounts
from xtiger.sandbox.accounting.answers import (
    elements_of,
    enveloped,
    not_allowed,
    not_found,
    refusal,
    trace,
    validation_exception,
    written,
)
from xtiger.sandbox.accounting.banking import BankTransactions
from xtiger.sandbox.accounting.books import Books, Outcome, PartCall, Resource
from xtiger.sandbox.accounting.contacts import Contacts
from xtiger.sandbox.accounting.creditnotes import CreditNotes
from xtiger.sandbox.accounting.groups import ContactGroups
from xtiger.sandbox.accounting.invoice_parts import INVOICE_PARTS
from xtiger.sandbox.accounting.invoices import Invoices
from xtiger.sandbox.accounting.items import Items
from xtiger.sandbox.accounting.orders import PurchaseOrders
from xtiger.sandbox.accounting.payments import Payments
from xtiger.sandbox.accounting.plain import unread
from xtiger.sandbox.accounting.prepayments import Overpayments, Prepayments
from xtiger.sandbox.accounting.queries import QueryParse
from xtiger.sandbox.accounting.quotes import Quotes
from xtiger.sandbox.accounting.receipts import Receipts
from xtiger.sandbox.accounting.taxrates import TaxRates
from xtiger.sandbox.accounting.tracking import TrackingCategories
from xtiger.sandbox.identity import callers
from xtiger.sandbox.kept.diary import Remembered
from xtiger.sandbox.kept.state import State, Stored
from xtiger.sandbox.limits import Exceeded, Limits
from xtiger.sandbox.wire import HTML, JSON, Malformed, Reply, flag

RESOURCES: dict[str, Resource] = {
    one.plural.lower(): one
    for one in (
        Contacts(),
        Items(),
        Invoices(),
        CreditNotes(),
        Payments(),
        Prepayments(),
        Overpayments(),
        BankTransactions(),
        PurchaseOrders(),
        Quotes(),
        Receipts(),
        settings.Organisations(),
        settings.Currencies(),
        settings.BrandingThemes(),
        settings.Users(),
        Accounts(),
        TaxRates(),
        TrackingCategories(),
        ContactGroups(),
    )
}
RESOURCES["organisation"] = RESOURCES["organisations"]
#: addresses of two words whose second is no object
_NAMED: dict[str, Resource] = {"organisation/actions": settings.Actions()}
for _one in set(RESOURCES.values()):
    _one.parts = {**_one.parts, **annexes.below(_one.plural, _one.kind)}
RESOURCES["invoices"].parts = {**RESOURCES["invoices"].parts, **INVOICE_PARTS}
#: how long the first answer to an Idempotency-Key is kept, seconds (Xero: idempotency guide)
_MEMORY = 360.0
_LARGEST_BODY = 3_500_000
_READING = ("GET", "HEAD")

blueprint = Blueprint("accounting", __name__)


@blueprint.route("/api.xro/2.0/<resource>", methods=["GET", "PUT", "POST", "DELETE"])
@blueprint.route("/api.xro/2.0/<resource>/<path:key>", methods=["GET", "PUT", "POST", "DELETE"])
def call(resource: str, key: str | None = None) -> Response:
    """One call: who, which organisation, limits; then read or write, log and answer."""
    sandbox = current_app.extensions["xero_sandbox"]
    state: State = sandbox.state
    try:
        who = callers.caller(state, request.headers.get("Authorization"))
    except callers.Refused as refused:
        return callers.unauthorised(str(refused))
    tenant = (request.headers.get("xero-tenant-id") or who.sole or "").strip().lower()
    if tenant not in who.tenants:
        return callers.unauthorised("AuthenticationUnsuccessful", 403)
    limits: Limits = sandbox.limits
    exceeded = request.environ.get("sandbox.exceeded") or limits.count(tenant)
    if exceeded:
        return refused_by(exceeded, limits, tenant)
    if not _allowed(resource, key, who.scopes):
        return callers.unauthorised("AuthorizationUnsuccessful")
    with state.transaction():
        reply, replayed = _answered(state, sandbox, who, tenant, resource, key)
        reading = request.method in _READING
        counter = "read_calls" if reading else "write_replays" if replayed else "write_calls"
        state.count_up(tenant, counter)
        fault = request.environ.get("sandbox.fault") or {}
        request.environ["sandbox.sequence"] = state.diary.log(
            {
                "time": datetime.fromtimestamp(state.now(), UTC).isoformat(),
                "method": request.method,
                "resource": _plural(resource),
                "key": key,
                "tenant": tenant,
                "status": reply.status,
                "idempotency_key": request.headers.get("Idempotency-Key"),
                "replayed": replayed,
                "elements": reply.elements,
                "fault": fault.get("kind"),
                "struck": fault or None,
            }
        )
    response = Response(reply.body, reply.status, content_type=reply.type)
    response.headers.update(limits.headers(tenant))
    return response


def refused_by(exceeded: Exceeded, limits: Limits, tenant: str) -> Response:
    """429 as measured on live Xero: no body, no content type."""
    response = Response(b"", 429)
    del response.headers["Content-Type"]
    response.headers.update(limits.headers(tenant))
    response.headers["X-Rate-Limit-Problem"] = exceeded.problem
    if exceeded.problem == "minute":
        response.headers["X-MinLimit-Remaining"] = "0"
    if exceeded.problem == "day":
        response.headers["X-DayLimit-Remaining"] = "0"
    if exceeded.problem == "appminute":
        response.headers["X-AppMinLimit-Remaining"] = "0"
    if exceeded.retry_after is not None:
        response.headers["Retry-After"] = str(exceeded.retry_after)
    return response


def _plural(resource: str) -> str:
    known = RESOURCES.get(resource.lower())
    return known.plural if known else resource


def _allowed(resource: str, key: str | None, scopes: frozenset[str]) -> bool:
    known = RESOURCES.get(resource.lower())
    words = key.split("/") if key else []
    part = known.parts.get(words[1].lower()) if known and len(words) > 1 else None
    wanted = (part.scopes if part else None) or (known.scopes if known else None)
    wanted = wanted or ("accounting.settings",)
    # the broad scopes of older apps cover what their granular successors share out
    granted = scopes.union(*(callers.BROAD[one] for one in scopes & callers.BROAD.keys()))
    if any(scope in granted for scope in wanted):
        return True
    return request.method in _READING and any(f"{scope}.read" in granted for scope in wanted)


def _answered(
    state: State, sandbox: object, who: callers.Caller, tenant: str, resource: str, key: str | None
) -> tuple[Reply, bool]:
    """The reply and whether it is a replay.

    The first answer to a key, an error too, is kept and replayed byte for byte for the same
    request. The store's lock lets a second one wait for the first (Xero: idempotency guide; the
    waiting is our choice).
    """
    once = request.headers.get("Idempotency-Key")
    if once is None or request.method in _READING:
        return _performed(state, who, tenant, resource, key), False
    if not 0 < len(once) <= 128:
        text = "Idempotency Key must be 1-128 characters."  # own words
        return refusal(10, "ValidationException", text), False
    scope = f"{who.client} {tenant}"
    url = request.environ.get("RAW_URI") or request.full_path
    seen = hashlib.sha256(f"{request.method} {url}\n".encode() + request.get_data()).hexdigest()
    first = state.diary.recall(scope, once, state.now())
    if first and first.fingerprint == seen:
        return Reply(first.status, first.answer, first.type, first.elements), True
    if first:
        text = f"Idempotency Key: {once} is used with a different request."
        return refusal(10, "ValidationException", text), False
    reply = _performed(state, who, tenant, resource, key)
    life = _MEMORY * float(getattr(sandbox, "time_factor", 1.0))
    kept = Remembered(seen, reply.status, reply.type, reply.body, reply.elements)
    now = state.now()
    state.diary.remember(scope, once, kept, now=now, expires=now + life)
    return reply, False


def _performed(
    state: State, who: callers.Caller, tenant: str, resource: str, key: str | None
) -> Reply:
    organisation = state.organisation(tenant)
    assert organisation is not None
    four = request.args.get("unitdp") == "4"
    books = Books(state, organisation, who.client, four)
    known = RESOURCES.get(resource.lower())
    if named := _NAMED.get(f"{resource}/{key}".lower()):
        known, key = named, None
    if known is None or not known.offered(books):
        return not_found()
    if current_app.extensions["xero_sandbox"].plain:
        known = unread(known)
    books.backorders = bool(flag(request.args.get("allowBackorders")))
    words = key.split("/") if key else []
    try:
        if len(words) > 1 and words[1].lower() in known.parts:
            return _part(books, known, words)
        if (request.content_length or 0) > _LARGEST_BODY:
            return Reply(413, b"", HTML)
        asked = {name.lower(): value for name, value in request.args.items()}
        together = flag(asked.get("summarizeerrors")) is not False
        return known.dressed(_whole(books, known, key), together=together)
    except Malformed as error:
        return refusal(14, "PostDataInvalidException", str(error))
    except QueryParse as error:
        return refusal(16, "QueryParseException", str(error))


def _part(books: Books, known: Resource, words: list[str]) -> Reply:
    """A request below one object. Xero says 404 of an object that isn't there."""
    owner = known.find(books, words[0])
    call = PartCall(
        method=request.method,
        key=words[2] if len(words) > 2 else None,
        body=request.get_data(),
        content_type=request.content_type or "",
        arguments={name.lower(): value for name, value in request.args.items()},
        detail="/".join(words[3:]) or None,
    )
    part = known.parts[words[1].lower()]
    if owner is not None:
        return part.call(books, owner, call)
    if isinstance(part, annexes.History) and call.method == "PUT":
        return part.unknown(books, call)
    return not_found()


def _whole(books: Books, known: Resource, key: str | None) -> Reply:
    method = "GET" if request.method == "HEAD" else request.method
    if (f"{method}/id" if key else method) not in known.methods:
        return not_allowed()
    stored = known.find(books, key) if key else None
    if key and stored is None:
        return not_found()
    if method == "DELETE":
        return _removed(books, known, stored)
    if method != "GET":
        return _written(books, known, stored)
    if stored is not None:
        return enveloped(books.state.now(), known.plural, [known.show_alone(books, stored)])
    return _listed(books, known)


def _listed(books: Books, known: Resource) -> Reply:
    since = request.headers.get("If-Modified-Since")
    asked = request.args if known.filtered else queries.unfiltered(request.args)
    query = queries.read(asked, since, known.fields, known.kind, books.app)
    known.narrow(books, query, {name.lower(): value for name, value in request.args.items()})
    now = books.state.now()
    if not known.paged:
        query.page = None
    if query.page is None:
        return enveloped(now, known.plural, known.members(books, query, detail=False))
    if not known.sized:
        query.size = queries.PAGE
    count = books.state.count(books.tenant, known.kind, query.condition, query.values)
    pagination = {
        "page": query.page,
        "pageSize": query.size,
        "pageCount": -(-count // query.size),
        "itemCount": count,
    }
    members = known.members(books, query, detail=not query.brief)
    # measured: lists of quotes come in pages without saying so
    return enveloped(now, known.plural, members, pagination if known.sized else None)


def _removed(books: Books, known: Resource, stored: Stored | None) -> Reply:
    assert stored is not None
    with books.state.attempt() as attempt:
        outcome = known.remove(books, stored)
        if outcome and outcome.errors:
            attempt.undo()
    if outcome is None:
        gone = Outcome(stored.id, {}, [], False)
        return Reply(204, b"", JSON, [trace(0, gone)])
    if outcome.errors:
        return validation_exception(known, [outcome])
    return written(books.state.now(), known, [outcome], together=True)


def _written(books: Books, known: Resource, stored: Stored | None) -> Reply:
    """Applies the elements in order, all or none unless `summarizeErrors=false`."""
    elements = elements_of(request.get_data(), known.plural)
    if stored is not None and len(elements) != 1:
        raise Malformed("An address with an id takes exactly one element.")
    if known.single:
        elements = elements[:1]
    asked = {name.lower(): value for name, value in request.args.items()}
    together = flag(asked.get("summarizeerrors")) is not False
    with books.state.attempt() as attempt:
        outcomes = [
            known.write(
                books,
                element,
                create_only=request.method == "PUT",
                target=stored.id if stored else None,
            )
            for element in elements
        ]
        failed = together and any(outcome.errors for outcome in outcomes)
        if failed:
            attempt.undo()
    if failed:
        return validation_exception(known, outcomes)
    return written(books.state.now(), known, outcomes, together=together)
