"""`xtiger demo`: starts everything, connects by itself, prints where to look, ends it all."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from sqlalchemy import func, select

from xtiger.crm.builtin import Contact
from xtiger.demo import books, samples
from xtiger.demo.instance import PEOPLE, Instance
from xtiger.domain.errors import PermanentError
from xtiger.engine import intake
from xtiger.store import profiles

#: Plain invoices of a new demo, beside the awkward ones.
PLAIN = 200


def run(
    folder: Path, *, port: int | None, database_url: str | None, say: Callable[[str], object]
) -> None:
    """Runs the demo until Ctrl-C or SIGTERM; every process it started ends with it.

    1. Local Xero and mail sink; schema and people.
    2. Sample records, if the books are empty; the awkward ones are ticked.
    3. The server; then, unless it is connected, two tracking categories in the local Xero and
       the real consent flow through XTiger's pages.
    """

    def tell(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # Explicitly, since a shell's background job starts with Ctrl-C switched off.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, tell)
    instance = Instance.at(folder, database_url=database_url, port=port)
    try:
        say("Starting the local Xero and the mail sink …")
        instance.start_xero()
        instance.start_mail()
        instance.prepare()
        if _fill(instance):
            say("Sample records are in.")
        say("Starting XTiger …")
        instance.start_server()
        if not _connected(instance):
            say("Connecting to the local Xero …")
            books.add_tracking(instance.xero)
            instance.connect(instance.sign_in())
        _introduce(instance, say)
        while True:
            time.sleep(0.5)
            if (name := instance.ended()) is not None:
                raise PermanentError(
                    f"The {name} ended by itself; its log is in {instance.folder}."
                )
    except KeyboardInterrupt:
        say("Ending …")
    finally:
        # A second Ctrl-C must not leave processes behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        instance.stop()
    say("Ended. Start it again to go on, or with --fresh to start over.")


def _fill(instance: Instance) -> bool:
    with instance.app.app_context():
        session = instance.db.session
        if session.scalar(select(func.count()).select_from(Contact)):
            return False
        today = datetime.now(UTC).date()
        samples.seed(session, invoices=PLAIN, today=today, half_ticked=False)
        awkward = samples.awkward(session, today=today)
        session.commit()
    for ref in awkward.ticked:
        intake.set_flag(instance.services, ref, who="Sample data", allow=True)
    return True


def _connected(instance: Instance) -> bool:
    with instance.services.database.read() as session:
        return bool(profiles.organisations(session))


def _introduce(instance: Instance, say: Callable[[str], object]) -> None:
    say("")
    say(f"XTiger       {instance.url}/")
    say(f"Local Xero   {instance.xero['api_url']}/")
    say(f"Mails        {instance.folder / 'mail'}")
    say("")
    for email, _name, role in PEOPLE:
        say(f"{role:<14} {email:<18} password {instance.passwords[email]}")
    say("")
    say("Tick an invoice under Records, press Sync, and look for it in the local Xero.")
    say("Ctrl-C ends everything.")
