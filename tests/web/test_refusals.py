"""Pages that say no: each says it once, and leads on."""

from __future__ import annotations

import re

import pytest

from tests.web.conftest import Browser, People


@pytest.mark.parametrize("path", ["/queue/99", "/runs/99", "/logs/99", "/reports/99"])
def test_no_page_is_said_once_with_a_way_on(browser: Browser, path: str) -> None:
    answer = browser.get(path)
    assert answer.status_code == 404
    [title] = re.findall(r"<title>(.*?)</title>", answer.text)
    [heading] = re.findall(r"<h1>(.*?)</h1>", answer.text)
    assert (title, heading) == ("No page here · XTiger", "No page here")
    assert answer.text.count("No page here") == 2, "the title of the window, and of the page"
    assert "The address may be mistyped, or what it showed is no longer kept." in answer.text
    assert 'href="/xtiger/">Dashboard</a>' in answer.text


def test_a_refusal_says_its_title_once(browser: Browser, people: People) -> None:
    people.be("user")
    page = browser.get("/queue").text
    assert re.findall(r"<h1>(.*?)</h1>", page) == ["Not for your role"]
    assert page.count("Not for your role") == 2
