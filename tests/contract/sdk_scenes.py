"""What Xero's own Python SDK does to the local Xero, resource by resource, call by call."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from xero_python import accounting as xero
from xero_python.exceptions import AccountingBadRequestException

DAY = dt.date(2026, 9, 14)
LATER = dt.date(2026, 10, 14)
FILE = b"%PDF-1.4 a small file"


class Sdk:
    """Calls the SDK by name for one organisation and remembers what was called."""

    def __init__(self, api: Any, tenant: str, called: set[str]) -> None:
        self._api = api
        self._tenant = tenant
        self._called = called

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._api, name)

        def call(*arguments: Any, **more: Any) -> Any:
            self._called.add(name)
            return method(self._tenant, *arguments, **more)

        return call


def _name(stem: str) -> str:
    return f"{stem} {uuid4().hex[:12]}"


def _line(**more: Any) -> xero.LineItem:
    return xero.LineItem(
        **(
            {"description": "Coffee", "quantity": 1, "unit_amount": 10, "account_code": "200"}
            | more
        )
    )


def _contact(sdk: Sdk) -> str:
    contact = xero.Contact(name=_name("SDK"), email_address="ana@example.com")
    made = sdk.create_contacts(xero.Contacts(contacts=[contact]))
    return str(made.contacts[0].contact_id)


def _whom(contact: str) -> xero.Contact:
    return xero.Contact(contact_id=contact)


def _invoice(sdk: Sdk, contact: str, **more: Any) -> Any:
    body = {
        "type": "ACCREC",
        "contact": _whom(contact),
        "date": DAY,
        "due_date": LATER,
        "status": "AUTHORISED",
        "line_items": [_line()],
    } | more
    made = sdk.create_invoices(xero.Invoices(invoices=[xero.Invoice(**body)]))
    return made.invoices[0]


def _notes(sdk: Sdk, subject: str, one: str, *, create: str = "") -> None:
    """Notes below one object; the SDK names its calls after the object."""
    made = getattr(sdk, f"create_{create or subject}")(one, _NOTE)
    assert made.history_records[0].details == "Seen"
    found = getattr(sdk, f"get_{subject}")(one).history_records
    assert "Seen" in [each.details for each in found]


def _past(sdk: Sdk, subject: str, one: str) -> None:
    """Objects whose past can be read only: "API is not able to create" (Xero OpenAPI)."""
    with pytest.raises(AccountingBadRequestException, match="was not found for this endpoint"):
        getattr(sdk, f"create_{subject}")(one, _NOTE)
    assert getattr(sdk, f"get_{subject}")(one).history_records is not None


_NOTE = xero.HistoryRecords(history_records=[xero.HistoryRecord(details="Seen")])


def _files(sdk: Sdk, stem: str, one: str) -> None:
    put = getattr(sdk, f"create_{stem}_attachment_by_file_name")(one, "a.pdf", FILE)
    assert put.attachments[0].content_length == len(FILE)
    getattr(sdk, f"update_{stem}_attachment_by_file_name")(one, "b.pdf", FILE + b"2")
    kept = getattr(sdk, f"get_{stem}_attachments")(one).attachments
    assert {each.file_name for each in kept} == {"a.pdf", "b.pdf"}
    where = getattr(sdk, f"get_{stem}_attachment_by_file_name")(one, "a.pdf", "application/pdf")
    assert _read(where) == FILE
    by_id = getattr(sdk, f"get_{stem}_attachment_by_id")
    assert _read(by_id(one, kept[0].attachment_id, "application/pdf")) in (FILE, FILE + b"2")


def _read(where: Any) -> bytes:
    """The SDK stores a file it is sent and gives its path."""
    with open(where, "rb") as found:
        return found.read()


def organisation(sdk: Sdk) -> None:
    assert sdk.get_organisations().organisations[0].base_currency.value == "NZD"
    assert sdk.get_organisation_actions().actions
    user = sdk.get_users().users[0]
    assert sdk.get_user(user.user_id).users[0].email_address == user.email_address
    theme = sdk.get_branding_themes().branding_themes[0]
    found = sdk.get_branding_theme(theme.branding_theme_id).branding_themes[0]
    assert found.name == theme.name
    assert "NZD" in {one.code.value for one in sdk.get_currencies().currencies}
    sdk.create_currency(xero.Currency(code=xero.CurrencyCode.SGD))
    assert "SGD" in {one.code.value for one in sdk.get_currencies().currencies}


def accounts(sdk: Sdk) -> None:
    code = uuid4().hex[:8]
    made = sdk.create_account(
        xero.Account(code=code, name=_name("Fees"), type=xero.AccountType.EXPENSE)
    )
    one = made.accounts[0].account_id
    assert sdk.get_account(one).accounts[0].code == code
    assert code in {each.code for each in sdk.get_accounts().accounts}
    renamed = xero.Accounts(accounts=[xero.Account(account_id=one, code=code, name=_name("More"))])
    assert sdk.update_account(one, renamed).accounts[0].name.startswith("More")
    _files(sdk, "account", one)
    spare = xero.Account(code=uuid4().hex[:8], name=_name("Spare"), type=xero.AccountType.EXPENSE)
    sdk.delete_account(sdk.create_account(spare).accounts[0].account_id)


def tax_rates(sdk: Sdk) -> None:
    part = xero.TaxComponent(name="City", rate=7.5, is_compound=False, is_non_recoverable=False)
    rate = xero.TaxRate(name=_name("City tax"), tax_components=[part], report_tax_type="OUTPUT")
    made = sdk.create_tax_rates(xero.TaxRates(tax_rates=[rate])).tax_rates[0]
    assert float(made.effective_rate) == 7.5
    assert sdk.get_tax_rate_by_tax_type(made.tax_type).tax_rates[0].name == made.name
    assert made.name in {one.name for one in sdk.get_tax_rates().tax_rates}
    gone = xero.TaxRate(name=made.name, tax_type=made.tax_type, status="DELETED")
    assert sdk.update_tax_rate(xero.TaxRates(tax_rates=[gone])).tax_rates[0].status == "DELETED"


def tracking(sdk: Sdk) -> None:
    made = sdk.create_tracking_category(xero.TrackingCategory(name=_name("Region")))
    one = made.tracking_categories[0].tracking_category_id
    option = sdk.create_tracking_options(one, xero.TrackingOption(name="North")).options[0]
    renamed = xero.TrackingOption(name="South")
    assert sdk.update_tracking_options(one, option.tracking_option_id, renamed)
    found = sdk.get_tracking_category(one).tracking_categories[0]
    assert [each.name for each in found.options] == ["South"]
    sdk.delete_tracking_options(one, option.tracking_option_id)
    assert sdk.update_tracking_category(one, xero.TrackingCategory(name=_name("Area")))
    assert one in {
        each.tracking_category_id for each in sdk.get_tracking_categories().tracking_categories
    }
    spare = sdk.create_tracking_category(xero.TrackingCategory(name=_name("Spare")))
    sdk.delete_tracking_category(spare.tracking_categories[0].tracking_category_id)


def contacts(sdk: Sdk) -> None:
    number = uuid4().hex[:12]
    contact = xero.Contact(name=_name("SDK"), contact_number=number)
    one = sdk.create_contacts(xero.Contacts(contacts=[contact])).contacts[0].contact_id
    assert sdk.get_contact(one).contacts[0].contact_number == number
    assert sdk.get_contact_by_contact_number(number).contacts[0].contact_id == one
    mail = xero.Contacts(contacts=[xero.Contact(contact_id=one, email_address="a@example.com")])
    assert sdk.update_contact(one, mail).contacts[0].email_address == "a@example.com"
    assert sdk.update_or_create_contacts(mail).contacts[0].contact_id == one
    assert [each.contact_id for each in sdk.get_contacts(i_ds=[one]).contacts] == [one]
    _notes(sdk, "contact_history", one)
    _files(sdk, "contact", one)


def contact_groups(sdk: Sdk) -> None:
    contact, other = _contact(sdk), _contact(sdk)
    group = xero.ContactGroups(contact_groups=[xero.ContactGroup(name=_name("VIP"))])
    one = sdk.create_contact_group(group).contact_groups[0].contact_group_id
    members = xero.Contacts(contacts=[_whom(contact), _whom(other)])
    sdk.create_contact_group_contacts(one, members)
    sdk.delete_contact_group_contact(one, contact)
    found = sdk.get_contact_group(one).contact_groups[0]
    assert [each.contact_id for each in found.contacts] == [other]
    sdk.delete_contact_group_contacts(one)
    renamed = xero.ContactGroups(contact_groups=[xero.ContactGroup(name=_name("Gold"))])
    sdk.update_contact_group(one, renamed)
    assert one in {each.contact_group_id for each in sdk.get_contact_groups().contact_groups}


def items(sdk: Sdk) -> None:
    code = uuid4().hex[:20]
    item = xero.Item(code=code, name="Beans", sales_details=xero.Purchase(unit_price=12.5))
    one = sdk.create_items(xero.Items(items=[item])).items[0].item_id
    assert sdk.get_item(one).items[0].code == code
    assert code in {each.code for each in sdk.get_items().items}
    renamed = xero.Items(items=[xero.Item(code=code, name="Peas")])
    assert sdk.update_or_create_items(renamed).items[0].item_id == one
    assert sdk.update_item(one, renamed).items[0].name == "Peas"
    _notes(sdk, "item_history", one)
    spare = xero.Items(items=[xero.Item(code=uuid4().hex[:20])])
    sdk.delete_item(sdk.create_items(spare).items[0].item_id)


def invoices(sdk: Sdk) -> None:
    contact = _contact(sdk)
    one = _invoice(sdk, contact).invoice_id
    assert sdk.get_invoice(one).invoices[0].total == 11.5
    assert [each.invoice_id for each in sdk.get_invoices(i_ds=[one]).invoices] == [one]
    change = xero.Invoices(invoices=[xero.Invoice(invoice_id=one, reference="R")])
    assert sdk.update_invoice(one, change).invoices[0].reference == "R"
    assert sdk.update_or_create_invoices(change).invoices[0].invoice_id == one
    assert sdk.get_online_invoice(one).online_invoices[0].online_invoice_url
    sdk.email_invoice(one, xero.RequestEmpty())
    _notes(sdk, "invoice_history", one)
    _files(sdk, "invoice", one)


def credit_notes(sdk: Sdk) -> None:
    contact = _contact(sdk)
    note = xero.CreditNote(
        type="ACCRECCREDIT",
        contact=_whom(contact),
        date=DAY,
        status="AUTHORISED",
        line_items=[_line()],
    )
    one = sdk.create_credit_notes(xero.CreditNotes(credit_notes=[note]))
    one = one.credit_notes[0].credit_note_id
    assert sdk.get_credit_note(one).credit_notes[0].remaining_credit == 11.5
    assert one in {each.credit_note_id for each in sdk.get_credit_notes(page=1).credit_notes}
    change = xero.CreditNotes(credit_notes=[xero.CreditNote(credit_note_id=one, reference="R")])
    assert sdk.update_credit_note(one, change).credit_notes[0].reference == "R"
    assert sdk.update_or_create_credit_notes(change).credit_notes[0].credit_note_id == one
    invoice = _invoice(sdk, contact)
    part = xero.Allocation(invoice=xero.Invoice(invoice_id=invoice.invoice_id), amount=5, date=DAY)
    made = sdk.create_credit_note_allocation(one, xero.Allocations(allocations=[part]))
    assert float(sdk.get_invoice(invoice.invoice_id).invoices[0].amount_due) == 6.5
    allocation = made.allocations[0].allocation_id
    assert sdk.delete_credit_note_allocations(one, allocation).is_deleted
    _notes(sdk, "credit_note_history", one)
    _files(sdk, "credit_note", one)


def payments(sdk: Sdk) -> None:
    invoice = _invoice(sdk, _contact(sdk)).invoice_id
    payment = xero.Payment(
        invoice=xero.Invoice(invoice_id=invoice),
        account=xero.Account(code="090"),
        date=DAY,
        amount=5,
    )
    one = sdk.create_payments(xero.Payments(payments=[payment])).payments[0].payment_id
    assert float(sdk.get_payment(one).payments[0].amount) == 5
    assert one in {each.payment_id for each in sdk.get_payments(page=1).payments}
    second = sdk.create_payment(payment).payments[0].payment_id
    gone = sdk.delete_payment(second, xero.PaymentDelete(status="DELETED")).payments[0]
    assert gone.status == "DELETED"
    assert float(sdk.get_invoice(invoice).invoices[0].amount_due) == 6.5
    _past(sdk, "payment_history", one)


def _moved(sdk: Sdk, contact: str, kind: str, **more: Any) -> Any:
    moved = xero.BankTransaction(
        type=kind,
        contact=_whom(contact),
        bank_account=xero.Account(code="090"),
        date=DAY,
        line_items=[_line(**more)],
    )
    made = sdk.create_bank_transactions(xero.BankTransactions(bank_transactions=[moved]))
    return made.bank_transactions[0]


def bank_transactions(sdk: Sdk) -> None:
    made = _moved(sdk, _contact(sdk), "SPEND", account_code="404")
    one = made.bank_transaction_id
    assert sdk.get_bank_transaction(one).bank_transactions[0].type == "SPEND"
    listed = sdk.get_bank_transactions(page=1).bank_transactions
    assert one in {each.bank_transaction_id for each in listed}
    change = xero.BankTransactions(
        bank_transactions=[
            xero.BankTransaction(
                bank_transaction_id=one,
                type="SPEND",
                reference="R",
                contact=made.contact,
                bank_account=xero.Account(code="090"),
                line_items=[_line(account_code="404")],
            )
        ]
    )
    assert sdk.update_bank_transaction(one, change).bank_transactions[0].reference == "R"
    again = sdk.update_or_create_bank_transactions(change).bank_transactions[0]
    assert again.bank_transaction_id == one
    made_by = "bank_transaction_history_record"
    _notes(sdk, "bank_transactions_history", one, create=made_by)
    _files(sdk, "bank_transaction", one)


def _advances(sdk: Sdk, word: str, kind: str, **line: Any) -> None:
    """Prepayments and overpayments: made by the bank, allocated to an invoice and back."""
    contact = _contact(sdk)
    one = getattr(_moved(sdk, contact, kind, **line), f"{word}_id")
    found = getattr(getattr(sdk, f"get_{word}")(one), f"{word}s")[0]
    assert float(found.remaining_credit) > 0
    listed = getattr(getattr(sdk, f"get_{word}s")(page=1), f"{word}s")
    assert one in {getattr(each, f"{word}_id") for each in listed}
    invoice = _invoice(sdk, contact).invoice_id
    part = xero.Allocation(invoice=xero.Invoice(invoice_id=invoice), amount=5, date=DAY)
    made = getattr(sdk, f"create_{word}_allocations")(one, xero.Allocations(allocations=[part]))
    gone = getattr(sdk, f"delete_{word}_allocations")(one, made.allocations[0].allocation_id)
    assert gone.is_deleted
    _past(sdk, f"{word}_history", one)


def prepayments(sdk: Sdk) -> None:
    _advances(sdk, "prepayment", "RECEIVE-PREPAYMENT")


def overpayments(sdk: Sdk) -> None:
    _advances(sdk, "overpayment", "RECEIVE-OVERPAYMENT", account_code="610")


def purchase_orders(sdk: Sdk) -> None:
    number = _name("PO")
    order = xero.PurchaseOrder(
        purchase_order_number=number,
        contact=_whom(_contact(sdk)),
        date=DAY,
        line_items=[_line(account_code="300")],
    )
    made = sdk.create_purchase_orders(xero.PurchaseOrders(purchase_orders=[order]))
    one = made.purchase_orders[0].purchase_order_id
    assert sdk.get_purchase_order(one).purchase_orders[0].purchase_order_number == number
    assert sdk.get_purchase_order_by_number(number).purchase_orders[0].purchase_order_id == one
    listed = sdk.get_purchase_orders(page_size=1000).purchase_orders
    assert one in {each.purchase_order_id for each in listed}
    change = xero.PurchaseOrders(
        purchase_orders=[xero.PurchaseOrder(purchase_order_id=one, status="AUTHORISED")]
    )
    assert sdk.update_purchase_order(one, change).purchase_orders[0].status == "AUTHORISED"
    again = sdk.update_or_create_purchase_orders(change).purchase_orders[0]
    assert again.purchase_order_id == one
    _notes(sdk, "purchase_order_history", one)
    _files(sdk, "purchase_order", one)


def quotes(sdk: Sdk) -> None:
    contact = _contact(sdk)
    quote = xero.Quote(contact=_whom(contact), date=DAY, line_items=[_line()])
    one = sdk.create_quotes(xero.Quotes(quotes=[quote])).quotes[0].quote_id
    assert float(sdk.get_quote(one).quotes[0].total) == 11.5
    assert [each.quote_id for each in sdk.get_quotes(contact_id=contact).quotes] == [one]
    change = xero.Quotes(
        quotes=[
            xero.Quote(
                quote_id=one, status=xero.QuoteStatusCodes.SENT, contact=_whom(contact), date=DAY
            )
        ]
    )
    assert sdk.update_quote(one, change).quotes[0].status.value == "SENT"
    assert sdk.update_or_create_quotes(change).quotes[0].quote_id == one
    _notes(sdk, "quote_history", one)
    _files(sdk, "quote", one)


def receipts(sdk: Sdk) -> None:
    user = sdk.get_users().users[0].user_id
    body = {
        "contact": _whom(_contact(sdk)),
        "date": DAY,
        "user": xero.User(user_id=user),
        "line_items": [_line(account_code="404")],
    }
    made = sdk.create_receipt(xero.Receipts(receipts=[xero.Receipt(**body)]))
    one = made.receipts[0].receipt_id
    assert sdk.get_receipt(one).receipts[0].user.user_id == user
    assert one in {each.receipt_id for each in sdk.get_receipts().receipts}
    change = xero.Receipts(receipts=[xero.Receipt(reference="R", **body)])
    assert sdk.update_receipt(one, change).receipts[0].reference == "R"
    _past(sdk, "receipt_history", one)
    _files(sdk, "receipt", one)


SCENES: tuple[Callable[[Sdk], None], ...] = (
    organisation,
    accounts,
    tax_rates,
    tracking,
    contacts,
    contact_groups,
    items,
    invoices,
    credit_notes,
    payments,
    bank_transactions,
    prepayments,
    overpayments,
    purchase_orders,
    quotes,
    receipts,
)
