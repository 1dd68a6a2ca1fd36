"""What tests of Replace with… share: Kauri with an archived account, and pressing the button."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from sqlalchemy import select

from tests import books
from tests.conftest import Engine
from tests.engine.scenes import KAURI, crm, invoices, item_of, organisation, stranger, sync
from tests.web.conftest import Browser
from xtiger.crm.builtin import Product, Service
from xtiger.domain.records import DocumentType, Module
from xtiger.engine.connection import reference
from xtiger.store import templates
from xtiger.store.models import Template

SALES = {"kind": "accounts", "code": "200"}


def text_of(page: str) -> str:
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", page)))


def page_of(engine: Engine) -> str:
    return f"/xero-accounts/{organisation(engine).id}/replace"


def archive(engine: Engine, code: str) -> None:
    """Somebody archives an account in Xero, and XTiger reads it."""
    client = stranger(engine)
    accounts = client.get("Accounts").json()["Accounts"]
    [found] = [one for one in accounts if one.get("Code") == code]
    answer = client.post(f"Accounts/{found['AccountID']}", {"Status": "ARCHIVED"})
    assert answer.status_code == 200, answer.text
    reference.refresh_reference(engine.services, organisation(engine).id, whole=True)


def begin(engine: Engine) -> None:
    """Kauri, whose account 200 was archived, two products on it, and an invoice that failed."""
    engine.connect(KAURI)
    with crm(engine) as session:
        books.product(session, "W-1", sales_account="200")
        books.product(session, "W-2", sales_account="200", purchase_account="310")
        books.product(session, "W-3", sales_account="260")
    archive(engine, "200")
    invoices(engine)
    sync(engine)
    assert item_of(engine, "INV-1").cause == "account-archived:200"


def newest(engine: Engine) -> dict[str, Template]:
    found, one = {}, organisation(engine).id
    with engine.database.read() as session:
        for module in (Module.PRODUCTS, Module.SERVICES, Module.INVOICES):
            for kind in DocumentType if module is Module.INVOICES else [None]:
                row = templates.newest(session, one, module, kind)
                if row is not None:
                    found[kind.value if kind else module.value] = row
    return found


def entries(page: str) -> dict[str, str]:
    """The hidden entries of the form that asks."""
    form = page.split('<form method="post" action="/xtiger/xero-accounts/', 1)[1].split(
        "</form>", 1
    )[0]
    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form)
    return {name: unescape(value) for name, value in found}


def press(browser: Browser, engine: Engine, new: str, page: str | None = None) -> Any:
    path = page_of(engine)
    page = page or browser.get(path, query_string=SALES).text
    return browser.client.post(f"/xtiger{path}", data=entries(page) | {"new": new})


def booked(engine: Engine) -> dict[str, str | None]:
    with crm(engine) as session:
        rows = [*session.scalars(select(Product)), *session.scalars(select(Service))]
        return {row.code: row.sales_account for row in rows}
