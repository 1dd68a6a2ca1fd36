"""The command line: parse, call one function, print."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Any

import click
import requests
from flask import Flask, current_app
from flask.cli import AppGroup
from rich.console import Console
from rich.table import Table
from sqlalchemy import select

from xtiger import __version__, fleet, telemetry
from xtiger.app import create_app, existing_app
from xtiger.demo.browser import NotThere
from xtiger.domain.errors import XTigerError
from xtiger.domain.phrases import LANGUAGES
from xtiger.domain.reporting import PERIODIC, Kind
from xtiger.engine import beats, scheduler
from xtiger.engine.alerting import alerts
from xtiger.engine.connection import connect
from xtiger.engine.reporting.asked import Asked, by_hand, mail_by_hand, zone_of
from xtiger.engine.services import Services
from xtiger.engine.upkeep import doctor, figures
from xtiger.sandbox.command import command as sandbox_command
from xtiger.settings import Settings, SettingsFault
from xtiger.store.models import LogEntry, QueueItem
from xtiger.store.schema import BRANCHES, migrate


def plainly(command: Callable[..., Any]) -> Callable[..., Any]:
    """Prints what went wrong as one sentence and ends with 1; never a traceback."""

    @wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except XTigerError as failure:
            raise click.ClickException(failure.sentence) from None
        except (SettingsFault, NotThere) as fault:
            raise click.ClickException(str(fault)) from None

    return guarded


@click.group()
@click.version_option(__version__)
def main() -> None:
    """XTiger keeps a CRM and Xero in step, through a queue people can see."""
    telemetry.configure(verbose=bool(os.environ.get("XTIGER_VERBOSE")))


main.add_command(sandbox_command)


def _services(app: Flask) -> Services:
    return app.extensions["xtiger"].services  # type: ignore[no-any-return]


def _told_to_end() -> threading.Event:
    """Set by Ctrl-C or SIGTERM."""
    told = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: told.set())
    return told


@main.command("migrate")
@plainly
def migrate_command() -> None:
    """Bring the database's tables to this version."""
    _migrate(_services(create_app()))
    click.echo("The database is up to date.")


def _migrate(services: Services, *, branches: tuple[str, ...] = BRANCHES) -> None:
    migrate(services.database, branches=branches)
    connect.complete(services)
    if services.settings.fleet:
        fleet.prepare(services.database)


