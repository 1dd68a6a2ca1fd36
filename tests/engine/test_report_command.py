"""`xtiger report`: any period's report printed, and mailed to anybody, from the command line."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.fernet import Fernet
from sqlalchemy import update

from tests.conftest import Engine
from tests.engine.post import PostOffice, opened
from tests.engine.scenes import KAURI, invoices, rows_of, sync
from xtiger.cli import main
from xtiger.engine.reporting import subscriptions
from xtiger.engine.reporting.subscriptions import Choices
from xtiger.store.models import Mail, Organisation


@pytest.fixture
def run(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "keys").write_text(Fernet.generate_key().decode())
    monkeypatch.setenv("XTIGER_INSTANCE", str(tmp_path))
    monkeypatch.setenv("XTIGER_DATABASE_URL", engine.settings.database_url)
    now = datetime.now(UTC)
    left = datetime.combine(now.date() + timedelta(days=1), time.min, UTC) - now
    if left < timedelta(seconds=30):
        sleep(left.total_seconds())  # what is synced today is asked for today
    engine.connect(KAURI)
    invoices(engine, 2)
    sync(engine)

    def command(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["report", *arguments])

    return command


def today() -> str:
    return f"{datetime.now(UTC).date()}"


def test_it_prints_the_report_of_a_day(run: Any) -> None:
    found = run("--period", "daily", "--date", today(), "--zone", "UTC", "--print")
    assert found.exit_code == 0, found.output
    first, *rest = found.output.splitlines()
    day = datetime.now(UTC)
    assert first == f"[XTiger] Kauri Trading, {day.day} {day:%b}: 3 synced, nothing to do"
    assert rest[0] == "Days by UTC."
    assert "3 synced, nothing to do." in rest
    assert "Sent NZD 230.00" in rest
    assert max(len(line) for line in rest if "://" not in line) <= 72


@pytest.mark.parametrize("period", ["weekly", "monthly"])
def test_it_knows_weeks_months_and_german(run: Any, period: str) -> None:
    found = run(
        *("--period", period, "--date", today(), "--language", "de", "--print"),
        *("--organisation", "kauri trading", "--zone", "UTC"),
    )
    assert found.exit_code == 0, found.output
    assert "3 übertragen, nichts zu tun." in found.output


@pytest.mark.parametrize("period", ["daily", "weekly", "monthly"])
def test_a_day_that_lies_ahead_has_no_report(run: Any, period: str) -> None:
    ahead = datetime.now(UTC).date() + timedelta(days=1)
    found = run("--period", period, "--date", f"{ahead}", "--zone", "UTC", "--print")
    assert found.exit_code == 1
    assert found.output == (
        f"Error: {ahead.day} {ahead:%b %Y} lies ahead. Ask for today or an earlier day.\n"
    )


@pytest.mark.parametrize(
    ("period", "language", "sentence"),
    [
        ("daily", "en", " isn't over: these are its figures so far."),
        ("monthly", "de", " ist noch nicht vorbei: Das sind die Zahlen bis jetzt."),
    ],
)
def test_what_isnt_over_is_told_so_far(run: Any, period: str, language: str, sentence: str) -> None:
    chosen = ("--period", period, "--zone", "UTC", "--language", language, "--print")
    found = run("--date", today(), *chosen)
    assert sentence in " ".join(found.output.split())
    before = datetime.now(UTC).date() - timedelta(days=32)
    assert sentence not in " ".join(run("--date", f"{before}", *chosen).output.split())


def test_without_a_zone_the_days_are_the_organisations(run: Any, engine: Engine) -> None:
    with engine.database.write() as session:
        session.execute(update(Organisation).values(time_zone="NEWZEALANDSTANDARDTIME"))
    found = run("--print")
    assert "\nDays by Pacific/Auckland.\n" in found.output


def test_without_a_date_it_is_yesterdays(run: Any) -> None:
    found = run("--zone", "UTC", "--print")
    day = datetime.now(UTC) - timedelta(days=1)
    assert found.output.startswith(f"[XTiger] Kauri Trading, {day.day} {day:%b}: 0 synced")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--print", "--organisation", "Rimu"], "No organisation is called Rimu. Known: Kauri"),
        (["--print", "--zone", "Mars/Base"], "No time zone is called Mars/Base. Write it like"),
        (["--to", "ana@example.com"], "No mail server is set."),
        (["--to", "ana"], "Not an e-mail address: ana."),
        (["--print", "--date", "0001-01-01"], "There was no Xero before 2006."),
        ([], "Say --print, or --to with an address."),
        (["--print", "--date", "20 Nov"], "'20 Nov' does not match the format '%Y-%m-%d'"),
    ],
)
def test_what_it_can_not_do_it_says(run: Any, arguments: list[str], sentence: str) -> None:
    found = run(*arguments)
    assert found.exit_code in {1, 2}
    assert sentence in " ".join(found.output.split())
    assert "Traceback" not in found.output


def test_who_stopped_these_mails_gets_none_by_hand(
    run: Any, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XTIGER_MAIL_SERVER", "127.0.0.1")
    one = subscriptions.subscribe(engine.services, "bo@example.com", Choices(daily=True), who="Ana")
    token = subscriptions.unsubscribe_link(engine.services, one).rpartition("/")[2]
    assert subscriptions.stop(engine.services, token)
    found = run("--date", today(), "--to", "Bo@example.com")
    assert found.exit_code == 1
    assert "Bo@example.com stopped these mails by their link, so nothing was sent." in found.output
    assert rows_of(engine, Mail) == []


def test_it_mails_to_anybody(run: Any, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    office = PostOffice()
    server = opened(office)
    monkeypatch.setenv("XTIGER_MAIL_SERVER", "127.0.0.1")
    monkeypatch.setenv("XTIGER_MAIL_PORT", str(server.port))
    monkeypatch.setenv("XTIGER_MAIL_SENDER", "xtiger@example.com")
    try:
        found = run("--date", today(), "--zone", "UTC", "--to", "bo@example.com")
    finally:
        server.stop()
    assert found.output == "Mailed to bo@example.com.\n"
    [(to, message)] = office.taken
    assert (to, message["List-Unsubscribe"]) == ("bo@example.com", None)
    [mail] = rows_of(engine, Mail)
    assert (mail.kind, mail.state, mail.subscription_id) == ("daily", "sent", None)
