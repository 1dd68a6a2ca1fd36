"""Strict pages: the content policy, nothing inline, nothing from elsewhere, names on controls."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from tests.web.conftest import ADDRESSES, Browser, Tags
from xtiger.web.assets import ICONS, sprite
from xtiger.web.words import PAGES, WORDS

#: Files have none, and a rendered mail is nobody's page of ours (test_reports).
PAGES_WITH_A_BODY = [
    name for name in ADDRESSES if not name.endswith(("csv", "json", "_file", "_shown"))
]
#: Words no page says (PAGES: sentences).
NOT_USED = (
    "error occurred",
    "something went wrong",
    "invalid",
    "oops",
    "please",
    "successfully",
    "sync issue",
    "try again later",
    "unknown error",
    "are you sure",
    "!",
)


def test_the_policy_names_only_ourselves_and_xeros_login(browser: Browser) -> None:
    for path in ("/", "/queue/_live", "/nothing-here", "/records/Invoices/99"):
        answer = browser.get(path)
        if path == "/nothing-here":
            continue
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
        assert "form-action 'self' https://login.xero.test" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("endpoint", PAGES_WITH_A_BODY)
def test_nothing_on_a_page_is_inline_or_from_elsewhere(browser: Browser, endpoint: str) -> None:
    for tag, attributes in Tags(browser.get(ADDRESSES[endpoint], follow_redirects=True).text).tags:
        assert tag != "style"
        assert tag != "script" or (attributes.get("src") or "").startswith("/xtiger/static/")
        for name, value in attributes.items():
            assert name != "style", (tag, attributes)
            assert not name.startswith("on"), (tag, attributes)
            if name in {"src", "action"} or (name == "href" and tag != "a"):
                assert (value or "/").startswith(("/xtiger", "#")), (tag, attributes)


@pytest.mark.parametrize("endpoint", PAGES_WITH_A_BODY)
def test_every_control_has_a_name(browser: Browser, endpoint: str) -> None:
    text = browser.get(ADDRESSES[endpoint], follow_redirects=True).text
    tags = Tags(text)
    labelled = {label.get("for") for label in tags.all("label")}
    for control in tags.all("input", "select", "textarea"):
        if control.get("type") != "hidden":
            assert control.get("aria-label") or control.get("id") in labelled, control
    ids = [attributes["id"] for _, attributes in tags.tags if attributes.get("id")]
    assert len(ids) == len(set(ids)), "an id is there twice"


@pytest.mark.parametrize("endpoint", [one for one in PAGES_WITH_A_BODY if "_live" not in one])
def test_a_page_has_one_heading_and_its_landmarks(browser: Browser, endpoint: str) -> None:
    tags = Tags(browser.get(ADDRESSES[endpoint], follow_redirects=True).text)
    assert len(tags.all("h1")) == 1
    assert len(tags.all("main")) == 1
    assert all(table is not None for table in tags.all("table"))
    assert len(tags.all("caption")) == len(tags.all("table"))


def test_the_sprite_has_every_icon_that_pages_draw(browser: Browser) -> None:
    known = set(re.findall(r'id="([^"]+)"', sprite()))
    assert known == set(ICONS)
    drawn = set()
    for path in ADDRESSES.values():
        drawn |= set(re.findall(r'icons\.svg[^"#]*#([\w-]+)"', browser.get(path).text))
    for template in files("xtiger.templates").joinpath("xtiger").iterdir():
        if template.name.endswith(".html"):
            drawn |= set(re.findall(r"icon\('([\w-]+)'\)", template.read_text()))
    assert drawn <= known


def test_files_come_from_our_own_routes(browser: Browser) -> None:
    for name in ("xtiger.css", "xtiger.js", "tiger.svg", "bootstrap.css", "icons.svg"):
        assert browser.get(f"/static/xtiger/{name}").status_code == 200, name


def test_no_sentence_has_a_word_that_pages_dont_use() -> None:
    for key, sentence in {**WORDS, **PAGES}.items():
        for word in NOT_USED:
            assert word not in sentence.lower(), key
