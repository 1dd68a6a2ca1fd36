"""What Xero's answers mean: refusals by status, and the fate of each element of a write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from xtiger.domain.errors import PermanentError, TransientError, UnknownOutcome, XTigerError
from xtiger.domain.resources import CATALOGUE, Resource, Verb
from xtiger.ports import Call, Element
from xtiger.xero.endpoints import list_of
from xtiger.xero.limits import limited
from xtiger.xero.oauth import moved, no_access
from xtiger.xero.transport import ASKS_FIRST, TRIES_AGAIN, Reply

#: The most of Xero's own words that goes into a sentence, in characters.
_MOST_WORDS = 500
#: Refusals that come without words, by status.
_SILENT = {
    404: "Xero has nothing at the address that XTiger called.",
    405: "Xero doesn't offer what XTiger called for.",
    412: "Xero refused the call because a condition of it doesn't hold.",
    413: "The call is larger than Xero takes.",
    501: "Xero doesn't offer what XTiger called for.",
}
#: How deep an element is searched for messages; Xero's own objects nest three deep.
_DEEPEST = 5
#: Resources whose ids are words of Xero's and no GUIDs.
_NAMED = frozenset({Resource.CURRENCIES, Resource.TAX_RATES})


class Reading:
    """Reads the answers of one host; `time_factor` scales waits that Xero doesn't name."""

    def __init__(self, host: str, time_factor: float) -> None:
        self._host = host
        self._factor = time_factor

    def refusal(
        self, reply: Reply, now: datetime, *, scopes: Sequence[str], writing: bool
    ) -> XTigerError:
        """The table of statuses. A 400 to a write has a table of its own, `_all_refused`.

        | status | write | read |
        | --- | --- | --- |
        | 3xx, 404, 405, 412, 413, 501, other 4xx | PermanentError | PermanentError |
        | 400 | (`_all_refused`) | PermanentError; without a word TransientError |
        | 401, 403 | AuthorisationError (`no_access`) | the same |
        | 408, 5xx but 501 | UnknownOutcome: Xero may have stored it | TransientError |
        | 429 | TransientError that doesn't count (`limited`) | the same |
        """
        status = reply.status
        if status in (401, 403):
            return no_access(status, reply.told(), scopes=scopes)
        if status == 429:
            return limited(reply.headers, now, self._factor)
        if 300 <= status < 400:
            return PermanentError(moved(self._host))
        if status == 408 or (status >= 500 and status != 501):
            what = f"Xero ({self._host}) has trouble of its own and gave no proper answer."
            if writing:
                return UnknownOutcome(f"{what} {ASKS_FIRST}", answered=status != 408)
            return TransientError(f"{what} {TRIES_AGAIN}")
        if status == 400 and not writing and not _words(reply.told()):
            return self.unreadable()
        return _refused_whole(reply, writing=writing)

    def unreadable(self) -> TransientError:
        """A read's answer that isn't what was asked for, or says nothing at all."""
        return TransientError(f"Xero's answer ({self._host}) can't be read. {TRIES_AGAIN}")

    def written(self, reply: Reply, call: Call) -> tuple[Element, ...] | None:
        """The elements of a write's answer; None for a status of `refusal`'s table.

        | status | write | delete |
        | --- | --- | --- |
        | 2xx | an element for each one sent, else UnknownOutcome | the one object (`_deleted`) |
        | 400 | `_all_refused` | the same |
        | 404 | (`refusal`) | it is gone already: what was asked for |
        """
        if reply.status == 400:
            return self._all_refused(reply, call)
        if call.verb is Verb.DELETE and reply.status == 404:
            return (Element(stored=True, xero_id=call.xero_id),)
        if not 200 <= reply.status < 300:
            return None
        if call.verb is Verb.DELETE:
            return (self._deleted(reply, call),)
        rows = list_of(reply.told(), call.resource.value)
        if rows is None:
            raise self._open_question("can't be read.")
        if len(rows) != call.count:
            raise UnknownOutcome(
                f"Xero answered about {len(rows)} of {call.count} records. {ASKS_FIRST}"
            )
        quiet = _is_quiet(reply.body)
        return tuple(read_element(call.resource, row, quiet=quiet) for row in rows)

    def _deleted(self, reply: Reply, call: Call) -> Element:
        """204 says it all; a 200 tells of the object, in a list or (allocations) bare."""
        if reply.status == 204:
            return Element(stored=True, xero_id=call.xero_id)
        told = reply.told()
        if not told:
            raise self._open_question("can't be read.")
        rows = list_of(told, call.resource.value) or [told]
        found = read_element(call.resource, rows[0])
        if found.faults or found.stored is False:
            return Element(stored=False, data=rows[0], faults=found.faults)
        return Element(stored=True, xero_id=call.xero_id, data=rows[0])

    def _open_question(self, what: str) -> UnknownOutcome:
        return UnknownOutcome(f"Xero's answer ({self._host}) {what} {ASKS_FIRST}")

    def _all_refused(self, reply: Reply, call: Call) -> tuple[Element, ...]:
        """The table of a write's 400.

        | body | means |
        | --- | --- |
        | an element for each one sent, and faults in all of them | all refused |
        | Elements, but some without faults, or not as many as sent | UnknownOutcome |
        | the Idempotency-Key was used for something else | UnknownOutcome |
        | a Message and no Elements | PermanentError |
        | empty, or no JSON | UnknownOutcome |
        """
        told = reply.told()
        words = _words(told)
        if "used with a different request" in words:
            raise UnknownOutcome(f"Xero knows this call's key from another call. {ASKS_FIRST}")
        rows = list_of(told, "Elements")
        if rows:
            elements = tuple(read_element(call.resource, row) for row in rows)
            refused = all(element.stored is False for element in elements)
            if refused and len(elements) == call.count:
                return elements
            raise UnknownOutcome(
                f"Xero refused the call without a word on each record. {ASKS_FIRST}"
            )
        if words:
            raise _refused_whole(reply, writing=True)
        raise UnknownOutcome(f"Xero refused the call without a word. {ASKS_FIRST}")


