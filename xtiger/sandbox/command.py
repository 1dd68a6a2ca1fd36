"""The `sandbox` command: starts a local Xero and says where it is."""

from __future__ import annotations

import sys

import click

from xtiger.sandbox import bounds
from xtiger.sandbox.faults import CATALOGUE, LASTING
from xtiger.sandbox.kept.countries import COUNTRIES
from xtiger.sandbox.server import start, told_to_end
from xtiger.sandbox.wire import dumps


@click.command("sandbox")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default=True,
    help="Port on localhost; 0 takes a free one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line when it listens.")
@click.option(
    "--state",
    type=click.Path(dir_okay=False),
    help="File that keeps everything; without it, memory.",
)
@click.option("--client-id", envvar="XTIGER_SANDBOX_CLIENT_ID", help="Default: random per state.")
@click.option(
    "--client-secret", envvar="XTIGER_SANDBOX_CLIENT_SECRET", help="Default: random per state."
)
@click.option(
    "--time-factor",
    type=click.FloatRange(0, bounds.MOST),
    default=1.0,
    show_default=True,
    help="Scales how long idempotency keys, call limits and the gaps of webhooks last.",
)
@click.option(
    "--auto-consent/--no-auto-consent", default=False, help="Agree to every consent at once."
)
@click.option(
    "--enforce-limits/--no-enforce-limits", default=False, help="Refuse calls over Xero's limits."
)
@click.option(
    "--day-limit",
    type=click.IntRange(1, bounds.MOST),
    default=5000,
    show_default=True,
    help="Calls a day (Starter: 1000).",
)
@click.option(
    "--country",
    "countries",
    multiple=True,
    type=click.Choice(list(COUNTRIES), case_sensitive=False),
    help="An organisation of that country; may be repeated. Default of a new state: NZ and GB.",
)
@click.option(
    "--minute-limit",
    type=click.IntRange(1, bounds.MOST),
    default=60,
    show_default=True,
    help="Calls a minute.",
)
@click.option(
    "--broad-scopes", is_flag=True, help="Allow the scopes of apps made before March 2026."
)
@click.option("--custom", default="", help="Organisation of the custom connection, by name.")
@click.option(
    "--dial", default=0.0, show_default=True, help="Per cent of accounting calls that go wrong."
)
@click.option(
    "--dial-kind",
    "dial_kinds",
    multiple=True,
    type=click.Choice([name for name, one in CATALOGUE.items() if one.fault.kind not in LASTING]),
    help="What may go wrong; may be repeated.",
)
@click.option("--dial-seed", default=0, show_default=True, help="Fixes what goes wrong when.")
@click.option("--webhook-url", default="", help="Receiver on this machine for every event.")
@click.option(
    "--webhook-key",
    default="",
    envvar="XTIGER_SANDBOX_WEBHOOK_KEY",
    help="Signs the events. Default: random per state.",
)
@click.option("--plain", is_flag=True, help="Keep and answer writes unread, for measurements.")
@click.option(
    "--record",
    type=click.Path(file_okay=False),
    help="Folder that gets every call and answer; else $XTIGER_SANDBOX_RECORD, not with --plain.",
)
@click.option("--verbose", is_flag=True, help="Write a line per request to standard error.")
def command(
    port: int,
    as_json: bool,
    state: str | None,
    client_id: str | None,
    client_secret: str | None,
    time_factor: float,
    auto_consent: bool,
    enforce_limits: bool,
    day_limit: int,
    countries: tuple[str, ...],
    minute_limit: int,
    broad_scopes: bool,
    custom: str,
    dial: float,
    dial_kinds: tuple[str, ...],
    dial_seed: int,
    webhook_url: str,
    webhook_key: str,
    plain: bool,
    record: str | None,
    verbose: bool,
) -> None:
    """Run a local stand-in for Xero until interrupted."""
    told = told_to_end()
    try:
        running = start(
            port,
            state,
            time_factor,
            client_id=client_id,
            client_secret=client_secret,
            auto_consent=auto_consent,
            enforce_limits=enforce_limits,
            day_limit=day_limit,
            countries=countries,
            minute_limit=minute_limit,
            broad_scopes=broad_scopes,
            custom=custom,
            dial=dial,
            dial_kinds=dial_kinds,
            dial_seed=dial_seed,
            webhook_url=webhook_url,
            webhook_key=webhook_key,
            plain=plain,
            record=record,
            verbose=verbose,
        )
    except OSError as error:
        raise click.ClickException(f"cannot listen on port {port}: {error.strerror}") from None
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        print(dumps(running.described()).decode(), flush=True)
    else:
        print(f"Local Xero        {running.api_url}/")
        print(f"Client id         {running.client_id}")
        print(f"Client secret     {running.client_secret}")
        if running.webhook_key:
            print(f"Webhook key       {running.webhook_key}")
        for one in running.organisations:
            print(f"{one['name']:<17} {one['country']} {one['currency']}  {one['tenant_id']}")
        sys.stdout.flush()
    try:
        while not told.wait(0.2):  # a wait without an end would keep signals out
            pass
    finally:
        running.stop()
