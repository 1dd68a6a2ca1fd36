"""Any CRM whose records are SQLAlchemy models in a database XTiger can reach."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from xtiger.domain import exactjson
from xtiger.domain.records import Module, ModuleInfo, Record, RecordRef, XeroLink
from xtiger.store import outbox
from xtiger.store.schema import plain_faults
from xtiger.telemetry import logger

log = logger("crm")


@dataclass(frozen=True, slots=True)
class SqlModule:
    """How one model is a module.

    `read` turns an object into (label, fields, lines, status, created_at). `parts` maps the
    models of its parts (lines) to the attribute that holds the record's id. `write_back`
    stores what Xero gave on the object. `load` are loader options that fetch the parts.
    """

    info: ModuleInfo
    model: Any
    read: Callable[[Any], Snapshot]
    parts: Mapping[type, str] = field(default_factory=dict)
    write_back: Callable[[Any, XeroLink], None] | None = None
    load: tuple[Any, ...] = ()
    #: Columns that a search looks into, and the one that holds the status.
    search: tuple[Any, ...] = ()
    status: Any = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What `SqlModule.read` gives of one object."""

    label: str
    fields: Mapping[str, Any]
    created_at: datetime
    lines: tuple[Mapping[str, Any], ...] = ()
    status: str | None = None


class SqlCrm:
    """A CrmPort on a host's models, read and written in sessions of its own."""

    def __init__(
        self,
        modules: Sequence[SqlModule],
        *,
        sessions: Callable[[], AbstractContextManager[Session]],
        key: str = "CRM",
    ) -> None:
        """`sessions` opens a session on the host's engine; `key` marks our objects in Xero."""
        self.key = key
        self._modules = {module.info.module: module for module in modules}
        self._sessions = sessions

    def modules(self) -> Mapping[Module, ModuleInfo]:
        return {name: module.info for name, module in self._modules.items()}

    def watch(self, session_class: Any, now: Callable[[], datetime]) -> None:
        """Captures the changes of a session class (or scoped session) in the outbox."""
        namers: dict[type, outbox.Namer] = {}
        for name, module in self._modules.items():
            namers[module.model] = _namer(name, "id")
            for part, attribute in module.parts.items():
                namers[part] = _namer(name, attribute)
        outbox.watch(session_class, namers, now)

    def fetch_many(self, refs: Sequence[RecordRef]) -> dict[RecordRef, Record]:
        found: dict[RecordRef, Record] = {}
        by_module: dict[Module, list[int]] = {}
        for ref in refs:
            # An id that no row can have (from a typed address) names nothing.
            if _is_id(ref.id):
                by_module.setdefault(ref.module, []).append(int(ref.id))
        with plain_faults(), self._sessions() as session:
            for name, ids in by_module.items():
                module = self._modules[name]
                for start in range(0, len(ids), 500):
                    for thing in session.scalars(
                        select(module.model)
                        .where(module.model.id.in_(ids[start : start + 500]))
                        .options(*module.load)
                    ):
                        record = self._record(name, module, thing)
                        found[record.ref] = record
        return found

    def scan(self, module: Module, *, after: str | None, limit: int) -> Sequence[Record]:
        known = self._modules[module]
        with plain_faults(), self._sessions() as session:
            statement = (
                select(known.model).order_by(known.model.id).limit(limit).options(*known.load)
            )
            if after is not None:
                statement = statement.where(known.model.id > int(after))
            return [self._record(module, known, thing) for thing in session.scalars(statement)]

    def browse(
        self,
        module: Module,
        *,
        text: str | None,
        status: str | None,
        before: str | None,
        limit: int,
    ) -> Sequence[Record]:
        known = self._modules[module]
        statement = (
            select(known.model).order_by(known.model.id.desc()).limit(limit).options(*known.load)
        )
        if before is not None and _is_id(before):
            statement = statement.where(known.model.id < int(before))
        if status and known.status is not None:
            statement = statement.where(known.status == status)
        if text and known.search:
            statement = statement.where(
                or_(*(column.icontains(text, autoescape=True) for column in known.search))
            )
        with plain_faults(), self._sessions() as session:
            return [self._record(module, known, thing) for thing in session.scalars(statement)]

    def write_back(self, links: Mapping[RecordRef, XeroLink]) -> None:
        with plain_faults(), self._sessions() as session:
            session.info[outbox.QUIET] = True
            for ref, link in links.items():
                module = self._modules[ref.module]
                thing = session.get(module.model, int(ref.id))
                if thing is not None and module.write_back:
                    module.write_back(thing, link)
            session.commit()

    @staticmethod
    def _record(name: Module, module: SqlModule, thing: Any) -> Record:
        try:
            snapshot = module.read(thing)
            created = snapshot.created_at
            version = _version(snapshot)
        except Exception as fault:
            # One record that its own CRM can't read must not keep the others from going.
            log.exception("record unreadable", module=name.value, id=thing.id)
            return Record(
                ref=RecordRef(name, str(thing.id)),
                label=f"{name.singular} {thing.id}",
                version="unreadable",
                created_at=datetime.now(UTC),
                fields={},
                fault=f"The CRM can't read it ({type(fault).__name__}). The log says more.",
            )
        return Record(
            ref=RecordRef(name, str(thing.id)),
            label=snapshot.label,
            version=version,
            created_at=created if created.tzinfo else created.replace(tzinfo=UTC),
            fields=snapshot.fields,
            lines=snapshot.lines,
            status=snapshot.status,
        )


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def _namer(module: Module, attribute: str) -> outbox.Namer:
    def name(thing: Any) -> RecordRef | None:
        value = getattr(thing, attribute)
        return None if value is None else RecordRef(module, str(value))

    return name


def _version(snapshot: Snapshot) -> str:
    """A hash of what is mapped: no host needs to keep a version column for us."""

    def plain(values: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: str(value) if isinstance(value, RecordRef) else value
            for name, value in values.items()
        }

    return exactjson.digest(
        [plain(snapshot.fields), [plain(line) for line in snapshot.lines], snapshot.status]
    )[:32]
