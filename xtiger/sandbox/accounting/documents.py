"""What all documents share: a contact, lines, legal changes of status, lock dates and totals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from uuid import uuid4

from xtiger.sandbox.accounting import arithmetic, contacts, lines, stock, validation
from xtiger.sandbox.accounting.arithmetic import AmountTypes
from xtiger.sandbox.accounting.books import READ_WRITE, Books, Endpoint, Outcome
from xtiger.sandbox.accounting.contacts import Contacts, active_named, new_contact
from xtiger.sandbox.kept.state import Keys, Stored
from xtiger.sandbox.wire import ZERO_ID, Json, day, identifier, net_day, number, text

ZERO = Decimal("0.00")
CONTACTS = Contacts()
_ONE = Decimal("1.000000")
_contact = "(SELECT {} FROM objects c WHERE c.tenant = objects.tenant AND c.kind = 'contact'"
_contact += " AND c.id = objects.contact)"

#: fields of all documents that `where` and `order` may name
FIELDS = {
    "Type": "type",
    "Status": "status",
    "Date": "date",
    "UpdatedDateUTC": "updated",
    "Reference": "fold(json_extract(body, '$.Reference'))",
    "CurrencyCode": "json_extract(body, '$.CurrencyCode')",
    "Total": "json_extract(body, '$.Total')",
    "SubTotal": "json_extract(body, '$.SubTotal')",
    "TotalTax": "json_extract(body, '$.TotalTax')",
    "Contact.ContactID": "contact",
    "Contact.Name": _contact.format("name"),
    "Contact.ContactNumber": _contact.format("number"),
}


@dataclass(frozen=True, slots=True)
class View:
    """One document on its way out; without `detail` as a member of an unpaged list.

    `contact` is as the document shows it, `updated` None for one that was refused; then
    `messages` are those of each line.
    """

    books: Books
    id: str
    body: Json
    contact: Json
    updated: int | None
    detail: bool = True
    messages: list[list[str]] | None = None


class Documents(Endpoint):
    """PUT and POST of one kind of document. Each kind says what differs.

    A body is kept with dates as `YYYY-MM-DD`, `ContactID`, `LineItems`, `Status`,
    `LineAmountTypes`, `CurrencyCode`, `CurrencyRate`, `SubTotal`, `TotalTax` and `Total`.
    """

    methods = READ_WRITE
    scopes: tuple[str, ...] = ("accounting.invoices",)
    paged = True
    sized = True
    plural: str
    id_field: str
    fields: dict[str, str]
    #: the field that holds its number, empty where it has none
    number: str = ""
    #: what a number is made of where none is sent
    auto: str = ""
    #: the Types there are, empty where documents of this kind have no Type
    types: tuple[str, ...] = ()
    #: text fields that are kept, with their longest length (Xero OpenAPI)
    texts: Mapping[str, int] = MappingProxyType({})
    #: fields that hold a day
    days: tuple[str, ...] = ("Date", "DueDate")
    #: what a new one may begin as, the default first
    creatable: tuple[str, ...] = ("DRAFT", "SUBMITTED", "AUTHORISED")
    #: which status may become which
    changes: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    #: in these every line needs an account
    approved: tuple[str, ...] = ("AUTHORISED", "PAID")
    #: in these nothing is owed any more
    closed: tuple[str, ...] = ("DELETED", "VOIDED")
    #: whether a contact given by an unknown name is created silently
    creates_contacts = True
    #: whether unit amounts always keep 4 decimals
    always_four = False
    #: whether a lock date concerns it (orders and quotes don't move the books)
    locks = True
    #: Statuses in which lock dates leave a document alone. EzzyBills' and FYI's guides have it so:
    #: "Draft" and "Waiting Approval" go into a locked period, and can't be approved there.
    spared: frozenset[str] = frozenset({"DRAFT", "SUBMITTED", "DELETED"})
    # messages that differ between kinds
    unknown = "An existing document with that id could not be found"  # own words
    bad_create = validation.INVALID_CREATE_STATUS
    bad_change = validation.INVALID_DOCUMENT_STATUS
    bad_type = validation.TYPE_INVALID
    no_contact = validation.NO_CONTACT
    number_taken = validation.NUMBER_TAKEN

    # what a kind may answer differently

    def terms(self, body: Json) -> lines.Terms:
        """What the document lays down for its lines."""
        raise NotImplementedError

    def unique(self, body: Json) -> bool:
        """Whether the document's number is its own."""
        return bool(self.number)

    def taken(self, holder: Stored, stored: Stored | None, *, create_only: bool) -> list[str]:
        """What is said when another document, `holder`, has the number sent."""
        return [self.number_taken]

    def merge(self, books: Books, old: Json | None, element: Json, body: Json) -> list[str]:
        """Takes over the fields that only this kind has. Returns messages."""
        return []

    def check(self, books: Books, body: Json, stored: Stored | None, element: Json) -> list[str]:
        """Checks that only this kind has. Returns messages."""
        return []

    def stocks(self, body: Json) -> int:
        """1 where the lines bring tracked items in, -1 where they take them out, else 0."""
        return 0

    def moved(self, body: Json | None) -> dict[str, stock.Movement]:
        """What the document does to the stock of tracked items."""
        if body is None or not (sign := self.stocks(body)):
            return {}
        return stock.movements(body, sign, bought=not self.terms(body).sales)

    def kept(self, books: Books, identifier: str, body: Json, before: Json | None) -> None:
        """Called before the document is stored; what follows from it is done here."""

    def shown(self, view: View) -> Json:
        """As it goes out, in Xero's order of fields."""
        raise NotImplementedError

    # reading

    def find(self, books: Books, key: str) -> Stored | None:
        if wanted := identifier(key):
            return books.get(self.kind, wanted)
        if not self.number or not key:
            return None
        return next(iter(reversed(books.named(self.kind, key))), None)

    def show(self, books: Books, stored: Stored, *, detail: bool) -> Json:
        books = self._exact(books)
        contact = CONTACTS.brief(books, stored.body["ContactID"], detail=False)
        return self.shown(
            View(books, stored.id, stored.body, contact, stored.updated, detail=detail)
        )

    def show_alone(self, books: Books, stored: Stored) -> Json:
        """A single GET shows the contact in full."""
        books = self._exact(books)
        contact = CONTACTS.brief(books, stored.body["ContactID"], detail=True)
        return self.shown(View(books, stored.id, stored.body, contact, stored.updated))

    def lines_shown(self, view: View) -> list[Json]:
        if not view.detail:
            return []
        return lines.shown(view.body["LineItems"], view.messages, four=view.books.four)

    def days_shown(self, body: Json, *, strings: tuple[str, ...] = ("Date", "DueDate")) -> Json:
        """The document's days in both of their forms; `strings` have a readable twin."""
        shown: Json = {}
        for field in self.days:
            if body.get(field):
                if field in strings:
                    shown[f"{field}String"] = f"{body[field]}T00:00:00"
                shown[field] = net_day(body[field])
        return shown

    def _exact(self, books: Books) -> Books:
        return books.at_four() if self.always_four else books

    # writing

    def write(
        self, books: Books, element: Json, *, create_only: bool, target: str | None
    ) -> Outcome:
        """Steps: find the document meant, merge, work out the lines, check all, store.

        PUT only creates. POST updates the document with the id, else the one that holds the
        number where numbers are unique, else creates (Xero: invoices page).
        """
        books = self._exact(books)
        errors: list[str] = []
        own = (text(element.get(self.number), self.number) or "") if self.number else ""
        wanted = target or (None if create_only else identifier(element.get(self.id_field)))
        stored = self._meant(books, element, own, wanted, create_only=create_only)
        if wanted and stored is None:
            errors.append(self.unknown)
        body = self._merged(books, stored.body if stored else None, element, errors)
        if own and self.unique(body):
            holder = self.numbered(books, own)
            if holder and (stored is None or holder.id != stored.id):
                errors += self.taken(holder, stored, create_only=create_only)
        contact = self._contact_meant(books, element, body, errors)
        messages = self._lines(books, element, body, stored, errors)
        errors += self._checked(books, body, stored)
        errors += self.check(books, body, stored, element)
        before = self.moved(stored.body if stored else None)
        errors += stock.shortages(books, before, self.moved(body))
        for found in messages:
            errors += found
        errors = list(dict.fromkeys(errors))

        document = stored.id if stored else ZERO_ID
        trace = {"number": body.get(self.number, ""), "url": body.get("Url", "")}
        trace |= {"type": body.get("Type", ""), "contact_id": body.get("ContactID", "")}
        if errors:
            known = str(body.get("ContactID") or "")
            whom = CONTACTS.brief(books, known, detail=True) if known else {}
            whom = whom or {k: v for k, v in (contact or {}).items() if isinstance(v, str)}
            view = View(books, document, body, whom, None, messages=messages)
            return Outcome(document, self.shown(view), errors, False, trace)
        return self._stored(books, body, stored, contact, trace)

    def numbered(self, books: Books, own: str) -> Stored | None:
        """The document that holds a number for itself, deleted and voided ones included."""
        return next((one for one in books.named(self.kind, own) if self.unique(one.body)), None)

    def _meant(
        self, books: Books, element: Json, own: str, wanted: str | None, *, create_only: bool
    ) -> Stored | None:
        """The document to update, None for a new one."""
        if wanted:
            return books.get(self.kind, wanted)
        if create_only or not own:
            return None
        kind = (text(element.get("Type"), "Type") or "").upper()
        meant = self.unique({"Type": kind or (self.types or ("",))[0]})
        return self.numbered(books, own) if meant else None

    def _stored(
        self, books: Books, body: Json, stored: Stored | None, contact: Json | None, trace: Json
    ) -> Outcome:
        if not body.get("ContactID") and contact is not None:
            body["ContactID"] = new_contact(
                books, str(contact["Name"]), str(contact.get("ContactNumber") or "")
            )
        if self.auto and not body.get(self.number) and self.unique(body):
            body[self.number] = self._next_number(books)
        document = stored.id if stored else str(uuid4())
        stock.move(books, self.moved(stored.body if stored else None), self.moved(body))
        self.kept(books, document, body, stored.body if stored else None)
        updated = self.save(books, document, body)
        whom = CONTACTS.brief(books, body["ContactID"], detail=True)
        shown = self.shown(View(books, document, body, whom, updated))
        trace = trace | {"number": body.get(self.number, ""), "contact_id": body["ContactID"]}
        return Outcome(document, shown, [], stored is None, trace)

    def save(self, books: Books, document: str, body: Json, *, touch: bool = True) -> int:
        """Stores a body under what it can be found by. Returns its UpdatedDateUTC in ms."""
        keys = Keys(
            name=str(body.get(self.number) or "") if self.number else "",
            type=str(body.get("Type") or ""),
            status=body["Status"],
            contact=body["ContactID"],
            date=body["Date"],
            app=books.app,
        )
        return books.state.save(books.tenant, self.kind, document, body, keys, touch=touch)

    def _next_number(self, books: Books) -> str:
        while True:
            count = books.state.count_up(books.tenant, f"{self.kind} number")
            candidate = f"{self.auto}{count:04d}"
            if self.numbered(books, candidate) is None:
                return candidate

    def _merged(self, books: Books, old: Json | None, element: Json, errors: list[str]) -> Json:
        base = books.organisation.currency
        today = books.today().isoformat()
        body: Json = (
            dict(old) if old else {"Status": self.creatable[0], "Date": today, "CurrencyCode": base}
        )
        if self.types:
            kind = (text(element.get("Type"), "Type") or "").upper()
            if old and kind and kind != old["Type"]:
                errors.append(validation.TYPE_FIXED)
            elif not old:
                body["Type"] = kind
                if kind not in self.types:
                    errors.append(self.bad_type)
        for field in self.texts:
            if element.get(field) is not None:
                body[field] = text(element[field], field) or ""
        for field in self.days:
            if found := day(element.get(field), field):
                body[field] = found.isoformat()
        self._currency(books, element, body)
        amounts = text(element.get("LineAmountTypes"), "LineAmountTypes") or ""
        body["LineAmountTypes"] = str(
            AmountTypes.read(amounts) or body.get("LineAmountTypes") or AmountTypes.EXCLUSIVE
        )
        if status := (text(element.get("Status"), "Status") or "").upper():
            body["Status"] = status
        errors += self.merge(books, old, element, body)
        return body

    def _currency(self, books: Books, element: Json, body: Json) -> None:
        """A rate is what one unit of the base currency buys; the day's where none is sent.

        What has a rate keeps it, unless its currency changes.
        """
        before = body["CurrencyCode"]
        if code := text(element.get("CurrencyCode"), "CurrencyCode"):
            body["CurrencyCode"] = code.upper()
        rate = number(element.get("CurrencyRate"), "CurrencyRate")
        if body["CurrencyCode"] == books.organisation.currency:
            body["CurrencyRate"] = _ONE
        elif rate is not None:
            body["CurrencyRate"] = rate.quantize(_ONE)
        elif "CurrencyRate" not in body or body["CurrencyCode"] != before:
            day_rate = books.organisation.rates.get(body["CurrencyCode"], "1.000000")
            body["CurrencyRate"] = Decimal(day_rate)

    def _contact_meant(
        self, books: Books, element: Json, body: Json, errors: list[str]
    ) -> Json | None:
        """Sets ContactID if the contact is known; returns what was sent if one must be created."""
        sent = element.get("Contact")
        if not isinstance(sent, dict):
            if not body.get("ContactID"):
                errors.append(self.no_contact)
            return None
        name = " ".join((text(sent.get("Name"), "Name") or "").split())
        own = text(sent.get("ContactNumber"), "ContactNumber") or ""
        found: Stored | None = None
        if wanted := identifier(sent.get("ContactID")):
            found = books.get("contact", wanted)
            if found is None:
                errors.append(validation.CONTACT_UNKNOWN)
                return sent
        else:
            found = next(iter(books.numbered("contact", own)), None) if own else None
            if self.creates_contacts:
                found = found or (active_named(books, name) if name else None)
        if found is None:
            body.pop("ContactID", None)
            if not name or not self.creates_contacts:
                errors.append(self.no_contact)
            elif any(sign in name for sign in "<>"):
                errors.append(validation.NAME_CHARACTERS)
            new: Json = {"Name": name, "ContactNumber": own}
            errors += validation.lengths(new, {one: contacts.LENGTHS[one] for one in new})
            return new
        if found.status != "ACTIVE" and found.id != body.get("ContactID"):
            errors.append(validation.CONTACT_ARCHIVED)
        body["ContactID"] = found.id
        return None

    def _lines(
        self, books: Books, element: Json, body: Json, stored: Stored | None, errors: list[str]
    ) -> list[list[str]]:
        """Works out the lines and totals. Lines that nothing touches keep their figures."""
        old = stored.body["LineItems"] if stored else []
        terms = self.terms(body)
        messages: list[list[str]] = []
        if element.get("LineItems") is not None:
            body["LineItems"], messages = lines.build(books, element["LineItems"], old, terms)
        elif stored and body["LineAmountTypes"] != stored.body["LineAmountTypes"]:
            body["LineItems"], messages = lines.again(books, old, terms)
        elif terms.approved and any("AccountCode" not in line for line in old):
            errors.append(validation.ACCOUNT_MISSING)
        body.setdefault("LineItems", [])
        if not body["LineItems"]:
            errors.append(validation.NO_LINES)
        totals = arithmetic.totals(
            ((line["LineAmount"], line["TaxAmount"]) for line in body["LineItems"]), terms.amounts
        )
        body |= {
            "SubTotal": totals.sub_total,
            "TotalTax": totals.total_tax,
            "Total": totals.total,
        }
        return messages

    def _checked(self, books: Books, body: Json, stored: Stored | None) -> list[str]:
        errors: list[str] = []
        if stored is None:
            if body["Status"] not in self.creatable:
                errors.append(self.bad_create)
        elif body["Status"] not in self.changes.get(stored.body["Status"], ()):
            errors.append(self.bad_change)
        if self.locks:
            lock = books.system_lock()
            kept = [body, stored.body] if stored else [body]
            if lock and any(
                one["Date"] <= lock and one["Status"] not in self.spared for one in kept
            ):
                errors.append(validation.LOCKED)
        if body["CurrencyCode"] not in books.organisation.rates:
            errors.append(validation.currency_not_subscribed(body["CurrencyCode"]))
        if body["CurrencyRate"] <= 0:
            errors.append(validation.RATE_POSITIVE)
        errors += validation.lengths(body, dict(self.texts))
        if body.get("Url"):
            errors += validation.url(str(body["Url"]))
        theme = str(body.get("BrandingThemeID") or "")
        if theme and books.get("brandingtheme", identifier(theme) or "") is None:
            errors.append(validation.THEME_UNKNOWN)
        return errors


def mark_contact(books: Books, contact: str, *, sales: bool) -> None:
    """IsCustomer and IsSupplier follow from documents and don't touch UpdatedDateUTC."""
    role = "IsCustomer" if sales else "IsSupplier"
    stored = books.get("contact", contact)
    if stored and not stored.body.get(role):
        CONTACTS.save(books, contact, stored.body | {role: True}, touch=False)
