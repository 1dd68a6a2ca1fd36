"""Every resource and verb of the local Xero, driven by Xero's own SDK and read by pyxero."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from xtiger import sandbox
from xtiger.sandbox import Running
from xtiger.sandbox.accounting import api

pytest.importorskip("xero_python.accounting")
pyxero = pytest.importorskip("xero")
from xero.auth import OAuth2Credentials  # noqa: E402
from xero_python.accounting import AccountingApi  # noqa: E402
from xero_python.api_client import ApiClient, Configuration  # noqa: E402
from xero_python.api_client.oauth2 import OAuth2Token  # noqa: E402

from .sdk_scenes import SCENES, Sdk  # noqa: E402

#: The SDK's calls and the method and address each stands for (Xero's OpenAPI operationId);
#: {} is an id, a code, a number or a file's name.
CALLS = {
    "get_accounts": "GET /Accounts",
    "create_account": "PUT /Accounts",
    "get_account": "GET /Accounts/{}",
    "update_account": "POST /Accounts/{}",
    "delete_account": "DELETE /Accounts/{}",
    "get_account_attachments": "GET /Accounts/{}/Attachments",
    "get_account_attachment_by_id": "GET /Accounts/{}/Attachments/{}",
    "get_account_attachment_by_file_name": "GET /Accounts/{}/Attachments/{}",
    "create_account_attachment_by_file_name": "PUT /Accounts/{}/Attachments/{}",
    "update_account_attachment_by_file_name": "POST /Accounts/{}/Attachments/{}",
    "get_bank_transactions": "GET /BankTransactions",
    "create_bank_transactions": "PUT /BankTransactions",
    "update_or_create_bank_transactions": "POST /BankTransactions",
    "get_bank_transaction": "GET /BankTransactions/{}",
    "update_bank_transaction": "POST /BankTransactions/{}",
    "get_bank_transaction_attachments": "GET /BankTransactions/{}/Attachments",
    "get_bank_transaction_attachment_by_id": "GET /BankTransactions/{}/Attachments/{}",
    "get_bank_transaction_attachment_by_file_name": "GET /BankTransactions/{}/Attachments/{}",
    "create_bank_transaction_attachment_by_file_name": "PUT /BankTransactions/{}/Attachments/{}",
    "update_bank_transaction_attachment_by_file_name": "POST /BankTransactions/{}/Attachments/{}",
    "get_bank_transactions_history": "GET /BankTransactions/{}/History",
    "create_bank_transaction_history_record": "PUT /BankTransactions/{}/History",
    "get_branding_themes": "GET /BrandingThemes",
    "get_branding_theme": "GET /BrandingThemes/{}",
    "get_contacts": "GET /Contacts",
    "create_contacts": "PUT /Contacts",
    "update_or_create_contacts": "POST /Contacts",
    "get_contact_by_contact_number": "GET /Contacts/{}",
    "get_contact": "GET /Contacts/{}",
    "update_contact": "POST /Contacts/{}",
    "get_contact_attachments": "GET /Contacts/{}/Attachments",
    "get_contact_attachment_by_id": "GET /Contacts/{}/Attachments/{}",
    "get_contact_attachment_by_file_name": "GET /Contacts/{}/Attachments/{}",
    "create_contact_attachment_by_file_name": "PUT /Contacts/{}/Attachments/{}",
    "update_contact_attachment_by_file_name": "POST /Contacts/{}/Attachments/{}",
    "get_contact_history": "GET /Contacts/{}/History",
    "create_contact_history": "PUT /Contacts/{}/History",
    "get_contact_groups": "GET /ContactGroups",
    "create_contact_group": "PUT /ContactGroups",
    "get_contact_group": "GET /ContactGroups/{}",
    "update_contact_group": "POST /ContactGroups/{}",
    "create_contact_group_contacts": "PUT /ContactGroups/{}/Contacts",
    "delete_contact_group_contacts": "DELETE /ContactGroups/{}/Contacts",
    "delete_contact_group_contact": "DELETE /ContactGroups/{}/Contacts/{}",
    "get_credit_notes": "GET /CreditNotes",
    "create_credit_notes": "PUT /CreditNotes",
    "update_or_create_credit_notes": "POST /CreditNotes",
    "get_credit_note": "GET /CreditNotes/{}",
    "update_credit_note": "POST /CreditNotes/{}",
    "get_credit_note_attachments": "GET /CreditNotes/{}/Attachments",
    "get_credit_note_attachment_by_id": "GET /CreditNotes/{}/Attachments/{}",
    "get_credit_note_attachment_by_file_name": "GET /CreditNotes/{}/Attachments/{}",
    "create_credit_note_attachment_by_file_name": "PUT /CreditNotes/{}/Attachments/{}",
    "update_credit_note_attachment_by_file_name": "POST /CreditNotes/{}/Attachments/{}",
    "create_credit_note_allocation": "PUT /CreditNotes/{}/Allocations",
    "delete_credit_note_allocations": "DELETE /CreditNotes/{}/Allocations/{}",
    "get_credit_note_history": "GET /CreditNotes/{}/History",
    "create_credit_note_history": "PUT /CreditNotes/{}/History",
    "get_currencies": "GET /Currencies",
    "create_currency": "PUT /Currencies",
    "get_invoices": "GET /Invoices",
    "create_invoices": "PUT /Invoices",
    "update_or_create_invoices": "POST /Invoices",
    "get_invoice": "GET /Invoices/{}",
    "update_invoice": "POST /Invoices/{}",
    "get_invoice_attachments": "GET /Invoices/{}/Attachments",
    "get_invoice_attachment_by_id": "GET /Invoices/{}/Attachments/{}",
    "get_invoice_attachment_by_file_name": "GET /Invoices/{}/Attachments/{}",
    "create_invoice_attachment_by_file_name": "PUT /Invoices/{}/Attachments/{}",
    "update_invoice_attachment_by_file_name": "POST /Invoices/{}/Attachments/{}",
    "get_online_invoice": "GET /Invoices/{}/OnlineInvoice",
    "email_invoice": "POST /Invoices/{}/Email",
    "get_invoice_history": "GET /Invoices/{}/History",
    "create_invoice_history": "PUT /Invoices/{}/History",
    "get_items": "GET /Items",
    "create_items": "PUT /Items",
    "update_or_create_items": "POST /Items",
    "get_item": "GET /Items/{}",
    "update_item": "POST /Items/{}",
    "delete_item": "DELETE /Items/{}",
    "get_item_history": "GET /Items/{}/History",
    "create_item_history": "PUT /Items/{}/History",
    "get_organisations": "GET /Organisation",
    "get_organisation_actions": "GET /Organisation/Actions",
    "get_overpayments": "GET /Overpayments",
    "get_overpayment": "GET /Overpayments/{}",
    "create_overpayment_allocations": "PUT /Overpayments/{}/Allocations",
    "delete_overpayment_allocations": "DELETE /Overpayments/{}/Allocations/{}",
    "get_overpayment_history": "GET /Overpayments/{}/History",
    "create_overpayment_history": "PUT /Overpayments/{}/History",
    "get_payments": "GET /Payments",
    "create_payments": "PUT /Payments",
    "create_payment": "POST /Payments",
    "get_payment": "GET /Payments/{}",
    "delete_payment": "POST /Payments/{}",
    "get_payment_history": "GET /Payments/{}/History",
    "create_payment_history": "PUT /Payments/{}/History",
    "get_prepayments": "GET /Prepayments",
    "get_prepayment": "GET /Prepayments/{}",
    "create_prepayment_allocations": "PUT /Prepayments/{}/Allocations",
    "delete_prepayment_allocations": "DELETE /Prepayments/{}/Allocations/{}",
    "get_prepayment_history": "GET /Prepayments/{}/History",
    "create_prepayment_history": "PUT /Prepayments/{}/History",
    "get_purchase_orders": "GET /PurchaseOrders",
    "create_purchase_orders": "PUT /PurchaseOrders",
    "update_or_create_purchase_orders": "POST /PurchaseOrders",
    "get_purchase_order": "GET /PurchaseOrders/{}",
    "update_purchase_order": "POST /PurchaseOrders/{}",
    "get_purchase_order_by_number": "GET /PurchaseOrders/{}",
    "get_purchase_order_history": "GET /PurchaseOrders/{}/History",
    "create_purchase_order_history": "PUT /PurchaseOrders/{}/History",
    "get_purchase_order_attachments": "GET /PurchaseOrders/{}/Attachments",
    "get_purchase_order_attachment_by_id": "GET /PurchaseOrders/{}/Attachments/{}",
    "get_purchase_order_attachment_by_file_name": "GET /PurchaseOrders/{}/Attachments/{}",
    "create_purchase_order_attachment_by_file_name": "PUT /PurchaseOrders/{}/Attachments/{}",
    "update_purchase_order_attachment_by_file_name": "POST /PurchaseOrders/{}/Attachments/{}",
    "get_quotes": "GET /Quotes",
    "create_quotes": "PUT /Quotes",
    "update_or_create_quotes": "POST /Quotes",
    "get_quote": "GET /Quotes/{}",
    "update_quote": "POST /Quotes/{}",
    "get_quote_history": "GET /Quotes/{}/History",
    "create_quote_history": "PUT /Quotes/{}/History",
    "get_quote_attachments": "GET /Quotes/{}/Attachments",
    "get_quote_attachment_by_id": "GET /Quotes/{}/Attachments/{}",
    "get_quote_attachment_by_file_name": "GET /Quotes/{}/Attachments/{}",
    "create_quote_attachment_by_file_name": "PUT /Quotes/{}/Attachments/{}",
    "update_quote_attachment_by_file_name": "POST /Quotes/{}/Attachments/{}",
    "get_receipts": "GET /Receipts",
    "create_receipt": "PUT /Receipts",
    "get_receipt": "GET /Receipts/{}",
    "update_receipt": "POST /Receipts/{}",
    "get_receipt_attachments": "GET /Receipts/{}/Attachments",
    "get_receipt_attachment_by_id": "GET /Receipts/{}/Attachments/{}",
    "get_receipt_attachment_by_file_name": "GET /Receipts/{}/Attachments/{}",
    "create_receipt_attachment_by_file_name": "PUT /Receipts/{}/Attachments/{}",
    "update_receipt_attachment_by_file_name": "POST /Receipts/{}/Attachments/{}",
    "get_receipt_history": "GET /Receipts/{}/History",
    "create_receipt_history": "PUT /Receipts/{}/History",
    "get_tax_rates": "GET /TaxRates",
    "create_tax_rates": "PUT /TaxRates",
    "update_tax_rate": "POST /TaxRates",
    "get_tax_rate_by_tax_type": "GET /TaxRates/{}",
    "get_tracking_categories": "GET /TrackingCategories",
    "create_tracking_category": "PUT /TrackingCategories",
    "get_tracking_category": "GET /TrackingCategories/{}",
    "update_tracking_category": "POST /TrackingCategories/{}",
    "delete_tracking_category": "DELETE /TrackingCategories/{}",
    "create_tracking_options": "PUT /TrackingCategories/{}/Options",
    "update_tracking_options": "POST /TrackingCategories/{}/Options/{}",
    "delete_tracking_options": "DELETE /TrackingCategories/{}/Options/{}",
    "get_users": "GET /Users",
    "get_user": "GET /Users/{}",
}
#: What the SDK has no call for, and what a plain request shows instead.
_UNNAMED = {"POST /Receipts"}
_called: set[str] = set()


@pytest.fixture(scope="module")
def books() -> Iterator[Running]:
    """A local Xero for this table, with classic expenses on."""
    with sandbox.start(auto_consent=True) as running:
        tenant = running.organisations[0]["tenant_id"]
        requests.post(
            f"{running.api_url}/_control/organisations/{tenant}",
            json={"ClassicExpenses": True},
            timeout=30,
        ).raise_for_status()
        yield running


@pytest.fixture(scope="module")
def token(books: Running) -> dict[str, Any]:
    answer = requests.post(
        f"{books.identity_url}/connect/token",
        data={"grant_type": "client_credentials"},
        auth=(books.client_id, books.client_secret),
        timeout=30,
    )
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture(scope="module")
def sdk(books: Running, token: dict[str, Any]) -> Sdk:
    kept = dict(token)
    # The SDK would give everybody the first configuration that was ever made.
    Configuration.set_default(None)
    client = ApiClient(
        Configuration(
            oauth2_token=OAuth2Token(client_id=books.client_id, client_secret=books.client_secret)
        ),
        oauth2_token_getter=lambda: kept,
        oauth2_token_saver=kept.update,
    )
    api = AccountingApi(client, base_url=f"{books.api_url}/api.xro/2.0")
    return Sdk(api, books.organisations[0]["tenant_id"], _called)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_the_sdk_drives(sdk: Sdk, scene: Callable[[Sdk], None]) -> None:
    scene(sdk)


def _offered() -> set[str]:
    """All that the local Xero answers, in the form of CALLS."""
    cells = set()
    for known in api.RESOURCES.values():
        plural = "Organisation" if known.plural == "Organisations" else known.plural
        for method in known.methods:
            verb, _, one = method.partition("/")
            cells.add(f"{verb} /{plural}/{{}}" if one else f"{verb} /{plural}")
        cells |= {f"PART /{plural}/{{}}/{word}" for word in known.parts}
    return cells


def test_no_cell_is_untested(record_property: Callable[[str, object], None]) -> None:
    """Printed in the run's summary; runs last in this file, after all scenes."""
    if len(_called) == 0:
        pytest.skip("the scenes didn't run")
    assert set(CALLS) - _called == set()
    cells = set(CALLS.values()) | _UNNAMED
    for cell in _offered():
        if cell.startswith("PART "):
            below = cell.removeprefix("PART ").lower()
            assert any(below in one.lower() for one in cells), f"nothing drives {below}"
        else:
            assert cell in cells, f"nothing drives {cell}"
    record_property("figure", _table())


