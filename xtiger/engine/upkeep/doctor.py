"""The doctor: looks whether all that must hold holds, and mends what can be mended safely."""

from __future__ import annotations

from dataclasses import dataclass

from xtiger.engine.services import Services
from xtiger.engine.upkeep.findings import CHECKS, Finding, View
from xtiger.engine.upkeep.repairs import REPAIRS, Mended
from xtiger.store import invariants
from xtiger.store.schema import outdated


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was looked at, what doesn't hold, and what was mended before that was found."""

    checks: int
    findings: tuple[Finding, ...]
    mended: tuple[Mended, ...] = ()

    @property
    def well(self) -> bool:
        """Whether all holds."""
        return not self.findings

    @property
    def sentence(self) -> str:
        """What came of it, for people."""
        checks = f"{self.checks} check{'s' * (self.checks != 1)}"
        if self.well:
            return f"All is well: {checks}, nothing found."
        mendable = sum(one.repairable for one in self.findings)
        found = f"{checks}, {len(self.findings)} found"
        return f"{found}; {mendable} of them --repair can mend." if mendable else f"{found}."


def examine(services: Services) -> Diagnosis:
    """Looks at everything, at one moment of the database; changes nothing.

    Beside a database of another version nothing else can be looked at. Raises XTigerError where
    the database is away.
    """
    with services.database.read() as session:
        invariants.snapshot(session)
        behind = outdated(session.connection())
        if behind:
            return Diagnosis(
                1,
                (
                    Finding(
                        "version",
                        f"The database isn't at this program's version ({', '.join(behind)}); "
                        "nothing else was looked at.",
                        "Run: xtiger migrate",
                        len(behind),
                    ),
                ),
            )
        view = View(session, services, services.clock.now())
        found = [finding for check in CHECKS for finding in check(view)]
    return Diagnosis(1 + len(CHECKS), tuple(found))


def repair(services: Services) -> Diagnosis:
    """Mends what can be mended safely, then looks at everything again.

    Each repair is a transaction of its own that looks once more, under the organisation's lease
    where items, runs or calls are touched: an organisation that a worker has is left to it.
    """
    found = examine(services).findings
    wrong = dict.fromkeys(finding.check for finding in found if finding.repairable)
    mended = tuple(each for check in wrong for each in REPAIRS[check](services))
    after = examine(services)
    return Diagnosis(after.checks, after.findings, mended)
