"""Contact groups: up to a hundred, each a list of contacts."""

from __future__ import annotations

from types import MappingProxyType
from uuid import uuid4

from xtiger.sandbox.accounting import validation
from xtiger.sandbox.accounting.answers import (
    elements_of,
    enveloped,
    not_allowed,
    not_found,
    refused_parts,
)
from xtiger.sandbox.accounting.books import READ, Books, Endpoint, Outcome, PartCall
from xtiger.sandbox.accounting.contacts import Contacts
from xtiger.sandbox.accounting.queries import Query
from xtiger.sandbox.kept.state import Keys, Stored
from xtiger.sandbox.wire import ZERO_ID, Json, Reply, identifier, text

_MOST = 100
_SCOPES = ("accounting.contacts",)
_CONTACTS = Contacts()


class ContactGroups(Endpoint):
    """PUT and POST /ContactGroups (Xero OpenAPI ContactGroup); a body holds `Members`, ids."""

    plural = "ContactGroups"
    kind = "contactgroup"
    id_field = "ContactGroupID"
    error_flag = "HasValidationErrors"
    scopes: tuple[str, ...] = _SCOPES
    methods = READ | {"PUT", "POST/id"}
    fields = {"ContactGroupID": "id", "Name": "name", "Status": "status"}

    def find(self, books: Books, key: str) -> Stored | None:
        """Deleted groups are gone: GET returns active ones only (Xero OpenAPI)."""
        wanted = identifier(key)
        found = books.get("contactgroup", wanted) if wanted else None
        return found if found and found.status == "ACTIVE" else None

    def members(self, books: Books, query: Query, *, detail: bool) -> list[Json]:
        query.narrow("status = 'ACTIVE'")
        return super().members(books, query, detail=detail)

    def show(self, books: Books, stored: Stored, *, detail: bool) -> Json:
        return group_shown(stored.id, stored.body)

    def show_alone(self, books: Books, stored: Stored) -> Json:
        """Only the single GET tells the members (Xero OpenAPI)."""
        members = [_CONTACTS.brief(books, one, detail=False) for one in stored.body["Members"]]
        return group_shown(stored.id, stored.body) | {"Contacts": [one for one in members if one]}

    def write(
        self, books: Books, element: Json, *, create_only: bool, target: str | None
    ) -> Outcome:
        stored = books.get("contactgroup", target) if target else None
        body: Json = dict(stored.body) if stored else {"Status": "ACTIVE", "Members": []}
        errors: list[str] = []
        if element.get("Name") is not None:
            body["Name"] = (text(element["Name"], "Name") or "").strip()
        status = (text(element.get("Status"), "Status") or body["Status"]).upper()
        if status not in ("ACTIVE", "DELETED") or (status == "DELETED" and stored is None):
            errors.append(validation.GROUP_STATUS)
        else:
            body["Status"] = status
        if not body.get("Name"):
            errors.append(validation.GROUP_NAMELESS)
        elif status == "ACTIVE":
            same = (one for one in books.named("contactgroup", body["Name"]))
            others = (one for one in same if stored is None or one.id != stored.id)
            if any(one.status == "ACTIVE" for one in others):
                errors.append(validation.GROUP_NAME_TAKEN)
        if stored is None and self._full(books):
            errors.append(validation.GROUP_LIMIT)
        group = stored.id if stored else ZERO_ID
        trace = {"name": body.get("Name", "")}
        if errors:
            return Outcome(group, group_shown(group, body), errors, False, trace)
        group = stored.id if stored else str(uuid4())
        _save(books, group, body)
        return Outcome(group, group_shown(group, body), [], stored is None, trace)

    def _full(self, books: Books) -> bool:
        return books.state.count(books.tenant, "contactgroup", "status = 'ACTIVE'") >= _MOST


class Members:
    """PUT and DELETE /ContactGroups/{id}/Contacts, DELETE of one of them."""

    plural = "Contacts"
    scopes: tuple[str, ...] | None = _SCOPES

    def call(self, books: Books, owner: Stored, call: PartCall) -> Reply:
        if call.method == "DELETE":
            return self._removed(books, owner, call.key)
        if call.method != "PUT" or call.key:
            return not_allowed()
        members: list[str] = list(owner.body["Members"])
        errors: list[list[str]] = []
        shown: list[Json] = []
        for one in elements_of(call.body, "Contacts"):
            wanted = identifier(one.get("ContactID")) or ""
            found = books.get("contact", wanted)
            wrong: list[str] = []
            if found is None:
                wrong = [validation.CONTACT_UNKNOWN]
            elif found.status != "ACTIVE":
                wrong = [validation.CONTACT_ARCHIVED]
            elif wanted not in members:
                members.append(wanted)
            errors.append(wrong)
            shown.append(_member(wanted or ZERO_ID))
        if any(errors):
            return refused_parts(shown, errors)
        _save(books, owner.id, owner.body | {"Members": members})
        return enveloped(books.state.now(), "Contacts", shown)

    def _removed(self, books: Books, owner: Stored, key: str | None) -> Reply:
        """204 with nothing in it (Xero OpenAPI); all of them where none is named."""
        members = owner.body["Members"]
        if key is not None and identifier(key) not in members:
            if books.get("contact", identifier(key) or "") is None:
                return not_found()
            stranger = _member(identifier(key) or ZERO_ID)
            return refused_parts([stranger], [[validation.GROUP_STRANGER]])
        left = [] if key is None else [one for one in members if one != identifier(key)]
        _save(books, owner.id, owner.body | {"Members": left})
        return Reply(204)


ContactGroups.parts = MappingProxyType({"contacts": Members()})


def _member(contact: str) -> Json:
    """As the description's example shows an added contact: its id and nothing else."""
    empty: Json = {name: [] for name in ("Addresses", "Phones", "ContactGroups", "ContactPersons")}
    return {"ContactID": contact} | empty | {"HasValidationErrors": False, "ValidationErrors": []}


def group_shown(group: str, body: Json) -> Json:
    return {
        "ContactGroupID": group,
        "Name": body.get("Name", ""),
        "Status": body["Status"],
        "Contacts": [],
        "HasValidationErrors": False,
    }


def _save(books: Books, group: str, body: Json) -> None:
    keys = Keys(name=body["Name"], status=body["Status"], app=books.app)
    books.state.save(books.tenant, "contactgroup", group, body, keys)
