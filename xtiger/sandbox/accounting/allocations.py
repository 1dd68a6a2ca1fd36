"""Allocations: setting a credit note, prepayment or overpayment off against invoices."""

from __future__ import annotations

from uuid import uuid4

from xtiger.sandbox.accounting import arithmetic, ledger, validation
from xtiger.sandbox.accounting.answers import (
    elements_of,
    not_allowed,
    not_found,
    trace,
    validation_exception,
    written,
)
from xtiger.sandbox.accounting.books import Books, Endpoint, Outcome, PartCall
from xtiger.sandbox.kept.state import Keys, Stored
from xtiger.sandbox.wire import (
    ZERO_ID,
    Json,
    Reply,
    day,
    dumps,
    flag,
    identifier,
    net_day,
    number,
)

#: which invoices each kind of credit may go to
_SIDES = {
    "ACCRECCREDIT": "ACCREC",
    "RECEIVE-PREPAYMENT": "ACCREC",
    "RECEIVE-OVERPAYMENT": "ACCREC",
    "ACCPAYCREDIT": "ACCPAY",
    "SPEND-PREPAYMENT": "ACCPAY",
    "SPEND-OVERPAYMENT": "ACCPAY",
}


class _Allocations(Endpoint):
    """How an answer about allocations looks; they have no address of their own."""

    plural = "Allocations"
    kind = "allocation"
    id_field = "AllocationID"
    error_flag = ""
    fields: dict[str, str] = {}

    def find(self, books: Books, key: str) -> Stored | None:
        return None


_ANSWERS = _Allocations()


class AllocationsOf:
    """PUT /{Credits}/{id}/Allocations and DELETE .../{AllocationID} (Xero OpenAPI Allocation)."""

    plural = "Allocations"
    scopes: tuple[str, ...] | None = None

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def call(self, books: Books, owner: Stored, call: PartCall) -> Reply:
        if call.method == "PUT" and call.key is None:
            return self._put(books, owner, call)
        if call.method == "DELETE" and call.key and call.detail is None:
            return self._delete(books, owner, call.key)
        return not_allowed()

    def _put(self, books: Books, owner: Stored, call: PartCall) -> Reply:
        """All or none unless `summarizeErrors=false`, as for every write."""
        elements = elements_of(call.body, self.plural)
        together = flag(call.arguments.get("summarizeerrors")) is not False
        with books.state.attempt() as attempt:
            outcomes = [self._allocate(books, owner.id, element) for element in elements]
            failed = together and any(outcome.errors for outcome in outcomes)
            if failed:
                attempt.undo()
        if failed:
            return validation_exception(_ANSWERS, outcomes)
        return written(books.state.now(), _ANSWERS, outcomes, together=together)

    def _allocate(self, books: Books, owner: str, element: Json) -> Outcome:
        source = books.get(self.kind, owner)  # read anew: the last element changed it
        assert source is not None
        errors: list[str] = []
        wanted = element.get("Invoice")
        invoice_id = identifier(wanted.get("InvoiceID")) if isinstance(wanted, dict) else None
        invoice = books.get("invoice", invoice_id) if invoice_id else None
        if invoice_id is None:
            errors.append(validation.ALLOCATION_INVOICE)
        elif invoice is None:
            errors.append(validation.INVOICE_UNKNOWN)
        when = day(element.get("Date"), "Date")
        lock = books.system_lock()
        if when is None:
            errors.append(validation.DATE_MISSING)
        elif lock and when.isoformat() <= lock:
            errors.append(validation.LOCKED)
        amount = number(element.get("Amount"), "Amount")
        if amount is None:
            errors.append(validation.AMOUNT_MISSING)
        elif (amount := arithmetic.cents(amount)) <= 0:
            errors.append(validation.AMOUNT_POSITIVE)
        if invoice is not None:
            errors += _unfit(source.body, invoice.body)
            due, credit = ledger.outstanding(invoice.body), ledger.outstanding(source.body)
            if amount is not None and amount > due:
                errors.append(validation.ALLOCATION_DUE)
            if amount is not None and amount > credit:
                errors.append(validation.ALLOCATION_CREDIT)
        traced: Json = {"source": owner, "invoice_id": invoice_id or ""}
        if errors or invoice is None or when is None or amount is None:
            echo: Json = {"Amount": amount} if amount is not None else {}
            if when is not None:
                echo["Date"] = net_day(when.isoformat())
            if invoice_id:
                echo["Invoice"] = ledger.invoice_brief(invoice_id, "")
            return Outcome(ZERO_ID, echo, errors, False, traced)
        allocation = str(uuid4())
        body: Json = {
            "Kind": self.kind,
            "SourceID": owner,
            "InvoiceID": invoice.id,
            "Amount": amount,
            "Date": when.isoformat(),
        }
        keys = Keys(name=owner, number=invoice.id, type=self.kind, date=body["Date"], app=books.app)
        books.state.save(books.tenant, "allocation", allocation, body, keys)
        self._settle(books, body)
        return Outcome(allocation, self._shown(books, allocation, owner), [], True, traced)

    def _delete(self, books: Books, owner: Stored, key: str) -> Reply:
        """Answers the allocation by itself, not in an envelope (Xero OpenAPI)."""
        wanted = identifier(key)
        found = books.get("allocation", wanted) if wanted else None
        if found is None or found.body["SourceID"] != owner.id:
            return not_found()
        shown = self._shown(books, found.id, owner.id)
        traced: Json = {"source": owner.id, "invoice_id": found.body["InvoiceID"]}
        lock = books.system_lock()
        if lock and found.body["Date"] <= lock:
            refused = Outcome(found.id, shown, [validation.LOCKED], False, traced)
            return validation_exception(_ANSWERS, [refused])
        books.state.remove(books.tenant, "allocation", found.id)
        self._settle(books, found.body)
        reply = Reply(200, dumps(shown | {"IsDeleted": True}))
        reply.elements = [trace(0, Outcome(found.id, {}, [], False, traced))]
        return reply

    def _settle(self, books: Books, allocation: Json) -> None:
        ledger.settle(books, "invoice", allocation["InvoiceID"])
        ledger.settle(books, self.kind, allocation["SourceID"])

    def _shown(self, books: Books, allocation: str, owner: str) -> Json:
        kind = ledger.KINDS[self.kind]
        stored = books.get("allocation", allocation)
        assert stored is not None
        return ledger.allocation_shown(books, stored) | {
            kind.name: {kind.id_field: owner, "ID": owner, "LineItems": []},
            "ValidationErrors": [],
        }


def _unfit(source: Json, invoice: Json) -> list[str]:
    """Same contact, same currency, same side, both authorised (FACTS section 6)."""
    errors = []
    if _SIDES[source["Type"]] != invoice["Type"]:
        errors.append(validation.ALLOCATION_SIDE)
    if source["ContactID"] != invoice["ContactID"]:
        errors.append(validation.ALLOCATION_CONTACT)
    if source["CurrencyCode"] != invoice["CurrencyCode"]:
        errors.append(validation.ALLOCATION_CURRENCY)
    if source["Status"] != "AUTHORISED" or invoice["Status"] != "AUTHORISED":
        errors.append(validation.ALLOCATION_STATUS)
    return errors
