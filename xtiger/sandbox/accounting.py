"""The Accounting API's front door: authorisation, limits, idempotency, envelopes, the log."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import unquote
from uuid import uuid4

from flask import Blueprint, Response, current_app, request

from xtiger.sandbox import identity, queries, settings
from xtiger.sandbox.books import Books, Outcome, Resource
from xtiger.sandbox.contacts import Contacts
from xtiger.sandbox.invoices import Invoices
from xtiger.sandbox.items import Items
from xtiger.sandbox.limits import Exceeded, Limits
from xtiger.sandbox.queries import Query, QueryParse
from xtiger.sandbox.state import Remembered, State, Stored
from xtiger.sandbox.wire import ZERO_ID, Json, Malformed, dumps, flag, loads, net_instant

RESOURCES: dict[str, Resource] = {
    one.plural.lower(): one
    for one in (Contacts(), Items(), Invoices(), settings.Accounts(), settings.TaxRates())
}
_JSON = "application/json; charset=utf-8"
_HTML = "text/html; charset=utf-8"
#: how long the first answer to an Idempotency-Key is kept, seconds (Xero: idempotency guide)
_MEMORY = 360.0
_LARGEST_BODY = 3_500_000
_READING = ("GET", "HEAD")

blueprint = Blueprint("accounting", __name__)


@dataclass(slots=True)
class Reply:
    """An answer before it leaves; `elements` is what the log says about a write."""

    status: int
    body: bytes = b""
    type: str = _JSON
    elements: list[Json] = field(default_factory=list)


@blueprint.route("/api.xro/2.0/<resource>", methods=["GET", "PUT", "POST", "DELETE"])
@blueprint.route("/api.xro/2.0/<resource>/<path:key>", methods=["GET", "PUT", "POST", "DELETE"])
def call(resource: str, key: str | None = None) -> Response:
    """One call: who, which organisation, limits; then read or write, log and answer."""
    sandbox = current_app.extensions["xero_sandbox"]
    state: State = sandbox.state
    try:
        who = identity.caller(state, request.headers.get("Authorization"))
    except identity.Refused as refused:
        return identity.unauthorised(str(refused))
    tenant = (request.headers.get("xero-tenant-id") or who.sole or "").strip().lower()
    if tenant not in who.tenants:
        return identity.unauthorised("AuthenticationUnsuccessful", 403)
    limits: Limits = sandbox.limits
    exceeded = request.environ.get("sandbox.exceeded") or limits.count(tenant)
    if exceeded:
        return refused_by(exceeded, limits, tenant)
    if not _allowed(resource, who.scopes):
        return identity.unauthorised("AuthorizationUnsuccessful")
    with state.transaction():
        reply, replayed = _answered(state, sandbox, who, tenant, resource, key)
        reading = request.method in _READING
        counter = "read_calls" if reading else "write_replays" if replayed else "write_calls"
        state.count_up(tenant, counter)
        state.log(
            {
                "time": datetime.now(UTC).isoformat(),
                "method": request.method,
                "resource": _plural(resource),
                "key": key,
                "tenant": tenant,
                "status": reply.status,
                "idempotency_key": request.headers.get("Idempotency-Key"),
                "replayed": replayed,
                "elements": reply.elements,
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
    if exceeded.retry_after is not None:
        response.headers["Retry-After"] = str(exceeded.retry_after)
    return response


def _plural(resource: str) -> str:
    if resource.lower() in ("organisation", "organisations"):
        return "Organisation"
    known = RESOURCES.get(resource.lower())
    return known.plural if known else resource


def _allowed(resource: str, scopes: frozenset[str]) -> bool:
    known = RESOURCES.get(resource.lower())
    wanted = known.scopes if known else ("accounting.settings",)
    if any(scope in scopes for scope in wanted):
        return True
    return request.method in _READING and any(f"{scope}.read" in scopes for scope in wanted)


def _answered(
    state: State, sandbox: object, who: identity.Caller, tenant: str, resource: str, key: str | None
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
        return _refusal(10, "ValidationException", text), False
    scope = f"{who.client} {tenant}"
    url = request.environ.get("RAW_URI") or request.full_path
    seen = hashlib.sha256(f"{request.method} {url}\n".encode() + request.get_data()).hexdigest()
    first = state.recall(scope, once, time.time())
    if first and first.fingerprint == seen:
        return Reply(first.status, first.answer, first.type, first.elements), True
    if first:
        text = f"Idempotency Key: {once} is used with a different request."
        return _refusal(10, "ValidationException", text), False
    reply = _performed(state, who, tenant, resource, key)
    life = _MEMORY * float(getattr(sandbox, "time_factor", 1.0))
    kept = Remembered(seen, reply.status, reply.type, reply.body, reply.elements)
    state.remember(scope, once, time.time() + life, kept)
    return reply, False


def _performed(
    state: State, who: identity.Caller, tenant: str, resource: str, key: str | None
) -> Reply:
    organisation = state.organisation(tenant)
    assert organisation is not None
    four = request.args.get("unitdp") == "4"
    books = Books(state, organisation, who.client, four)
    key = unquote(key) if key else None
    if _plural(resource) == "Organisation":
        if key or request.method not in _READING:
            return Reply(404, b"", _HTML)
        return _enveloped("Organisations", [settings.organisation(organisation)])
    known = RESOURCES.get(resource.lower())
    if known is None:
        return Reply(404, b"", _HTML)
    try:
        if request.method in _READING:
            return _read(books, known, key)
        if request.method == "DELETE":
            return _deleted(books, known, key)
        if not known.writable or (key and request.method == "PUT"):
            return Reply(405, b"", _HTML)
        if request.content_length is not None and request.content_length > _LARGEST_BODY:
            return Reply(413, b"", _HTML)
        return _written(books, known, key)
    except Malformed as error:
        return _refusal(14, "PostDataInvalidException", str(error))
    except QueryParse as error:
        return _refusal(16, "QueryParseException", str(error))


def _refusal(code: int, kind: str, message: str) -> Reply:
    return Reply(400, dumps({"ErrorNumber": code, "Type": kind, "Message": message}))


def _enveloped(plural: str, members: list[Json], pagination: Json | None = None) -> Reply:
    """The envelope in the key order measured on live Xero."""
    envelope: Json = {
        "Id": str(uuid4()),
        "Status": "OK",
        "ProviderName": "Local Xero",
        "DateTimeUTC": net_instant(int(time.time() * 1000), offset=False),
    }
    if pagination:
        envelope["pagination"] = pagination
    return Reply(200, dumps(envelope | {plural: members}))


def _read(books: Books, known: Resource, key: str | None) -> Reply:
    if key:
        stored = known.find(books, key)
        if stored is None:
            return Reply(404, b"", _HTML)
        if isinstance(known, Invoices):
            return _enveloped(known.plural, [known.show_alone(books, stored)])
        return _enveloped(known.plural, [known.show(books, stored, detail=True)])
    since = request.headers.get("If-Modified-Since")
    query = queries.read(request.args, since, known.fields, known.kind, books.app)
    if not known.paged:
        query.page = None
    if query.page is None:
        members = [known.show(books, one, detail=False) for one in _rows(books, known, query)]
        return _enveloped(known.plural, members)
    count = books.state.count(books.tenant, known.kind, query.condition, query.values)
    pagination = {
        "page": query.page,
        "pageSize": query.size,
        "pageCount": -(-count // query.size),
        "itemCount": count,
    }
    detail = not query.brief
    members = [known.show(books, one, detail=detail) for one in _rows(books, known, query)]
    return _enveloped(known.plural, members, pagination)


def _rows(books: Books, known: Resource, query: Query) -> list[Stored]:
    paged = query.page is not None
    return books.state.objects(
        books.tenant,
        known.kind,
        query.condition,
        query.values,
        order=query.order,
        limit=query.size if paged else -1,
        offset=((query.page or 1) - 1) * query.size if paged else 0,
    )


def _deleted(books: Books, known: Resource, key: str | None) -> Reply:
    if known.kind != "item":
        return Reply(405, b"", _HTML)
    stored = known.find(books, key or "")
    if stored is None:
        return Reply(404, b"", _HTML)
    books.state.remove(books.tenant, known.kind, stored.id)
    trace = {"index": 0, "id": stored.id, "ok": True, "errors": [], "created": False}
    return Reply(204, b"", _JSON, [trace])


def _written(books: Books, known: Resource, key: str | None) -> Reply:
    """Applies the elements in order, all or none unless `summarizeErrors=false`."""
    elements = _elements(loads(request.get_data() or b"null"), known.plural)
    target: str | None = None
    if key:
        stored = known.find(books, key)
        if stored is None:
            return Reply(404, b"", _HTML)
        if len(elements) != 1:
            raise Malformed("An address with an id takes exactly one element.")
        target = stored.id
    asked = {name.lower(): value for name, value in request.args.items()}
    together = flag(asked.get("summarizeerrors")) is not False
    create_only = request.method == "PUT"
    with books.state.attempt() as attempt:
        outcomes = [
            known.write(books, element, create_only=create_only, target=target)
            for element in elements
        ]
        failed = together and any(outcome.errors for outcome in outcomes)
        if failed:
            attempt.undo()
    if failed:
        return _validation_exception(known, outcomes)
    members = []
    for outcome in outcomes:
        status = {"StatusAttributeString": "ERROR" if outcome.errors else "OK"}
        found = _marked(known, outcome, outcome.id) if outcome.errors else outcome.body
        members.append(found | status if not together or outcome.errors else found)
    reply = _enveloped(known.plural, members)
    reply.elements = [_trace(index, outcome) for index, outcome in enumerate(outcomes)]
    return reply


def _validation_exception(known: Resource, outcomes: list[Outcome]) -> Reply:
    """HTTP 400 with every element; nothing was kept, so what would be new has no id."""
    undone = [
        Outcome(ZERO_ID if one.created else one.id, one.body, one.errors, False, one.trace)
        for one in outcomes
    ]
    body = {
        "ErrorNumber": 10,
        "Type": "ValidationException",
        "Message": "A validation exception occurred",
        "Elements": [_marked(known, one, one.id) for one in undone],
    }
    elements = [_trace(index, one) | {"ok": False} for index, one in enumerate(undone)]
    return Reply(400, dumps(body), _JSON, elements)


def _marked(known: Resource, outcome: Outcome, identifier: str) -> Json:
    return outcome.body | {
        known.id_field: identifier,
        known.error_flag: bool(outcome.errors),
        "ValidationErrors": [{"Message": message} for message in outcome.errors],
    }


def _trace(index: int, outcome: Outcome) -> Json:
    return {
        "index": index,
        "id": outcome.id,
        "ok": not outcome.errors,
        "errors": outcome.errors,
        "created": outcome.created,
    } | outcome.trace


def _elements(body: object, plural: str) -> list[Json]:
    """One bare object, a bare list, or `{"Plural": [...]}` with the key in any case."""
    if isinstance(body, dict):
        wrapped = next((v for name, v in body.items() if name.lower() == plural.lower()), None)
        body = [body] if wrapped is None else wrapped
    if isinstance(body, dict):
        body = [body]
    if not isinstance(body, list) or not body or not all(isinstance(one, dict) for one in body):
        raise Malformed(f"The body must hold {plural} as a list of objects.")
    return body
