"""Two at once: a document is never in two organisations, and nobody waits for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from tests import books
from tests.conftest import Engine
from tests.engine.scenes import (
    KAURI,
    THAMES,
    all_ended,
    ask,
    bindings_of,
    crm,
    invoices,
    items,
    kept,
    ref_of,
    sync,
    tick,
    work,
)
from xtiger.crm.builtin import Invoice
from xtiger.domain.errors import PermanentError, XTigerError
from xtiger.domain.records import DocumentType
from xtiger.engine import intake, scheduler, standing
from xtiger.engine.connection import connect
from xtiger.store import queue
from xtiger.store.models import Flag, Profile


def everywhere(engine: Engine) -> tuple[int, int]:
    """Two organisations that take whatever is sent to them."""
    ids = engine.connect(KAURI, THAMES)
    with engine.database.write() as session:
        session.execute(update(Profile).values(enabled=True))
    return ids[KAURI], ids[THAMES]


def untaxed(engine: Engine, organisation_id: int) -> Invoice:
    """An invoice that either organisation can take, chosen for one of them."""
    with crm(engine) as session:
        buyer = books.contact(session)
        row = books.invoice(
            session, "INV-1", buyer, (None, "1", "100", "0", "0"), currency="GBP", amounts="no tax"
        )
    tick(engine, row, organisation_id=organisation_id)
    return row


def only_once(engine: Engine) -> None:
    assert kept(engine, KAURI)["invoices"] + kept(engine, THAMES)["invoices"] <= 1
    sent = [item for item in items(engine, "Invoices") if item.state != "cancelled"]
    assert len({item.organisation_id for item in sent}) == 1


@pytest.mark.parametrize("step", ["open_items", "drop"])
def test_a_document_that_is_routed_elsewhere_while_it_is_claimed_goes_to_one_of_the_two(
    engine_on_postgres: Engine, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    engine = engine_on_postgres
    there, here = everywhere(engine)
    document = untaxed(engine, here)
    ask(engine, here)
    intake.set_flag(engine.services, ref_of(document), who="Ana", organisation_id=there)
    real: Callable[..., Any] = getattr(queue, step)
    relay = intake.relay
    other = threading.Thread(target=scheduler.work, args=(engine.worker("other"), here))

    def meanwhile(*arguments: Any, **options: Any) -> Any:
        if other.ident is None:
            other.start()
            other.join(0.7)  # it goes on only if nothing keeps it from what is being decided
        return real(*arguments, **options)

    # The other worker has read the changes before this one came.
    monkeypatch.setattr(intake, "relay", lambda s: 0 if s.worker == "other" else relay(s))
    monkeypatch.setattr(queue, step, meanwhile)
    intake.relay(engine.services)
    other.join(30)
    assert not other.is_alive()
    monkeypatch.undo()
    ask(engine, there)
    work(engine)
    only_once(engine)


@pytest.mark.parametrize("step", ["claimed", "answered"])
def test_a_document_at_xero_stays_there_whatever_its_currency_becomes(
    each_engine: Engine, step: str
) -> None:
    engine = each_engine
    ids = engine.connect(KAURI, THAMES)
    [document] = invoices(engine)
    ask(engine, ids[KAURI])
    rerouted: list[str] = []

    def observe(now: str) -> None:
        running = [item for item in items(engine, "Invoices") if item.state == "running"]
        if now == step and running and not rerouted:
            rerouted.append(now)
            with crm(engine) as session:
                session.get(Invoice, document.id).currency = "GBP"
            intake.relay(engine.services)

    scheduler.work(engine.worker("w", observe=observe), ids[KAURI])
    assert rerouted
    ask(engine, ids[THAMES])
    work(engine)
    assert {item.organisation_id for item in items(engine)} == {ids[KAURI]}
    assert kept(engine, THAMES)["invoices"] == 0


@pytest.mark.parametrize("step", ["claimed", "journalled", "answered"])
def test_type_and_organisation_of_a_document_at_xero_cannot_change_until_it_answered(
    engine: Engine, step: str
) -> None:
    ids = engine.connect(KAURI, THAMES)
    [document] = invoices(engine)
    ask(engine, ids[KAURI])
    told: set[str] = set()

    def observe(now: str) -> None:
        running = [item for item in items(engine, "Invoices") if item.state == "running"]
        if now != step or not running:
            return
        changes: list[dict[str, Any]] = [
            {"document_type": DocumentType.BILL},
            {"organisation_id": ids[THAMES]},
        ]
        for change in changes:
            with pytest.raises(PermanentError) as refusal:
                intake.set_flag(engine.services, ref_of(document), who="Ana", **change)
            told.add(refusal.value.sentence)

    scheduler.work(engine.worker("w", observe=observe), ids[KAURI])
    assert told == {
        "It is at Xero now; type and organisation can't change until Xero has answered."
    }
    work(engine)
    assert all_ended(engine)
    assert bindings_of(engine)[f"Invoices:{document.id}"].document_type == "Invoice"
    assert kept(engine, THAMES)["invoices"] == 0


def test_the_refusal_names_the_type_that_the_document_has_in_xero(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    [document] = invoices(engine)
    tick(engine, document, document_type=DocumentType.BILL)
    ask(engine, one)
    work(engine)
    ref = ref_of(document)
    with engine.database.write() as session:  # however the flag came to say something else
        session.execute(update(Flag).values(document_type="Invoice"))
    with pytest.raises(PermanentError, match="It is a Bill in Xero; the type can't change"):
        intake.set_flag(engine.services, ref, who="Ana", document_type=DocumentType.INVOICE)
    intake.set_flag(engine.services, ref, who="Ana", document_type=DocumentType.BILL)


def test_many_who_add_and_one_who_sends_never_wait_for_each_other_for_ever(
    each_engine: Engine,
) -> None:
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]
    refs = [ref_of(row) for row in invoices(engine, 20)]
    intake.relay(engine.services)
    faults: list[str] = []

    def carefully(what: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        for _ in range(3):
            try:
                what(*arguments, **options)
            except XTigerError as fault:
                faults.append(fault.sentence)

    threads = [
        threading.Thread(
            target=carefully,
            args=(intake.add_records, replace(engine.services, worker=f"w{number}"), order),
            kwargs={"who": "Ana"},
        )
        for number, order in enumerate([refs, refs[::-1], refs, refs[::-1]])
    ]
    ask(engine, one)
    threads.append(
        threading.Thread(target=carefully, args=(scheduler.work, engine.worker("sender"), one))
    )
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert faults == []
    assert not any(thread.is_alive() for thread in threads)
    ask(engine, one)
    work(engine)
    assert kept(engine)["invoices"] == 20
    assert all_ended(engine)


def test_a_document_stays_where_it_is_when_its_organisation_is_disconnected(
    sqlite_engine: Engine,
) -> None:
    engine = sqlite_engine
    ids = engine.connect(KAURI, THAMES)
    [there] = invoices(engine, currency="GBP", amounts="no tax")
    sync(engine)
    bound = bindings_of(engine)[f"Invoices:{there.id}"]
    assert bound.organisation_id == ids[THAMES]
    [waiting] = invoices(engine, first=2, currency="GBP", amounts="no tax")
    intake.relay(engine.services)
    connect.disconnect(engine.services, ids[THAMES], who="Ana")
    tick(engine, there, waiting)
    sync(engine)
    for document in (there, waiting):
        assert ids[KAURI] not in {
            item.organisation_id
            for item in items(engine, "Invoices")
            if item.record_id == str(document.id)
        }
    [standing_there] = standing.standing(engine.services, books.ref(there))
    assert standing_there.sentence == "Its organisation isn't connected."


def test_go_live_takes_what_was_ticked_before(sqlite_engine: Engine) -> None:
    engine = sqlite_engine
    invoices(engine, 2)
    intake.relay(engine.services)
    engine.connect(KAURI)
    assert [item.state for item in items(engine, "Invoices")] == ["pending", "pending"]
