"""Who may open what: refused unless declared, and each role exactly as the table has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from flask import Blueprint, Flask

from tests.web.conftest import ADDRESSES, HOSTILE, Browser, People, Tags
from xtiger.store.models import Mail
from xtiger.web import PUBLIC, TOKENLESS, create_blueprint
from xtiger.web.access import ROLES, guard

USER = {
    "dashboard",
    "dashboard_live",
    "search",
    "records_home",
    "records",
    "record",
    "record_live",
    "crm_new",
    "crm_edit",
}
MANAGER = (USER - {"crm_new", "crm_edit"}) | {
    "queue",
    "queue_live",
    "queue_csv",
    "queue_item",
    "runs",
    "runs_live",
    "run",
    "run_live",
    "logs",
    "logs_csv",
    "log",
    "email_notification",
    "email_new",
    "email_edit",
    "reports",
    "reports_csv",
    "reports_figures",
    "reports_figures_csv",
    "report",
    "report_shown",
    "report_file",
}
OPEN = {"user": USER, "manager": MANAGER, "administrator": set(ADDRESSES)}

POSTS = {
    "user": {
        "appearance",
        "records_bulk",
        "record_flag",
        "record_sync",
        "record_add",
        "record_retry",
        "crm_add",
        "crm_save",
    },
    "manager": {
        "appearance",
        "email_add",
        "email_save",
        "email_remove",
        "email_test",
        "report_again",
    },
}

FILES = {"static", "bootstrap_css", "icons"}
#: What machines post to, which prove themselves by a signature instead of a session: Xero's, or
#: ours in the link of a mail.
MACHINES = {"xero_webhook", "unsubscribe_stop", "unsubscribe_again"}
#: What machines read, which prove themselves by a token or by standing on this one.
READ_BY_MACHINES = {"metrics"}
#: What the signed link in a mail opens, for whoever holds it.
BY_LINK = {"unsubscribe"}
#: The parts of addresses that take one, as they exist in `browser`.
VALUES = {
    "module": "Invoices",
    "record_id": "2",
    "org": 1,
    "organisation_id": 1,
    "position": 2,
    "subscription_id": 1,
    "mail_id": 1,
    "token": "1.made-up",
}


def rules(app: Flask, method: str) -> dict[str, Any]:
    """Our endpoints that answer a method."""
    return {
        rule.endpoint.rpartition(".")[2]: rule
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith(("xtiger.", "xtiger_crm.")) and method in (rule.methods or ())
    }


def test_the_addresses_of_these_tests_are_all_there_are(app: Flask) -> None:
    assert set(rules(app, "GET")) - FILES - READ_BY_MACHINES - BY_LINK == set(ADDRESSES)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("endpoint", ADDRESSES)
def test_each_role_opens_what_the_table_gives_it(
    browser: Browser, people: People, role: str, endpoint: str
) -> None:
    people.be(role)
    answer = browser.get(ADDRESSES[endpoint])
    if endpoint in OPEN[role]:
        assert answer.status_code in {200, 302, 303}, answer.text
    else:
        assert answer.status_code == 403
        assert "Ask Ana or Bea." in answer.text
        assert f"Your role is {role.capitalize()}." in answer.text


@pytest.mark.parametrize("role", ["user", "manager"])
def test_each_role_does_only_what_the_table_gives_it(
    browser: Browser, people: People, role: str
) -> None:
    people.be(role)
    with browser.services.database.write() as session:
        session.get_one(Mail, 1).recipient = people.current.email  # nobody else's: test_reports
    token = browser.token()
    for endpoint, rule in rules(browser.app, "POST").items():
        with browser.app.test_request_context():
            path = browser.app.url_map.bind("localhost").build(
                rule.endpoint, {name: VALUES[name] for name in rule.arguments}
            )
        answer = browser.client.post(path, data={"csrf_token": token})
        assert (answer.status_code != 403) == (endpoint in POSTS[role] | MACHINES), endpoint


@pytest.mark.parametrize("action", ["tick", "untick", "type:Bill", "sync", "queue"])
def test_a_manager_sees_ticks_but_sets_none(browser: Browser, people: People, action: str) -> None:
    people.be("manager")
    answer = browser.post("/records/Invoices/bulk", ids="2", action=action)
    assert answer.status_code == 403


@pytest.mark.parametrize("endpoint", ADDRESSES)
def test_nobody_is_sent_to_sign_in_and_comes_back(
    browser: Browser, people: People, endpoint: str
) -> None:
    people.be(None)
    path = ADDRESSES[endpoint]
    answer = browser.get(path)
    if endpoint.endswith("_live"):
        assert answer.status_code == 401
    else:
        assert answer.status_code == 302
        assert answer.headers["Location"] == f"/host/sign-in?next=/xtiger{path}"


def test_nobody_can_post_anything(browser: Browser, people: People) -> None:
    token = browser.token()
    people.be(None)
    answer = browser.client.post("/xtiger/sync", data={"csrf_token": token})
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith("/host/sign-in")


def test_what_is_open_to_all_is_one_list(app: Flask) -> None:
    declared = {
        endpoint.rpartition(".")[2]
        for endpoint, view in app.view_functions.items()
        if endpoint.startswith("xtiger.") and not hasattr(view, "xtiger_needs")
    }
    assert declared == set(PUBLIC) == FILES | MACHINES | READ_BY_MACHINES | BY_LINK
    assert set(TOKENLESS) == MACHINES


def test_what_is_open_to_all_still_needs_a_token_to_post(app: Flask) -> None:
    """Unless it is named as a machine's address too."""
    fresh = Flask("fresh")
    fresh.secret_key = "k"
    fresh.extensions = dict(app.extensions)
    fresh.register_blueprint(create_blueprint())
    second = _forgetful(public=("forgotten",))
    second.add_url_rule("/forgotten", "forgotten", methods=["POST"])
    fresh.register_blueprint(second, url_prefix="/second")
    client = fresh.test_client()
    assert client.get("/second/forgotten").text == "open"
    assert client.post("/second/forgotten").status_code == 400


