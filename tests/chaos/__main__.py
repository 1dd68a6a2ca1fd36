"""Kills workers until the figures say something, waits until all is quiet, and judges.

One JSON line a run goes to standard output, what happens meanwhile to standard error.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

from tests.chaos import judge, order, worker, writer
from tests.chaos.stage import Stage, stage
from tests.chaos.worker import (
    AFTER_COMMIT,
    BEFORE_COMMIT,
    FROZEN,
    IN_CALL,
    LOOKING,
    OUTSIDE,
    Fate,
    Orders,
)

#: Workers at once, alone and as a fleet.
WORKERS, FLEET = 2, 3
#: Seconds that a worker has to come to its step before it is killed where it is.
OVERDUE = 5.0
#: How many of those that no step is named for are frozen first.
FROST = 0.15
#: Seconds after its start until a frozen one goes on: its lease is over, its watchdog sleeps.
THAW = 8.0
#: Seconds between two looks at what waits.
LOOK = 0.3
#: Seconds until all must be quiet after the last kill.
QUIET = 90.0
#: The same for the control, whose damage doesn't mend by itself.
CONTROL_QUIET = 20.0
#: Presses of Retry in that time, for what failed.
PRESSES = 8
#: With every so many kills everybody is away until Xero has forgotten the call that was open.
OUTAGE = 14
#: Seconds of Xero's time for that: longer than a lost call waits to be looked for.
AWAY = 450
#: With so many kills each named step must have been hit.
EVERY_STEP = 100
#: Sentences shown of each count.
SHOWN = 12


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large one kill test is."""

    records: int
    kills: int
    seed: int
    #: Seconds after which no more kills are made, reached or not.
    longest: float
    forgetful: bool = False
    #: Workers at once.
    hands: int = WORKERS


def fates(chance: random.Random, *, forgetful: bool = False) -> Iterator[Fate]:
    """Every named step in turn, then the deaths that none names, each followed by a random one.

    Some of the random ones are frozen for longer than their lease before they die. The control
    needs no more than deaths with an answer unread.
    """
    unnamed = [BEFORE_COMMIT, AFTER_COMMIT, IN_CALL]
    for step in cycle(["answered"] if forgetful else [*worker.named_steps(), *unnamed]):
        most = 40 if step in (BEFORE_COMMIT, AFTER_COMMIT) else 3
        yield Fate(step, 1 if forgetful else chance.randint(1, most))
        yield Fate(FROZEN if not forgetful and chance.random() < FROST else OUTSIDE)


#: Deaths that leave a call open.
_UNREAD = frozenset({"answered", IN_CALL})


@dataclass(slots=True)
class _Hand:
    """One place of the crew: a process, its fate, and when it's killed from outside."""

    process: Any = None
    fate: Fate = field(default_factory=Fate)
    until: float = 0.0


