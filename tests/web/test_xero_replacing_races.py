"""Replace with… while others lock, save and change the same: what is done is said."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from sqlalchemy import event, text, update

from tests.conftest import Engine
from tests.engine.scenes import crm, organisation
from tests.web.conftest import Browser
from tests.web.replacing_scenes import begin, booked, press, text_of
from xtiger.crm import rebooking
from xtiger.crm.builtin import Product, Service
from xtiger.engine.mapping import kept_tests, mappings, replacing, uses, versions
from xtiger.store import templates


@pytest.fixture
def kauri(sqlite_engine: Engine) -> Engine:
    """Kauri, as `begin` leaves it."""
    begin(sqlite_engine)
    return sqlite_engine


@contextmanager
def before_each_flush(empty: Browser, happens: Callable[[Any], None]) -> Iterator[None]:
    """What happens, with the CRM's own session, whenever its changes are about to be written."""
    crm_session = empty.app.extensions["sqlalchemy"].session

    def listener(session: Any, *_: Any) -> None:
        if any(isinstance(one, Product | Service) for one in session.dirty):
            happens(session)

    event.listen(crm_session, "before_flush", listener)
    try:
        yield
    finally:
        event.remove(crm_session, "before_flush", listener)


def test_a_locked_database_is_said_with_what_was_done_before(
    kauri: Engine, empty: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebooking, "MOST_ROWS", 1)
    flushes = []

    def impatient(connection: Any, *_: Any) -> None:
        connection.execute("PRAGMA busy_timeout=20")

    event.listen(empty.services.database.engine, "checkout", impatient)
    with closing(sqlite3.connect(str(kauri.database.url.database))) as other:

        def locks(session: Any) -> None:
            flushes.append(1)
            if len(flushes) == 2:
                other.execute("BEGIN IMMEDIATE")
                session.execute(text("PRAGMA busy_timeout=20"))

        with before_each_flush(empty, locks):
            answer = press(empty, kauri, "260")
        other.rollback()
    after = text_of(empty.after(answer))
    assert re.search(r"replaced by 260 in .*Invoice \(v2\) and on 1 product\.", after)
    assert "The database doesn't answer (database is locked). Press Replace once more." in after
    assert "Who uses what couldn't be counted anew. Press Refresh on Xero Accounts." in after
    assert sorted(booked(kauri).values(), key=str) == ["200", "260", "260"]
    again = text_of(empty.after(press(empty, kauri, "260")))
    assert "Account 200 is replaced by 260 on 1 product." in again
    assert set(booked(kauri).values()) == {"260"}


def saved_by_bo(engine: Engine) -> None:
    """Bo saves each product at this very moment."""
    with crm(engine) as session:
        session.execute(update(Product).values(edition=Product.edition + 1))


def test_whoever_saves_a_product_meanwhile_goes_first_slice_by_slice(
    kauri: Engine, empty: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebooking, "MOST_ROWS", 1)
    flushes = []

    def twice_of_three(_session: Any) -> None:
        flushes.append(1)
        if len(flushes) % 3:
            saved_by_bo(kauri)

    with before_each_flush(empty, twice_of_three):
        after = text_of(empty.after(press(empty, kauri, "260")))
    assert "and on 2 products." in after
    assert len(flushes) == 6
    assert set(booked(kauri).values()) == {"260"}


def test_where_others_keep_saving_it_stops_and_says_what_is_done(
    kauri: Engine, empty: Browser
) -> None:
    with before_each_flush(empty, lambda _session: saved_by_bo(kauri)):
        after = text_of(empty.after(press(empty, kauri, "260")))
    assert "Somebody is changing the same products now. Press Replace once more." in after
    assert re.search(r"Account 200 is replaced by 260 in .*Invoice \(v2\)\. ", after)
    assert booked(kauri)["W-1"] == "200"


def before_saving(
    monkeypatch: pytest.MonkeyPatch, name: str, happens: Callable[[mappings.Bench], None]
) -> None:
    """What happens just before one of the mappings is saved, after all were judged."""
    save = versions.save

    def later(services: Any, on: mappings.Bench, *given: Any, **more: Any) -> Any:
        if uses.named(on.place.module, on.place.document_type) == name:
            monkeypatch.setattr(versions, "save", save)
            happens(on)
        return save(services, on, *given, **more)

    monkeypatch.setattr(versions, "save", later)


def test_a_mapping_saved_at_this_very_moment_ends_it_and_what_is_saved_is_said(
    kauri: Engine, empty: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bo(on: mappings.Bench) -> None:
        old = replacing.Old(organisation(kauri).id, "accounts", "200")
        assert on.latest
        theirs = replacing.replaced(old, versions.read_version(on.latest), "270")
        versions.save(kauri.services, on, theirs, seen=1, who="Bo")

    before_saving(monkeypatch, "Invoice", bo)
    answer = press(empty, kauri, "260")
    assert answer.status_code == 409
    said = text_of(answer.text)
    assert "Account 200 is replaced by 260 in Products (v2) and Services (v2)." in said
    assert "Bo changed the mapping Invoice meanwhile" in said
    assert booked(kauri)["W-1"] == "200", "products come after all mappings"


def test_a_test_kept_at_this_very_moment_ends_it_with_its_own_sentence(
    kauri: Engine, empty: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bo(on: mappings.Bench) -> None:
        records = mappings.records_here(kauri.services, on)
        subject = mappings.subjects(kauri.services, on, records)[0]
        with kauri.database.write() as session:
            templates.keep_test(
                session,
                on.place,
                "Sales go on 200",
                sample=kept_tests.sample_of(subject),
                expected={"LineItems[1].AccountCode": "200"},
                who="Bo",
                now=kauri.services.clock.now(),
            )

    before_saving(monkeypatch, "Invoice", bo)
    answer = press(empty, kauri, "260")
    assert answer.status_code == 422
    said = text_of(answer.text)
    assert "Account 200 is replaced by 260 in Products (v2) and Services (v2)." in said
    assert re.search(r"Invoice can't take it: .*Sales go on 200.* It wasn't changed\.", said)
    assert "Nothing was changed." not in said
    assert "meanwhile" not in said
