"""Xero's Accounting API behind XeroPort: one call at a time, and everything read with several."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

from requests import ConnectionError as Disconnected
from requests_oauthlib import OAuth2Session

from xtiger.domain.errors import PermanentError
from xtiger.domain.resources import CATALOGUE, Resource, Verb
from xtiger.ports import Access, Answer, Call, Clock, Minute, Tenant, Usage
from xtiger.telemetry import count_call
from xtiger.xero import endpoints
from xtiger.xero.answers import Reading
from xtiger.xero.changes import Row, changed, is_last
from xtiger.xero.limits import Pacer, Tally, Turn, remaining
from xtiger.xero.oauth import BearerSessions, Consents, checked_url, no_access
from xtiger.xero.transport import (
    CALL_FAILURES,
    CALL_SECONDS,
    CONNECT_SECONDS,
    Budget,
    Reply,
    broken,
    received,
    spending,
)

LOGIN_URL = "https://login.xero.com"
IDENTITY_URL = "https://identity.xero.com"
API_URL = "https://api.xero.com"


@dataclass(frozen=True, slots=True)
class _Request:
    """One request as it goes out; `session` bears the token."""

    session: OAuth2Session
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = field(repr=False)
    writing: bool


class XeroClient(Consents):
    """Implements XeroPort over HTTP; safe to use from several threads.

    Consent and tokens come from Consents. `time_factor` scales every time-out and waiting time;
    the clock serves dates and pauses. `secret_in_body`: the app's secret goes in the body of
    token calls instead of the Authorization header.
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
        secret_in_body: bool = False,
    ) -> None:
        self._api_url = checked_url("Xero's API address", api_url)
        self._accounting = f"{self._api_url}/api.xro/2.0/"
        self._host = urlsplit(self._api_url).hostname or ""
        self._reading = Reading(self._host, time_factor)
        self._pacer = Pacer(clock, time_factor)
        self._tally = Tally()
        self._sessions = BearerSessions()
        super().__init__(
            login_url=checked_url("Xero's login address", login_url),
            identity_url=checked_url("Xero's identity address", identity_url),
            clock=clock,
            time_factor=time_factor,
            secret_in_body=secret_in_body,
        )

    def close(self) -> None:
        """Closes the kept connections; a later call opens new ones."""
        self._sessions.close()

    def usage(self) -> Sequence[Usage]:
        """What calls took since the last time this was asked, one for each organisation."""
        return self._tally.take()

    # organisations

    def tenants(self, access_token: str) -> Sequence[Tenant]:
        """The organisations of the consent; practices and the like are left out."""
        access = Access(access_token=access_token, tenant_id="")
        listed = self._get(access, f"{self._api_url}/connections").json()
        if not isinstance(listed, list):
            raise self._reading.unreadable()
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
        url = f"{self._api_url}/connections/{endpoints.quoted(connection_id)}"
        self._get(access, url, method="DELETE", gone_is_fine=True)

    # writing

    def save_many(self, access: Access, call: Call) -> Answer:
        """Sends one batch, or one object, part or file. `UnknownOutcome` if it may be stored.

        While the minute's calls are used up nothing is sent: TransientError says until when.
        """
        url = f"{self._accounting}{endpoints.of_call(call)}"
        deleting = call.verb is Verb.DELETE
        headers = {} if deleting else {"Content-Type": call.content_type}
        if not deleting:
            headers["Idempotency-Key"] = call.idempotency_key
        body = None if deleting else call.body
        reply, minute = self._send(access, call.verb.value, url, headers, body, writing=True)
        elements = self._reading.written(reply, call)
        if elements is None:
            scopes = endpoints.scopes_of(call)
            raise self._reading.refusal(reply, self._clock.now(), scopes=scopes, writing=True)
        return Answer(
            elements=elements,
            status=reply.status,
            headers={k: v for k, v in reply.headers.items() if k.lower() != "set-cookie"},
            body=reply.body,
            day_left=remaining(reply.headers, "X-DayLimit-Remaining"),
            minute=minute,
        )

    # reading

    def read(self, access: Access, path: str) -> Sequence[Mapping[str, Any]]:
        """All of a small collection: Organisation, Accounts, TaxRates, an object's history.

        The list is looked for under the name the path ends with, then under its first.
        """
        path = path.lstrip("/")
        names = path.partition("?")[0].split("/")
        last = Resource.HISTORY.value if names[-1] == "History" else names[-1]
        return self._rows(access, path, last, names[0])[0]

    def find(
        self, access: Access, resource: Resource, keys: Sequence[str]
    ) -> Sequence[Mapping[str, Any]]:
        """The objects that have these natural keys, in as few calls as the URL allows.

        Xero compares without regard to case; here a key must be equal exactly. A tracking option
        comes with the id of its category.
        """
        info = CATALOGUE[resource]
        wanted = {key: None for key in keys if key}
        if not info.key_field or resource in endpoints.PARTS:
            raise PermanentError(f"Xero keeps no key by which {resource.value} could be found.")
        if not wanted:
            return []
        if resource is Resource.TRACKING_OPTIONS:
            return [row for row in self._options(access) if row.get("Name") in wanted]
        found: list[Mapping[str, Any]] = []
        queries, alone = endpoints.lookups(resource, list(wanted), self._room())
        for query in queries:
            found += self._list(access, resource, query)
        for key in alone:
            found += self._object(access, resource, key)
        exact = {
            str(one.get(info.id_field)): one for one in found if one.get(info.key_field) in wanted
        }
        return list(exact.values())

    def get_many(
        self, access: Access, resource: Resource, xero_ids: Sequence[str]
    ) -> Sequence[Mapping[str, Any]]:
        """The objects of these ids, in as few calls as the URL allows; unknown ones are absent.

        Invoices and contacts come by a list of ids, short collections whole, others one a call.
        """
        if resource in endpoints.PARTS:
            raise PermanentError(f"{resource.value} can only be read below what they belong to.")
        # Xero takes an id in any case and answers in lower case.
        wanted = {one.lower(): one for one in xero_ids if one}
        found: Iterable[Mapping[str, Any]] = ()
        if resource in endpoints.LISTS_IDS:
            ids = [quote(one, safe="") for one in wanted]
            found = [
                row
                for some in endpoints.joined(ids, ",", self._room())
                for row in self._list(access, resource, f"IDs={some}")
            ]
        elif resource is Resource.TRACKING_OPTIONS:
            found = self._options(access) if wanted else ()
        elif wanted and (
            resource in endpoints.NO_ADDRESS or (resource in endpoints.SHORT and len(wanted) > 1)
        ):
            found = self._list(access, resource)
        else:
            found = [row for one in wanted.values() for row in self._object(access, resource, one)]
        id_field = CATALOGUE[resource].id_field
        by_id = {str(row.get(id_field)).lower(): row for row in found}
        return [by_id[one] for one in wanted if one in by_id]

    def changes(
        self,
        access: Access,
        resource: Resource,
        *,
        since: datetime | None = None,
        mine: bool = False,
    ) -> Iterator[Mapping[str, Any]]:
        """The objects changed since a moment (UTC, whole seconds), all without one; streamed.

        How none is missed: `changes.changed`. Short collections that Xero doesn't date come
        whole, and so do all their tracking options.
        """
        if resource in endpoints.PARTS:
            raise PermanentError(f"{resource.value} can only be read below what they belong to.")
        if resource is Resource.TRACKING_OPTIONS:
            return iter(self._options(access))
        if resource not in endpoints.DATED:
            return iter(self._list(access, resource))
        switches = ["createdByMyApp=true"] if mine and resource is Resource.INVOICES else []
        if CATALOGUE[resource].paged:
            switches.append("order=UpdatedDateUTC%20ASC")

        def fetch(moment: int | None, page: int) -> tuple[Sequence[Row], int | None]:
            headers = {}
            if moment is not None:
                asked = datetime.fromtimestamp(moment, UTC)
                headers["If-Modified-Since"] = asked.strftime("%Y-%m-%dT%H:%M:%S")
            path = endpoints.page_path(resource, page, *switches)
            rows, pages = self._rows(access, path, resource.value, headers=headers)
            return rows, pages if CATALOGUE[resource].paged else 1

        begin = None if since is None else int(since.astimezone(UTC).timestamp())
        return changed(fetch, CATALOGUE[resource].id_field, begin)

    def _room(self) -> int:
        """Characters of an address that a query may take."""
        return endpoints.MOST_ADDRESS - len(self._accounting) - endpoints.SWITCHES

    def _options(self, access: Access) -> list[Mapping[str, Any]]:
        """The options of all tracking categories, each with its category's id."""
        id_field = CATALOGUE[Resource.TRACKING_CATEGORIES].id_field
        return [
            {**option, id_field: category.get(id_field)}
            for category in self._list(access, Resource.TRACKING_CATEGORIES)
            for option in endpoints.list_of(category, Resource.TRACKING_OPTIONS.value) or ()
        ]

    def _object(self, access: Access, resource: Resource, key: str) -> list[Mapping[str, Any]]:
        """One object by its address, or nothing."""
        path = endpoints.object_path(resource, key)
        return self._rows(access, path, resource.value, gone_is_fine=True)[0]

    def _list(self, access: Access, resource: Resource, query: str = "") -> list[Row]:
        """All pages of a list that holds still: one found by keys or ids, or a short one."""
        found: list[Row] = []
        before: list[Row] | None = None
        page, paged = 0, CATALOGUE[resource].paged
        while True:
            page += 1
            path = endpoints.page_path(resource, page, query)
            rows, pages = self._rows(access, path, resource.value)
            if rows == before:  # from a list that ignores page numbers
                return found
            found += rows
            if not paged or is_last(rows, page, pages):
                return found
            before = rows

    def _rows(
        self,
        access: Access,
        path: str,
        *plurals: str,
        headers: Mapping[str, str] | None = None,
        gone_is_fine: bool = False,
    ) -> tuple[list[Mapping[str, Any]], int | None]:
        """One list of an envelope and the number of its pages, None where Xero didn't say."""
        url = f"{self._accounting}{path}"
        scopes = endpoints.scopes_to_read(path)
        reply = self._get(access, url, scopes=scopes, headers=headers, gone_is_fine=gone_is_fine)
        if reply.status == 404:
            return [], None
        envelope = reply.told()
        lists = (endpoints.list_of(envelope, plural) for plural in plurals)
        rows = next((found for found in lists if found is not None), None)
        if rows is None:
            raise self._reading.unreadable()
        pagination = envelope.get("pagination")
        pages = pagination.get("pageCount") if isinstance(pagination, dict) else None
        return rows, pages if isinstance(pages, int) else None

    # one call

    def _get(
        self,
        access: Access,
        url: str,
        *,
        scopes: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        gone_is_fine: bool = False,
    ) -> Reply:
        """A call that may be repeated freely; the answer is good, or 404 where that is fine."""
        reply, _ = self._send(access, method, url, headers or {})
        if 200 <= reply.status < 300 or (gone_is_fine and reply.status == 404):
            return reply
        raise self._reading.refusal(reply, self._clock.now(), scopes=scopes, writing=False)

    def _send(
        self,
        access: Access,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        writing: bool = False,
    ) -> tuple[Reply, Minute | None]:
        """Sends one request when its turn has come; the answer, and the minute as it then is."""
        if not access.access_token:
            raise no_access(401, {})
        session = self._sessions.get(access.tenant_id, access.access_token)
        headers = {"Accept": "application/json", **headers}
        if not access.tenant_id:
            with spending(CALL_SECONDS * self._factor) as budget:
                request = _Request(session, method, url, headers, body, writing)
                return self._answer(request, budget, Turn()), None
        headers["xero-tenant-id"] = access.tenant_id
        request = _Request(session, method, url, headers, body, writing)
        with (
            self._pacer.turn(access, writing=writing) as turn,
            spending(CALL_SECONDS * self._factor) as budget,
        ):
            access.entered()
            began, outcome = time.monotonic(), "lost"
            try:
                reply = self._answer(request, budget, turn)
                outcome = str(reply.status)
            finally:
                if turn.sent:
                    kind = "write" if writing else "read"
                    count_call(kind, outcome, time.monotonic() - began)
                self._tally.add(access.tenant_id, turn.sent, budget.bytes_out, budget.bytes_in)
            minute = self._pacer.note(turn, reply.status, reply.headers)
        day_left = remaining(reply.headers, "X-DayLimit-Remaining")
        self._tally.learn(access.tenant_id, day_left, minute)
        return reply, minute

    def _answer(self, request: _Request, budget: Budget, turn: Turn) -> Reply:
        """Whatever answer came whole, within 60 s in all.

        A read whose connection was dropped goes once more, on a fresh one: a server may close
        an idle connection at any moment.
        """
        for again in (False, True):
            before = budget.bytes_out
            try:
                return self._once(request)
            except CALL_FAILURES as error:
                failure = broken(error, budget, self._host, writing=request.writing)
                dropped = isinstance(error, Disconnected) and budget.sent and not budget.late
            finally:
                turn.sent += budget.bytes_out > before
            if request.writing or again or not dropped:
                break
        # Raised out here, the failure doesn't hang on to an error that holds the token.
        raise failure

    def _once(self, request: _Request) -> Reply:
        with request.session.request(
            request.method,
            request.url,
            data=request.body,
            headers=request.headers,
            timeout=(CONNECT_SECONDS * self._factor, CALL_SECONDS * self._factor),
            allow_redirects=False,
            stream=True,
        ) as response:
            return received(response)