class Crew:
    """Workers that are started again as soon as they die."""

    def __init__(self, stage: Stage, sizes: Sizes, context: Any) -> None:
        self.stage = stage
        self.sizes = sizes
        self.context = context
        self.chance = random.Random(sizes.seed)
        self.fates = fates(self.chance, forgetful=sizes.forgetful)
        self.hands = [_Hand() for _ in range(sizes.hands)]
        self.kills: Counter[str] = Counter()
        self.started = 0
        self.outages = 0
        self.frozen = 0
        #: What was seen out of turn while it went on.
        self.seen: set[str] = set()
        self._looked = 0.0
        #: Fates that come before all others, the last one first.
        self.doomed: list[Fate] = []

    def work(self) -> None:
        """Kills until there were enough, or the time is over."""
        ends = time.monotonic() + self.sizes.longest
        while self.kills.total() < self.sizes.kills and time.monotonic() < ends:
            for hand in self.hands:
                self._look_after(hand)
            self._look()
            time.sleep(0.01)
        self._thaw()

    def _thaw(self) -> None:
        """Lets go on who is frozen: another of its calls may hold SQLite's only write lock."""
        for hand in self.hands:
            if (
                hand.process is not None
                and hand.process.is_alive()
                and is_stopped(hand.process.pid)
            ):
                os.kill(hand.process.pid, signal.SIGCONT)

    def survive(self) -> None:
        """From now on nobody dies: whoever is doomed is replaced."""
        for hand in self.hands:
            self._end(hand)
            self._start(hand, Fate())

    def stop(self) -> None:
        """Ends all of them."""
        for hand in self.hands:
            self._end(hand)

    def all_live(self) -> bool:
        return all(hand.process.is_alive() for hand in self.hands)

    def _look(self) -> None:
        if time.monotonic() - self._looked > LOOK:
            self._looked = time.monotonic()
            with self.stage.services.database.read() as session:
                self.seen |= set(order.given_away(session))

    def _look_after(self, hand: _Hand) -> None:
        if hand.process is None:
            self._start(hand, self._next_fate())
        elif not hand.process.is_alive():
            code = hand.process.exitcode
            if code != -signal.SIGKILL:
                raise SystemExit(f"A worker ended by itself ({code}); see {self.stage.folder}.")
            self.kills[hand.fate.step] += 1
            if hand.fate.step in _UNREAD and self.kills.total() >= OUTAGE * (self.outages + 0.5):
                self._be_away()
            self._start(hand, self._next_fate())
        elif time.monotonic() > hand.until:
            # One that never came to its step dies here; it is counted by what it died of.
            frozen = hand.fate.step == FROZEN
            hand.fate = Fate()
            hand.until = time.monotonic() + OVERDUE
            if frozen:
                self.frozen += is_stopped(hand.process.pid)
                os.kill(hand.process.pid, signal.SIGCONT)
            else:
                hand.process.kill()

    def _next_fate(self) -> Fate:
        if self.doomed:
            return self.doomed.pop()
        return next(self.fates)

    def _be_away(self) -> None:
        """Nobody works until Xero has surely forgotten the key of the call just left open.

        Whoever comes back looks for what it did, and half of them die of that.
        """
        self.outages += 1
        self.doomed = [Fate(OUTSIDE), Fate(LOOKING)]
        for hand in self.hands:
            if hand.process is not None and hand.process.is_alive():
                self._end(hand)
                self.kills[OUTSIDE] += 1
                hand.process = None
        time.sleep(AWAY * self.stage.factor)

    def _start(self, hand: _Hand, fate: Fate) -> None:
        self.started += 1
        orders = Orders(
            self.started,
            self.stage.folder,
            self.stage.environment,
            fate,
            self.sizes.forgetful,
            self.stage.fleet,
        )
        seconds = OVERDUE if fate.step != OUTSIDE else self.chance.uniform(0.2, 2.5)
        seconds = THAW if fate.step == FROZEN else seconds
        hand.fate, hand.until = fate, time.monotonic() + seconds
        hand.process = self.context.Process(target=worker.run, args=(orders,))
        hand.process.start()

    @staticmethod
    def _end(hand: _Hand) -> None:
        if hand.process is not None:
            hand.process.kill()
            hand.process.join()


def is_stopped(pid: int) -> bool:
    """Whether a process is frozen, which only Linux tells here."""
    file = Path(f"/proc/{pid}/stat")
    return file.exists() and ") T " in file.read_text()


def play(made: Stage, sizes: Sizes) -> tuple[Counter[str], judge.Verdict]:
    """One kill test on a stage; answers with the kills by their kinds and the verdict."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.chaos.worker", "tests.chaos.writer"])
    enough = context.Event()
    plan = writer.Plan(sizes.records, sizes.seed, bills=sizes.forgetful)
    people = context.Process(
        target=writer.run, args=(made.folder, made.environment, plan, enough, made.organisations)
    )
    crew = Crew(made, sizes, context)
    made.disturb(sizes.seed)
    people.start()
    try:
        crew.work()
        enough.set()
        people.join(QUIET)
        if people.exitcode != 0:
            raise SystemExit(f"The writer ended with {people.exitcode}; see {made.folder}.")
        crew.survive()
        wait_until_quiet(made, CONTROL_QUIET if sizes.forgetful else QUIET)
        if not crew.all_live():
            raise SystemExit(f"A worker ended by itself; see {made.folder}.")
    finally:
        crew.stop()
        people.kill()
        made.calm()
    verdict = judge.judge(made)
    verdict.order_violations += sorted(crew.seen)
    verdict.more["frozen"] = crew.frozen
    return crew.kills, verdict


def wait_until_quiet(made: Stage, most: float) -> None:
    """Returns when nothing is open any more, or it doesn't come to an end."""
    until = time.monotonic() + most
    pressed, presses = time.monotonic(), 0
    while time.monotonic() < until:
        with made.services.database.read() as session:
            open_now = judge.left(session)
        if not open_now:
            return
        if presses < PRESSES and time.monotonic() - pressed > 3:
            presses += bool(writer.press_retry(made.services, most=500))
            pressed = time.monotonic()
        time.sleep(0.3)


