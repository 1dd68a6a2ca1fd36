"""One worker an organisation: whoever lost the lease writes nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from tests.store.conftest import NOW, refused
from xtiger.domain.errors import LeaseLost
from xtiger.store import leases
from xtiger.store.leases import Lease
from xtiger.store.models import Connection, Organisation
from xtiger.store.schema import Database


def take(database: Database, organisation: int, holder: str, at: datetime) -> Lease | None:
    return leases.take(database, organisation, holder=holder, now=at, seconds=180)


def test_a_second_taker_is_refused_until_the_lease_ends(
    database: Database, organisation: int
) -> None:
    first = take(database, organisation, "first", NOW)
    assert first is not None
    assert take(database, organisation, "second", NOW + timedelta(seconds=179)) is None
    second = take(database, organisation, "second", NOW + timedelta(seconds=180))
    assert second is not None
    assert second.fence == first.fence + 1


def test_a_released_lease_is_free_at_once(database: Database, organisation: int) -> None:
    first = take(database, organisation, "first", NOW)
    assert first
    leases.release(database, first)
    assert take(database, organisation, "second", NOW)


def test_the_old_holder_writes_nothing(database: Database, organisation: int) -> None:
    old = take(database, organisation, "old", NOW)
    assert old
    take(database, organisation, "new", NOW + timedelta(hours=1))
    with refused(database, LeaseLost) as session:
        session.get_one(Organisation, organisation).name = "Written"
        session.flush()
        leases.guard(session, old)
    with refused(database, LeaseLost) as session:
        leases.renew(session, old, now=NOW, seconds=999)
    leases.release(database, old)
    with database.read() as session:
        row = session.get_one(Organisation, organisation)
        assert (row.name, row.holder) == ("Kauri Trading", "new")


def test_a_late_holder_whom_nobody_replaced_still_holds_it(
    database: Database, organisation: int
) -> None:
    lease = take(database, organisation, "first", NOW)
    assert lease
    with database.write() as session:
        leases.renew(session, lease, now=NOW + timedelta(hours=1), seconds=180)
    assert take(database, organisation, "second", NOW + timedelta(hours=1, seconds=100)) is None


def test_of_many_takers_at_once_one_gets_it(database: Database, organisation: int) -> None:
    with ThreadPoolExecutor(6) as pool:
        got = list(pool.map(lambda n: take(database, organisation, f"w{n}", NOW), range(6)))
    assert sum(one is not None for one in got) == 1


def test_one_refreshes_and_the_others_are_refused(database: Database) -> None:
    with database.write() as session:
        row = Connection(connected_at=NOW)
        session.add(row)
        session.flush()
        connection = int(row.id)

    def refresh(holder: str, at: datetime) -> int | None:
        return leases.take_refresh(database, connection, holder=holder, now=at, seconds=60)

    first = refresh("first", NOW)
    assert first is not None
    assert refresh("second", NOW) is None
    assert refresh("second", NOW + timedelta(seconds=61)) == first + 1
    with refused(database, LeaseLost) as session:
        leases.held_refresh(session, connection, first)