@main.command()
@click.option("--port", type=int, default=5000, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line when ready.")
@plainly
def serve(port: int, host: str, as_json: bool) -> None:
    """Pages, schedule and workers in one process; with XTIGER_FLEET=yes pages alone."""
    from waitress.server import create_server

    environment = dict(os.environ)
    if port:
        environment.setdefault("XTIGER_PUBLIC_URL", f"http://localhost:{port}")
    app = create_app(environment=environment)
    services = _services(app)
    _migrate(services)
    embedded = None if services.settings.fleet else beats.Embedded(services, "serve")
    # Pages alone must tell people if all workers elsewhere have ended.
    beside: beats.Embedded | alerts.Lookout = embedded or alerts.Lookout(services)
    if embedded is not None:
        services.dispatcher = embedded
    try:
        server = create_server(
            app,
            host=host,
            port=port,
            threads=8,
            ident="XTiger",
            # It stores a body before the app sees it: no stranger may fill the disk.
            max_request_body_size=app.config["MAX_CONTENT_LENGTH"],
            # They tell /metrics that a proxy passed a request on; nothing trusts what they say.
            clear_untrusted_proxy_headers=False,
        )
    except OSError as error:
        raise click.ClickException(
            f"Port {port} can't be used: {error.strerror}. Name another with --port."
        ) from None
    beside.start()
    signal.signal(signal.SIGTERM, _leave)
    ready = {"url": services.settings.public_url}
    click.echo(json.dumps(ready) if as_json else f"XTiger runs at {ready['url']}")
    sys.stdout.flush()
    try:
        server.run()
    except (KeyboardInterrupt, SystemExit):
        pass
    finally:
        server.close()
        beside.stop()


def _leave(_number: int, _frame: Any) -> None:
    raise SystemExit(0)


def _work(services: Services, *, in_fleet: bool, metrics: tuple[str, int | None]) -> None:
    """Works until told to end; tells its figures at a port if one is named."""
    with _telling_figures(services, *metrics):
        if in_fleet:
            fleet.Worker(services).run(lambda: _ready(services, "of the fleet "))
            return
        told = _told_to_end()
        embedded = beats.Embedded(services)
        services.dispatcher = embedded
        embedded.start()
        _ready(services, "")
        told.wait()
        embedded.stop()


def _ready(services: Services, kind: str) -> None:
    click.echo(f"Worker {services.worker} {kind}runs.")
    sys.stdout.flush()


@contextmanager
def _telling_figures(services: Services, address: str, port: int | None) -> Iterator[None]:
    if port is None:
        yield
        return
    from waitress.server import create_server

    try:
        server = create_server(
            figures.wsgi(services),
            host=address,
            port=port,
            threads=2,
            clear_untrusted_proxy_headers=False,  # they tell that a proxy passed a request on
        )
    except OSError as error:
        raise click.ClickException(
            f"Port {port} can't be used: {error.strerror}. Name another with --metrics-port."
        ) from None
    threading.Thread(target=server.run, name="xtiger-figures", daemon=True).start()
    yield


def _worker_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of `xtiger worker`, alone and in a host."""
    for option in (
        click.option("--metrics-host", default="127.0.0.1", show_default=True),
        click.option("--metrics-port", type=int, help="Tell figures for Prometheus at /metrics."),
        click.option(
            "--fleet", "in_fleet", is_flag=True, help="One of many machines; needs PostgreSQL."
        ),
    ):
        command = option(command)
    return command


@main.command()
@_worker_options
@plainly
def worker(in_fleet: bool, metrics_host: str, metrics_port: int | None) -> None:
    """Schedule and workers alone, beside a server elsewhere."""
    settings = Settings.read(os.environ)
    if in_fleet and not (settings.keys or settings.fleet):
        raise SettingsFault(
            "A worker of a fleet needs the XTIGER_KEYS of the other machines: with keys of its own "
            "it can't read what they sealed."
        )
    services = _services(existing_app())
    _work(services, in_fleet=in_fleet, metrics=(metrics_host, metrics_port))


def _sync_once(services: Services) -> None:
    """One pass; SIGTERM lets the calls under way end."""
    services.stopping = _told_to_end().is_set
    click.echo(scheduler.once(services).sentence)


@main.command()
@click.option("--due", is_flag=True, required=True, help="Send what is due once, then exit.")
@plainly
def sync(due: bool) -> None:
    """One pass, for hosts that only have cron."""
    _sync_once(_services(existing_app()))


@main.command("queue")
@click.option("--state", help="pending, blocked, failed, …")
@click.option("--limit", default=50, show_default=True)
@plainly
def queue_command(state: str | None, limit: int) -> None:
    """Print the queue, oldest first."""
    statement = select(QueueItem).order_by(QueueItem.id).limit(limit)
    if state:
        statement = statement.where(QueueItem.state == state)
    with _services(existing_app()).database.read() as session:
        _print(
            ("Place", "Record", "Action", "State", "Why"),
            [
                (f"#{row.id}", f"{row.module} {row.label}", row.action, row.state, row.sentence)
                for row in session.scalars(statement)
            ],
        )


@main.command()
@click.option("--limit", default=50, show_default=True)
@plainly
def logs(limit: int) -> None:
    """Print the newest log entries."""
    with _services(existing_app()).database.read() as session:
        rows = session.scalars(select(LogEntry).order_by(LogEntry.id.desc()).limit(limit)).all()
        _print(
            ("Time (UTC)", "Record", "Xero id", "Action", "Outcome", "Sentence"),
            [
                (
                    f"{row.at:%Y-%m-%d %H:%M:%S}",
                    f"{row.module} {row.label}",
                    row.xero_id,
                    row.action,
                    row.outcome,
                    row.sentence,
                )
                for row in reversed(rows)
            ],
        )


def _report_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option(
            "--period", type=click.Choice([one.value for one in PERIODIC]), default="daily"
        ),
        click.option(
            "--date",
            "day",
            type=click.DateTime(["%Y-%m-%d"]),
            help="A day in the period; default yesterday.",
        ),
        click.option("--organisation", help="Its name or number; default all."),
        click.option(
            "--zone", help="Whose days they are, like Pacific/Auckland; default the organisation's."
        ),
        click.option("--language", type=click.Choice(list(LANGUAGES)), default="en"),
        click.option("--print", "shown", is_flag=True, help="Print the report."),
        click.option("--to", "address", help="Mail it to an address, too."),
    ):
        command = option(command)
    return command


def _report(
    services: Services,
    *,
    period: str,
    day: datetime | None,
    organisation: str | None,
    zone: str | None,
    language: str,
    shown: bool,
    address: str | None,
) -> None:
    """Prints a report, mails it, or both."""
    if not shown and address is None:
        raise click.UsageError("Say --print, or --to with an address.")
    asked = Asked(Kind(period), day.date() if day else None, organisation, zone, language)
    letter = by_hand(services, asked)
    if shown:
        days = f"Days by {zone_of(services, asked)}."
        click.echo(f"{letter.subject}\n{days}\n\n{letter.text}", nl=False)
    if address is not None:
        click.echo(mail_by_hand(services, asked, letter, address))


@main.command()
@_report_options
@plainly
def report(**asked: Any) -> None:
    """Print or mail the report of a day, a week or a month."""
    _report(_services(existing_app()), **asked)


def _print(heads: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    table = Table(*heads)
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    Console().print(table)


def _doctor_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON document."),
        click.option("--repair", is_flag=True, help="Mend what can be mended safely first."),
    ):
        command = option(command)
    return command


def _examine(services: Services, *, repair: bool, as_json: bool) -> None:
    """Ends with 0 where all is well, with 1 where something is left to do."""
    diagnosis = doctor.repair(services) if repair else doctor.examine(services)
    if as_json:
        click.echo(json.dumps({"well": diagnosis.well, **asdict(diagnosis)}))
        sys.exit(0 if diagnosis.well else 1)
    for each in diagnosis.mended:
        click.echo(each.sentence)
    if diagnosis.findings:
        _print(
            ("Check", "What is wrong", "Rows", "Such as", "What to do"),
            [
                (one.check, one.sentence, one.rows, ", ".join(one.named), one.action)
                for one in diagnosis.findings
            ],
        )
    click.echo(diagnosis.sentence)
    sys.exit(0 if diagnosis.well else 1)


@main.command("doctor")
@_doctor_options
@plainly
def doctor_command(repair: bool, as_json: bool) -> None:
    """Look whether the queue, its calls and its database are as they must be."""
    _examine(_services(existing_app()), repair=repair, as_json=as_json)


@main.command("user")
@click.argument("email")
@click.option("--name", default="")
@click.option("--role", type=click.Choice(["user", "manager", "administrator"]), required=True)
@click.password_option()
@plainly
def user_command(email: str, name: str, role: str, password: str) -> None:
    """Add somebody who may sign in, or change their role and password."""
    from xtiger.accounts import add_user

    app = existing_app()
    migrate(_services(app).database)
    add_user(
        app, app.extensions["sqlalchemy"], email=email, name=name, password=password, role=role
    )
    click.echo(f"{email} can sign in as {role}.")


@main.command()
@click.option("--fresh", is_flag=True, help="Start over with new books and passwords.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("instance/demo"),
    show_default=True,
)
@click.option("--port", type=int, help="Port of the pages; default 5050, or any free one.")
@click.option("--check", is_flag=True, help="Run a scenario without a browser and report.")
@click.option("--records", type=click.IntRange(10, 100_000), default=500, show_default=True)
@click.option(
    "--scenario",
    type=click.Choice(["main", "retry-in-order", "crash", "money", "mapping", "first-meeting"]),
    default="main",
    show_default=True,
)
@click.option("--database-url", help="An empty database; default a SQLite file.")
@plainly
def demo(
    fresh: bool,
    folder: Path,
    port: int | None,
    check: bool,
    records: int,
    scenario: str,
    database_url: str | None,
) -> None:
    """XTiger, a small CRM, a local Xero and a mail sink, with sample records."""
    from xtiger.demo import check as checks
    from xtiger.demo import show

    if fresh and not check and folder.exists():
        if not (folder / "demo.json").exists():
            raise click.ClickException(f"{folder} isn't a demo's folder; nothing was deleted.")
        shutil.rmtree(folder)
    try:
        if check:
            figures, holds = checks.run(scenario, records=records, database_url=database_url)
            click.echo(json.dumps(figures))
            sys.exit(0 if holds else 1)
        show.run(folder.resolve(), port=port, database_url=database_url, say=click.echo)
    except requests.RequestException as lost:
        raise click.ClickException(
            f"A part of the demo didn't answer ({type(lost).__name__}). Run it again; if it stays "
            "so, --fresh begins with new books."
        ) from None


host = AppGroup("xtiger", help="XTiger inside this app.")


@host.command("worker")
@_worker_options
@plainly
def host_worker(in_fleet: bool, metrics_host: str, metrics_port: int | None) -> None:
    """Schedule and workers for this app's records."""
    telemetry.configure_if_unset()
    services = _services(current_app._get_current_object())  # type: ignore[attr-defined]
    _work(services, in_fleet=in_fleet, metrics=(metrics_host, metrics_port))


@host.command("migrate")
@plainly
def host_migrate() -> None:
    """Bring XTiger's own tables to this version; the host's are left alone."""
    _migrate(_services(current_app._get_current_object()), branches=("core",))  # type: ignore[attr-defined]
    click.echo("XTiger's tables are up to date.")


@host.command("doctor")
@_doctor_options
@plainly
def host_doctor(repair: bool, as_json: bool) -> None:
    """Look whether the queue, its calls and its database are as they must be."""
    services = _services(current_app._get_current_object())  # type: ignore[attr-defined]
    _examine(services, repair=repair, as_json=as_json)


@host.command("sync")
@plainly
def host_sync() -> None:
    """One pass, for hosts that only have cron."""
    _sync_once(_services(current_app._get_current_object()))  # type: ignore[attr-defined]


@host.command("report")
@_report_options
@plainly
def host_report(**asked: Any) -> None:
    """Print or mail the report of a day, a week or a month."""
    _report(_services(current_app._get_current_object()), **asked)  # type: ignore[attr-defined]