def report(made: Stage, sizes: Sizes, kills: int, verdict: judge.Verdict) -> None:
    """The JSON line."""
    name = made.services.database.url.get_backend_name()
    line: dict[str, Any] = {"database": name, "records": verdict.records, "kills": kills}
    line |= verdict.counts()
    if made.fleet:
        line["fleet"] = sizes.hands
    if sizes.forgetful:
        line["control"] = True
    print(json.dumps(line | verdict.more, separators=(",", ":")), flush=True)


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def explain(made: Stage, verdict: judge.Verdict) -> None:
    """What is needed to look."""
    for name, found in verdict.found().items():
        for sentence in found[:SHOWN]:
            say(f"  {name}: {sentence}")
        if len(found) > SHOWN:
            say(f"  {name}: … {len(found) - SHOWN} more")
    say(f"  Kept: {made.folder} (books.json, requests.json, passes.jsonl, the logs, the database)")


def one(name: str, folder: Path, sizes: Sizes, factor: float) -> tuple[Counter[str], bool]:
    """A kill test on one database; answers with its kills and whether it came out as it should."""
    began = time.monotonic()
    with stage(name, folder, factor) as made:
        kills, verdict = play(made, sizes)
        report(made, sizes, kills.total(), verdict)
        ways = ", ".join(f"{count} {step}" for step, count in kills.most_common())
        say(f"  {name}, {time.monotonic() - began:.0f} s: {ways}")
        right = bool(verdict.duplicates) if sizes.forgetful else not any(verdict.counts().values())
        if not right:
            explain(made, verdict)
    if right:
        shutil.rmtree(folder, ignore_errors=True)
    return kills, right


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--database", action="append", choices=["sqlite", "postgresql"])
    parser.add_argument("--records", type=int, default=400, help="records on each database")
    parser.add_argument("--kills", type=int, default=111, help="kills on each database")
    parser.add_argument("--at-least", type=int, default=200, help="kills in all, else it fails")
    parser.add_argument("--longest", type=float, default=300, help="seconds of killing on each")
    parser.add_argument(
        "--fleet", type=int, default=200, help="records of the fleet's run; 0: none"
    )
    parser.add_argument("--fleet-kills", type=int, default=66, help="kills of its workers")
    parser.add_argument("--fleet-at-least", type=int, default=60, help="of these, else it fails")
    parser.add_argument(
        "--control", type=int, default=60, help="records of the control run; 0: none"
    )
    parser.add_argument("--control-kills", type=int, default=12)
    parser.add_argument("--factor", type=float, default=0.02, help="how fast Xero's time passes")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def main() -> int:
    asked = arguments()
    os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # the local Xero speaks http on loopback
    folder = Path(tempfile.mkdtemp(prefix="xtiger-chaos-"))
    databases = asked.database or ["sqlite", "postgresql"]
    total: Counter[str] = Counter()
    all_right = True
    for name in databases:
        sizes = Sizes(asked.records, asked.kills, asked.seed, asked.longest)
        kills, right = one(name, folder / name, sizes, asked.factor)
        total += kills
        all_right &= right
    all_right &= enough(total.total(), asked.at_least)
    missed = [step for step in worker.named_steps() if not total[step]]
    if missed and asked.at_least >= EVERY_STEP:
        say(f"Nobody died at: {', '.join(missed)}.")
        all_right = False
    if asked.fleet:
        sizes = Sizes(asked.fleet, asked.fleet_kills, asked.seed, asked.longest, hands=FLEET)
        kills, right = one("fleet", folder / "fleet", sizes, asked.factor)
        all_right &= right & enough(kills.total(), asked.fleet_at_least)
    if asked.control:
        sizes = Sizes(asked.control, asked.control_kills, asked.seed, asked.longest, forgetful=True)
        all_right &= one(databases[0], folder / "control", sizes, asked.factor)[1]
    if all_right or not any(folder.iterdir()):
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if all_right else 1


def enough(kills: int, at_least: int) -> bool:
    """Whether so many were made; says so if not."""
    if kills < at_least:
        say(f"Only {kills} kills were made of the {at_least} that are needed.")
    return kills >= at_least


if __name__ == "__main__":
    sys.exit(main())
