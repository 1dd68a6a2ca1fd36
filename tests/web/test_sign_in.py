"""Sign-in of the standalone server: its tries, its cookies, and the few addresses open to all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
import time_machine
from flask import Flask
from werkzeug.test import TestResponse

from xtiger.accounts import add_user
from xtiger.app import create_app
from xtiger.store.schema import migrate

ANA, BO, PASSWORD = "ana@example.com", "bo@example.com", "correct horse battery"
WRONG = "E-mail and password don&#39;t match. After 5 tries sign-in rests for 15 minutes."
NOON = datetime(2026, 11, 21, 14, 4, 30, tzinfo=UTC)


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Flask]:
    """The standalone server with two people, at an https address."""
    app = create_app(
        instance=tmp_path / "instance",
        environment={
            "XTIGER_DATABASE_URL": f"sqlite:///{tmp_path / 'x.sqlite'}",
            "XTIGER_PUBLIC_URL": "https://localhost",
        },
    )
    database = app.extensions["xtiger"].services.database
    migrate(database)
    for email in (ANA, BO):
        add_user(
            app,
            app.extensions["sqlalchemy"],
            email=email,
            name="",
            password=PASSWORD,
            role="administrator",
        )
    yield app
    database.close()


@pytest.mark.parametrize(("method", "path"), [("GET", "/sign-in"), ("POST", "/webhooks/xero")])
def test_a_foreign_host_name_is_refused_in_one_line(alone: Flask, method: str, path: str) -> None:
    answer = alone.test_client().open(path, method=method, base_url="https://evil.example")
    assert answer.status_code == 400
    assert answer.text == "This server answers to its own name only.\n"
    assert "Set-Cookie" not in answer.headers


class Visitor:
    """Somebody who isn't signed in yet, at an address of the network."""

    def __init__(self, app: Flask, address: str = "192.0.2.1") -> None:
        self.client = app.test_client()
        self.more: dict[str, Any] = {
            "base_url": "https://localhost",
            "environ_base": {"REMOTE_ADDR": address},
        }

    def get(self, path: str) -> TestResponse:
        return self.client.get(path, **self.more)

    def sign_in(self, password: str, email: str = ANA, **form: str) -> TestResponse:
        """Fills the form in as it stands on the page."""
        found = re.search(r'name="csrf_token"[^>]* value="([^"]+)"', self.get("/sign-in").text)
        assert found
        data = {"csrf_token": found[1], "email": email, "password": password, **form}
        headers = {"Referer": "https://localhost/sign-in"}
        return self.client.post("/sign-in", data=data, headers=headers, **self.more)


def fail(visitor: Visitor, times: int, **form: str) -> None:
    for _ in range(times):
        answer = visitor.sign_in("wrong", **form)
        assert answer.status_code == 200
        assert WRONG in answer.text


def test_after_five_tries_sign_in_rests_even_with_the_right_password(alone: Flask) -> None:
    visitor = Visitor(alone)
    with time_machine.travel(NOON, tick=False) as clock:
        fail(visitor, 5)
        answer = visitor.sign_in(PASSWORD)
        assert answer.status_code == 429
        assert "Too many tries. Sign in after 14:20." in answer.text
        clock.shift(timedelta(minutes=14))
        assert visitor.sign_in(PASSWORD).status_code == 429
        clock.shift(timedelta(minutes=2))
        assert visitor.sign_in(PASSWORD).status_code == 302
        assert visitor.get("/").status_code == 200


def test_the_fifth_try_may_be_the_right_one_and_right_ones_dont_count(alone: Flask) -> None:
    fail(Visitor(alone), 4)
    for _ in range(6):
        assert Visitor(alone).sign_in(PASSWORD).status_code == 302
    fail(Visitor(alone), 1)
    assert Visitor(alone).sign_in(PASSWORD).status_code == 429


def test_others_go_on_signing_in(alone: Flask) -> None:
    fail(Visitor(alone), 5)
    assert Visitor(alone).sign_in(PASSWORD, email=BO).status_code == 302
    assert Visitor(alone, "192.0.2.2").sign_in(PASSWORD).status_code == 302


def test_another_spelling_of_the_same_e_mail_is_the_same(alone: Flask) -> None:
    for email in ("Ana@Example.com", " ana@example.com", "ANA@example.com", "ana@EXAMPLE.com"):
        fail(Visitor(alone), 1, email=email)
    fail(Visitor(alone), 1, email="ana@ｅxample.com")
    assert Visitor(alone).sign_in(PASSWORD).status_code == 429


def test_an_e_mail_nobody_has_is_told_the_same(alone: Flask) -> None:
    fail(Visitor(alone), 5, email="nobody@example.com")
    assert Visitor(alone).sign_in("x", email="nobody@example.com").status_code == 429


def test_json_can_try_no_more_often(alone: Flask) -> None:
    alone.config["WTF_CSRF_ENABLED"] = False
    visitor = Visitor(alone)
    codes = [
        visitor.client.post(
            "/sign-in", json={"email": ANA, "password": "wrong"}, **visitor.more
        ).status_code
        for _ in range(6)
    ]
    assert codes == [400] * 5 + [429]


def test_a_kept_sign_in_lasts_14_days_and_travels_encrypted_only(alone: Flask) -> None:
    answer = Visitor(alone).sign_in(PASSWORD, remember="y")
    cookies = {one.partition("=")[0]: one for one in answer.headers.getlist("Set-Cookie")}
    kept = cookies["xtiger_remember"]
    ends = parsedate_to_datetime(re.findall(r"Expires=([^;]+)", kept)[0])
    assert abs(ends - datetime.now(UTC) - timedelta(days=14)) < timedelta(minutes=1)
    for cookie in (kept, cookies["xtiger"]):
        assert {"Secure", "HttpOnly", "SameSite=Lax"} <= set(cookie.split("; "))


def test_only_these_addresses_are_open_to_all(alone: Flask) -> None:
    ours = ("xtiger.", "xtiger_crm.")
    others = {
        rule.rule: rule.endpoint
        for rule in alone.url_map.iter_rules()
        if not rule.endpoint.startswith(ours)
    }
    assert others == {
        "/sign-in": "security.login",
        "/sign-out": "security.logout",
        "/healthz": "healthz",
    }
    answering = {
        rule.rule
        for rule in alone.url_map.iter_rules()
        if "GET" in (rule.methods or ())
        and not rule.arguments
        and Visitor(alone).get(rule.rule).status_code == 200
    }
    assert {one for one in answering if not one.startswith(("/static/", "/assets/"))} == {
        "/sign-in",
        "/healthz",
    }


def test_a_host_gets_no_limiter(app: Flask) -> None:
    assert "limiter" not in app.extensions
