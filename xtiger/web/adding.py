"""Asks before many records are added to the Queue: how many, and what sending them costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xtiger.domain.records import DOCUMENTS, Module
from xtiger.domain.resources import CATALOGUE, RESOURCE_OF
from xtiger.store import usage
from xtiger.store.models import Organisation
from xtiger.web import formats
from xtiger.web.actions import fault
from xtiger.web.frame import now, page
from xtiger.web.words import say

#: More records than these are added only after a page has asked.
UNASKED = 50
#: Counts are exact up to here.
MOST = 10_000


def moved(count: int, seen: int | None) -> bool:
    """Says so where a count isn't what the person saw; None: nobody has seen one."""
    if seen is None or count == seen:
        return False
    fault(say("adding.moved", count=f"{count:,}"))
    return True


def cost(calls: int, organisation: Organisation | None) -> str:
    """5 calls of 803 left; without the rest where that isn't known."""
    left = usage.left(organisation, now()) if organisation else None
    said = formats.counted(calls, "call")
    return said if left is None else f"{said} of {left:,} left"


def ask(
    organisation: Organisation,
    module: Module,
    count: int,
    *,
    whole: bool,
    action: str,
    back: str,
    hidden: Mapping[str, str],
    crumbs: Sequence[tuple[str, str]],
) -> Any:
    """The page that asks; `action` is where its button posts the count and `hidden` to."""
    calls = -(-count // CATALOGUE[RESOURCE_OF[module]].batch_size)
    left = usage.left(organisation, now())
    question = say(
        "adding.ask",
        count=f"{formats.counted(count, module.singular)}{'' if whole else ' or more'}",
        calls=cost(calls, organisation),
    )
    return page(
        "xtiger/add_confirm.html",
        question=question,
        needed=say("adding.needed") if module in DOCUMENTS else None,
        too_many=left is not None and calls > left,
        count=count,
        action=action,
        back=back,
        hidden=hidden,
        crumbs=crumbs,
    )
