"""The `sandbox` command: starts a local Xero and says where it is."""

from __future__ import annotations

import sys

import click

from xtiger.sandbox.server import start, until_told
from xtiger.sandbox.wire import dumps


@click.command("sandbox")
@click.option("--port", default=0, show_default=True, help="Port on localhost; 0 takes a free one.")
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
    default=1.0,
    show_default=True,
    help="Scales how long idempotency keys and call limits last.",
)
@click.option(
    "--auto-consent/--no-auto-consent", default=False, help="Agree to every consent at once."
)
@click.option(
    "--enforce-limits/--no-enforce-limits", default=False, help="Refuse calls over Xero's limits."
)
@click.option("--day-limit", default=5000, show_default=True, help="Calls a day (Starter: 1000).")
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
    verbose: bool,
) -> None:
    """Run a local stand-in for Xero until interrupted."""
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
            verbose=verbose,
        )
    except OSError as error:
        raise click.ClickException(f"cannot listen on port {port}: {error.strerror}") from None
    if as_json:
        print(dumps(running.described()).decode(), flush=True)
    else:
        print(f"Local Xero        {running.api_url}/")
        print(f"Client id         {running.client_id}")
        print(f"Client secret     {running.client_secret}")
        for one in running.organisations:
            print(f"{one['name']:<17} {one['country']} {one['currency']}  {one['tenant_id']}")
        sys.stdout.flush()
    try:
        until_told()
    finally:
        running.stop()
