"""One worker process of the kill test: the real worker, which dies where it is told to."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event, text, update
from sqlalchemy.orm import Session

from xtiger import fleet, telemetry
from xtiger.app import create_app
from xtiger.domain.resources import CATALOGUE, Resource
from xtiger.engine import beats
from xtiger.engine.drain import _Drain
from xtiger.engine.services import Services
from xtiger.ports import Access, Answer, Call, XeroPort
from xtiger.store import journal
from xtiger.store.models import Attempt

#: Deaths that no named step covers: around each commit, and while a call is under way.
BEFORE_COMMIT, AFTER_COMMIT, IN_CALL = "before a commit", "after a commit", "in a call"
#: The step that only a call comes to which nobody looked after for long.
LOOKING = "looking up"
#: Stops with an answer in its hands, and goes on when its lease has long gone to another worker.
FROZEN = "frozen"
#: Lives until it is killed from outside.
OUTSIDE = "at random"
#: Records in one call instead of 50, so that with few records too four calls are under way.
FULL = 5
#: Seconds that an answer is late at most.
LATE = 0.3
#: Seconds within which a death in a call comes.
_CALL = 0.06


def named_steps() -> list[str]:
    """The steps that the engine names itself, in the order of its files."""
    found: dict[str, None] = {}
    for file in sorted(files("xtiger.engine").iterdir(), key=lambda one: one.name):
        if file.name.endswith(".py"):
            found |= dict.fromkeys(re.findall(r'observe\(\s*"([^"]+)"', file.read_text("utf-8")))
    return list(found)


@dataclass(frozen=True, slots=True)
class Fate:
    """Where a worker dies: at the `nth` time it comes to `step`."""

    step: str = OUTSIDE
    nth: int = 1


@dataclass(frozen=True, slots=True)
class Orders:
    """What one worker process is told.

    `forgetful` is the control: no journal after a loss. `fleet`: one of many on procrastinate.
    """

    number: int
    folder: Path
    environment: Mapping[str, str]
    fate: Fate
    forgetful: bool = False
    fleet: bool = False


def run(orders: Orders) -> None:
    """Works as `xtiger worker` does, with or without `--fleet`, until it dies.

    Without its parent it dies too.
    """
    into_file(orders.folder / "workers.log")
    telemetry.configure()
    app = create_app(instance=orders.folder, environment=orders.environment)
    services: Services = app.extensions["xtiger"].services
    _tell_passes(orders.folder / "passes.jsonl", orders.number)
    _fill_calls_early()
    services.xero = _FarAway(services.xero)  # type: ignore[assignment]
    if orders.forgetful:
        _forget_calls()
    _doom(services, orders.fate)
    if orders.fleet:
        threading.Thread(target=lambda: (stay(), _die()), daemon=True).start()
        fleet.Worker(services).run(lambda: None)
        return
    embedded = beats.Embedded(services)
    services.dispatcher = embedded
    embedded.start()
    stay()


def into_file(file: Path) -> None:
    """Everything this process prints goes to the end of a file."""
    target = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(target, 1)
    os.dup2(target, 2)


def stay() -> None:
    """Returns when the process that started this one has ended."""
    born_of = os.getppid()
    while os.getppid() == born_of:
        time.sleep(0.2)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _doom(services: Services, fate: Fate) -> None:
    """Arranges the death at a named step, at a commit, or in a call."""
    seen = itertools.count(1)

    def die_now(*_: Any) -> None:
        if next(seen) == fate.nth:
            _die()

    def at(step: str, then: Callable[[], None]) -> Callable[[str], None]:
        return lambda now: then() if now == step else None

    def freeze() -> None:
        if next(seen) == fate.nth:
            os.kill(os.getpid(), signal.SIGSTOP)

    def die_soon() -> None:
        if next(seen) == fate.nth:
            threading.Timer(random.SystemRandom().uniform(0, _CALL), _die).start()

    if fate.step == BEFORE_COMMIT:
        event.listen(Engine, "commit", die_now)
    elif fate.step == AFTER_COMMIT:
        event.listen(Session, "after_commit", die_now)
    elif fate.step == IN_CALL:
        services.observe = at("journalled", die_soon)
    elif fate.step == FROZEN:
        services.observe = at("answered", freeze)
    elif fate.step != OUTSIDE:
        services.observe = at(fate.step, die_now)


def _tell_passes(file: Path, number: int) -> None:
    """Notes in which pass each attempt was opened: the database doesn't say where one began."""
    target = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    begin_pass, open_attempt = _Drain._begin_pass, journal.open_attempt
    passes, here = itertools.count(1), threading.local()

    def begun(drain: _Drain, last: int) -> list[int]:
        ranks = begin_pass(drain, last)
        here.own = {"worker": number, "pass": next(passes), "mark": drain.mark}
        return ranks

    def opened(session: Session, *what: Any, **more: Any) -> int:
        attempt_id = open_attempt(session, *what, **more)
        # A drain opens its calls in its own thread, whichever thread then carries them.
        os.write(target, json.dumps({"attempt": attempt_id} | here.own).encode() + b"\n")
        return attempt_id

    _Drain._begin_pass = begun  # type: ignore[method-assign]
    journal.open_attempt = opened


def _fill_calls_early() -> None:
    for resource, info in CATALOGUE.items():
        full = replace(info, batch_size=min(info.batch_size, FULL))
        CATALOGUE[resource] = full  # type: ignore[index]


class _FarAway:
    """Xero behind a slow line: answers of writes take a while, so calls are under way together."""

    def __init__(self, xero: XeroPort) -> None:
        self._xero = xero
        self._chance = random.SystemRandom()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._xero, name)

    def save_many(self, access: Access, call: Call) -> Answer:
        answer = self._xero.save_many(access, call)
        time.sleep(self._chance.uniform(0, LATE))
        return answer


def _forget_calls() -> None:
    """The control: a document's call whose answer was lost is forgotten, and goes by a new key.

    Contacts and products keep the journal: Xero would refuse them by their keys the second time,
    and every document would wait for them instead of going twice.
    """
    still_open = journal.still_open

    def forgotten(session: Session, organisation_id: int) -> list[Attempt]:
        if session.connection().get_execution_options().get("xtiger_write"):
            session.execute(
                update(Attempt)
                .where(
                    Attempt.organisation_id == organisation_id,
                    Attempt.resource == Resource.INVOICES.value,
                    text("closed_at IS NULL"),
                )
                .values(closed_at=datetime.now(UTC), outcome="forgotten")
                .execution_options(synchronize_session=False)
            )
        return still_open(session, organisation_id)

    journal.still_open = forgotten
