"""Any CRM whose records are SQLAlchemy models in a database XTiger can reach."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any, NamedTuple

from sqlalchemy import Select, bindparam, or_, select, update
from sqlalchemy.orm import Session

from xtiger.domain import exactjson
from xtiger.domain.records import Module, ModuleInfo, Record, RecordRef, XeroLink
from xtiger.store import outbox
from xtiger.store.schema import MOST_ROWS, plain_faults
from xtiger.telemetry import logger

log = logger("crm")


@dataclass(frozen=True, slots=True)
class SqlModule:
    """How one model is a module.

    `read` turns an object into (label, fields, lines, status, created_at). `parts` maps the
    models of its parts (lines) to the attribute that holds the record's id. `write_back`
    stores what Xero gave on the object. `load` are loader options that fetch the parts.

    Where a CRM is large, `rows` and `columns` take the place of `load` and `write_back`:
    `rows` selects columns instead of objects, several times quicker, and gives for each of
    those ids anything with an `id` and the attributes that `read` uses; `columns` names what a
    link puts into which column.
    """

    info: ModuleInfo
    model: Any
    read: Callable[[Any], Snapshot]
    parts: Mapping[type, str] = field(default_factory=dict)
    write_back: Callable[[Any, XeroLink], None] | None = None
    load: tuple[Any, ...] = ()
    rows: Callable[[Session, Sequence[int]], Iterable[Any]] | None = None
    columns: Callable[[XeroLink], Mapping[str, Any]] | None = None
    #: Columns that a search looks into, and the one that holds the status.
    search: tuple[Any, ...] = ()
    status: Any = None


class Snapshot(NamedTuple):
    """What `SqlModule.read` gives of one object.

    `stamp` is anything whose `repr` changes whenever what is mapped does, such as the rows it
    was read from; without one the fields, lines and status are counted, which takes longer.
    """

    label: str
    fields: Mapping[str, Any]
    created_at: datetime
    lines: tuple[Mapping[str, Any], ...] = ()
    status: str | None = None
    stamp: object = None
    #: The id in Xero that the object keeps, for a first meeting after ours was lost.
    xero_id: str | None = None


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
                for thing in _things(session, module, ids):
                    record = self._record(name, module, thing)
                    found[record.ref] = record
        return found

    def scan(self, module: Module, *, after: str | None, limit: int) -> Sequence[Record]:
        known = self._modules[module]
        statement = select(known.model.id).order_by(known.model.id).limit(limit)
        if after is not None:
            statement = statement.where(known.model.id > int(after))
        return self._listed(module, statement)

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
        statement = select(known.model.id).order_by(known.model.id.desc()).limit(limit)
        if before is not None and _is_id(before):
            statement = statement.where(known.model.id < int(before))
        if status and known.status is not None:
            statement = statement.where(known.status == status)
        if text and known.search:
            statement = statement.where(
                or_(*(column.icontains(text, autoescape=True) for column in known.search))
            )
        return self._listed(module, statement)

    def _listed(self, module: Module, statement: Select[Any]) -> list[Record]:
        """The records whose ids a statement selects, in its order."""
        known = self._modules[module]
        with plain_faults(), self._sessions() as session:
            ids = session.scalars(statement).all()
            things = {thing.id: thing for thing in _things(session, known, ids)}
            return [self._record(module, known, things[one]) for one in ids if one in things]

    def write_back(self, links: Mapping[RecordRef, XeroLink]) -> None:
        with plain_faults(), self._sessions() as session:
            session.info[outbox.QUIET] = True
            by_module: dict[Module, dict[int, XeroLink]] = {}
            for ref, link in links.items():
                by_module.setdefault(ref.module, {})[int(ref.id)] = link
            for name, wanted in by_module.items():
                module = self._modules[name]
                if module.columns is not None:
                    _set_columns(session, module.model, module.columns, wanted)
                elif module.write_back is not None:
                    for thing in _objects(session, module.model, list(wanted)):
                        module.write_back(thing, wanted[thing.id])
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
            xero_id=snapshot.xero_id,
        )


def _things(session: Session, module: SqlModule, ids: Sequence[int]) -> Iterator[Any]:
    """What `read` takes of these ids; one that is gone is absent."""
    for start in range(0, len(ids), MOST_ROWS):
        some = ids[start : start + MOST_ROWS]
        if module.rows is not None:
            yield from module.rows(session, some)
        else:
            yield from _objects(session, module.model, some, module.load)


def _objects(
    session: Session, model: Any, ids: Sequence[int], load: tuple[Any, ...] = ()
) -> Iterator[Any]:
    for start in range(0, len(ids), MOST_ROWS):
        chosen = model.id.in_(ids[start : start + MOST_ROWS])
        yield from session.scalars(select(model).where(chosen).options(*load))


def _set_columns(
    session: Session,
    model: Any,
    columns: Callable[[XeroLink], Mapping[str, Any]],
    links: Mapping[int, XeroLink],
) -> None:
    """One statement for all; a record that is gone is left out."""
    table = model.__table__
    rows = [{"this_id": one, **columns(link)} for one, link in links.items()]
    names = [name for name in rows[0] if name != "this_id"]
    statement = update(table).where(table.c.id == bindparam("this_id"))
    # Past the session's objects: nothing of the host's listens to it, and nothing need be loaded.
    session.connection().execute(statement.values({n: bindparam(n) for n in names}), rows)


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def _namer(module: Module, attribute: str) -> outbox.Namer:
    def name(thing: Any) -> RecordRef | None:
        value = getattr(thing, attribute)
        return None if value is None else RecordRef(module, str(value))

    return name


def _version(snapshot: Snapshot) -> str:
    """A hash of what is mapped: no host needs to keep a version column for us."""
    if snapshot.stamp is not None:
        return sha256(repr(snapshot.stamp).encode()).hexdigest()[:32]
    return exactjson.digest(
        [_as_texts(snapshot.fields), list(map(_as_texts, snapshot.lines)), snapshot.status]
    )[:32]


def _as_texts(values: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers and links as text, which is quicker to hash."""
    return {
        name: str(value) if type(value) is Decimal or type(value) is RecordRef else value
        for name, value in values.items()
    }
