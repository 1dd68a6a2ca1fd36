"""Real worker processes on one database and one local Xero, and what the tests ask of them."""

from __future__ import annotations

import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, text
from sqlalchemy import select as rows

from tests import books
from tests.chaos.stage import Stage
from xtiger.crm.builtin import Contact
from xtiger.engine import scheduler
from xtiger.store.models import Organisation, QueueItem

#: Seconds until a process must be ready, or something must have come true.
PATIENCE = 60.0
#: What lets a process send ten invoices a call, so that many calls don't need many invoices.
SMALL_CALLS = (
    "from dataclasses import replace; from xtiger.domain.resources import CATALOGUE, Resource;"
    "CATALOGUE[Resource.INVOICES] = replace(CATALOGUE[Resource.INVOICES], batch_size=10)"
)


@dataclass(slots=True)
class Hand:
    """One worker process."""

    process: subprocess.Popen[bytes]
    name: str

    def kill(self) -> None:
        """SIGKILL: what a machine that dies is."""
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def tell_to_end(self) -> int:
        """SIGTERM; the exit code."""
        self.process.terminate()
        return self.process.wait(PATIENCE)


@dataclass(slots=True)
class Yard:
    """A stage with its processes."""

    stage: Stage
    more: dict[str, str] = field(default_factory=dict)
    hands: list[Hand] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """What each process is started with; the schedule's beat never comes by itself."""
        return self.stage.environment | {"XTIGER_SYNC_INTERVAL": "86400"} | self.more

    def start(self, *arguments: str, first: str = "") -> Hand:
        """Starts `xtiger …` and waits until it says that it runs.

        `first` is Python that the process runs before.
        """
        return self._ready(self._begin(arguments, first))

    def start_several(self, count: int, *arguments: str, first: str = "") -> list[Hand]:
        """Starts so many of them at once."""
        begun = [self._begin(arguments, first) for _ in range(count)]
        return [self._ready(hand) for hand in begun]

    def _begin(self, arguments: Sequence[str], first: str) -> Hand:
        with (self.stage.folder / f"hand{len(self.hands)}.log").open("ab") as log:
            process = subprocess.Popen(
                command(*arguments, first=first),
                stdout=subprocess.PIPE,
                stderr=log,
                env=self.environment,
            )
        self.hands.append(Hand(process, ""))
        return self.hands[-1]

    def _ready(self, hand: Hand) -> Hand:
        assert hand.process.stdout is not None
        ready, _, _ = select.select([hand.process.stdout], [], [], PATIENCE)
        line = hand.process.stdout.readline().decode() if ready else ""
        assert line.startswith(("Worker ", "XTiger ")), self.said(hand) or line
        hand.name = line.split()[1]
        return hand

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command that ends by itself."""
        return subprocess.run(
            command(*arguments),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def said(self, hand: Hand) -> str:
        """What a process wrote to its standard error."""
        return (self.stage.folder / f"hand{self.hands.index(hand)}.log").read_text()

    def close(self) -> None:
        for hand in self.hands:
            if hand.process.poll() is None:
                hand.process.send_signal(signal.SIGCONT)
                hand.kill()

    # -- the books ----------------------------------------------------------------------------

    @property
    def organisations(self) -> list[int]:
        with self.stage.services.database.read() as session:
            return list(session.scalars(rows(Organisation.id).order_by(Organisation.id)))

    def invoices(self, organisation_id: int, count: int) -> None:
        """Ticked invoices of one organisation, in New Zealand's or Britain's tax."""
        services = self.stage.services
        with services.database.read() as session:
            currency = session.get_one(Organisation, organisation_id).currency
        tax = {"NZD": "15", "GBP": "20"}[str(currency)]
        with self.stage.app.app_context():
            session = self.stage.session
            buyer = Contact(name=f"Buyer {organisation_id}")
            session.add(buyer)
            session.flush()
            made = [
                books.invoice(
                    session,
                    f"O{organisation_id}-{number:04}",
                    buyer,
                    (None, "1", "100.00", "0", tax),
                    currency=currency,
                )
                for number in range(1, count + 1)
            ]
            session.commit()
            books.allow_all(services, made, organisation_id)

    def sync(self) -> list[int]:
        """Sync, as a person presses it on a server beside the workers."""
        return scheduler.sync_now(
            self.stage.services, organisation_id=None, modules=None, who="Ana"
        )

    def states(self, organisation_id: int | None = None) -> Counter[str]:
        """How many items are in which state."""
        counted = rows(QueueItem.state, func.count()).group_by(QueueItem.state)
        if organisation_id is not None:
            counted = counted.where(QueueItem.organisation_id == organisation_id)
        with self.stage.services.database.read() as session:
            return Counter(dict(session.execute(counted).all()))

    def all_over(self) -> bool:
        """Whether every item has succeeded."""
        states = self.states()
        return states["succeeded"] == states.total()

    def holder(self, organisation_id: int) -> str | None:
        """The worker that holds the organisation's lease."""
        with self.stage.services.database.read() as session:
            return session.get_one(Organisation, organisation_id).holder

    def hand_of(self, organisation_id: int) -> Hand:
        """The process that works on an organisation; waits until one does."""
        until(lambda: self.holder(organisation_id) is not None)
        name = self.holder(organisation_id)
        return next(hand for hand in self.hands if hand.name == name)

    def created(self) -> Counter[str]:
        """How often the local Xero created each invoice number."""
        calls: Sequence[dict[str, Any]] = self.stage.ask_xero("requests?after=0")["requests"]
        return Counter(
            element["number"]
            for call in calls
            if call["resource"] == "Invoices"
            and call["method"] in {"PUT", "POST"}
            and not call["replayed"]
            for element in call["elements"]
            if element["created"]
        )

    def slow(self, seconds: float) -> None:
        """From now on the local Xero answers each write so many seconds late."""
        self.stage.ask_xero("faults", kind="slow", method="PUT", seconds=seconds, count=100_000)

    def scalar(self, statement: str) -> Any:
        with self.stage.services.database.read() as session:
            return session.execute(text(statement)).scalar_one()


def command(*arguments: str, first: str = "") -> list[str]:
    """The command line of `xtiger …`; `first` is Python that the process runs before."""
    if not first:
        return [sys.executable, "-m", "xtiger", *arguments]
    return [sys.executable, "-c", f"{first}; from xtiger.cli import main; main()", *arguments]


def until(true: Callable[[], object], seconds: float = PATIENCE) -> float:
    """Waits until something is true; the seconds that took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, "it never came true"
        time.sleep(0.02)
    return time.monotonic() - began
