"""Plain mode: writes are kept and answered as they come, so that a measurement isn't of us."""

from __future__ import annotations

from typing import Any, cast
from uuid import uuid4

from xtiger.sandbox.accounting.books import Books, Outcome, Resource
from xtiger.sandbox.accounting.queries import Query
from xtiger.sandbox.kept.state import Keys, Stored
from xtiger.sandbox.wire import Json, identifier, net_instant

#: marks a body that was kept unread
_MARK = "Plain"


class Plain:
    """A resource without its rules: ids, an echo, and nothing checked or worked out.

    What was there before, such as accounts, is still shown by the resource itself.
    """

    def __init__(self, known: Resource) -> None:
        self._known = known

    def __getattr__(self, name: str) -> Any:
        return getattr(self._known, name)

    def show(self, books: Books, stored: Stored, *, detail: bool) -> Json:
        if not stored.body.get(_MARK):
            return self._known.show(books, stored, detail=detail)
        return self._echo(stored.id, stored.body, stored.updated)

    def show_alone(self, books: Books, stored: Stored) -> Json:
        if not stored.body.get(_MARK):
            return self._known.show_alone(books, stored)
        return self._echo(stored.id, stored.body, stored.updated)

    def members(self, books: Books, query: Query, *, detail: bool) -> list[Json]:
        rows = books.rows(self._known.kind, query)
        if not rows:
            return self._known.members(books, query, detail=detail)
        return [self.show(books, one, detail=detail) for one in rows]

    def write(
        self, books: Books, element: Json, *, create_only: bool, target: str | None
    ) -> Outcome:
        wanted = target or (None if create_only else identifier(element.get(self._known.id_field)))
        old = books.get(self._known.kind, wanted) if wanted else None
        body = (old.body if old else {}) | element | {_MARK: True}
        found = old.id if old else str(uuid4())
        contact = element.get("Contact")
        keys = Keys(
            name=str(next((body[one] for one in _NAMES if body.get(one)), "")),
            number=str(body.get("ContactNumber") or ""),
            type=str(body.get("Type") or ""),
            status=str(body.get("Status") or body.get("ContactStatus") or "ACTIVE"),
            contact=str(contact.get("ContactID") or "") if isinstance(contact, dict) else "",
            date=str(body.get("Date") or "")[:10],
            app=books.app,
        )
        updated = books.state.save(books.tenant, self._known.kind, found, body, keys)
        return Outcome(found, self._echo(found, body, updated), [], old is None)

    def _echo(self, found: str, body: Json, updated: int) -> Json:
        shown = {self._known.id_field: found} | body | {self._known.id_field: found}
        del shown[_MARK]
        return shown | {"UpdatedDateUTC": net_instant(updated)}


_NAMES = (
    "InvoiceNumber",
    "CreditNoteNumber",
    "PurchaseOrderNumber",
    "QuoteNumber",
    "Code",
    "Name",
)


def unread(known: Resource) -> Resource:
    """The resource in plain mode."""
    return cast(Resource, Plain(known))
