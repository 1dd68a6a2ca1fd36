"""How an object of any kind looks to people: its title, facts, tables and totals."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from xtiger.sandbox.wire import Json

_DATE = re.compile(r"^/Date\((-?\d+)(?:[+-]\d{4})?\)/$")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: what an object is called by, the first that it has
_TITLES = (
    "InvoiceNumber",
    "CreditNoteNumber",
    "PurchaseOrderNumber",
    "QuoteNumber",
    "ReceiptNumber",
    "Code",
    "Name",
    "FirstName",
)
_STATUSES = ("Status", "ContactStatus")
_TYPE_FIELDS = ("Type", "PaymentType")
#: columns of lists, in the order of an accountant's eye
_COLUMNS = (
    "Name",
    "LastName",
    "Contact",
    "ContactNumber",
    "Invoice",
    "CreditNote",
    "Prepayment",
    "Overpayment",
    "BankAccount",
    "Account",
    "EmailAddress",
    "Description",
    "Title",
    "Reference",
    "Type",
    "PaymentType",
    "Class",
    "TaxType",
    "Date",
    "DueDate",
    "ExpiryDate",
    "DeliveryDate",
    "Status",
    "ContactStatus",
    "SalesDetails",
    "PurchaseDetails",
    "EffectiveRate",
    "TotalTax",
    "Total",
    "Amount",
    "AmountDue",
    "RemainingCredit",
    "CurrencyCode",
)
_LINE_COLUMNS = (
    "ItemCode",
    "Description",
    "Quantity",
    "UnitAmount",
    "DiscountRate",
    "DiscountAmount",
    "AccountCode",
    "Tracking",
    "TaxType",
    "TaxAmount",
    "LineAmount",
)
_TOTALS = (
    "SubTotal",
    "TotalDiscount",
    "TotalTax",
    "Total",
    "AmountPaid",
    "AmountCredited",
    "AppliedAmount",
    "AmountDue",
    "RemainingCredit",
)
_MONEY = frozenset(_TOTALS) | {
    "Amount",
    "BankAmount",
    "LineAmount",
    "TaxAmount",
    "UnitAmount",
    "UnitPrice",
    "DiscountAmount",
}
_WORDS = {
    "AccountCode": "Account",
    "AmountDue": "Due",
    "AmountPaid": "Less paid",
    "AmountCredited": "Less credited",
    "CurrencyCode": "Currency",
    "DateUTC": "Time",
    "DueDate": "Due date",
    "EmailAddress": "E-mail",
    "ItemCode": "Item",
    "LineAmount": "Amount",
    "LineAmountTypes": "Amounts are",
    "PaymentType": "Type",
    "PurchaseDetails": "Purchase price",
    "RemainingCredit": "Left",
    "SalesDetails": "Sales price",
    "SubTotal": "Subtotal",
    "TaxAmount": "Tax",
    "TaxType": "Tax rate",
    "TotalDiscount": "Includes discount of",
    "HistoryRecords": "History",
    "InvoiceNumber": "Number",
    "CreditNoteNumber": "Number",
    "PurchaseOrderNumber": "Number",
    "QuoteNumber": "Number",
    "ReceiptNumber": "Number",
    "ContactNumber": "Number",
    "TotalTax": "Tax",
    "UnitAmount": "Unit price",
    "UnitPrice": "Price",
    "UpdatedDateUTC": "Updated",
    "Url": "Source",
}
_TYPES = {
    "ACCREC": "Sales invoice",
    "ACCPAY": "Bill",
    "ACCRECCREDIT": "Customer credit note",
    "ACCPAYCREDIT": "Supplier credit note",
}
#: said elsewhere on the page, or of no use to people
_UNSAID = frozenset(
    {
        "HasAccount",
        "HasErrors",
        "HasValidationErrors",
        "ValidationErrors",
        "StatusAttributeString",
        "LineItems",
    }
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One value; `id_field` and `id` say which object it names, if any."""

    text: str
    numeric: bool = False
    status: bool = False
    url: str = ""
    id_field: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of objects of one kind; `numeric` tells which columns stand to the right."""

    title: str
    headings: list[str]
    numeric: list[bool]
    rows: list[list[Cell]]


@dataclass(frozen=True, slots=True)
class Portrait:
    """One object as people see it."""

    title: str
    status: str
    facts: list[tuple[str, Cell]]
    lines: Table | None
    totals: list[tuple[str, str]]
    tables: list[Table] = field(default_factory=list)


def words(name: str) -> str:
    """`CreditNotes` as `Credit notes`."""
    if name in _WORDS:
        return _WORDS[name]
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", name)
    return " ".join([parts[0], *(p if p.isupper() else p.lower() for p in parts[1:])])


def plain(value: object, name: str = "") -> str:
    """A value for people: dates as YYYY-MM-DD, money with its thousands, yes and no."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | Decimal):
        return _number(Decimal(value), money=name in _MONEY)
    said = str(value)
    if found := _DATE.match(said):
        moment = _EPOCH + timedelta(milliseconds=int(found[1]))
        midnight = not (moment.hour or moment.minute or moment.second)
        return f"{moment:%Y-%m-%d}" if midnight else f"{moment:%Y-%m-%d %H:%M:%S}"
    return said.removesuffix("T00:00:00")


