"""What lies below most objects: attached files, and the notes of their history."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from urllib.parse import quote
from uuid import uuid4

from flask import request

from xtiger.sandbox.accounting import validation
from xtiger.sandbox.accounting.answers import (
    elements_of,
    enveloped,
    not_allowed,
    not_found,
    refused_parts,
    trace,
)
from xtiger.sandbox.accounting.books import Books, Outcome, Part, PartCall
from xtiger.sandbox.kept.cabinet import SYSTEM, File, Note, Place
from xtiger.sandbox.kept.state import Stored
from xtiger.sandbox.wire import (
    Json,
    Reply,
    flag,
    identifier,
    iso_instant,
    net_instant,
    text,
)

#: Xero: attachments page
_MOST = 10
_LARGEST = 25 * 1024 * 1024
#: what a file's name is measured by (own choice; Xero says nothing)
_LONGEST_NAME = 255
_LONGEST_NOTE = 450
#: content types that say nothing about a file
_UNSAID = ("", "application/octet-stream", "application/x-www-form-urlencoded")

# Xero OpenAPI: the paths below each endpoint
_WITH_FILES = {
    "Accounts",
    "BankTransactions",
    "BankTransfers",
    "Contacts",
    "CreditNotes",
    "Invoices",
    "ManualJournals",
    "PurchaseOrders",
    "Quotes",
    "Receipts",
    "RepeatingInvoices",
}
_ONLINE = {"Invoices", "CreditNotes"}
#: history is shown and can be added to
_WITH_NOTES = {
    "BankTransactions",
    "BankTransfers",
    "BatchPayments",
    "Contacts",
    "CreditNotes",
    "Invoices",
    "Items",
    "ManualJournals",
    "PurchaseOrders",
    "Quotes",
    "RepeatingInvoices",
}
#: "API is not able to create HistoryRecord for ..." (Xero OpenAPI)
_READ_ONLY_NOTES = {"ExpenseClaims", "Overpayments", "Payments", "Prepayments", "Receipts"}


def below(plural: str, kind: str) -> Mapping[str, Part]:
    """The parts that objects of one endpoint have, by their lower-case word."""
    parts: dict[str, Part] = {}
    if plural in _WITH_FILES:
        parts["attachments"] = Attachments(plural, kind, online=plural in _ONLINE)
    if plural in _WITH_NOTES | _READ_ONLY_NOTES:
        parts["history"] = History(kind, writable=plural in _WITH_NOTES)
    return parts


class Attachments:
    """`/{Resource}/{id}/Attachments` and below (Xero OpenAPI Attachment)."""

    plural = "Attachments"
    scopes: tuple[str, ...] | None = ("accounting.attachments",)

    def __init__(self, owners: str, kind: str, *, online: bool) -> None:
        self._owners = owners
        self._kind = kind
        self._online = online  #: whether a file can go out with the online invoice

    def call(self, books: Books, owner: Stored, call: PartCall) -> Reply:
        """GET the list, or one file's bytes by its name or id; PUT and POST keep a file."""
        place = Place(books.tenant, self._kind, owner.id)
        if call.detail:
            return not_found()
        if call.method in ("PUT", "POST"):
            return self._keep(books, place, call) if call.key else not_allowed()
        if call.method not in ("GET", "HEAD"):
            return not_allowed()
        if call.key is None:
            return enveloped(books.state.now(), self.plural, self.shown(books, owner.id))
        wanted = identifier(call.key) or call.key.casefold()
        for file in books.state.cabinet.files(place):
            if wanted in (file.id, file.name.casefold()):
                return Reply(200, books.state.cabinet.data(place, file.id), file.type)
        return not_found()

    def shown(self, books: Books, owner: str) -> list[Json]:
        """All files of one object as its own answer shows them too."""
        place = Place(books.tenant, self._kind, owner)
        return [
            self._shown(place, one) | ({"IncludeOnline": one.online} if self._online else {})
            for one in books.state.cabinet.files(place)
        ]

    def _shown(self, place: Place, file: File) -> Json:
        """The fields measured on live Xero; the Url leads here instead of to Xero."""
        path = f"api.xro/2.0/{self._owners}/{place.owner}/Attachments/{quote(file.name, safe='')}"
        return {
            "AttachmentID": file.id,
            "FileName": file.name,
            "Url": request.host_url + path,
            "MimeType": file.type,
            "ContentLength": file.size,
        }

    def _keep(self, books: Books, place: Place, call: PartCall) -> Reply:
        """A file of the same name is replaced and keeps its id (PUT and POST alike)."""
        name = call.key or ""
        cabinet = books.state.cabinet
        files = cabinet.files(place)
        known = next((one for one in files if one.name.casefold() == name.casefold()), None)
        online = flag(call.arguments.get("includeonline"))
        file = File(
            id=known.id if known else str(uuid4()),
            name=name,
            type=_type(call.content_type, name),
            online=self._online
            and (online if online is not None else bool(known and known.online)),
            size=len(call.body),
        )
        errors = []
        if known is None and len(files) >= _MOST:
            errors.append(validation.ATTACHMENTS_MANY)
        if not call.body:
            errors.append(validation.ATTACHMENT_EMPTY)
        if len(call.body) > _LARGEST:
            errors.append(validation.ATTACHMENT_LARGE)
        if "\\" in name or not name.isprintable():
            errors.append(validation.ATTACHMENT_NAME)
        errors += validation.lengths({"FileName": name}, {"FileName": _LONGEST_NAME})
        if errors:
            return refused_parts([{"FileName": name}], [errors])
        cabinet.attach(place, file, call.body)
        now = books.state.now()
        words = f"Attached the file {name} through the Xero API using Local Xero"
        cabinet.note(place, Note(int(now * 1000), "Attached a file", SYSTEM, words))
        shown = self._shown(place, file)
        reply = enveloped(now, self.plural, [shown])
        reply.elements = [trace(0, Outcome(file.id, shown, [], known is None, {"name": name}))]
        return reply


