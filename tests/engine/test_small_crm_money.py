"""The small CRM reads plain documents by two statements, and what few of them have by two more."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import event

from tests import books
from tests.conftest import Engine
from xtiger.crm.builtin import Invoice
from xtiger.domain.records import Module, Record, RecordRef

D = Decimal
GST = {"name": "GST", "rate": D(10), "compound": False}
PST = {"name": "PST", "rate": D("5.5"), "compound": True}


def read(engine: Engine, *ids: int) -> tuple[list[Record], int]:
    """Records as the port hands them out, and by how many statements."""
    ran: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.lstrip().upper().startswith("SELECT"):
            ran.append(statement)

    event.listen(engine.host_engine, "before_cursor_execute", note)
    refs = [RecordRef(Module.INVOICES, str(one)) for one in ids]
    found = engine.crm.fetch_many(refs)
    event.remove(engine.host_engine, "before_cursor_execute", note)
    return [found[ref] for ref in refs], len(ran)


def change(engine: Engine, one: int, how: Callable[[Invoice], None]) -> None:
    with engine.crm_sessions() as session:
        how(session.get_one(Invoice, one))
        session.commit()


@pytest.fixture
def two(engine: Engine) -> tuple[int, int]:
    """Two plain invoices of two lines."""
    with engine.crm_sessions() as session:
        buyer = books.contact(session)
        lines = [(None, "1", "100.00"), (None, "2", "10.00", "5")]
        made = [books.invoice(session, number, buyer, *lines) for number in ("A", "B")]
        session.commit()
        return made[0].id, made[1].id


def test_plain_documents_are_read_by_two_statements(engine: Engine, two: tuple[int, int]) -> None:
    records, statements = read(engine, *two)
    assert statements == 2
    for record in records:
        assert not any(record.fields.get(name) for name in ("charges", "adjustment", "tax_mode"))
        assert not any(line.get("taxes") for line in record.lines)


def test_what_few_have_is_read_only_of_those(engine: Engine, two: tuple[int, int]) -> None:
    charge = {"description": "Shipping", "amount": D("12.35"), "taxes": [GST]}

    def more(invoice: Invoice) -> None:
        invoice.charges, invoice.tax_mode = [charge], "individual"
        invoice.header_discount_amount = D("1.50")
        invoice.lines[1].taxes = [GST, PST]
        invoice.count()

    change(engine, two[1], more)
    (plain, rich), statements = read(engine, *two)
    assert statements == 4
    assert "charges" not in plain.fields
    assert rich.fields["charges"] == (charge,)
    assert rich.fields["tax_mode"] == "individual"
    assert rich.fields["header_discount_amount"] == D("1.50")
    assert "taxes" not in rich.lines[0]
    assert rich.lines[1]["taxes"] == (GST, PST)
    numbers = [rich.fields["charges"][0]["amount"], rich.lines[1]["taxes"][0]["rate"]]
    assert all(type(one) is D for one in numbers)


@pytest.mark.parametrize(
    "how",
    [
        lambda invoice: setattr(invoice, "adjustment", D("0.01")),
        lambda invoice: setattr(invoice, "header_discount", D(5)),
        lambda invoice: setattr(invoice, "withheld", D(1)),
        lambda invoice: setattr(invoice, "tax_mode", "individual"),
        lambda invoice: setattr(invoice, "charges", [{"description": "x", "amount": D(1)}]),
        lambda invoice: setattr(invoice.lines[1], "discount_amount", D(1)),
        lambda invoice: setattr(invoice.lines[0], "taxes", [GST, PST]),
    ],
)
def test_each_of_them_makes_another_version(
    sqlite_engine: Engine, how: Callable[[Invoice], None]
) -> None:
    with sqlite_engine.crm_sessions() as session:
        lines = [(None, "1", "100.00"), (None, "2", "10.00", "5")]
        one = books.invoice(session, "A", books.contact(session), *lines).id
        session.commit()
    [before], _ = read(sqlite_engine, one)
    change(sqlite_engine, one, how)
    [after], _ = read(sqlite_engine, one)
    assert after.version != before.version
    change(sqlite_engine, one, lambda invoice: setattr(invoice, "xero_id", "x"))
    assert read(sqlite_engine, one)[0][0].version == after.version
