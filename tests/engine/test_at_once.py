"""Two people who do the same at one moment: one of them is told, and nothing is taken twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from tests.conftest import Engine
from tests.locks import until_waiting
from tests.store.conftest import NOW
from xtiger.domain.errors import PermanentError
from xtiger.engine.connection import connect
from xtiger.engine.reporting import subscriptions
from xtiger.engine.reporting.subscriptions import Choices
from xtiger.store import leases
from xtiger.store.models import Organisation, Profile, Subscription


def test_who_adds_an_address_that_another_just_added_is_told(engine: Engine) -> None:
    address = "ana@example.com"
    with ThreadPoolExecutor(1) as pool:
        with engine.database.write() as session:
            session.add(Subscription(address=address, made_by="Ana", made_at=NOW))
            session.flush()
            other = pool.submit(
                subscriptions.subscribe, engine.services, address, Choices(daily=True), who="Bo"
            )
            until_waiting(engine.database)
        with pytest.raises(PermanentError, match="is on the list already"):
            other.result()


def test_of_two_organisations_chosen_at_once_one_takes_all(engine: Engine) -> None:
    ids = engine.connect()
    with engine.database.write() as session:
        session.query(Profile).delete()
        session.query(Organisation).update({"chosen": False})
        tenants = session.scalars(select(Organisation.tenant_id)).all()
    assert len(ids) == len(tenants) == 2
    with ThreadPoolExecutor(2) as pool:
        with engine.database.write() as session:
            leases.lock_all(session)
            others = [
                pool.submit(connect.choose, engine.services, [tenant], who="Ana")
                for tenant in tenants
            ]
            until_waiting(engine.database, 2)
        for other in others:
            other.result()
    with engine.database.read() as session:
        routes = session.scalars(select(Profile.route_field).where(Profile.module == "Invoices"))
        assert sorted(routes, key=str) == [None, "currency"]