def _type(sent: str, name: str) -> str:
    """The mime type sent; where it says nothing, what the name's ending tells (own choice)."""
    kind = sent.partition(";")[0].strip().lower()
    if kind in _UNSAID:
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return kind


class History:
    """`/{Resource}/{id}/History` (Xero OpenAPI HistoryRecord)."""

    plural = "HistoryRecords"
    scopes: tuple[str, ...] | None = None

    def __init__(self, kind: str, *, writable: bool) -> None:
        self._kind = kind
        self._writable = writable

    def call(self, books: Books, owner: Stored, call: PartCall) -> Reply:
        place = Place(books.tenant, self._kind, owner.id)
        if call.key is not None:
            return not_found()
        if call.method in ("GET", "HEAD"):
            found = [
                {
                    "Changes": one.changes,
                    "DateUTCString": _second(one.time),
                    "DateUTC": net_instant(one.time),
                    "User": one.author,
                    "Details": one.details,
                }
                for one in books.state.cabinet.notes(place)
            ]
            return enveloped(books.state.now(), self.plural, found)
        if call.method != "PUT":
            return not_allowed()
        return self._added(books, place, call)

    def unknown(self, books: Books, call: PartCall) -> Reply:
        """A note for an object that isn't there is refused in words, not by 404 (Xero OpenAPI)."""
        return self._added(books, None, call)

    def _added(self, books: Books, place: Place | None, call: PartCall) -> Reply:
        """All notes or none; where the API can't add any Xero claims not to know the object."""
        now = int(books.state.now() * 1000)
        elements = elements_of(call.body, self.plural)
        words = [(text(one.get("Details"), "Details") or "").strip() for one in elements]
        shown: list[Json] = [
            {
                "DateUTCString": _second(now),
                "DateUTC": net_instant(now, offset=False),
                "Details": one,
            }
            for one in words
        ]
        if place is None or not self._writable:
            return refused_parts(shown, [[validation.HISTORY_UNKNOWN]] * len(shown))
        errors = [
            ([] if one else [validation.HISTORY_EMPTY])
            + validation.lengths({"Details": one}, {"Details": _LONGEST_NOTE})
            for one in words
        ]
        if any(errors):
            return refused_parts(shown, errors)
        for one in words:
            books.state.cabinet.note(place, Note(now, "Note", SYSTEM, one))
        reply = enveloped(
            books.state.now(), self.plural, [one | {"ValidationErrors": []} for one in shown]
        )
        reply.elements = [
            trace(index, Outcome(place.owner, {}, [], True)) for index in range(len(words))
        ]
        return reply


def _second(time: int) -> str:
    """`2019-02-23T05:23:20`, as beside DateUTC."""
    return iso_instant(time).rstrip("Z")
