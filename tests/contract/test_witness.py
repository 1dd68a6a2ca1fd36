"""The checks of every exchange are checked themselves: damaged answers must not pass."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.witness import laws, shapes
from tests.witness.damages import DAMAGES, damaged
from tests.witness.plugin import Exchange, exchanges
from xtiger import sandbox

from .conftest import SandboxClient

#: Damages of each kind for each answer.
EACH = 6
LEAST = 0.9


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> list[Exchange]:
    """Answers of every sort: lists, single objects, writes and refusals."""
    folder = tmp_path_factory.mktemp("record")
    with sandbox.start(record=folder) as running:
        client = SandboxClient(running)
        _play(client)
        requests.get(f"{running.api_url}/_control/counts", timeout=30)
    accounting = (one for one in exchanges(folder) if "/api.xro/" in one.path)
    return [one for one in accounting if isinstance(one.answered, dict)]


def _play(client: SandboxClient) -> None:
    made = client.created(
        "Invoices",
        client.invoice(
            Status="AUTHORISED",
            DueDate="2026-12-01",
            Url="https://crm.example.com/1",
            LineItems=[
                {"Description": "A", "Quantity": 3, "UnitAmount": 9.99, "AccountCode": "200"},
                {"Description": "B", "Quantity": 1, "UnitAmount": 20, "AccountCode": "260"},
            ],
        ),
    )
    contact = made["Contact"]["ContactID"]
    paid = {
        "Invoice": {"InvoiceID": made["InvoiceID"]},
        "Account": {"Code": "090"},
        "Date": "2026-11-21",
        "Amount": 5,
    }
    client.created("Payments", paid)
    client.created(
        "CreditNotes",
        {
            "Type": "ACCRECCREDIT",
            "Contact": {"ContactID": contact},
            "Status": "AUTHORISED",
            "LineItems": [
                {"Description": "A", "Quantity": 1, "UnitAmount": 10, "AccountCode": "200"}
            ],
        },
    )
    client.created("Items", {"Code": client.name("W"), "SalesDetails": {"UnitPrice": 1.5}})
    client.put("Invoices", client.invoice(CurrencyCode="XXX"))
    for path in (
        "Organisation",
        "Accounts",
        "TaxRates",
        "Items",
        "Contacts?page=1",
        "Invoices?page=1",
        "CreditNotes?page=1",
        "Payments?page=1",
        f"Invoices/{made['InvoiceID']}",
        f"Contacts/{contact}",
    ):
        assert client.get(path).status_code == 200


def faults_of(answer: Any, place: str, known: shapes.Shapes) -> list[str]:
    return [*shapes.strange(known, answer, place), *laws.broken(answer)]


def test_what_the_local_xero_answers_passes(recorded: list[Exchange]) -> None:
    known = shapes.load()
    for one in recorded:
        assert faults_of(one.answered, one.place, known) == [], one.path


def test_nine_damages_of_ten_are_caught(
    recorded: list[Exchange], record_property: Callable[[str, object], None]
) -> None:
    known, chance = shapes.load(), random.Random(20261121)
    done: Counter[str] = Counter()
    caught: Counter[str] = Counter()
    for one in recorded:
        for kind in DAMAGES:
            for _ in range(EACH):
                spoiled = damaged(one.answered, kind, chance)
                if spoiled is None:
                    continue
                done[kind] += 1
                caught[kind] += bool(faults_of(spoiled, one.place, known))
    rows = [f"{kind}: {caught[kind]} of {done[kind]}" for kind in DAMAGES]
    share = caught.total() / done.total()
    record_property("figure", f"damages caught: {share:.1%} ({'; '.join(rows)})")
    assert done.total() > 300
    assert set(done) == set(DAMAGES)
    assert share >= LEAST


def test_shapes_and_laws_alone_would_not_do(recorded: list[Exchange]) -> None:
    """A cent is a matter of the laws, a lost field one of the shapes: both are needed."""
    known, chance = shapes.load(), random.Random(7)
    cents = [damaged(one.answered, "a cent too much", chance) for one in recorded]
    assert any(
        laws.broken(one.answered) == [] and laws.broken(spoiled)
        for one, spoiled in zip(recorded, cents, strict=True)
        if spoiled is not None and not shapes.strange(known, spoiled, one.place)
    )


def test_a_record_holds_no_secret(recorded: list[Exchange], tmp_path: Path) -> None:
    with sandbox.start(record=tmp_path) as running:
        token = str(SandboxClient(running).token()["access_token"])
        secret = running.client_secret
    text = "".join(file.read_text() for file in tmp_path.glob("*.jsonl"))
    assert "connect/token" in text
    assert token not in text
    assert secret not in text
