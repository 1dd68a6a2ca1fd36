"""What processes keep of settings and of Xero, where two of them keep it at one moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from sqlalchemy.orm import Session

from tests.locks import until_waiting
from tests.store.conftest import NOW
from xtiger.store import profiles
from xtiger.store.schema import Database


@contextmanager
def meanwhile(database: Database, other: Callable[[Session], None]) -> Iterator[Session]:
    """A transaction that another begins beside, which ends after it; what broke it is raised."""

    def work() -> None:
        with database.write() as session:
            other(session)

    with ThreadPoolExecutor(1) as pool:
        with database.write() as session:
            yield session
            session.flush()
            done = pool.submit(work)
            until_waiting(database)
        done.result()


def test_of_two_that_set_something_for_the_first_time_the_later_stands(database: Database) -> None:
    def second(session: Session) -> None:
        profiles.put_setting(session, "new", "second", who="Bo", now=NOW)

    with meanwhile(database, second) as session:
        profiles.put_setting(session, "new", "first", who="Ana", now=NOW)
    with database.read() as session:
        assert profiles.setting(session, "new") == "second"


def test_of_two_that_read_the_same_of_xero_the_later_stands(
    database: Database, organisation: int
) -> None:
    def put(*codes: str) -> Callable[[Session], None]:
        return lambda session: profiles.put_reference(
            session, organisation, {"accounts": codes, "tax_rates": []}, NOW
        )

    for first, second in (("200", "260"), ("300", "360")):
        with meanwhile(database, put(second)) as session:
            put(first)(session)
        with database.read() as session:
            assert profiles.reference(session, organisation)["accounts"].data == [second]
