"""Permissions: what is asked for of which app, and what a connection lacks."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.conftest import Engine
from tests.engine.scenes import KAURI, rows_of
from xtiger.engine.connection import connect
from xtiger.engine.connection.permissions import EXTRAS, lacking, scopes
from xtiger.store.models import Connection

GRANULAR = (
    "openid profile email offline_access accounting.contacts accounting.settings "
    "accounting.invoices accounting.payments accounting.attachments"
)
BROAD = (
    "openid profile email offline_access accounting.contacts accounting.settings "
    "accounting.transactions accounting.attachments"
)


@pytest.mark.parametrize(
    ("extras", "broad", "custom", "asked"),
    [
        ((), False, False, GRANULAR),
        (("bank",), False, False, f"{GRANULAR} accounting.banktransactions"),
        (
            EXTRAS,
            False,
            False,
            f"{GRANULAR} accounting.banktransactions accounting.classicexpenses",
        ),
        (("unheard of",), False, False, GRANULAR),
        ((), True, False, BROAD),
        (EXTRAS, True, False, BROAD),
        ((), False, True, GRANULAR.partition("offline_access ")[2]),
        ((), True, True, BROAD.partition("offline_access ")[2]),
    ],
)
def test_each_app_is_asked_for_its_own_scopes(
    extras: tuple[str, ...], broad: bool, custom: bool, asked: str
) -> None:
    assert scopes(extras, broad=broad, custom=custom) == asked


@pytest.mark.parametrize(
    ("granted", "extras", "names"),
    [
        (GRANULAR, (), []),
        (BROAD, EXTRAS, []),
        (GRANULAR, ("bank", "receipts"), ["bank", "receipts"]),
        (GRANULAR.replace("accounting.payments", ""), (), ["payments"]),
        (GRANULAR.replace("payments", "payments.read"), (), ["payments"]),
        ("", (), []),
    ],
)
def test_what_a_connection_lacks_is_named(
    granted: str, extras: tuple[str, ...], names: list[str]
) -> None:
    assert [each.name for each in lacking(granted, extras)] == names


def test_connect_asks_for_what_was_ticked(engine: Engine) -> None:
    connect.save_app(engine.services, client_id="", secret=None, who="Ana", extras=["bank"])
    url = connect.begin(engine.services, who="Ana").url
    [asked] = parse_qs(urlsplit(url).query)["scope"]
    assert asked == f"{GRANULAR} accounting.banktransactions"
    engine.connect(KAURI)
    assert set(rows_of(engine, Connection)[0].scope.split()) == set(asked.split())
    services = replace(engine.services, settings=replace(engine.settings, xero_scopes="broad"))
    [asked] = parse_qs(urlsplit(connect.begin(services, who="Ana").url).query)["scope"]
    assert asked == BROAD


def test_saving_the_app_without_its_boxes_leaves_them(engine: Engine) -> None:
    connect.save_app(engine.services, client_id="", secret=None, who="Ana", extras=["bank", "x"])
    connect.save_app(engine.services, client_id="", secret=None, who="Ana")
    assert connect.app_details(engine.services).extras == ("bank",)


def test_the_environments_kind_of_app_wins(engine: Engine) -> None:
    locked = replace(engine.services, settings=replace(engine.settings, xero_app_kind="custom"))
    connect.save_app(locked, client_id="", secret=None, who="Ana", kind="web")
    assert connect.app_details(locked).kind == "custom"
    assert "offline_access" not in connect.app_details(locked).scopes
    assert connect.app_details(engine.services).kind == "web"