def _table() -> str:
    """Resource x verb: how many calls of the SDK stand behind each cell."""
    rows: dict[str, dict[str, int]] = {}
    for cell in CALLS.values():
        verb, _, address = cell.partition(" ")
        words = address.strip("/").split("/")
        row = rows.setdefault(words[0], {})
        row[verb] = row.get(verb, 0) + 1
    verbs = ("GET", "PUT", "POST", "DELETE")
    lines = [f"{'SDK calls':<20}" + "".join(f"{verb:>8}" for verb in verbs)]
    for name, row in sorted(rows.items()):
        lines.append(f"{name:<20}" + "".join(f"{row.get(verb, '-'):>8}" for verb in verbs))
    return "\n".join(lines)


#: pyxero's managers and, where it reads single ones, the field of the id.
_READS = {
    "contacts": "ContactID",
    "accounts": "AccountID",
    "creditnotes": "CreditNoteID",
    "currencies": None,
    "invoices": "InvoiceID",
    "items": "ItemID",
    "organisations": None,
    "overpayments": "OverpaymentID",
    "payments": "PaymentID",
    "prepayments": "PrepaymentID",
    "purchaseorders": "PurchaseOrderID",
    "quotes": "QuoteID",
    "receipts": "ReceiptID",
    "taxrates": None,
    "trackingcategories": "TrackingCategoryID",
    "users": "UserID",
    "banktransactions": "BankTransactionID",
    "brandingthemes": "BrandingThemeID",
    "contactgroups": "ContactGroupID",
}


@pytest.mark.parametrize("manager", sorted(_READS))
def test_pyxero_reads(
    books: Running, token: dict[str, Any], manager: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    ends = dt.datetime.now(dt.UTC).timestamp() + 1000
    credentials = OAuth2Credentials(
        books.client_id,
        books.client_secret,
        token=token | {"expires_at": ends},
        tenant_id=books.organisations[0]["tenant_id"],
    )
    credentials.base_url = books.api_url
    found = getattr(pyxero.Xero(credentials), manager)
    rows = found.all()
    assert isinstance(rows, list)
    assert rows, f"{manager} is empty: the scenes before this test fill it"
    field = _READS[manager]
    if field:
        assert found.get(rows[0][field])[0][field] == rows[0][field]
