"""Xero's Accounting API behind XeroPort: calls, look-ups, and what each answer means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import UUID

from requests import ConnectionError as Disconnected

from xtiger.domain.errors import (
    PermanentError,
    TransientError,
    UnknownOutcome,
    XTigerError,
)
from xtiger.domain.resources import CATALOGUE, Resource
from xtiger.ports import Access, Answer, Call, Clock, Element, Tenant
from xtiger.xero.limits import (
    ASKS_FIRST,
    CALL_FAILURES,
    CALL_SECONDS,
    CONNECT_SECONDS,
    TRIES_AGAIN,
    Pacer,
    Reply,
    broken,
    limited,
    received,
    remaining,
    spending,
)
from xtiger.xero.oauth import BearerSessions, Consents, checked_url, moved, no_access

LOGIN_URL = "https://login.xero.com"
IDENTITY_URL = "https://identity.xero.com"
API_URL = "https://api.xero.com"
#: The longest address that is sent: about 50 GUIDs fit (XeroAPI/Xero-OpenAPI issue 534).
_MOST_ADDRESS = 1900
#: Characters of an address kept free for the resource, paging and other switches.
_SWITCHES = 100
_PAGE_SIZE = 1000
#: Xero pages these; another resource ignores `page` and gives everything at once.
_PAGED = frozenset({Resource.CONTACTS, Resource.INVOICES})
#: What the whole API but contacts and documents needs.
_SETTINGS_SCOPE = "accounting.settings"
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
#: Archived contacts are hidden unless asked for.
_ARCHIVED = "includeArchived=true&"
#: How deep an element is searched for messages; Xero's own objects nest three deep.
_DEEPEST = 5


class XeroClient(Consents):
    """Implements XeroPort over HTTP; safe to use from several threads.

    Consent and tokens come from Consents. `time_factor` scales every time-out and waiting time;
    the clock serves dates and pauses.
    Raises ValueError at construction where an address would carry tokens in the clear.
    """

    def __init__(
        self,
        *,
        login_url: str = LOGIN_URL,
        identity_url: str = IDENTITY_URL,
        api_url: str = API_URL,
        clock: Clock,
        time_factor: float = 1.0,
    ) -> None:
        self._api_url = checked_url("Xero's API address", api_url)
        self._accounting = f"{self._api_url}/api.xro/2.0/"
        self._host = urlsplit(self._api_url).hostname or ""
        self._pacer = Pacer(clock, time_factor)
        self._sessions = BearerSessions()
        super().__init__(
            login_url=checked_url("Xero's login address", login_url),
            identity_url=checked_url("Xero's identity address", identity_url),
            clock=clock,
            time_factor=time_factor,
        )

    def close(self) -> None:
        """Closes the kept connections; a later call opens new ones."""
        self._sessions.close()

    def tenants(self, access_token: str) -> Sequence[Tenant]:
        """The organisations of the consent; practices and the like are left out."""
        access = Access(access_token=access_token, tenant_id="")
        listed = self._get(access, f"{self._api_url}/connections", scope=None).json()
        if not isinstance(listed, list):
            raise self._unreadable()
        return [
            Tenant(
                connection_id=str(one["id"]),
                tenant_id=str(one["tenantId"]),
                name=str(one.get("tenantName") or ""),
                auth_event_id=str(one.get("authEventId") or "") or None,
            )
            for one in listed
            if isinstance(one, dict)
            and one.get("tenantType") == "ORGANISATION"
            and one.get("id")
            and one.get("tenantId")
        ]

    def disconnect(self, *, access_token: str, connection_id: str) -> None:
        """Takes one organisation out of the consent; one already gone is fine."""
        access = Access(access_token=access_token, tenant_id="")
        url = f"{self._api_url}/connections/{quote(connection_id, safe='')}"
        self._get(access, url, scope=None, method="DELETE", gone_is_fine=True)

    # accounting

    def save_many(self, access: Access, call: Call) -> Answer:
        """Sends one batch. `UnknownOutcome` if it may have been stored unseen.

        While the minute's calls are used up nothing is sent: TransientError says until when.
        """
        url = f"{self._accounting}{call.resource.value}?summarizeErrors=false&unitdp=4"
        headers = {"Content-Type": "application/json", "Idempotency-Key": call.idempotency_key}
        reply = self._send(access, call.verb.value, url, headers, call.body)
        if reply.status == 400:
            elements = self._all_refused(reply, call)
        elif 200 <= reply.status < 300:
            elements = self._elements(reply, call)
        else:
            raise self._refusal(reply, scope=CATALOGUE[call.resource].scope, writing=True)
        return Answer(
            elements=elements,
            status=reply.status,
            headers={k: v for k, v in reply.headers.items() if k.lower() != "set-cookie"},
            body=reply.body,
            day_left=remaining(reply.headers, "X-DayLimit-Remaining"),
            minute_left=remaining(reply.headers, "X-MinLimit-Remaining"),
        )

    def read(self, access: Access, path: str) -> Sequence[Mapping[str, Any]]:
        """All of a small collection: Organisation, Accounts, TaxRates."""
        path = path.lstrip("/")
        rows, _ = self._rows(access, path, path.partition("?")[0].partition("/")[0])
        return rows

    def find(
        self, access: Access, resource: Resource, keys: Sequence[str]
    ) -> Sequence[Mapping[str, Any]]:
        """The objects that have these natural keys, in as few calls as the URL allows.

        Xero compares without regard to case; here a key must be equal exactly.
        """
        wanted = {key: None for key in keys if key}
        key_field = CATALOGUE[resource].key_field
        found: list[Mapping[str, Any]] = []
        lists, alone = self._lookups(resource, key_field, list(wanted))
        for query in lists:
            found += self._list(access, resource, query)
        for key in alone:
            path = f"{resource.value}/{quote(key, safe='')}?unitdp=4"
            found += self._rows(access, path, resource.value, gone_is_fine=True)[0]
        id_field = CATALOGUE[resource].id_field
        exact = {str(one.get(id_field)): one for one in found if one.get(key_field) in wanted}
        return list(exact.values())

    def changed_since(
        self, access: Access, resource: Resource, since: datetime
    ) -> Sequence[Mapping[str, Any]]:
        """The objects changed since a moment (UTC, whole seconds); invoices: made by this app."""
        moment = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
        query = {Resource.INVOICES: "createdByMyApp=true&", Resource.CONTACTS: _ARCHIVED}
        headers = {"If-Modified-Since": moment}
        return self._list(access, resource, query.get(resource, ""), headers)

    def _lookups(
        self, resource: Resource, key_field: str, keys: list[str]
    ) -> tuple[list[str], list[str]]:
        """Queries that find the keys, and the keys that can only be asked for by address.

        A `where` has no way to escape a quote (XeroAPI/Xero-Java issue 347), and a list of
        invoice numbers none for a comma.
        """
        alone = [key for key in keys if '"' in key or "\\" in key]
        keys = [key for key in keys if key not in alone]
        room = _MOST_ADDRESS - len(self._accounting) - _SWITCHES
        queries: list[str] = []
        if resource is Resource.INVOICES:
            plain = [quote(key, safe="") for key in keys if "," not in key]
            queries += [f"InvoiceNumbers={one}&" for one in _joined(plain, ",", room)]
            keys = [key for key in keys if "," in key]
        extra = _ARCHIVED if resource is Resource.CONTACTS else ""
        tests = [quote(f'{key_field}=="{key}"', safe="") for key in keys]
        either = quote(" OR ", safe="")
        queries += [f"where={one}&{extra}" for one in _joined(tests, either, room)]
        return queries, alone

    def _list(
        self,
        access: Access,
        resource: Resource,
        query: str,
        headers: Mapping[str, str] | None = None,
    ) -> list[Mapping[str, Any]]:
        """All pages of a list. Only paged lists of invoices carry line items."""
        path = f"{resource.value}?{query}unitdp=4"
        if resource not in _PAGED:
            return self._rows(access, path, resource.value, headers=headers)[0]
        id_field = CATALOGUE[resource].id_field
        found: dict[str, Mapping[str, Any]] = {}
        page = 1
        while True:
            paged = f"{path}&page={page}&pageSize={_PAGE_SIZE}"
            rows, pages = self._rows(access, paged, resource.value, headers=headers)
            before = len(found)
            found |= {str(row.get(id_field)): row for row in rows}
            # Without a count of pages, a page that brings nothing new is the last.
            if page >= pages if pages is not None else len(found) == before:
                return list(found.values())
            page += 1

    def _rows(
        self,
        access: Access,
        path: str,
        plural: str,
        *,
        headers: Mapping[str, str] | None = None,
        gone_is_fine: bool = False,
    ) -> tuple[list[Mapping[str, Any]], int | None]:
        """One list of an envelope and the number of its pages, None where Xero didn't say."""
        scope = next(
            (info.scope for info in CATALOGUE.values() if info.resource.value == plural),
            _SETTINGS_SCOPE,
        )
        url = f"{self._accounting}{path}"
        reply = self._get(access, url, scope=scope, headers=headers, gone_is_fine=gone_is_fine)
        if reply.status == 404:
            return [], None
        envelope = reply.told()
        rows = _list_of(envelope, plural)
        if rows is None:
            raise self._unreadable()
        pagination = envelope.get("pagination")
        pages = pagination.get("pageCount") if isinstance(pagination, dict) else None
        return rows, pages if isinstance(pages, int) else None

    # one call

    def _get(
        self,
        access: Access,
        url: str,
        *,
        scope: str | None,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        gone_is_fine: bool = False,
    ) -> Reply:
        """A call that may be repeated freely; the answer is good, or 404 where that is fine."""
        reply = self._send(access, method, url, headers or {})
        if 200 <= reply.status < 300 or (gone_is_fine and reply.status == 404):
            return reply
        raise self._refusal(reply, scope=scope, writing=False)

    def _send(
        self,
        access: Access,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
    ) -> Reply:
        """Sends one request within 60 s in all and gives whatever answer came whole.

        A read whose connection was dropped goes once more, on a fresh one: a server may close
        an idle connection at any moment.
        """
        if not access.access_token:
            raise no_access(401, {}, scope=None)
        writing = body is not None
        session = self._sessions.get(access.tenant_id, access.access_token)
        headers = {"Accept": "application/json", **headers}
        if access.tenant_id:
            headers["xero-tenant-id"] = access.tenant_id
            self._pacer.wait(access.tenant_id, writing=writing)
        seconds = CALL_SECONDS * self._factor
        failure: XTigerError | None = None
        with spending(seconds) as budget:
            for again in (False, True):
                try:
                    with session.request(
                        method,
                        url,
                        data=body,
                        headers=headers,
                        timeout=(CONNECT_SECONDS * self._factor, seconds),
                        allow_redirects=False,
                        stream=True,
                    ) as response:
                        reply = received(response)
                    break
                except CALL_FAILURES as error:
                    failure = broken(error, budget, self._host, writing=writing)
                    dropped = isinstance(error, Disconnected) and budget.sent and not budget.late
                    if writing or again or not dropped:
                        break
                    failure = None
        if failure is not None:
            raise failure
        self._pacer.note(access.tenant_id, reply.headers, limited=reply.status == 429)
        return reply

    # what an answer means

    def _refusal(self, reply: Reply, *, scope: str | None, writing: bool) -> XTigerError:
        """The table of statuses. A 400 to a write has a table of its own, `_all_refused`.

        | status | write | read |
        | --- | --- | --- |
        | 3xx, 404, 405, 412, 413, 501, other 4xx | PermanentError | PermanentError |
        | 400 | (`_all_refused`) | PermanentError |
        | 401, 403 | AuthorisationError (`no_access`) | the same |
        | 408, 5xx but 501 | UnknownOutcome: Xero may have stored it | TransientError |
        | 429 | TransientError that doesn't count (`limited`) | the same |
        """
        status = reply.status
        if status in (401, 403):
            return no_access(status, reply.told(), scope=scope)
        if status == 429:
            return limited(reply.headers, self._clock.now(), self._factor)
        if 300 <= status < 400:
            return PermanentError(moved(self._host))
        if status == 408 or (status >= 500 and status != 501):
            what = f"Xero ({self._host}) has trouble of its own and gave no proper answer."
            if writing:
                return UnknownOutcome(f"{what} {ASKS_FIRST}")
            return TransientError(f"{what} {TRIES_AGAIN}")
        return _refused_whole(reply, writing=writing)

    def _unreadable(self) -> TransientError:
        return TransientError(f"Xero's answer ({self._host}) can't be read. {TRIES_AGAIN}")

    def _elements(self, reply: Reply, call: Call) -> tuple[Element, ...]:
        """The elements of a 2xx; fewer or more than were sent can't be told apart."""
        rows = _list_of(reply.told(), call.resource.value)
        if rows is None:
            raise UnknownOutcome(f"Xero's answer ({self._host}) can't be read. {ASKS_FIRST}")
        if len(rows) != call.count:
            raise UnknownOutcome(
                f"Xero answered about {len(rows)} of {call.count} records. {ASKS_FIRST}"
            )
        return tuple(read_element(call.resource, row) for row in rows)

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
        rows = _list_of(told, "Elements")
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


