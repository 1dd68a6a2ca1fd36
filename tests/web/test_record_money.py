"""The record page's Money box: line by line the CRM, as Xero counts, and the difference."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest

from tests.web.conftest import NOW, Browser
from xtiger.crm.builtin import Invoice, InvoiceLine
from xtiger.store import profiles

D = Decimal
ACCOUNTS: list[dict[str, Any]] = [
    {
        "Code": "200",
        "Name": "Sales",
        "Type": "REVENUE",
        "Class": "REVENUE",
        "TaxType": "OUTPUT2",
        "Status": "ACTIVE",
    }
]
ABLE = {"CanApplyToRevenue": True, "CanApplyToExpenses": True}
RATES = [
    {"TaxType": "OUTPUT2", "Name": "15", "EffectiveRate": 15, "Status": "ACTIVE", **ABLE},
    {"TaxType": "NONE", "Name": "No tax", "EffectiveRate": 0, "Status": "ACTIVE", **ABLE},
]


@pytest.fixture
def knowing(browser: Browser) -> Browser:
    """Accounts and tax rates of the organisation are read."""
    with browser.services.database.write() as session:
        data = {"organisation": [{"Name": "Acme NZ", "BaseCurrency": "NZD"}]}
        known = data | {"accounts": ACCOUNTS, "tax_rates": RATES}
        profiles.put_reference(session, 1, known, NOW)
    return browser


def add(browser: Browser, *prices: str, total: str | None = None, **fields: Any) -> int:
    """An invoice of 15 % lines; a total of its own is stored as another CRM might."""
    with browser.app.app_context():
        session = browser.app.extensions["sqlalchemy"].session
        invoice = Invoice(
            number="INV-9",
            contact_id=1,
            date=NOW.date(),
            due_date=NOW.date(),
            currency="NZD",
            amounts="exclusive",
            status="Approved",
            **fields,
        )
        for place, price in enumerate(prices):
            line = InvoiceLine(place=place, description=f"Work {place}", quantity=D(1))
            line.unit_price, line.discount, line.tax_rate = D(price), D(0), D(15)
            invoice.lines.append(line)
        invoice.count()
        if total is not None:
            invoice.total = D(total)
        session.add(invoice)
        session.commit()
        return int(invoice.id)


def rows(browser: Browser, number: int) -> tuple[list[list[str]], str]:
    """The box's rows as words, and the page."""
    page = browser.get(f"/records/Invoices/{number}").text
    box = page[page.index('id="money-title"') : page.index('id="fields-title"')]
    found = []
    for row in re.findall(r"<tr.*?</tr>", box, re.DOTALL):
        cells = re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)
        found.append([" ".join(re.sub(r"<[^>]+>", "", cell).split()) for cell in cells])
    return found, page.replace("&#39;", "'")


def test_each_line_stands_on_both_sides(knowing: Browser) -> None:
    found, page = rows(knowing, add(knowing, "25.06", "25.61", "25.63"))
    assert found[0][-3:] == ["CRM", "As Xero counts", "Difference"]
    assert found[1] == ["–", "Work 0", "1", "25.06", "–", "15", "25.06", "25.06", "0.00"]
    assert found[-3:] == [
        ["Subtotal", "NZD 76.30", "NZD 76.30", "0.00"],
        ["Tax", "NZD 11.45", "NZD 11.45", "0.00"],
        ["Total", "NZD 87.75", "NZD 87.75", "0.00"],
    ]
    assert "as Acme NZ will have it" in page


def test_what_is_no_line_has_its_own_row(knowing: Browser) -> None:
    shipping = [{"description": "Shipping", "amount": D("12.35"), "taxes": []}]
    number = add(knowing, "100", header_discount=D(10), charges=shipping, adjustment=D("-0.50"))
    found, page = rows(knowing, number)
    assert [row[0] for row in found[2:]] == [
        "Discount 10 %",
        "Shipping",
        "Adjustment",
        "Subtotal",
        "Tax",
        "Total",
    ]
    assert found[2][1:] == ["-10.00", "-10.00", "0.00"]
    assert found[-1] == ["Total", "NZD 115.35", "NZD 115.35", "0.00"]
    assert ">Discount on all" not in page  # said here, not among the fields


def test_a_refused_document_says_why_in_the_box(knowing: Browser) -> None:
    found, page = rows(knowing, add(knowing, "100", total="121"))
    assert "It isn't sent: The total 121.00 differs from what the lines make, 115.00" in page
    assert found[-1] == ["Total", "NZD 121.00", "NZD 115.00", "-6.00"]
    found, page = rows(knowing, add_again(knowing))
    assert "send it as a credit note" in page
    assert found[-1] == ["Total", "NZD -57.50", "–", "–"]


def add_again(browser: Browser) -> int:
    """The same invoice, of which only a negative line is left."""
    with browser.app.app_context():
        session = browser.app.extensions["sqlalchemy"].session
        invoice = session.query(Invoice).filter_by(number="INV-9").one()
        invoice.lines[0].unit_price = D(-50)
        invoice.count()
        session.commit()
        return int(invoice.id)


def test_without_accounts_from_xero_the_crm_s_own_amounts_are_shown(browser: Browser) -> None:
    found, page = rows(browser, add(browser, "25.06"))
    assert found[0][-1] == "Amount"
    assert "As Xero counts" not in page
    assert "NZD 28.82" in page
