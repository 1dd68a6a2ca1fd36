"""What counts as in the Queue: one figure in the menu, on the cards, and in the tabs."""

from __future__ import annotations

import re

import pytest

from tests.web.conftest import Browser
from tests.web.test_queue_pages import add
from tests.web.test_warnings_shown import statements
from xtiger.store.models import Organisation


@pytest.fixture
def busy(browser: Browser) -> Browser:
    """Two organisations in use and one that is no more, with items in every state."""
    with browser.services.database.write() as session:
        session.add_all(
            Organisation(tenant_id=f"t{number}", name=name, chosen=chosen, connection_id=1)
            for number, name, chosen in ((2, "Acme UK", True), (3, "Gone Ltd", False))
        )
    for number, (organisation, state) in enumerate(
        [(1, state) for state in ("pending", "pending", "running", "blocked", "check")]
        + [(2, state) for state in ("pending", "succeeded", "cancelled", "superseded")]
        + [(3, state) for state in ("pending", "failed")]
    ):
        parent = {"blocked_by": 2} if state == "blocked" else {}
        add(browser, f"C-{number}", state, organisation_id=organisation, **parent)
    return browser


def badges(page: str) -> list[str]:
    """The figures behind Queue in the menu: what is in it, what needs somebody."""
    menu = page.partition('<nav class="menu')[2].partition("</nav>")[0]
    [link] = [one for one in menu.split("<li>") if "<span>Queue</span>" in one]
    return re.findall(r'<span class="count[^"]*"[^>]*>([\d,+]+)<', link)


def cards(page: str) -> list[list[int]]:
    """In Queue, and Failed with Check, of each card."""
    found = []
    for card in page.split('data-key="org-')[1:]:
        figures = dict(re.findall(r"<dt>(In Queue|Failed|Check)</dt><dd>(?:<a[^>]*>)?(\d+)", card))
        found.append(
            [int(figures["In Queue"]), int(figures["Failed"]) + int(figures.get("Check", 0))]
        )
    return found


@pytest.mark.parametrize(
    ("query", "wanted"), [("", [[4, 2], [1, 0]]), ("?org=1", [[4, 2]]), ("?org=2", [[1, 0]])]
)
def test_menu_and_cards_say_the_same(busy: Browser, query: str, wanted: list[list[int]]) -> None:
    page = busy.get(f"/{query}").text
    assert cards(page) == wanted
    sums = [sum(one) for one in zip(*wanted, strict=True)]
    for path in ("/", "/queue", "/runs"):
        said = [int(one) for one in badges(busy.get(f"{path}{query}").text)]
        assert said == [one for one in sums if one], path


def test_each_figure_of_the_menu_says_what_it_counts(busy: Browser) -> None:
    page = busy.get("/").text
    assert '5<span class="visually-hidden"> in the Queue</span>' in page
    assert '2<span class="visually-hidden"> needing you</span>' in page


def test_the_menu_keeps_the_organisation_shown(busy: Browser) -> None:
    page = busy.get("/?org=2").text
    assert 'href="/xtiger/queue?org=2"' in page
    assert 'href="/xtiger/queue"' in busy.get("/").text


def test_many_organisations_cost_no_more_statements_than_two(busy: Browser) -> None:
    def asked() -> int:
        with statements(busy) as said:
            assert busy.get("/runs").status_code == 200
        return sum("FROM xtiger_queue" in one for one in said)

    few = asked()
    with busy.services.database.write() as session:
        session.add_all(
            Organisation(tenant_id=f"more{number}", name=f"More {number}", chosen=True)
            for number in range(30)
        )
    assert asked() == few


def test_a_cards_figure_leads_to_the_records_it_counts(browser: Browser) -> None:
    with browser.services.database.write() as session:
        session.add(Organisation(tenant_id="t2", name="Acme UK", chosen=True, connection_id=1))
    add(browser, "C-1", "blocked", organisation_id=2, blocked_by=2)
    assert 'href="/xtiger/queue?state=blocked&amp;org=2">1</a>' in browser.get("/").text


@pytest.mark.parametrize("query", ["", "?state=nonsense", "?state=failed"])
def test_the_queues_file_holds_what_the_page_shows(browser: Browser, query: str) -> None:
    page = browser.get(f"/queue{query}").text
    [link] = re.findall(r'href="([^"]*queue\.csv[^"]*)"', page)
    rows = browser.client.get(link.replace("&amp;", "&")).text.splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == ["2"]