def _number(value: Decimal, *, money: bool) -> str:
    if not money:
        said = format(value, "f")
        return said.rstrip("0").rstrip(".") if "." in said else said
    value = value.normalize()
    places = max(2, -int(value.as_tuple().exponent))
    return f"{value:,.{places}f}"


def title_of(shown: Json) -> tuple[str, str]:
    """The field an object is called by, and what it is called."""
    name = next((one for one in _TITLES if shown.get(one)), "")
    if name == "FirstName":
        return name, " ".join(str(shown.get(one) or "") for one in ("FirstName", "LastName"))
    return name, str(shown.get(name) or "") if name else ""


def called(shown: Json, id_field: str) -> str:
    """What an object is called; one without number or name by its kind and amount or contact."""
    name, title = title_of(shown)
    if name == "Code" and shown.get("Name"):
        return f"{title} {shown['Name']}"
    if title or not id_field:
        return title
    kind = words(id_field.removesuffix("ID"))
    for field_name in ("Amount", "Total"):
        if shown.get(field_name) is not None:
            return f"{kind} of {plain(shown[field_name], field_name)}"
    contact = shown.get("Contact")
    whose = title_of(contact)[1] if isinstance(contact, dict) else ""
    return f"{kind} of {whose}" if whose else kind


def status_of(shown: Json) -> str:
    return str(next((shown[one] for one in _STATUSES if shown.get(one)), ""))


def listing(
    members: list[Json], ids: dict[str, str], id_field: str
) -> tuple[list[str], list[bool], list[list[Cell]]]:
    """Headings, which of them are numeric, and rows; the first cell names the object itself.

    `ids` maps the id fields that can be linked to what they link to.
    """
    by = {title_of(one)[0] for one in members} - {""}
    skip = by | ({"LastName"} if "FirstName" in by else set())
    if len(members) > 1:  # what is the same for all tells nothing
        skip |= {name for name in _TYPE_FIELDS if len({str(one.get(name)) for one in members}) == 1}
    telling = [name for name in _COLUMNS if any(_said(one.get(name)) for one in members)]
    columns = [name for name in telling if name not in skip]
    rows = []
    for one in members:
        title = title_of(one)[1] or called(one, id_field)
        first = Cell(title, id_field=id_field, id=str(one.get(id_field) or ""))
        rows.append([first, *(_cell(name, one.get(name), ids) for name in columns)])
    kind = words(id_field.removesuffix("ID")) if id_field and not by else "Number"
    heading = words(next(iter(by))) if len(by) == 1 else kind
    numeric = [any(row[at].numeric for row in rows) for at in range(len(columns) + 1)]
    return [heading, *map(words, columns)], numeric, rows


