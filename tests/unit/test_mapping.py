"""Records of the CRM turned into payloads for Xero, and the faults that keep them from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from xtiger.domain import exactjson
from xtiger.domain.comparing import only_emptied, without_empties
from xtiger.domain.defaults import DEFAULTS, Row
from xtiger.domain.mapping import (
    BuildContext,
    Built,
    Faults,
    MappingTemplate,
    OrganisationFacts,
    Parent,
    TemplateFault,
    compile_template,
)
from xtiger.domain.records import (
    DocumentType,
    Field,
    FieldKind,
    Module,
    ModuleInfo,
    Record,
    RecordRef,
)

D = Decimal
Note = Callable[[str, object], None]
ANA = RecordRef(Module.CONTACTS, "7")
WIDGET = RecordRef(Module.PRODUCTS, "3")
ANA_ID = "0a1b2c3d-0000-4000-8000-000000000007"


def default_template(module: Module, document_type: DocumentType | None = None) -> MappingTemplate:
    """The template a new organisation begins with; documents are invoices unless said."""
    if module is Module.INVOICES:
        document_type = document_type or DocumentType.INVOICE
    else:
        document_type = None
    return MappingTemplate.from_json(DEFAULTS[module, document_type])


def account(code: str, name: str, kind: str, class_: str, tax: str, **more: str) -> dict[str, Any]:
    raw = {"Code": code, "Name": name, "Type": kind, "Class": class_, "TaxType": tax}
    return {**raw, "Status": "ACTIVE", **more}


def tax_rate(tax: str, rate: str, able: str, status: str = "ACTIVE") -> dict[str, Any]:
    return {
        "TaxType": tax,
        "Name": tax,
        "EffectiveRate": D(rate),
        "Status": status,
        "CanApplyToAssets": "A" in able,
        "CanApplyToEquity": "Q" in able,
        "CanApplyToExpenses": "E" in able,
        "CanApplyToLiabilities": "L" in able,
        "CanApplyToRevenue": "R" in able,
    }


ACME_NZ = OrganisationFacts.from_xero(
    {
        "Name": "Acme NZ",
        "BaseCurrency": "NZD",
        "CountryCode": "NZ",
        "PeriodLockDate": "/Date(1782777600000+0000)/",
    },
    [
        account("200", "Sales", "REVENUE", "REVENUE", "OUTPUT2"),
        account("210", "Exports", "REVENUE", "REVENUE", "ZERORATED"),
        account("260", "Old sales", "REVENUE", "REVENUE", "OUTPUT2", Status="ARCHIVED"),
        account("300", "Purchases", "DIRECTCOSTS", "EXPENSE", "INPUT2"),
        account("610", "Receivable", "CURRENT", "ASSET", "NONE", SystemAccount="DEBTORS"),
        account("850", "Suspense", "CURRLIAB", "LIABILITY", "NONE"),
        account("860", "Rounding", "CURRLIAB", "LIABILITY", "NONE", SystemAccount="ROUNDING"),
    ],
    [
        tax_rate("INPUT", "12.5", "AQEL", "DELETED"),
        tax_rate("INPUT2", "15.0000", "AQEL"),
        tax_rate("OUTPUT2", "15.0000", "AQLR"),
        tax_rate("GSTONIMPORTS", "0", "L"),
        tax_rate("NONE", "0", "AQELR"),
        tax_rate("ZERORATED", "0", "LR"),
    ],
)


def record(module: Module, label: str, fields: Mapping[str, Any], *lines: dict[str, Any]) -> Record:
    ref = RecordRef(module, "17")
    return Record(ref, label, "1", datetime(2026, 11, 1, tzinfo=UTC), fields, lines)


def contact(**fields: Any) -> Record:
    ana = {
        "name": "Ana Lee Ltd",
        "first_name": "Ana",
        "last_name": "Lee",
        "email": "ana@lee.nz",
        "phone": "04 123 456",
        "street": "1 Cuba St",
        "city": "Wellington",
        "region": "",
        "postal_code": "6011",
        "country": "New Zealand",
        "tax_number": "",
        "account_number": None,
    }
    return record(Module.CONTACTS, "Ana Lee Ltd", ana | fields)


def product(**fields: Any) -> Record:
    widget = {
        "code": "W-1",
        "name": "Widget",
        "description": "A blue widget",
        "price": D("12.5000"),
        "cost": None,
        "tax_rate": D("15.00"),
        "sales_account": None,
        "purchase_account": None,
    }
    return record(Module.PRODUCTS, "W-1", widget | fields)


def line(price: str, quantity: str = "1", **more: Any) -> dict[str, Any]:
    plain = {
        "product": None,
        "description": "Work",
        "quantity": D(quantity),
        "unit_price": D(price),
        "discount": D(0),
        "tax_rate": D("15"),
    }
    return plain | more


def invoice(subtotal: str, tax: str, total: str, *lines: dict[str, Any], **fields: Any) -> Record:
    header = {
        "number": "INV-17",
        "contact": ANA,
        "date": date(2026, 11, 21),
        "due_date": date(2026, 12, 5),
        "reference": "PO 4711",
        "currency": "NZD",
        "amounts": "exclusive",
        "subtotal": D(subtotal),
        "tax_total": D(tax),
        "total": D(total),
    }
    return record(Module.INVOICES, "INV-17", header | fields, *lines)


#: The example of Xero's own page on rounding.
THREE_LINES = invoice("76.30", "11.45", "87.75", line("25.06"), line("25.61"), line("25.63"))

CONTEXT = BuildContext(
    organisation=ACME_NZ,
    parents={
        ANA: Parent(ANA_ID, label="Ana Lee Ltd"),
        WIDGET: Parent("item-id", key="W-1", label="Widget"),
    },
    record_url="https://crm.acme.nz/xtiger/records/Invoices/17",
    marker="crm-Contacts-17",
)


def build(
    one: Record, context: BuildContext = CONTEXT, template: MappingTemplate | None = None
) -> Built | Faults:
    template = template or default_template(one.ref.module, context.document_type)
    return compile_template(template).build(one, context)


def built(
    one: Record, context: BuildContext = CONTEXT, template: MappingTemplate | None = None
) -> Built:
    made = build(one, context, template)
    assert isinstance(made, Built), made
    return made


def refused(
    one: Record, context: BuildContext = CONTEXT, template: MappingTemplate | None = None
) -> Faults:
    made = build(one, context, template)
    assert isinstance(made, Faults), made
    return made


# -- contacts ---------------------------------------------------------------------------------


def test_a_new_contact_carries_our_marker() -> None:
    made = built(contact())
    assert made.payload == {
        "Name": "Ana Lee Ltd",
        "FirstName": "Ana",
        "LastName": "Lee",
        "EmailAddress": "ana@lee.nz",
        "Phones": [{"PhoneType": "DEFAULT", "PhoneNumber": "04 123 456"}],
        "Addresses": [
            {
                "AddressType": "POBOX",
                "AddressLine1": "1 Cuba St",
                "City": "Wellington",
                "PostalCode": "6011",
                "Country": "New Zealand",
            }
        ],
        "ContactNumber": "crm-Contacts-17",
    }
    assert made.meant == {"Name": "Ana Lee Ltd"}


def test_an_update_names_the_contact_by_its_id_and_leaves_the_marker_alone() -> None:
    made = built(contact(), replace(CONTEXT, xero_id=ANA_ID))
    assert made.payload["ContactID"] == ANA_ID
    assert "ContactNumber" not in made.payload


def test_a_name_is_written_as_xero_wants_it() -> None:
    made = built(contact(name="  Ana   <Lee>  Ltd "))
    assert made.payload["Name"] == "Ana Lee Ltd"
    assert made.meant["Name"] == "Ana Lee Ltd"


def test_a_person_without_a_company_goes_by_first_and_last_name() -> None:
    assert built(contact(name="")).payload["Name"] == "Ana Lee"


def test_a_nameless_contact_is_a_fault() -> None:
    made = refused(contact(name=" <> ", first_name="", last_name=""))
    assert made.sentence == "The contact has no name. Fill it in: Xero needs one."
    assert made.fingerprint == "name-missing"


def test_a_text_that_is_too_long_is_a_fault_that_counts() -> None:
    made = refused(contact(tax_number="9" * 60))
    assert made.sentence == (
        "Xero takes 50 characters in TaxNumber; Ana Lee Ltd has 60. Cut it or choose another field."
    )


# -- products ---------------------------------------------------------------------------------


def test_a_product_is_sold_and_without_a_cost_not_bought() -> None:
    made = built(product())
    assert made.payload == {
        "Code": "W-1",
        "Name": "Widget",
        "Description": "A blue widget",
        "SalesDetails": {"UnitPrice": D("12.5"), "AccountCode": "200", "TaxType": "OUTPUT2"},
        "IsSold": True,
        "IsPurchased": False,
    }
    assert made.meant == {"Code": "W-1"}


def test_a_product_with_a_cost_is_bought_too() -> None:
    made = built(product(cost=D("7.123456"), sales_account="210"), replace(CONTEXT, xero_id="i"))
    assert made.payload["ItemID"] == "i"
    assert made.payload["SalesDetails"]["AccountCode"] == "210"
    assert made.payload["PurchaseDetails"] == {
        "UnitPrice": D("7.1235"),
        "AccountCode": "300",
        "TaxType": "INPUT2",
    }
    assert made.payload["IsPurchased"] is True


def test_a_product_without_a_code_asks_for_a_part_number() -> None:
    made = refused(product(code=""))
    assert made.sentence == "Give a part number: Xero needs an item code of up to 30 characters."


def test_a_long_product_name_is_cut_and_a_long_code_is_not() -> None:
    assert built(product(name="W" * 80)).payload["Name"] == "W" * 50
    assert "Xero takes 30 characters in Code" in refused(product(code="W" * 31)).sentence


def test_a_product_on_an_archived_account_is_a_fault() -> None:
    made = refused(product(sales_account="260"))
    assert made.sentence == "Account 260 is archived. Choose another account."
    assert made.fingerprint == "account-archived:260"


# -- invoices ---------------------------------------------------------------------------------


def test_an_invoice_arrives_with_the_crms_total_to_the_cent() -> None:
    made = built(THREE_LINES)
    assert made.payload["LineItems"][2] == {
        "Description": "Work",
        "Quantity": D(1),
        "UnitAmount": D("25.63"),
        "AccountCode": "200",
        "TaxType": "OUTPUT2",
        "TaxAmount": D("3.85"),
    }
    assert [each["TaxAmount"] for each in made.payload["LineItems"]] == [
        D("3.76"),
        D("3.84"),
        D("3.85"),
    ]
    assert made.meant == {
        "Type": "ACCREC",
        "Status": "AUTHORISED",
        "SubTotal": D("76.30"),
        "TotalTax": D("11.45"),
        "Total": D("87.75"),
    }
    assert (made.amount, made.currency) == (D("87.75"), "NZD")


def test_an_invoices_header_says_what_xero_needs() -> None:
    header = {k: v for k, v in built(THREE_LINES).payload.items() if k != "LineItems"}
    assert header == {
        "Type": "ACCREC",
        "Contact": {"ContactID": ANA_ID},
        "Date": "2026-11-21",
        "DueDate": "2026-12-05",
        "InvoiceNumber": "INV-17",
        "Reference": "PO 4711",
        "CurrencyCode": "NZD",
        "Url": "https://crm.acme.nz/xtiger/records/Invoices/17",
        "Status": "AUTHORISED",
        "LineAmountTypes": "Exclusive",
    }


def test_equal_records_make_equal_bytes_whatever_the_zeros_behind_the_point() -> None:
    longer = invoice(
        "76.3000", "11.4500", "87.7500", line("25.060000"), line("25.61", "1.000"), line("25.630")
    )
    assert exactjson.dumps(built(longer).payload) == exactjson.dumps(built(THREE_LINES).payload)
    assert b'"Quantity":1,' in exactjson.dumps(built(THREE_LINES).payload)


def test_an_update_carries_the_bound_id_and_a_draft_its_status() -> None:
    made = built(THREE_LINES, replace(CONTEXT, xero_id="i-1", target_status="DRAFT"))
    assert made.payload["InvoiceID"] == "i-1"
    assert made.payload["Status"] == made.meant["Status"] == "DRAFT"


def test_only_links_to_the_web_become_the_url() -> None:
    assert "Url" not in built(THREE_LINES, replace(CONTEXT, record_url="javascript:x")).payload
    assert "Url" not in built(THREE_LINES, replace(CONTEXT, record_url=None)).payload


def test_a_line_with_a_product_names_the_item_and_takes_its_name() -> None:
    one = invoice(
        "45.00", "6.75", "51.75", line("12.50", "4", product=WIDGET, description="", discount=D(10))
    )
    item = built(one).payload["LineItems"][0]
    assert item["ItemCode"] == "W-1"
    assert item["Description"] == "Widget (12.50 less 10 %)"
    assert item["DiscountRate"] == D(10)
    assert "LineAmount" not in item
    assert "DiscountAmount" not in item


def test_a_line_takes_the_account_of_its_product() -> None:
    widget = Parent("i", key="W-1", label="Widget", fields={"sales_account": "210", "name": "W"})
    context = replace(CONTEXT, parents={ANA: CONTEXT.parents[ANA], WIDGET: widget})
    one = invoice("10.00", "1.50", "11.50", line("10", product=WIDGET, description=None))
    item = built(one, context).payload["LineItems"][0]
    assert (item["AccountCode"], item["TaxType"], item["Description"]) == ("210", "OUTPUT2", "W")


def test_a_line_without_words_takes_the_invoices_number() -> None:
    one = invoice("10.00", "1.50", "11.50", line("10", description=""))
    assert built(one).payload["LineItems"][0]["Description"] == "INV-17"


def test_a_bill_takes_purchase_accounts_and_taxes_and_no_reference() -> None:
    one = invoice("45.00", "6.75", "51.75", line("12.50", "4", discount=D(10)))
    made = built(one, replace(CONTEXT, document_type=DocumentType.BILL))
    item = made.payload["LineItems"][0]
    assert made.payload["Type"] == "ACCPAY"
    assert "Reference" not in made.payload
    assert (item["AccountCode"], item["TaxType"]) == ("300", "INPUT2")
    assert "DiscountRate" not in item
    assert item["UnitAmount"] == D("11.25")


def test_zero_per_cent_takes_none_or_the_accounts_own_zero_rate() -> None:
    one = invoice("10.00", "0", "10.00", line("10", tax_rate=D(0)))
    item = built(one).payload["LineItems"][0]
    assert item["TaxType"] == "NONE"
    assert "TaxAmount" not in item
    exports = default_template(Module.INVOICES)
    rows = [row for row in exports.to_json()["lines"] if row["to"] != "AccountCode"]
    rows.append({"to": "AccountCode", "from": {"transform": "constant", "value": "210"}})
    template = MappingTemplate.from_json(exports.to_json() | {"lines": rows})
    assert built(one, template=template).payload["LineItems"][0]["TaxType"] == "ZERORATED"


def test_lines_of_one_rate_on_two_accounts_are_taxed_as_one_document() -> None:
    widget = Parent("i", key="W-1", label="Widget", fields={"sales_account": "850"})
    context = replace(CONTEXT, parents={ANA: CONTEXT.parents[ANA], WIDGET: widget})
    lines = (line("25.06"), line("25.61", product=WIDGET), line("25.63"))
    made = built(invoice("76.30", "11.45", "87.75", *lines), context)
    accounts = [each["AccountCode"] for each in made.payload["LineItems"]]
    assert accounts == ["200", "850", "200"]
    assert {each["TaxType"] for each in made.payload["LineItems"]} == {"OUTPUT2"}
    assert made.amount == D("87.75")


def test_a_template_may_choose_the_tax_type_of_a_rate() -> None:
    data = default_template(Module.INVOICES).to_json()
    one = invoice("10.00", "0", "10.00", line("10", tax_rate=D("0.00")))
    template = MappingTemplate.from_json(data | {"tax_types": {"0": "ZERORATED"}})
    assert built(one, template=template).payload["LineItems"][0]["TaxType"] == "ZERORATED"
    wrong = MappingTemplate.from_json(data | {"tax_types": {"0": "OUTPUT2"}})
    sentence = refused(one, template=wrong).sentence
    assert sentence == "CRM tax is 0 %, Xero's OUTPUT2 is 15 %. Choose another."


def test_a_rate_xero_does_not_have_is_refused() -> None:
    one = invoice("10.00", "1.25", "11.25", line("10", tax_rate=D("12.5")))
    made = refused(one)
    assert made.sentence.startswith(
        "CRM tax 12.5 % has no tax rate in Xero that account 200 can take."
    )
    assert made.fingerprint == "tax-rate-missing:12.5:200"


def test_inclusive_amounts_and_amounts_without_tax_say_so() -> None:
    inclusive = invoice("10.00", "1.50", "11.50", line("11.50"), amounts="inclusive")
    made = built(inclusive)
    assert made.payload["LineAmountTypes"] == "Inclusive"
    assert made.payload["LineItems"][0]["TaxAmount"] == D("1.50")
    assert made.meant["SubTotal"] == D("10.00")
    untaxed = built(invoice("11.50", "0", "11.50", line("11.50"), amounts="no tax"))
    assert untaxed.payload["LineAmountTypes"] == "NoTax"
    assert untaxed.payload["LineItems"][0]["TaxType"] == "NONE"


def test_cents_rounded_away_go_on_xeros_rounding_account() -> None:
    made = built(invoice("10.01", "1.50", "11.55", line("10.01")))
    rounding = made.payload["LineItems"][-1]
    assert rounding["Description"] == "Rounding"
    assert (rounding["AccountCode"], rounding["TaxType"]) == ("860", "NONE")
    assert rounding["UnitAmount"] == D("0.04")
    assert made.meant["Total"] == D("11.55")


def test_a_total_that_does_not_follow_from_the_lines_is_refused() -> None:
    made = refused(invoice("10.00", "1.50", "21.50", line("10")))
    assert "21.50 differs from what the lines make, 11.50" in made.sentence
    assert made.fingerprint == "money:total-differs"


def test_a_contact_that_is_not_in_xero_yet_is_named() -> None:
    made = refused(THREE_LINES, replace(CONTEXT, parents={}))
    assert made.sentence == "It needs contact 7, which isn't in Xero yet. Send that first."


def test_every_fault_of_an_invoice_is_told_at_once() -> None:
    lines = (line("10", tax_rate=D("12.5")), line("10") | {"quantity": None})
    made = refused(invoice("20.00", "3", "23.00", *lines, number="", date=None))
    assert [each.field for each in made] == [
        "Date",
        "InvoiceNumber",
        "LineItems.TaxType",
        "LineItems",
    ]
    assert "Line 2 has no quantity." in made.sentence


def test_a_float_is_no_number() -> None:
    made = refused(invoice("10", "1.5", "11.5", line("10") | {"unit_price": 10.0}))
    assert made.sentence == "Line 1, unit_price: “10.0” isn't a number that Xero takes."


def test_a_number_mapped_to_a_text_is_written_out_or_a_fault() -> None:
    one = replace(THREE_LINES, fields={**THREE_LINES.fields, "reference": D("1E+20")})
    assert built(one).payload["Reference"] == f"1{'0' * 20}"
    one = replace(THREE_LINES, fields={**THREE_LINES.fields, "reference": D("1E+999999999")})
    assert refused(one).sentence == "Reference: “1E+999999999” isn't a number that Xero takes."


def test_what_is_remembered_of_a_product_isn_t_another_s_whatever_the_last_row_reads() -> None:
    plain = default_template(Module.INVOICES)
    source = {"transform": "field", "field": "unit"}
    template = replace(
        plain, lines=(*plain.lines, Row.from_json({"to": "TaxType", "from": source}))
    )
    other = RecordRef(Module.PRODUCTS, "4")
    parents = {**CONTEXT.parents, other: Parent("item-2", key="W-2", label="Other")}
    lines = [line("10", product=one, unit=None) for one in (WIDGET, other, None)]
    one = invoice("30", "4.50", "34.50", *lines)
    context = replace(CONTEXT, parents=parents)
    items = built(one, context, template).payload["LineItems"]
    assert [item.get("ItemCode") for item in items] == ["W-1", "W-2", None]


@pytest.mark.parametrize("wrong", [D("NaN"), D("Infinity"), D("1E+40"), "ten", True, float("nan")])
def test_absurd_numbers_are_faults_and_nothing_breaks(wrong: Any) -> None:
    refused(invoice("10", "1.5", "11.5", line("10") | {"unit_price": wrong}))
    whole = invoice("10", "1.5", "11.5", line("10"))
    refused(replace(whole, fields={**whole.fields, "total": wrong}))
    refused(product(price=wrong))


def test_an_invoice_without_lines_or_accounts_says_so() -> None:
    assert "has no lines" in refused(invoice("0", "0", "0")).sentence
    unread = replace(CONTEXT, organisation=OrganisationFacts(currency="NZD"))
    assert "aren't read yet" in refused(THREE_LINES, unread).sentence


def test_fifty_invoices_of_five_lines_are_built(record_property: Note) -> None:
    lines = [line("25.06", "3", discount=D("5")) for _ in range(5)]
    one = invoice("357.11", "53.57", "410.68", *lines)
    mapper = compile_template(default_template(Module.INVOICES))
    best = 1.0
    for _ in range(5):
        began = time.process_time()
        for _ in range(50):
            assert isinstance(mapper.build(one, CONTEXT), Built)
        best = min(best, time.process_time() - began)
    record_property("figure", f"50 invoices of 5 lines are mapped in {best * 1000:.1f} ms")


# -- emptied fields ---------------------------------------------------------------------------

NOTHING = {
    "first_name": None,
    "last_name": "",
    "email": "  ",
    "phone": "",
    "street": None,
    "city": "",
    "region": "",
    "postal_code": "",
    "country": None,
    "tax_number": "",
    "account_number": None,
}
UPDATE = replace(CONTEXT, xero_id=ANA_ID)


def test_an_update_empties_what_is_empty_in_the_crm() -> None:
    assert built(contact(**NOTHING), UPDATE).payload == {
        "ContactID": ANA_ID,
        "Name": "Ana Lee Ltd",
        "FirstName": "",
        "LastName": "",
        "EmailAddress": "",
        "AccountNumber": "",
        "TaxNumber": "",
        "Phones": [{"PhoneType": "DEFAULT", "PhoneNumber": ""}],
        "Addresses": [
            {
                "AddressType": "POBOX",
                "AddressLine1": "",
                "City": "",
                "Region": "",
                "PostalCode": "",
                "Country": "",
            }
        ],
    }


def test_an_update_empties_only_what_the_mapping_fills() -> None:
    data = default_template(Module.CONTACTS).to_json()
    rows = [row for row in data["fields"] if row["to"] in ("Name", "EmailAddress")]
    template = MappingTemplate.from_json(data | {"fields": rows})
    payload = built(contact(**NOTHING), UPDATE, template).payload
    assert payload == {"ContactID": ANA_ID, "Name": "Ana Lee Ltd", "EmailAddress": ""}


def test_a_new_record_says_nothing_of_empty_fields() -> None:
    assert built(contact(**NOTHING)).payload == {
        "Name": "Ana Lee Ltd",
        "ContactNumber": "crm-Contacts-17",
    }
    assert "Reference" not in built(replace_fields(THREE_LINES, reference="")).payload


def replace_fields(one: Record, **fields: Any) -> Record:
    return replace(one, fields={**one.fields, **fields})


def test_an_update_empties_a_reference_but_neither_days_nor_codes() -> None:
    emptied = replace_fields(THREE_LINES, reference=None, due_date=None, currency="")
    payload = built(emptied, UPDATE).payload
    assert payload["Reference"] == ""
    assert not {"DueDate", "CurrencyCode"} & payload.keys()
    bill = built(emptied, replace(UPDATE, document_type=DocumentType.BILL)).payload
    assert "Reference" not in bill


def test_an_update_never_empties_what_is_required() -> None:
    assert refused(replace_fields(THREE_LINES, number=""), UPDATE).fingerprint.startswith(
        "required"
    )
    assert refused(product(code=""), UPDATE).fingerprint == "code-missing"


def test_an_update_empties_a_products_words_and_drops_the_side_without_a_price() -> None:
    payload = built(product(name="", description=None, price=None), UPDATE).payload
    assert payload == {
        "ItemID": ANA_ID,
        "Code": "W-1",
        "Name": "",
        "Description": "",
        "IsSold": False,
        "IsPurchased": False,
    }


@pytest.mark.parametrize(
    "one",
    [
        contact(),
        contact(**NOTHING),
        product(),
        product(name="", description=""),
        THREE_LINES,
        replace_fields(THREE_LINES, reference="", currency=None),
    ],
)
def test_without_empties_a_create_and_its_update_say_the_same(one: Record) -> None:
    create, update = built(one).payload, built(one, UPDATE).payload
    for payload in (create, update):
        for own in ("ContactID", "ContactNumber", "ItemID", "InvoiceID"):
            payload.pop(own, None)
    assert without_empties(create) == without_empties(update)
    assert without_empties(create) == create


def test_the_order_of_addresses_does_not_depend_on_which_part_is_empty() -> None:
    data = default_template(Module.CONTACTS).to_json()
    rows = [row for row in data["fields"] if row["to"] in ("Name", "Addresses.POBOX.City")]
    street = {"transform": "field", "field": "street"}
    rows.insert(1, {"to": "Addresses.STREET.AddressLine1", "from": street})
    rows.append({"to": "Addresses.STREET.City", "from": {"transform": "field", "field": "city"}})
    template = MappingTemplate.from_json(data | {"fields": rows})
    one = contact(street="")
    create, update = built(one, CONTEXT, template), built(one, UPDATE, template)
    assert [each["AddressType"] for each in create.payload["Addresses"]] == ["POBOX", "STREET"]
    assert [each["AddressType"] for each in update.payload["Addresses"]] == ["STREET", "POBOX"]
    same = without_empties(update.payload)["Addresses"]
    assert same == without_empties(create.payload)["Addresses"]


def test_a_field_that_was_emptied_makes_another_payload() -> None:
    before = without_empties(built(contact(), UPDATE).payload)
    for name in ("email", "phone", "city", "first_name"):
        assert without_empties(built(contact(**{name: ""}), UPDATE).payload) != before


def test_noughts_and_noes_are_not_empty() -> None:
    told = {"IsSold": False, "UnitPrice": D(0), "Lines": [{"Quantity": 0}]}
    assert without_empties({**told, "Gone": {"A": "", "B": [{"C": None}]}, "D": []}) == told


# -- templates --------------------------------------------------------------------------------

INVOICES = ModuleInfo(
    Module.INVOICES,
    fields=(
        Field("number", "Number"),
        Field("contact", "Contact", FieldKind.LINK),
        Field("date", "Date", FieldKind.DATE),
        Field("due_date", "Due date", FieldKind.DATE),
        Field("reference", "Reference"),
        Field("currency", "Currency"),
        Field("amounts", "Amounts are"),
        Field("subtotal", "Subtotal", FieldKind.NUMBER),
        Field("total", "Total", FieldKind.NUMBER),
    ),
    line_fields=(
        Field("product", "Product", FieldKind.LINK),
        Field("description", "Description"),
        Field("quantity", "Quantity", FieldKind.NUMBER),
        Field("unit_price", "Price", FieldKind.NUMBER),
        Field("discount", "Discount", FieldKind.NUMBER),
        Field("tax_rate", "Tax", FieldKind.NUMBER),
    ),
)

KINDS = [
    (Module.CONTACTS, None),
    (Module.PRODUCTS, None),
    (Module.INVOICES, DocumentType.INVOICE),
    (Module.INVOICES, DocumentType.BILL),
]


@pytest.mark.parametrize(("module", "kind"), KINDS)
def test_the_default_templates_survive_json(module: Module, kind: DocumentType | None) -> None:
    template = default_template(module, kind)
    stored = exactjson.loads(exactjson.dumps(template.to_json()))
    assert MappingTemplate.from_json(stored) == template
    assert not template.problems()


def test_the_default_templates_fit_the_crms_own_fields() -> None:
    for kind in DocumentType:
        assert not default_template(Module.INVOICES, kind).problems(INVOICES)


def changed(row: dict[str, Any], **parts: Any) -> MappingTemplate:
    data = default_template(Module.INVOICES).to_json()
    rows = [each for each in data["fields"] if each["to"] != row["to"]]
    return MappingTemplate.from_json(data | {"fields": [*rows, row]} | parts)


def test_a_crm_field_that_does_not_exist_is_told_with_a_guess() -> None:
    row = {"to": "Reference", "from": {"transform": "field", "field": "referense"}}
    with pytest.raises(TemplateFault) as told:
        compile_template(changed(row), INVOICES)
    assert told.value.faults == (
        ("Reference", "There is no field 'referense'; did you mean 'reference'?"),
    )
    compile_template(changed(row))  # nothing to compare with


def test_a_xero_field_that_does_not_exist_is_told_with_a_guess() -> None:
    row = {"to": "DueDat", "from": {"transform": "field", "field": "due_date"}}
    with pytest.raises(TemplateFault, match="There is no Xero field 'DueDat'; did you mean"):
        compile_template(changed(row))


def test_all_faults_of_a_template_are_told_at_once() -> None:
    source = {"transform": "field", "field": "due_date.name"}
    data = default_template(Module.INVOICES).to_json()
    rows = [each for each in data["fields"] if each["to"] != "Contact"]
    twice = {"to": "Date", "from": source}
    money = data["money"] | {"total": "totl"}
    template = MappingTemplate.from_json(data | {"fields": [*rows, twice], "money": money})
    with pytest.raises(TemplateFault) as told:
        compile_template(template, INVOICES)
    assert dict(told.value.faults) == {
        "Contact": "Contact is required by Xero: choose a field or a fixed value.",
        "Date": "The field 'due_date' isn't a link, so 'due_date.name' can't be read.",
        "money": "There is no field 'totl'; did you mean 'total'?",
    }
    assert "Date is filled twice." in told.value.sentence


def test_a_bill_has_no_reference_and_a_contact_no_lines() -> None:
    data = default_template(Module.INVOICES).to_json() | {"document_type": "Bill"}
    with pytest.raises(TemplateFault, match="Xero has no Reference on bills"):
        compile_template(MappingTemplate.from_json(data))
    data = default_template(Module.CONTACTS).to_json() | {"lines": data["lines"]}
    with pytest.raises(TemplateFault, match="Contacts have no lines"):
        compile_template(MappingTemplate.from_json(data))


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"module": "Invoises"}, "A mapping names its module"),
        ({"module": "Contacts", "feilds": []}, "A mapping has no part 'feilds'; did you mean"),
        ({"module": "Contacts", "version": 0}, "a whole number from 1"),
        ({"module": "Contacts", "money": {"totals": "x"}}, "did you mean 'total'?"),
        ({"module": "Contacts", "tax_types": {"x": "OUTPUT2"}}, "TaxTypes by rate"),
        ({"module": "Contacts", "fields": [{"to": "Name"}]}, "A transform is an object"),
        ({"module": "Contacts", "fields": [{"from": {}}]}, "names a Xero field in 'to'"),
        ([], "A mapping is an object with module"),
    ],
)
def test_wrong_template_data_is_told_what_is_wrong(data: Any, sentence: str) -> None:
    with pytest.raises(TemplateFault) as told:
        MappingTemplate.from_json(data)
    assert sentence in told.value.sentence


def test_a_required_row_names_the_fields_to_fill_in() -> None:
    row = {"to": "DueDate", "from": {"transform": "field", "field": "due_date"}, "required": True}
    one = invoice("10", "1.5", "11.5", line("10"), due_date=None)
    assert refused(one, template=changed(row)).fingerprint == "due-date-missing"
    mapper = compile_template(default_template(Module.INVOICES), INVOICES)
    made = mapper.build(invoice("10", "1.5", "11.5", line("10"), number=""), CONTEXT)
    assert isinstance(made, Faults)
    assert made.sentence == (
        "InvoiceNumber is empty, and Xero needs it. "
        "Fill in Number, or choose another field in the mapping."
    )


def test_an_update_empties_what_the_crm_emptied_and_nothing_that_only_xero_has() -> None:
    payload = {
        "ContactID": "c-1",
        "Name": "Ana",
        "EmailAddress": "",
        "TaxNumber": "",
        "Phones": [{"PhoneType": "DEFAULT", "PhoneNumber": ""}],
        "Addresses": [{"AddressType": "POBOX", "City": "", "AddressLine1": "1 Road"}],
    }
    agreed = {
        "Name": "Ana",
        "EmailAddress": "ana@example.com",
        "Addresses": [{"AddressType": "POBOX", "City": "Napier"}],
    }
    assert only_emptied(payload, agreed) == {
        "ContactID": "c-1",
        "Name": "Ana",
        "EmailAddress": "",
        "Addresses": [{"AddressType": "POBOX", "City": "", "AddressLine1": "1 Road"}],
    }
    assert only_emptied(payload, None)["Addresses"] == [
        {"AddressType": "POBOX", "AddressLine1": "1 Road"}
    ]
