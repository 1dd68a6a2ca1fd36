"""Fields that a mapping doesn't overwrite: what Xero has there stays, whatever the CRM says."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from copy import deepcopy
from typing import Any

from xtiger.domain.defaults import MappingTemplate, Overwrite
from xtiger.domain.targets import TYPE_FIELDS, put
from xtiger.domain.transforms import empty

Path = tuple[str, ...]


def held(
    template: MappingTemplate,
    payload: dict[str, Any],
    agreed: Callable[[], Any],
    *,
    known: bool = True,
) -> tuple[dict[str, Any], tuple[Path, ...]]:
    """An update's payload as both sides will agree on it, and the fields left out of the call.

    `agreed` gives what both sides last agreed on; it is asked only where it matters. A field
    that is only written on creating is left out; one that is only written while Xero has nothing
    there is left out unless nothing was agreed there. In the agreement each keeps the value of
    before: else every record would seem changed once more after it was created. `known`: an
    object that was in Xero before the CRM met it may hold more than was ever agreed on.
    """
    rows = [row for row in template.fields if row.overwrite is not Overwrite.ALWAYS]
    if not rows:
        return payload, ()
    there = agreed() or {}
    paths = tuple(
        path
        for row in rows
        for path in (tuple(row.to.split(".")),)
        if row.overwrite is Overwrite.NEVER or not known or not empty(_at(there, path))
    )
    if not paths:
        return payload, ()
    made = without(payload, paths)
    for path in paths:
        before = _at(there, path)
        if not empty(before):
            put(made, path, before)
    return made, paths


def without(payload: dict[str, Any], paths: Collection[Path]) -> dict[str, Any]:
    """A payload without these fields; a phone or address that holds nothing more goes too."""
    if not paths:
        return payload
    made = deepcopy(payload)
    for path in paths:
        if len(path) == 3:
            kind = TYPE_FIELDS[path[0]]
            members = made.get(path[0]) or []
            for member in members:
                if member.get(kind) == path[1]:
                    member.pop(path[2], None)
            left = [member for member in members if member.keys() - {kind}]
            made[path[0]] = left
        elif len(path) == 2:
            made.get(path[0], {}).pop(path[1], None)
        else:
            made.pop(path[0], None)
        if path[0] in made and made[path[0]] in ([], {}):
            del made[path[0]]
    return made


def _at(values: Mapping[str, Any], path: Path) -> Any:
    """The value of a field, None where there is none."""
    if len(path) == 3:
        kind = TYPE_FIELDS[path[0]]
        members = values.get(path[0]) or ()
        found = next((one for one in members if one.get(kind) == path[1]), None)
        return found.get(path[2]) if found else None
    value: Any = values
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
