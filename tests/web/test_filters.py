"""A filter that names nothing known is told in one sentence, and never breaks a page."""

from __future__ import annotations

import html
import re

import pytest

from tests.web.conftest import HOSTILE, Browser


def told(page: str) -> list[str]:
    """What the page says of filters that it left out."""
    found = re.findall(r'<p class="flash tone-paused" data-unknown>.*?<span>(.*?)</span>', page)
    return [html.unescape(one) for one in found]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/queue?state=nonsense", "“nonsense” isn't a state; Failed is shown."),
        ("/queue?module=Nothing", "“Nothing” isn't a module; all modules are shown."),
        ("/queue?action=Fly", "“Fly” isn't an action; all actions are shown."),
        ("/queue?run=x7", "“x7” isn't a run's number; all runs are shown."),
        ("/queue?after=abc", "“abc” isn't a place in this list; it is shown from its start."),
        ("/logs?module=Nothing", "“Nothing” isn't a module; all modules are shown."),
        ("/logs?outcome=great", "“great” isn't an outcome; all outcomes are shown."),
        ("/logs?action=fly", "“fly” isn't an action; all actions are shown."),
        ("/logs?mail=lost", "“lost” isn't the status of a mail; all are shown."),
        ("/logs?run=9223372036854775808", "“9223372036854775808” isn't a run's number; all runs"),
        ("/logs?from=31-31-2026", "“31-31-2026” isn't a day such as 2026-11-21; earlier days"),
        ("/logs?to=tomorrow", "“tomorrow” isn't a day such as 2026-11-21; later days are shown"),
        ("/logs?to=9999-12-31", None),
        ("/logs?to=2026-11-21&zone=Pacific/Auckland", None),
        ("/logs?to=2026-11-21&zone=Mars", "“Mars” isn't a time zone; days are those of your own"),
        ("/logs?zone=Mars", "“Mars” isn't a time zone; days are those of your own"),
        ("/reports?kind=yearly", "“yearly” isn't a kind of mail; all kinds are shown."),
        ("/reports?state=lost", "“lost” isn't the status of a mail; all are shown."),
        ("/reports?from=x", "“x” isn't a day such as 2026-11-21; earlier days are shown, too."),
        ("/reports?until=2026-02-30", "“2026-02-30” isn't a day such as 2026-11-21; later days"),
        ("/records/Invoices?status=Gone", "“Gone” isn't a status of Invoices; all are shown."),
        ("/records?org=999", "“999” isn't an organisation here; the page is shown without it."),
        ("/xero-accounts?status=lost", "“lost” is neither active nor archived; both are shown."),
        *(
            (f"{path}?org={org}", f"“{org}” isn't an organisation here; the page is shown")
            for path in ("/", "/queue", "/logs", "/runs", "/reports", "/records/Invoices")
            for org in ("999", "acme")
        ),
        ("/queue?state=failed&org=1&module=Invoices&run=1&action=Create", None),
        ("/logs?outcome=failed&org=1&from=2026-11-01&to=2026-11-30&mail=sent", None),
        ("/reports?kind=after_sync&state=sent&from=&until=&org=", None),
        ("/records/Invoices?status=Approved&org=1", None),
        ("/queue?state=all", None),
    ],
)
def test_what_is_unknown_is_told_once(browser: Browser, path: str, said: str | None) -> None:
    answer = browser.get(path, follow_redirects=True)
    assert answer.status_code == 200
    found = told(answer.text)
    if said is None:
        assert found == []
    else:
        [one] = found
        assert one.startswith(said)


def test_what_is_unknown_leaves_nothing_out(browser: Browser) -> None:
    for path, row in (
        ("/queue?state=failed&module=Nothing", 'data-key="item-2"'),
        ("/logs?outcome=great&from=31-31-2026", "/xtiger/logs/2"),
        ("/records/Invoices?status=Gone", "/xtiger/records/Invoices/2"),
        ("/reports?kind=yearly", "/xtiger/reports/1"),
        ("/runs?org=999", "/xtiger/runs/1"),
    ):
        assert row in browser.get(path).text, path


def test_two_that_are_unknown_are_two_sentences(browser: Browser) -> None:
    page = browser.get("/logs?from=then&to=now&org=7").text
    assert len(told(page)) == 3


def test_a_long_or_hostile_value_is_shortened_text(browser: Browser) -> None:
    page = browser.get("/queue", query_string={"state": HOSTILE + "x" * 5_000}).text
    assert HOSTILE not in page
    [one] = told(page)
    assert HOSTILE in one
    assert len(one) < 120


def test_a_retry_of_all_isnt_said_to_be_limited_by_what_is_unknown(browser: Browser) -> None:
    page = browser.get("/queue/retry?module=Nothing").text
    assert told(page) == ["“Nothing” isn't a module; all modules are shown."]
    assert "Only of:" not in page
    assert 'name="module"' not in page
