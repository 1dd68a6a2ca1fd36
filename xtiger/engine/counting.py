"""What a profile selects, and what another one in its place would bring in or take out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from xtiger.domain.records import Record, RecordRef
from xtiger.domain.selection import Decision, SyncProfile
from xtiger.engine.intake import decide_by
from xtiger.engine.services import Services
from xtiger.store import profiles
from xtiger.store.schema import MOST_ROWS

#: A person waits for it: after so many records or seconds it tells what it has seen till then.
MOST, SECONDS = 50_000, 5.0
#: Records listed by name of each kind.
LISTED = 100


class Moved(NamedTuple):
    """One record that would be brought in or taken out, and why."""

    ref: RecordRef
    label: str
    status: str | None
    sentence: str


@dataclass(slots=True)
class Count:
    """What a profile selects of the records looked at, the newest first.

    `whole` says that all were. `brings` and `takes` list the first ones of those that saving
    would move; `brought` and `taken` count all of them.
    """

    looked: int = 0
    selected: int = 0
    brought: int = 0
    taken: int = 0
    whole: bool = True
    brings: list[Moved] = field(default_factory=list)
    takes: list[Moved] = field(default_factory=list)

    def see(self, record: Record, now: Decision | None, then: Decision | None) -> None:
        """Takes one record into account: as it is decided now, and as it would be."""
        was = now is not None and now.selected
        will = then is not None and then.selected
        self.looked += 1
        self.selected += will
        if was == will:
            return
        sentence = then.sentence if then else "Another organisation's condition takes it."
        moved = Moved(record.ref, record.label, record.status, sentence)
        if will:
            self.brought += 1
            self.brings += [moved] if self.brought <= LISTED else []
        else:
            self.taken += 1
            self.takes += [moved] if self.taken <= LISTED else []


def count(services: Services, wanted: SyncProfile, *, seconds: float = SECONDS) -> Count:
    """Counts what `wanted`, put in the place of the profile in use, would select.

    It sends nothing and changes nothing. It reads the whole CRM module, at most MOST records
    and about so many seconds long.
    """
    with services.database.read() as session:
        rules = profiles.profiles(session)
    after = [wanted if _same(one, wanted) else one for one in rules]
    found = Count()
    ends = time.monotonic() + seconds
    before: str | None = None
    while True:
        records = services.crm.browse(
            wanted.module, text=None, status=None, before=before, limit=MOST_ROWS
        )
        if not records:
            return found
        before = records[-1].ref.id
        by_now, by_then = decide_by(services, records, rules, after)
        for record in records:
            where = wanted.organisation_id
            found.see(record, _of(by_now[record.ref], where), _of(by_then[record.ref], where))
        if len(records) < MOST_ROWS:
            return found
        if found.looked >= MOST or time.monotonic() > ends:
            found.whole = False
            return found


def _same(one: SyncProfile, other: SyncProfile) -> bool:
    return (one.organisation_id, one.module) == (other.organisation_id, other.module)


def _of(decisions: Sequence[Decision], organisation_id: int) -> Decision | None:
    return next((one for one in decisions if one.organisation_id == organisation_id), None)
