"""Line items of a document: filled in from item and account, checked, and worked out."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from uuid import uuid4

from xtiger.sandbox.accounting import arithmetic, tracking, validation
from xtiger.sandbox.accounting.arithmetic import AmountTypes
from xtiger.sandbox.accounting.books import Books
from xtiger.sandbox.kept import charts
from xtiger.sandbox.wire import Json, Malformed, identifier, number, text

#: accounts that no document line may use
_CLOSED = {"DEBTORS", "CREDITORS", "RETAINEDEARNINGS", "HISTORICAL", "UNPAIDEXPCLM"}

#: figures of a line that are never carried over, always worked out anew
_WORKED_OUT = {"LineAmount", "TaxAmount", "Discount"}

#: two fields of a line say the same, the first one counting more; one sent alone replaces the other
_ALIKE = (("AccountCode", "AccountID"), ("DiscountRate", "DiscountAmount"))


@dataclass(frozen=True, slots=True)
class Terms:
    """What a document lays down for its lines."""

    sales: bool  #: an item fills in its sales side, else its purchase side
    discounts: bool  #: whether lines may carry a discount
    approved: bool  #: whether each line needs an account
    amounts: AmountTypes


def build(
    books: Books, sent: object, old: list[Json], terms: Terms
) -> tuple[list[Json], list[list[str]]]:
    """The document's new lines and each line's messages, in the order sent.

    A line with the LineItemID of an old one updates that one: what it doesn't name stays, except
    amounts, which are worked out anew. Other old lines are gone (Xero: invoices page).
    """
    if not isinstance(sent, list) or not all(isinstance(one, dict) for one in sent):
        raise Malformed("LineItems must be a list of objects.")
    before = {str(one["LineItemID"]): one for one in old}
    lines: list[Json] = []
    messages: list[list[str]] = []
    for one in sent:
        known = before.pop(identifier(one.get("LineItemID")) or "", None)
        if known is not None:
            one = _updated(known, one)
        errors: list[str] = []
        lines.append(_line(books, one, terms, errors, known))
        messages.append(list(dict.fromkeys(errors)))
    return lines, messages


def _updated(known: Json, sent: Json) -> Json:
    fresh = {field: value for field, value in sent.items() if value is not None}
    gone = set(_WORKED_OUT)
    for pair in _ALIKE:
        if any(field in fresh for field in pair):
            gone.update(pair)
    return {field: value for field, value in known.items() if field not in gone} | fresh


def again(books: Books, old: list[Json], terms: Terms) -> tuple[list[Json], list[list[str]]]:
    """The same lines under other terms (status or LineAmountTypes changed)."""
    plain = [{f: value for f, value in one.items() if f not in _WORKED_OUT} for one in old]
    return build(books, plain, old, terms)


def _line(books: Books, one: Json, terms: Terms, errors: list[str], known: Json | None) -> Json:
    line: Json = {"LineItemID": known["LineItemID"] if known else str(uuid4())}
    item = _item(books, one, errors)
    details: Json = {}
    if item is not None:
        line["ItemCode"] = item["Code"]
        details = item.get("SalesDetails" if terms.sales else "PurchaseDetails") or {}
        if item.get("IsTrackedAsInventory") and not terms.sales:  # what is bought is stock
            details = details | {"AccountCode": item["InventoryAssetAccountCode"]}
    words = text(one.get("Description"), "Description") or ""
    if not words and item is not None:
        own = item.get("Description") if terms.sales else item.get("PurchaseDescription")
        words = str(own or item.get("Name") or item["Code"])
    line["Description"] = words
    if not words:
        errors.append(validation.DESCRIPTION_MISSING)
    errors += validation.lengths(line, {"Description": 4000})

    _amounts(books, one, details, line, terms, errors)
    account = _account(books, one, details, line, terms, errors)
    rate = _tax_type(books, one, details, line, account, terms, errors)
    override = number(one.get("TaxAmount"), "TaxAmount")
    if terms.amounts is AmountTypes.NO_TAX:
        line["TaxAmount"] = Decimal("0.00")
    elif override is not None:
        line["TaxAmount"] = arithmetic.cents(override)
    else:
        line["TaxAmount"] = arithmetic.tax(line["LineAmount"], rate=rate, amounts=terms.amounts)
    before = known["Tracking"] if known else []
    line["Tracking"] = tracking.of_line(books, one.get("Tracking"), before, errors)
    return line


def _item(books: Books, one: Json, errors: list[str]) -> Json | None:
    code = text(one.get("ItemCode"), "ItemCode")
    if not code:
        return None
    item = books.item(code)
    if item is None:
        errors.append(validation.item_invalid(code))
    return item


def _amounts(
    books: Books, one: Json, details: Json, line: Json, terms: Terms, errors: list[str]
) -> None:
    unit = number(one.get("UnitAmount"), "UnitAmount")
    quantity = number(one.get("Quantity"), "Quantity")
    given = number(one.get("LineAmount"), "LineAmount")
    if quantity is not None:
        errors += validation.quantity(quantity)
    if unit is None and (given is None or quantity is None) and "UnitPrice" in details:
        unit = details["UnitPrice"] if given is None else None
    rate = number(one.get("DiscountRate"), "DiscountRate")
    off = number(one.get("DiscountAmount"), "DiscountAmount")
    if (rate or off) and not terms.discounts:
        errors.append(validation.DISCOUNT_NOT_ALLOWED)
        rate = off = None
    if rate is not None:
        rate = arithmetic.cents(rate)
        if not 0 <= rate <= 100:
            errors.append(validation.DISCOUNT_RANGE)
            rate = None
    if rate:
        off = None
    try:
        amounts = arithmetic.line(
            quantity=quantity,
            unit_amount=unit,
            line_amount=given,
            discount_rate=rate,
            discount_amount=None if off is None else arithmetic.cents(off),
            four_places=books.four,
        )
    except arithmetic.LineTotalMismatch as wrong:
        errors.append(validation.line_total_wrong(wrong.given, wrong.expected))
        amounts = arithmetic.Amounts(quantity, unit, wrong.expected, Decimal("0.00"))
    errors += validation.largest(amounts.line_amount)
    if amounts.quantity is not None:
        line["Quantity"] = amounts.quantity
    if amounts.unit_amount is not None:
        line["UnitAmount"] = amounts.unit_amount
    if rate:
        line["DiscountRate"] = rate
    elif off:
        line["DiscountAmount"] = arithmetic.cents(off)
    line["LineAmount"] = amounts.line_amount
    line["Discount"] = amounts.discount


def _account(
    books: Books, one: Json, details: Json, line: Json, terms: Terms, errors: list[str]
) -> Json | None:
    code = text(one.get("AccountCode"), "AccountCode") or ""
    by_id = identifier(one.get("AccountID"))
    if code:
        account = books.account(code)
    elif by_id:
        account, code = books.account_of(by_id), by_id
    elif details.get("AccountCode"):
        code = str(details["AccountCode"])
        account = books.account(code)
    else:
        if terms.approved:
            errors.append(validation.ACCOUNT_MISSING)
        return None
    if (
        account is None
        or account["Type"] == "BANK"
        or (account["Type"] == "INVENTORY" and account["Code"] != details.get("AccountCode"))
        or account.get("SystemAccount") in _CLOSED
    ):
        errors.append(validation.account_invalid(code))
        line["AccountCode"] = code
        return None
    if account["Status"] != "ACTIVE":
        errors.append(validation.account_archived(code))
    line["AccountCode"] = account["Code"]
    line["AccountID"] = account["AccountID"]
    return account


def _tax_type(
    books: Books,
    one: Json,
    details: Json,
    line: Json,
    account: Json | None,
    terms: Terms,
    errors: list[str],
) -> Decimal:
    """Fills in TaxType: sent, else the item's, else the account's (measured). Returns the rate."""
    if terms.amounts is AmountTypes.NO_TAX:
        line["TaxType"] = books.tax_code("NONE", account["Class"] if account else "")
        return Decimal(0)
    code = text(one.get("TaxType"), "TaxType") or str(
        details.get("TaxType") or (account["TaxType"] if account else "")
    )
    if not code:
        return Decimal(0)
    rate = books.tax_rate(books.tax_code(code, account["Class"] if account else ""))
    line["TaxType"] = rate["TaxType"] if rate else code
    if rate is None or rate["Status"] != "ACTIVE":
        errors.append(validation.tax_type_unknown(code))
        return Decimal(0)
    if account and not rate[charts.CAN_APPLY[account["Class"]]]:
        errors.append(validation.tax_type_unfit(code, str(account["Code"])))
    return Decimal(rate["EffectiveRate"])


def shown(lines: list[Json], messages: list[list[str]] | None = None, *, four: bool) -> list[Json]:
    """Lines as they go out, with their own ValidationErrors."""
    out: list[Json] = []
    for index, line in enumerate(lines):
        one = {field: value for field, value in line.items() if field != "Discount"}
        if "UnitAmount" in one:
            one["UnitAmount"] = arithmetic.unit(one["UnitAmount"], four_places=four)
        found = messages[index] if messages else []
        one["ValidationErrors"] = [{"Message": message} for message in found]
        out.append(one)
    return out