def portrait(shown: Json, ids: dict[str, str], id_field: str) -> Portrait:
    """An object as a GET at its own address shows it."""
    name, title = title_of(shown)[0], called(shown, id_field)
    apart = {name, *(("Name",) if name == "Code" else ()), *_STATUSES, *_TOTALS, *_UNSAID, id_field}
    facts: list[tuple[str, Cell]] = []
    tables: list[Table] = []
    for field_name in sorted(shown, key=_rank):
        value = shown[field_name]
        if field_name in apart or field_name.endswith("String") or not _said(value):
            continue
        if value is False or (field_name == "CurrencyRate" and value == 1):
            continue
        if isinstance(value, list):
            found = table(words(field_name), value, ids)
            tables += [found] if found else []
        else:
            facts.append((words(field_name), _cell(field_name, value, ids)))
    if not shown.get("Total"):
        more = [one for one in _TOTALS if _said(shown.get(one))]
        facts += [(words(one), _cell(one, shown[one], ids)) for one in more]
    if shown.get(id_field):
        facts.append(("Id", Cell(str(shown[id_field]))))
    lines = shown.get("LineItems")
    return Portrait(
        title=title or str(shown.get(id_field) or ""),
        status=status_of(shown),
        facts=facts,
        lines=_lines(lines, ids) if isinstance(lines, list) and lines else None,
        totals=_totals(shown),
        tables=tables,
    )


def _rank(name: str) -> int:
    """Facts stand in the order of columns, what has no place there in Xero's own."""
    return _COLUMNS.index(name) if name in _COLUMNS else len(_COLUMNS)


def _totals(shown: Json) -> list[tuple[str, str]]:
    if shown.get("Total") is None:
        return []
    always = ("SubTotal", "TotalTax", "Total", "AmountDue", "RemainingCredit")
    return [
        (words(one), plain(shown[one], one))
        for one in _TOTALS
        if shown.get(one) is not None and (one in always or Decimal(shown[one]))
    ]


def _lines(lines: list[Json], ids: dict[str, str]) -> Table | None:
    kept = [name for name in _LINE_COLUMNS if any(_said(one.get(name)) for one in lines)]
    rows = [[_cell(name, one.get(name), ids) for name in kept] for one in lines]
    numeric = [any(row[at].numeric for row in rows) for at in range(len(kept))]
    return Table("Lines", [words(name) for name in kept], numeric, rows)


def table(title: str, members: Iterable[object], ids: dict[str, str]) -> Table | None:
    """Further objects below one, without rows that say only which type they would be."""
    found = [one for one in members if isinstance(one, dict) and _telling(one)]
    names = list(dict.fromkeys(name for one in found for name in one))
    names = [
        name
        for name in names
        if not name.endswith(("ID", "String"))
        and name not in _UNSAID
        and any(_said(one.get(name)) and not isinstance(one[name], list) for one in found)
    ]
    if not found or not names:
        return None
    rows = []
    for one in found:
        row = [_cell(name, one.get(name), ids) for name in names]
        own = next((name for name in one if name in ids and one[name]), "")
        if own and not row[0].id:
            row[0] = Cell(
                row[0].text or called(one, own), row[0].numeric, id_field=own, id=one[own]
            )
        rows.append(row)
    numeric = [any(row[at].numeric for row in rows) for at in range(len(names))]
    return Table(title, [words(name) for name in names], numeric, rows)


def _telling(one: Json) -> bool:
    return any(
        _said(value) and not name.endswith(("Type", "ID")) and not isinstance(value, list | bool)
        for name, value in one.items()
    )


def _said(value: object) -> bool:
    return value is not None and value != "" and value != [] and value != {}


def _cell(name: str, value: object, ids: dict[str, str]) -> Cell:
    if isinstance(value, dict):
        return _named(name, value, ids)
    if isinstance(value, list):
        return Cell(", ".join(_joined(one) if isinstance(one, dict) else str(one) for one in value))
    said = plain(value, name)
    if name == "Type":
        said = _TYPES.get(said, said)
    if name in _STATUSES:
        return Cell(said, status=True)
    if name == "Url" and said.startswith(("http://", "https://")):
        return Cell(said, url=said)
    numeric = isinstance(value, int | Decimal) and not isinstance(value, bool)
    return Cell(said, numeric=numeric)


def _named(name: str, value: Json, ids: dict[str, str]) -> Cell:
    """An object within another: what it is called, linked where it has a page."""
    if name in ("SalesDetails", "PurchaseDetails"):
        price = value.get("UnitPrice")
        return Cell(plain(price, "UnitPrice"), numeric=price is not None)
    own = next((one for one in value if one in ids and value[one]), "")
    said = called(value, own)
    if own:
        return Cell(said or str(value[own]), id_field=own, id=str(value[own]))
    return Cell(said or _joined(value))


def _joined(value: Json) -> str:
    return " ".join(
        plain(one, name)
        for name, one in value.items()
        if _said(one) and not isinstance(one, dict | list) and not name.endswith("ID")
    )
