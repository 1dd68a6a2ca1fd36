"""Every form carries a token of this session, and a post without one does nothing."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import select

from tests.web.conftest import ADDRESSES, Browser, Tags
from tests.web.test_access import MACHINES, VALUES, rules
from xtiger.store.models import Organisation, QueueItem
from xtiger.web.actions import own_path


def test_every_post_without_a_token_is_refused_with_a_sentence(
    browser: Browser, app: Flask
) -> None:
    for endpoint, rule in rules(app, "POST").items():
        if endpoint in MACHINES:
            continue
        path = app.url_map.bind("localhost").build(
            rule.endpoint, {name: VALUES[name] for name in rule.arguments}
        )
        for form in ({}, {"csrf_token": "made up"}):
            answer = browser.client.post(path, data={**form, "action": "retry", "ids": "2"})
            assert answer.status_code == 400, endpoint
            assert "nothing was done" in answer.text
    with browser.services.database.read() as session:
        assert session.scalars(select(QueueItem.state).order_by(QueueItem.id)).all() == [
            "succeeded",
            "failed",
        ]
        assert session.scalar(select(Organisation.paused_at)) is None


def test_every_form_that_posts_has_a_token(browser: Browser) -> None:
    for endpoint, path in ADDRESSES.items():
        if endpoint.endswith(("csv", "_file")):
            continue
        tags = Tags(browser.get(path, follow_redirects=True).text)
        posts = [form for form in tags.all("form") if form.get("method") == "post"]
        tokens = [one for one in tags.all("input") if one.get("name") == "csrf_token"]
        assert len(posts) == len(tokens), endpoint


def test_a_way_back_never_leads_elsewhere(browser: Browser) -> None:
    for elsewhere in (
        "https://evil.test/xtiger/",
        "//evil.test/xtiger/",
        "/\\evil.test",
        "/xtiger/\\@evil.test",
        "javascript:alert(1)",
        "/\t/evil.test",
        "/xtiger/\t/evil.test",
        "/xtiger/\x00",
        "/xtiger//evil.test",
        "/xtiger/../host/sign-out",
        "/xtiger/%2e%2e/host/sign-out",
        "/host/sign-out",
        "http://[",
        "",
    ):
        answer = browser.post("/queue/pause/1", back=elsewhere)
        assert answer.headers["Location"] == "/xtiger/queue", elsewhere
        answer = browser.post("/appearance", theme="dark", next=elsewhere)
        assert answer.headers["Location"] == "/xtiger/", elsewhere


@pytest.mark.parametrize("elsewhere", ["/\t/evil.test", "//evil.test", "/\\evil.test", "/\r/x"])
def test_at_the_root_a_way_back_never_leads_elsewhere_either(elsewhere: str) -> None:
    """Where every path is below our root, only the path's own shape can tell."""
    alone = Flask("alone")
    alone.add_url_rule("/", "xtiger.dashboard", lambda: "")
    with alone.test_request_context():
        assert own_path(elsewhere) is None
        assert own_path("/queue?q=http://a.test/#top") == "/queue?q=http://a.test/#top"


def test_a_way_back_keeps_its_query(browser: Browser) -> None:
    here = "/xtiger/queue?state=all&q=INV%2F1"
    assert browser.post("/queue/pause/1", back=here).headers["Location"] == here
    assert browser.post("/appearance", theme="dark", next=here).headers["Location"] == here


def test_the_host_keeps_its_own_rules(app: Flask, browser: Browser) -> None:
    @app.post("/host/hook")
    def hook() -> str:
        return "taken"

    assert browser.client.post("/host/hook").text == "taken"
    assert "Content-Security-Policy" not in browser.client.post("/host/hook").headers