def _words(told: Mapping[str, Any]) -> str:
    """What Xero says about a refused call, on one line; empty if nothing."""
    words = " ".join(str(told.get("Message") or told.get("Detail") or "").split())
    return words if len(words) <= _MOST_WORDS else f"{words[:_MOST_WORDS]}…"


def _refused_whole(reply: Reply, *, writing: bool) -> PermanentError:
    told = reply.told()
    said = _SILENT.get(reply.status, "Xero refused the call without a word.")
    if words := _words(told):
        if isinstance(told.get("Type"), str):
            words += f" ({told['Type']} {told.get('ErrorNumber', '')})".replace(" )", ")")
        said = f"Xero refused the call: “{words}”."
    return PermanentError(f"{said} Nothing of it was stored." if writing else said)


def _is_quiet(body: bytes) -> bool:
    """Whether an answer surely carries no message at all, so that none need be looked for.

    Searching its bytes is far quicker than its parts. Escaped letters could spell the name.
    """
    named = body.count(b'"ValidationErrors"')
    return named == body.count(b'"ValidationErrors":[]') and b"\\u" not in body


def read_element(resource: Resource, row: Mapping[str, Any], *, quiet: bool = False) -> Element:
    """What Xero says about one element; `quiet`: the answer carries no message.

    1. Its own error flags, messages or all-zero id say that it was refused.
    2. Else a real id says that it is stored, unless a part of it carries a message: then the
       answer contradicts itself. A note of the history has no id; its text stands for one.
    3. Else it says nothing.
    """
    xero_id, zero = _id_of(resource, row)
    faults = () if quiet else _faults(row)
    refused = (
        str(row.get("StatusAttributeString")).upper() == "ERROR"
        or row.get("HasErrors") is True
        or row.get("HasValidationErrors") is True
        or bool(row.get("ValidationErrors"))
        or zero
    )
    real = bool(row.get("Details")) if resource is Resource.HISTORY else xero_id is not None
    stored = False if refused else True if real and not faults else None
    return Element(stored=stored, xero_id=xero_id, data=row, faults=faults)


def _id_of(resource: Resource, row: Mapping[str, Any]) -> tuple[str | None, bool]:
    """The element's id if it is a real one, and whether it is the all-zero GUID."""
    name = CATALOGUE[resource].id_field
    # Xero's own example of an allocation spells it AllocationId.
    found = str(row.get(name) or (name and row.get(f"{name[:-1]}d")) or "")
    if resource in _NAMED:
        return found or None, False
    try:
        number = UUID(found).int
    except ValueError:
        return None, False
    return (found, False) if number else (None, True)


def _faults(row: Mapping[str, Any]) -> tuple[str, ...]:
    """All messages of an element, its own first, each once; a line's begin with "Line 2: ".

    Xero repeats a line's message on top: it is kept where it names the line.
    """
    found = list(_messages(row, "", 0))
    of_lines = {words for prefix, words in found if prefix}
    kept = [prefix + words for prefix, words in found if prefix or words not in of_lines]
    return tuple(dict.fromkeys(kept))


def _messages(part: Mapping[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, str]]:
    errors = part.get("ValidationErrors")
    for error in errors if isinstance(errors, list) else ():
        words = error.get("Message") if isinstance(error, dict) else error
        if words:
            yield prefix, str(words)
    if depth == _DEEPEST:
        return
    for name, value in part.items():
        if name in ("ValidationErrors", "Warnings"):
            continue
        inner = value if isinstance(value, list) else [value]
        for place, one in enumerate(inner, 1):
            if isinstance(one, dict):
                line = f"Line {place}: " if name == "LineItems" else prefix
                yield from _messages(one, line, depth + 1)
