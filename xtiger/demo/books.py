"""What the local Xero holds, asked over its own API, and compared with the CRM cent by cent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests

from xtiger.demo.browser import Browser
from xtiger.domain import exactjson

PAGE = 1000
#: Two tracking categories with their options, as many as Xero lets lines be under.
TRACKING: Mapping[str, tuple[str, ...]] = {
    "Region": ("Eastside", "North", "South", "West Coast"),
    "Market": ("New Zealand", "Overseas"),
}


@dataclass(frozen=True, slots=True)
class Books:
    """Everything Xero holds, from all organisations together."""

    contacts: list[dict[str, Any]]
    items: list[dict[str, Any]]
    invoices: list[dict[str, Any]]

    def duplicates(self) -> int:
        """Objects beyond the first with the same mark, code or number in one organisation."""
        keys = [
            *((one["_tenant"], "contact", one.get("ContactNumber")) for one in self.contacts),
            *((one["_tenant"], "item", one["Code"]) for one in self.items),
            *((one["_tenant"], "invoice", one.get("Url")) for one in self.invoices),
        ]
        return sum(count - 1 for key, count in Counter(keys).items() if key[2] and count > 1)


def read_books(xero: Mapping[str, Any], *, archived: bool = False) -> Books:
    """Reads all organisations with a consent of its own, as any other app would.

    `archived`: contacts that were archived come too.
    """
    api, token = xero["api_url"], consent_token(xero)
    found: dict[str, list[dict[str, Any]]] = {"Contacts": [], "Items": [], "Invoices": []}
    for organisation in xero["organisations"]:
        tenant = organisation["tenant_id"]
        for resource, kept in found.items():
            page = 1
            while True:
                answer = requests.get(
                    f"{api}/api.xro/2.0/{resource}",
                    params={
                        "page": page,
                        "pageSize": PAGE,
                        "unitdp": 4,
                        "includeArchived": "true" if archived else "false",
                    },
                    headers=_headers(token, tenant),
                    timeout=60,
                )
                answer.raise_for_status()
                rows = exactjson.loads(answer.content)[resource]
                kept.extend({**row, "_tenant": tenant} for row in rows)
                if len(rows) < PAGE or resource == "Items":
                    break
                page += 1
    return Books(found["Contacts"], found["Items"], found["Invoices"])


def add_tracking(xero: Mapping[str, Any]) -> None:
    """Gives organisations without tracking categories of their own those of `TRACKING`.

    Over Xero's own API with a consent of its own: they are there as if somebody had made them in
    Xero, and XTiger finds them as it finds anybody's.
    """
    url, token = f"{xero['api_url']}/api.xro/2.0/TrackingCategories", consent_token(xero)
    for organisation in xero["organisations"]:
        headers = _headers(token, organisation["tenant_id"])
        answer = requests.get(url, params={"includeArchived": "true"}, headers=headers, timeout=60)
        answer.raise_for_status()
        there = {one["Name"] for one in answer.json()["TrackingCategories"]}
        if there - TRACKING.keys():
            continue
        for name, options in TRACKING.items():
            if name in there:
                continue  # the demo was ended half-way
            body = {"Name": name, "Options": [{"Name": one} for one in options]}
            requests.put(url, json=body, headers=headers, timeout=60).raise_for_status()


def _headers(token: str, tenant: str) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {token}",
        "xero-tenant-id": tenant,
        "Accept": "application/json",
    }


def consent_token(xero: Mapping[str, Any]) -> str:
    """A token of the code flow for every organisation; client credentials give only the first."""
    back = "http://localhost:1/check"
    browser = Browser()
    query = requests.models.PreparedRequest()
    query.prepare_url(
        f"{xero['identity_url']}/identity/connect/authorize",
        {
            "response_type": "code",
            "client_id": xero["client_id"],
            "redirect_uri": back,
            "scope": "accounting.contacts accounting.settings accounting.invoices",
            "state": "check",
        },
    )
    browser.open(str(query.url))
    browser.press("Allow access", follow=False)
    code = parse_qs(urlsplit(browser.url).query)["code"][0]
    answer = requests.post(
        f"{xero['identity_url']}/connect/token",
        data={"grant_type": "authorization_code", "code": code, "redirect_uri": back},
        auth=(xero["client_id"], xero["client_secret"]),
        timeout=30,
    )
    answer.raise_for_status()
    return str(answer.json()["access_token"])


def cents_apart(wanted: Mapping[str, Decimal], books: Books) -> int:
    """How many cents Xero's totals differ from the CRM's, summed without sign, by our link."""
    found = {str(one.get("Url")): Decimal(one["Total"]) for one in books.invoices}
    return sum(int(abs(total - found[url]) * 100) for url, total in wanted.items() if url in found)


@dataclass(frozen=True, slots=True)
class Sent:
    """One element of a write as the local Xero saw it, in order."""

    sequence: int
    method: str
    resource: str
    tenant: str
    key: str
    id: str | None
    ok: bool
    contact_id: str | None
    replayed: bool
    #: The Idempotency-Key of its call.
    call: str


def sent(rows: Iterable[Mapping[str, Any]], opened: Mapping[str, int]) -> list[Sent]:
    """The elements of all writes, in the order in which their calls were opened.

    `opened` has the journal's number of each Idempotency-Key. Two calls that are under way
    together may overtake each other on the wire: they keep the places they share.
    """
    elements = _elements(rows)
    first: dict[str, list[Sent]] = {}
    for one in elements:
        if one.call in opened and not one.replayed:
            first.setdefault(one.call, []).append(one)
    in_turn = iter([one for call in sorted(first, key=opened.__getitem__) for one in first[call]])
    known = {id(one) for some in first.values() for one in some}
    return [next(in_turn) if id(one) in known else one for one in elements]


def _elements(rows: Iterable[Mapping[str, Any]]) -> list[Sent]:
    return [
        Sent(
            sequence=row["sequence"],
            method=row["method"],
            resource=row["resource"],
            tenant=row["tenant"],
            key=str(element.get("number") or element.get("code") or element.get("name") or ""),
            id=element.get("id"),
            ok=bool(element.get("ok")),
            contact_id=element.get("contact_id"),
            replayed=bool(row["replayed"]),
            call=str(row.get("idempotency_key") or ""),
        )
        for row in rows
        if row["method"] in {"PUT", "POST"}
        for element in row["elements"]
    ]