def test_a_route_that_declares_nothing_is_refused_to_all(app: Flask, people: People) -> None:
    fresh = Flask("fresh")
    fresh.secret_key = "k"
    fresh.extensions = dict(app.extensions)
    fresh.register_blueprint(create_blueprint())
    fresh.register_blueprint(_forgetful(), url_prefix="/second")
    people.be("administrator")
    assert fresh.test_client().get("/second/forgotten").status_code == 403


def _forgetful(**lists: Sequence[str]) -> Blueprint:
    """A blueprint under the same guard, with a view that forgot to say what it needs."""
    blueprint = Blueprint("second", __name__)
    guard(blueprint, **lists)
    blueprint.add_url_rule("/forgotten", "forgotten", lambda: "open")
    return blueprint


@pytest.mark.parametrize("role", ROLES)
def test_a_link_that_leads_to_a_refusal_isnt_drawn(
    browser: Browser, people: People, role: str
) -> None:
    people.be(role)
    followed: dict[str, int] = {}
    for endpoint in OPEN[role] - {"connection_callback", "records_home", "mapping"}:
        page = browser.get(ADDRESSES[endpoint])
        for link in Tags(page.text).all("a"):
            href = link.get("href") or ""
            if href.startswith("/xtiger") and "#" not in href:
                if href not in followed:
                    followed[href] = browser.client.get(href).status_code
                assert followed[href] != 403, f"{endpoint}: {href}"


def test_a_manager_reads_the_sentence_but_no_body(browser: Browser, people: People) -> None:
    people.be("manager")
    page = browser.get("/logs/2").text
    assert "Account 200 is archived in Xero." in page
    assert "InvoiceNumber" not in page
    assert "Your role is Manager." in page


def test_no_page_tells_a_token_or_secret(browser: Browser) -> None:
    page = browser.get("/logs/1").text
    assert "[hidden]" in page
    assert "Bearer" not in page


def test_what_the_crm_holds_is_text_everywhere(browser: Browser) -> None:
    for endpoint, path in ADDRESSES.items():
        assert HOSTILE not in browser.get(path).text or endpoint.endswith("csv"), endpoint


def test_a_record_that_isnt_there_says_so(browser: Browser) -> None:
    for path in ("/records/Invoices/99", "/records/Invoices/x", "/records/Cars/1"):
        answer = browser.get(path)
        assert answer.status_code == 404
        assert "exist or you can&#39;t see it." in answer.text
