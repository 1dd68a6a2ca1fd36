"""Alembic migrations: one branch each for the core, the small CRM and the accounts."""

from __future__ import annotations

from collections.abc import Mapping

VERSION_TABLE = "xtiger_alembic_version"


def include_name(name: str | None, kind: str, parents: Mapping[str, str | None]) -> bool:
    """For a host's `env.py`: keeps its autogenerate from proposing to drop XTiger's tables.

    Here it does the reverse duty too: kind "table" with our prefix is ours, nothing else. With
    `include_schemas` it leaves out the schema in which a fleet's tokens lie.
    """
    return kind not in {"table", "schema"} or not (name or "").startswith("xtiger_")
