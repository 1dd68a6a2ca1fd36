"""CSV files: text that a spreadsheet would run is disarmed, numbers stay numbers."""

from __future__ import annotations

import csv
from datetime import UTC, date, datetime
from decimal import Decimal
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.web.conftest import Browser
from xtiger.store.models import QueueItem
from xtiger.web.sheets import disarm, lines


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_text_that_begins_like_a_formula_gets_an_apostrophe(start: str) -> None:
    assert disarm(f"{start}SUM(A1)") == f"'{start}SUM(A1)"


def test_numbers_days_and_moments_are_plain() -> None:
    assert disarm(Decimal("-1150.00")) == "-1150.00"
    assert disarm(Decimal("1E+3")) == "1000"
    assert disarm(-5) == "-5"
    assert disarm(date(2026, 11, 21)) == "2026-11-21"
    assert disarm(datetime(2026, 11, 21, 3, tzinfo=UTC)) == "2026-11-21T03:00:00+00:00"
    assert disarm(None) == ""


@given(st.lists(st.lists(st.text(), min_size=2, max_size=2)))
def test_whatever_text_is_written_is_read_back_disarmed(rows: list[list[str]]) -> None:
    text = "".join(lines(["a", "b"], rows))
    assert text.startswith("\ufeff")
    read = list(csv.reader(StringIO(text[1:], newline="")))
    assert read[1:] == [[disarm(cell) for cell in row] for row in rows]
    assert not any(
        cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in read for cell in row
    )


def test_the_queues_file_has_every_row_once(browser: Browser) -> None:
    with browser.services.database.write() as session:
        for number in range(10, 1210):
            session.add(
                QueueItem(
                    organisation_id=1,
                    module="Contacts",
                    record_id=str(number),
                    slot=f"Contacts:{number}",
                    label="=1+1",
                    resource="Contacts",
                    rank=20,
                    added_at=browser.services.clock.now(),
                    changed_at=browser.services.clock.now(),
                )
            )
    answer = browser.get("/queue.csv?module=Contacts")
    assert answer.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.reader(StringIO(answer.text[1:], newline="")))
    assert len(rows) == 1201
    assert len({row[0] for row in rows}) == 1201
    assert {row[4] for row in rows[1:]} == {"'=1+1"}


def test_the_logs_file_names_both_ids_and_the_mail(browser: Browser) -> None:
    text = browser.get("/logs.csv?outcome=succeeded").text
    assert "INV-1" in text
    assert "9c1f6b1e-0000-4000-8000-000000000001" in text
    assert ",sent," in text
    assert "INV-2" not in text
