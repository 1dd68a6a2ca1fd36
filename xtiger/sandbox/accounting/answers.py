"""The shapes of the Accounting API's answers: envelopes, refusals, and what the log keeps."""

from __future__ import annotations

from uuid import uuid4

from xtiger.sandbox.accounting.books import Outcome, Resource
from xtiger.sandbox.wire import (
    HTML,
    ZERO_ID,
    Json,
    Malformed,
    Reply,
    dumps,
    loads,
    net_instant,
)


def not_found() -> Reply:
    """404 as measured on live Xero: HTML, and nothing in it."""
    return Reply(404, b"", HTML)


def not_allowed() -> Reply:
    """405: the address is right, the method isn't one of its own."""
    return Reply(405, b"", HTML)


def refusal(code: int, kind: str, message: str) -> Reply:
    """400 about the whole request."""
    return Reply(400, dumps({"ErrorNumber": code, "Type": kind, "Message": message}))


def enveloped(
    now: float, plural: str, members: list[Json], pagination: Json | None = None
) -> Reply:
    """The envelope in the key order measured on live Xero; `now` in seconds since 1970."""
    envelope: Json = {
        "Id": str(uuid4()),
        "Status": "OK",
        "ProviderName": "Local Xero",
        "DateTimeUTC": net_instant(int(now * 1000), offset=False),
    }
    if pagination:
        envelope["pagination"] = pagination
    return Reply(200, dumps(envelope | {plural: members}))


def written(now: float, known: Resource, outcomes: list[Outcome], *, together: bool) -> Reply:
    """The answer to a write that was kept: each element, marked where it wasn't.

    With `together` (summarizeErrors) all of them were good.
    """
    members = []
    for outcome in outcomes:
        status = {"StatusAttributeString": "ERROR" if outcome.errors else "OK"}
        found = _marked(known, outcome, outcome.id) if outcome.errors else outcome.body
        members.append(found | status if not together or outcome.errors else found)
    reply = enveloped(now, known.plural, members)
    reply.elements = [trace(index, outcome) for index, outcome in enumerate(outcomes)]
    return reply


def validation_exception(known: Resource, outcomes: list[Outcome]) -> Reply:
    """HTTP 400 with every element; nothing was kept, so what would be new has no id."""
    undone = [
        Outcome(ZERO_ID if one.created else one.id, one.body, one.errors, False, one.trace)
        for one in outcomes
    ]
    reply = _invalid([_marked(known, one, one.id) for one in undone])
    reply.elements = [trace(index, one) | {"ok": False} for index, one in enumerate(undone)]
    return reply


def _invalid(members: list[Json]) -> Reply:
    body = {
        "ErrorNumber": 10,
        "Type": "ValidationException",
        "Message": "A validation exception occurred",
        "Elements": members,
    }
    return Reply(400, dumps(body))


def _marked(known: Resource, outcome: Outcome, identifier: str) -> Json:
    flagged = {known.error_flag: bool(outcome.errors)} if known.error_flag else {}
    return (
        outcome.body
        | ({known.id_field: identifier} if known.id_field else {})
        | flagged
        | {"ValidationErrors": [{"Message": message} for message in outcome.errors]}
    )


_ERROR_FLAGS = ("HasErrors", "HasValidationErrors")


def refused_parts(elements: list[Json], errors: list[list[str]]) -> Reply:
    """HTTP 400 about what lies below an object, in the form of `validation_exception`."""
    members = [
        one
        | {"ValidationErrors": [{"Message": message} for message in found]}
        | {flag: bool(found) for flag in _ERROR_FLAGS if flag in one}
        for one, found in zip(elements, errors, strict=True)
    ]
    reply = _invalid(members)
    reply.elements = [
        trace(index, Outcome("", {}, found, False)) | {"ok": False}
        for index, found in enumerate(errors)
    ]
    return reply


def trace(index: int, outcome: Outcome) -> Json:
    """What the log of requests keeps of one element."""
    return {
        "index": index,
        "id": outcome.id,
        "ok": not outcome.errors,
        "errors": outcome.errors,
        "created": outcome.created,
    } | outcome.trace


def elements_of(sent: bytes, plural: str) -> list[Json]:
    """One bare object, a bare list, or `{"Plural": [...]}` with the key in any case.

    Raises Malformed.
    """
    body = loads(sent or b"null")
    if isinstance(body, dict):
        wrapped = next((v for name, v in body.items() if name.lower() == plural.lower()), None)
        body = [body] if wrapped is None else wrapped
    if isinstance(body, dict):
        body = [body]
    if not isinstance(body, list) or not body or not all(isinstance(one, dict) for one in body):
        raise Malformed(f"The body must hold {plural} as a list of objects.")
    return body
