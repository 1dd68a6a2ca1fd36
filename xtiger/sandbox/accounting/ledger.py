"""What settles a document: payments and allocations, and the figures that follow from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from xtiger.sandbox.accounting.books import Books
from xtiger.sandbox.kept.state import Keys, Stored
from xtiger.sandbox.wire import Json, net_day

ZERO = Decimal("0.00")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of document that payments or allocations can settle."""

    name: str  #: as Payment and Allocation spell it
    id_field: str
    number: str  #: the field of its number, empty where it has none
    credit: bool = True  #: whether it is money to be given back or set off


KINDS = {
    "invoice": Kind("Invoice", "InvoiceID", "InvoiceNumber", credit=False),
    "creditnote": Kind("CreditNote", "CreditNoteID", "CreditNoteNumber"),
    "prepayment": Kind("Prepayment", "PrepaymentID", "InvoiceNumber"),
    "overpayment": Kind("Overpayment", "OverpaymentID", ""),
}
#: figures that only payments and allocations change
FIGURES = {
    "AmountDue",
    "AmountPaid",
    "AmountCredited",
    "AppliedAmount",
    "RemainingCredit",
    "FullyPaidOnDate",
}
_OPEN = ("AUTHORISED", "PAID")
_CLOSED = ("DELETED", "VOIDED")


def settled(body: Json) -> bool:
    """Whether any payment or allocation stands against the document."""
    return any(body.get(field) for field in ("AmountPaid", "AmountCredited", "AppliedAmount"))


def outstanding(body: Json) -> Decimal:
    """What a payment or an allocation may still take; nothing unless it is authorised."""
    if body["Status"] != "AUTHORISED":
        return ZERO
    found: Decimal = body["RemainingCredit"] if "RemainingCredit" in body else body["AmountDue"]
    return found


def payments(books: Books, document: str) -> list[Stored]:
    """The payments that stand against a document, oldest first."""
    return books.state.objects(
        books.tenant, "payment", "number = ? AND status = 'AUTHORISED'", (document,)
    )


def received(books: Books, invoice: str) -> list[Stored]:
    """The allocations made to an invoice, oldest first."""
    return books.state.objects(books.tenant, "allocation", "number = ?", (invoice,))


def given(books: Books, source: str) -> list[Stored]:
    """The allocations made from a credit note, prepayment or overpayment, oldest first."""
    return books.state.objects(books.tenant, "allocation", "name = ?", (source,))


def work_out(books: Books, kind: str, document: str, body: Json) -> None:
    """Puts a document's figures, FullyPaidOnDate and PAID or AUTHORISED into its body.

    1. Only what was approved can hold payments and allocations.
    2. What is left is the total less both; a deleted or voided document owes nothing.
    3. It is PAID once they leave nothing, dated by the last of them (Xero: invoices page;
       going back to AUTHORISED when one is taken away is our reading of it).
    """
    credit = KINDS[kind].credit
    paid: list[Stored] = []
    moved: list[Stored] = []
    if body["Status"] in _OPEN:
        paid = payments(books, document)
        moved = given(books, document) if credit else received(books, document)
    total_paid, total_moved = _sum(paid), _sum(moved)
    left = ZERO if body["Status"] in _CLOSED else body["Total"] - total_paid - total_moved
    body["AmountPaid"] = total_paid
    if credit:
        body |= {"AppliedAmount": total_moved, "RemainingCredit": left}
    else:
        body |= {"AmountCredited": total_moved, "AmountDue": left}
    body.pop("FullyPaidOnDate", None)
    if body["Status"] in _OPEN:
        done = left == 0 and bool(paid or moved)
        body["Status"] = "PAID" if done else "AUTHORISED"
        if done:
            body["FullyPaidOnDate"] = max(str(one.body["Date"]) for one in paid + moved)


def _sum(entries: Iterable[Stored]) -> Decimal:
    return sum((one.body["Amount"] for one in entries), ZERO)


def settle(books: Books, kind: str, document: str) -> Stored:
    """Works a document's figures out anew after a payment or allocation, and stores it."""
    stored = books.get(kind, document)
    assert stored is not None
    body = dict(stored.body)
    work_out(books, kind, document, body)
    number = KINDS[kind].number
    keys = Keys(
        name=str(body.get(number) or "") if number else "",
        type=str(body["Type"]),
        status=str(body["Status"]),
        contact=str(body["ContactID"]),
        date=str(body["Date"]),
    )
    updated = books.state.save(books.tenant, kind, document, body, keys)
    return Stored(stored.position, document, updated, str(body["Status"]), body)


# how a document shows them


def day_shown(iso: str) -> Json:
    """A day in both of its forms."""
    return {"DateString": f"{iso}T00:00:00", "Date": net_day(iso)}


def payments_shown(books: Books, document: str, body: Json) -> list[Json]:
    """Payments as a document lists them (Xero OpenAPI, examples of GET /CreditNotes)."""
    shown = []
    for one in payments(books, document) if body.get("AmountPaid") else []:
        found: Json = {
            "PaymentID": one.id,
            "Date": net_day(one.body["Date"]),
            "Amount": one.body["Amount"],
        }
        if one.body.get("Reference"):
            found["Reference"] = one.body["Reference"]
        found |= {
            "CurrencyRate": one.body["CurrencyRate"],
            "HasAccount": False,
            "HasValidationErrors": False,
        }
        shown.append(found)
    return shown


def credits_shown(books: Books, invoice: str, body: Json) -> Json:
    """CreditNotes, Prepayments and Overpayments of an invoice, one entry an allocation."""
    shown: dict[str, list[Json]] = {"CreditNotes": [], "Prepayments": [], "Overpayments": []}
    for one in received(books, invoice) if body.get("AmountCredited") else []:
        kind = KINDS[one.body["Kind"]]
        source = books.get(one.body["Kind"], one.body["SourceID"])
        assert source is not None
        found: Json = {kind.id_field: source.id, "ID": source.id}
        if kind.number and kind.name == "CreditNote":
            found[kind.number] = source.body.get(kind.number, "")
        found |= {"HasErrors": False, "AppliedAmount": one.body["Amount"]}
        found |= day_shown(one.body["Date"])
        shown[f"{kind.name}s"].append(found | {"LineItems": [], "Total": source.body["Total"]})
    return dict(shown)


def allocations_shown(books: Books, source: str, body: Json) -> list[Json]:
    """Allocations as a credit note, prepayment or overpayment lists them."""
    return [allocation_shown(books, one) for one in (given(books, source) if settled(body) else [])]


def allocation_shown(books: Books, allocation: Stored) -> Json:
    invoice = books.get("invoice", allocation.body["InvoiceID"])
    assert invoice is not None
    return {
        "AllocationID": allocation.id,
        "Amount": allocation.body["Amount"],
        "Date": net_day(allocation.body["Date"]),
        "Invoice": invoice_brief(invoice.id, str(invoice.body.get("InvoiceNumber", ""))),
    }


def invoice_brief(identifier: str, number: str) -> Json:
    """An invoice where another object names it (Xero OpenAPI, examples of Prepayments)."""
    return {
        "InvoiceID": identifier,
        "InvoiceNumber": number,
        "Payments": [],
        "CreditNotes": [],
        "Prepayments": [],
        "Overpayments": [],
        "HasErrors": False,
        "IsDiscounted": False,
        "LineItems": [],
    }