def _joined(parts: Iterable[str], glue: str, room: int) -> Iterator[str]:
    """The parts glued into as few texts as fit; one that is too long goes alone."""
    text = ""
    for part in parts:
        if text and len(text) + len(glue) + len(part) > room:
            yield text
            text = ""
        text = f"{text}{glue}{part}" if text else part
    if text:
        yield text


def _list_of(envelope: Mapping[str, Any], plural: str) -> list[Mapping[str, Any]] | None:
    """The list under a plural in any case (Organisation comes under Organisations)."""
    names = (plural.lower(), f"{plural.lower()}s")
    for name, value in envelope.items():
        if name.lower() in names and isinstance(value, list):
            return value if all(isinstance(row, dict) for row in value) else None
    return None


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


def read_element(resource: Resource, row: Mapping[str, Any]) -> Element:
    """What Xero says about one element.

    1. Its own error flags, messages or all-zero id say that it was refused.
    2. Else a real id says that it is stored, unless a part of it carries a message: then the
       answer contradicts itself.
    3. Else it says nothing.
    """
    found = str(row.get(CATALOGUE[resource].id_field) or "")
    try:
        number = UUID(found).int
    except ValueError:
        number = None
    faults = _faults(row)
    refused = (
        str(row.get("StatusAttributeString")).upper() == "ERROR"
        or row.get("HasErrors") is True
        or row.get("HasValidationErrors") is True
        or bool(row.get("ValidationErrors"))
        or number == 0
    )
    stored = False if refused else True if number and not faults else None
    return Element(stored=stored, xero_id=found if number else None, data=row, faults=faults)


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
