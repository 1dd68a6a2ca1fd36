"""What the tests of the mapping pages share: the form as a browser sends it, its organisation."""

from __future__ import annotations

from html import unescape
from html.parser import HTMLParser
from typing import Any

from werkzeug.test import TestResponse

from tests.web.conftest import NOW, Browser
from xtiger.domain.defaults import MappingTemplate
from xtiger.domain.records import DocumentType, Module
from xtiger.store import profiles, templates
from xtiger.store.models import Template
from xtiger.store.templates import Place

PAGE = "/mapping/1/Invoices"
AT = Place(1, Module.INVOICES, DocumentType.INVOICE)

ACCOUNTS = [
    {"Code": "200", "Name": "Sales", "Type": "REVENUE", "Class": "REVENUE", "TaxType": "OUTPUT2"},
    {"Code": "245", "Name": "Old", "Type": "REVENUE", "Class": "REVENUE", "Status": "ARCHIVED"},
    {"Code": "300", "Name": "Purchases", "Type": "EXPENSE", "Class": "EXPENSE"},
    {"Code": "860", "Name": "Rounding", "Type": "EXPENSE", "Class": "EXPENSE",
     "SystemAccount": "ROUNDING"},
]  # fmt: skip
TAX_RATES = [
    {"TaxType": "OUTPUT2", "Name": "15% GST on Income", "EffectiveRate": 15,
     "CanApplyToRevenue": True, "Status": "ACTIVE"},
    {"TaxType": "INPUT2", "Name": "15% GST on Expenses", "EffectiveRate": 15,
     "CanApplyToExpenses": True, "Status": "ACTIVE"},
    {"TaxType": "NONE", "Name": "No Tax", "EffectiveRate": 0, "CanApplyToRevenue": True,
     "CanApplyToExpenses": True, "Status": "ACTIVE"},
]  # fmt: skip


class Entries(HTMLParser):
    """The controls of the mapping form with their values, as a browser would send them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.values: list[tuple[str, str]] = []
        self.inside = False
        self._select: str | None = None
        self._area: str | None = None
        self._chosen: str | None = None
        self._first: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self.inside = "data-mapping" in given
        if not self.inside:
            return
        name, value = given.get("name"), given.get("value") or ""
        if tag == "input" and name:
            kind = given.get("type")
            if kind not in ("checkbox", "radio") or "checked" in given:
                self.values.append((name, value))
        elif tag == "select" and name:
            self._select, self._chosen, self._first = name, None, None
        elif tag == "option" and self._select:
            self._first = value if self._first is None else self._first
            if "selected" in given:
                self._chosen = value
        elif tag == "textarea" and name:
            self._area = name

    def handle_data(self, data: str) -> None:
        if self._area:
            self.values.append((self._area, data))
            self._area = None

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.inside = False
        elif tag == "select" and self._select:
            chosen = self._chosen if self._chosen is not None else self._first or ""
            self.values.append((self._select, chosen))
            self._select = None
        elif tag == "textarea":
            self._area = None


def entries(page: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in Entries(page).values:
        found.setdefault(name, []).append(value)
    assert found, "the page has no form"
    return found


def press(
    browser: Browser, act: str, page: str | None = None, path: str = PAGE, **changes: Any
) -> TestResponse:
    """Presses a button of the form that a page shows, some entries changed before."""
    form: dict[str, Any] = entries(page or browser.get(path).text)
    for name, value in changes.items():
        key = name.replace("__", "|")
        form[key] = value
    return browser.client.post(f"/xtiger{path.partition('?')[0]}", data=form | {"act": act})


def text_of(answer: TestResponse) -> str:
    return unescape(answer.text)


def result_of(page: str, row: str) -> str:
    """The text of a row's result."""
    part = page.split(f'data-live="result-{row}"', 1)[1].split("</div>", 1)[0]
    return unescape("".join(f"<{part}".split(">", 1)[1:])).replace("</p>", "")


def versions(browser: Browser, at: Place = AT) -> list[Template]:
    with browser.services.database.read() as session:
        return list(templates.versions(session, at))


def newest(browser: Browser, at: Place = AT) -> MappingTemplate:
    return MappingTemplate.from_json(versions(browser, at)[0].body)


def row(template: MappingTemplate, to: str) -> Any:
    found = [each for each in (*template.fields, *template.lines) if each.to == to]
    return found[0].source.to_json() if found else None


def read_reference(browser: Browser) -> Browser:
    """Gives the organisation accounts and tax rates, as if they had been read from Xero."""
    with browser.services.database.write() as session:
        profiles.put_reference(
            session,
            1,
            {
                "organisation": [{"Name": "Acme NZ", "BaseCurrency": "NZD", "CountryCode": "NZ"}],
                "accounts": ACCOUNTS,
                "tax_rates": TAX_RATES,
            },
            NOW,
        )
    return browser
