"""The inbox: raw deliveries, and one row for each object that changed in Xero."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from sqlalchemy import select

from tests.store.conftest import NOW, undone
from xtiger.domain.resources import Resource
from xtiger.store import inbox
from xtiger.store.inbox import Changed
from xtiger.store.models import Webhook, XeroChange
from xtiger.store.schema import Database


def change(one: int, xero_id: str = "a", minutes: int = 0, times: int = 1) -> Changed:
    return Changed(one, Resource.INVOICES, xero_id, NOW + timedelta(minutes=minutes), times)


def rows(database: Database) -> list[XeroChange]:
    with database.read() as session:
        return list(session.scalars(select(XeroChange).order_by(XeroChange.id)))


def test_an_object_has_one_row_however_often_it_changed(
    database: Database, organisation: int
) -> None:
    for minutes in (5, 9, 2):
        with database.write() as session:
            inbox.put(session, [change(organisation, minutes=minutes)], now=NOW)
    [row] = rows(database)
    assert (row.resource, row.xero_id, row.changes) == ("Invoices", "a", 3)
    assert row.changed_at == NOW + timedelta(minutes=9)


def test_what_changed_once_more_while_it_was_read_stays(
    database: Database, organisation: int
) -> None:
    with database.write() as session:
        inbox.put(session, [change(organisation), change(organisation, "b")], now=NOW)
    with database.read() as session:
        taken = inbox.take(session, organisation, limit=10)
    with database.write() as session:
        inbox.put(session, [change(organisation, "b", minutes=1)], now=NOW)
    with database.write() as session:
        inbox.done(session, taken)
    assert [row.xero_id for row in rows(database)] == ["b"]


def test_a_number_is_never_used_again(database: Database, organisation: int) -> None:
    with database.write() as session:
        inbox.put(session, [change(organisation)], now=NOW)
        [first] = inbox.take(session, organisation, limit=1)
        inbox.done(session, [first])
        inbox.put(session, [change(organisation)], now=NOW)
    assert rows(database)[0].id > first.id


def test_an_unfinished_transaction_leaves_nothing(database: Database, organisation: int) -> None:
    with undone(database) as session:
        inbox.put(session, [change(organisation)], now=NOW)
    assert rows(database) == []


def test_writers_of_the_same_objects_do_not_stop_each_other(
    database: Database, organisation: int
) -> None:
    names = [str(number) for number in range(20)]

    def write(turn: int) -> None:
        order = names if turn % 2 else names[::-1]
        with database.write() as session:
            inbox.put(session, [change(organisation, name) for name in order], now=NOW)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(12)))
    assert [row.changes for row in rows(database)] == [12] * 20


def test_deliveries_wait_in_order_and_are_forgotten_by_slices(database: Database) -> None:
    with database.write() as session:
        for number in range(6):
            inbox.keep(session, b"%d" % number, now=NOW)
    with database.write() as session:
        waiting = inbox.waiting(session, limit=4)
        assert [row.body for row in waiting] == [b"0", b"1", b"2", b"3"]
        for row in waiting:
            row.handled_at = NOW
    later = NOW + timedelta(seconds=1)
    with database.write() as session:
        assert not inbox.has_older(session, before=NOW)
        assert inbox.has_older(session, before=later)
        assert inbox.forget(session, before=later, limit=3) == 3
        assert inbox.forget(session, before=later, limit=3) == 1
        assert inbox.forget(session, before=later, limit=3) == 0
    with database.read() as session:
        left = session.scalars(select(Webhook.body).order_by(Webhook.id)).all()
        newest = inbox.last(session)
    assert left == [b"4", b"5"], "what waits is never forgotten"
    assert newest is not None
    assert newest.body == b"5"
