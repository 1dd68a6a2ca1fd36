"""Who uses an organisation's accounts, tax rates and items, and what of it Xero has archived."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from xtiger.domain.defaults import MappingTemplate
from xtiger.domain.facts import folded
from xtiger.domain.records import DOCUMENTS, SOLD, DocumentType, Module
from xtiger.domain.resources import RESOURCE_OF
from xtiger.domain.transforms import TemplateFault
from xtiger.engine.services import Services
from xtiger.store import leases, profiles, templates
from xtiger.store.models import Binding, QueueItem, Reference
from xtiger.store.schema import MOST_ROWS

#: What of a mapping names what: the last part of a Xero field.
_NAMED = {"AccountCode": "accounts", "TaxType": "tax_rates"}
#: Where transforms hold a fixed value, besides their tables.
FIXED: Mapping[str, str] = {"constant": "value", "lookup": "default"}
#: What each kind is called, and under which causes records fail for one of it.
WORDS: Mapping[str, str] = {
    "accounts": "account",
    "tax_rates": "tax rate",
    "items": "item",
    "tracking": "tracking",
}
_CAUSES: Mapping[str, tuple[str, ...]] = {
    "accounts": ("account-archived", "account-unusable"),
    "tax_rates": ("tax-unknown",),
    "tracking": ("tracking-category", "tracking-option"),
}
#: Records of one module are counted for at most so many seconds, and no more than so many.
_SECONDS, _MOST = 10.0, 50_000
#: Under which kinds the counts, and what is used though it can't be, are kept among the
#: reference data, with their age.
STOCK, WARNED = "uses", "warnings"


@dataclass(slots=True)
class Use:
    """Who uses one account, tax rate or item."""

    mappings: list[str] = field(default_factory=list)
    products: int = 0
    services: int = 0
    failed: int = 0

    @property
    def words(self) -> str:
        """3 mappings, 12 products; empty where nobody does."""
        parts = (
            (len(self.mappings), "mapping"),
            (self.products, "product"),
            (self.services, "service"),
        )
        return ", ".join(_counted(number, noun) for number, noun in parts if number)


class Warning(NamedTuple):
    """Something that is used here and can't be used in Xero any more."""

    kind: str
    code: str
    #: "Account 200 is archived in Xero".
    cause: str
    use: Use

    @property
    def causes(self) -> tuple[str, ...]:
        """The causes under which records fail for it."""
        return causes_of(self.kind, self.code)

    @property
    def users(self) -> str:
        """Who is concerned: 1 mapping, 12 products, 21 failed records."""
        failed = _counted(self.use.failed, "failed record") if self.use.failed else ""
        return ", ".join(part for part in (self.use.words, failed) if part)

    @property
    def sentence(self) -> str:
        """The cause and the users."""
        return f"{self.cause}, used by {self.users}."


def causes_of(kind: str, code: str) -> tuple[str, ...]:
    """The causes under which records fail for an account, tax rate, category or option."""
    # An option is named with its category: “Region: North”.
    value = code.replace(": ", ":", 1) if kind == "tracking" else code
    return tuple(f"{cause}:{value}"[:120] for cause in _CAUSES.get(kind, ()))


def uses(session: Session, organisation_id: int) -> dict[str, dict[str, Use]]:
    """By kind (accounts, tax_rates, items) and code who uses it.

    Mappings as they are now; products and services as they were counted when Xero was
    last read.
    """
    found: dict[str, dict[str, Use]] = {kind: {} for kind in WORDS}
    for name, kind, code in _mapped(session, organisation_id):
        mappings = found[kind].setdefault(code, Use()).mappings
        if name not in mappings:
            mappings.append(name)
    kept = profiles.reference(session, organisation_id).get(STOCK)
    for counted in kept.data if kept else ():
        use = found[counted["kind"]].setdefault(counted["code"], Use())
        use.products, use.services = counted["products"], counted.get("services", 0)
    return found


def warnings(session: Session, organisation_id: int) -> list[Warning]:
    """What is used although Xero has archived or deleted it, as last read."""
    known = profiles.reference(session, organisation_id)
    found = []
    for kind, each in uses(session, organisation_id).items():
        if kind not in known:
            continue
        # Of two of one name the one that can be used counts; capitals don't.
        listed = sorted(rows_of(kind, known[kind].data), key=lambda row: row.usable)
        rows = {folded(row.code): row for row in listed}
        for code, use in sorted(each.items()):
            row = rows.get(folded(code))
            if row is not None and row.usable:
                continue
            word = WORDS[kind].capitalize()
            why = f"is {row.status.lower()} in Xero" if row else "isn't in Xero any more"
            warning = Warning(kind, code, f"{word} {code} {why}", use)
            use.failed = failing(session, organisation_id, warning.causes)
            found.append(warning)
    return found


def keep_warnings(session: Session, organisation_id: int, now: datetime) -> None:
    """Finds the warnings anew and keeps them, so that every page can show them at no cost.

    To be called wherever one could come or go: Xero was read, or a mapping was saved.
    """
    # Two that save at one moment go one behind the other, and the second sees what the first did.
    leases.lock(session, [organisation_id])
    rows = [
        {
            "kind": each.kind,
            "code": each.code,
            "cause": each.cause,
            "mappings": each.use.mappings,
            "products": each.use.products,
            "services": each.use.services,
        }
        for each in warnings(session, organisation_id)
    ]
    profiles.put_reference(session, organisation_id, {WARNED: rows}, now)


def kept_warnings(session: Session, organisation_ids: Sequence[int]) -> dict[int, list[Warning]]:
    """By organisation what was kept of its warnings; failed records aren't counted in it."""
    if not organisation_ids:
        return {}
    rows = session.execute(
        select(Reference.organisation_id, Reference.data).where(
            Reference.organisation_id.in_(organisation_ids), Reference.kind == WARNED
        )
    )
    return {
        one: [
            Warning(
                each["kind"],
                each["code"],
                each["cause"],
                Use(list(each["mappings"]), int(each["products"]), int(each.get("services", 0))),
            )
            for each in data
        ]
        for one, data in rows
        if data
    }


class Row(NamedTuple):
    """One account, tax rate or item: its code, and whether records may use it."""

    code: str
    status: str
    usable: bool


def rows_of(kind: str, data: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    """What was read of a kind, by what mappings, products and services name it by."""
    if kind == "tracking":
        yield from _tracking(data)
        return
    name = {"accounts": "Code", "tax_rates": "TaxType", "items": "Code"}[kind]
    for each in data:
        status = str(each.get("Status") or "ACTIVE")
        if each.get(name):
            yield Row(str(each[name]), status, status == "ACTIVE")


def _tracking(data: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    """Categories by their names, options with those: “Region: North”."""
    for category in data:
        name = str(category.get("Name") or "")
        status = str(category.get("Status") or "ACTIVE")
        yield Row(name, status, status == "ACTIVE")
        for option in category.get("Options") or ():
            own = str(option.get("Status") or "ACTIVE") if status == "ACTIVE" else status
            yield Row(f"{name}: {option.get('Name')}", own, own == "ACTIVE")


def tracks(session: Session, organisation_id: int) -> bool:
    """Whether a mapping in use tracks the lines of documents."""
    return any(kind == "tracking" for _, kind, _ in _mapped(session, organisation_id))


def take_stock(services: Services, organisation_id: int) -> None:
    """Counts which products and services use what, and which have lost their item in Xero.

    The counts are kept, and what is warned of by them too.
    """
    counts: dict[Module, Counter[tuple[str, str]]] = {}
    for module in SOLD:
        with services.database.read() as session:
            fields = _booking_fields(session, organisation_id, module)
            counts[module] = _lost_items(session, organisation_id, module)
        if fields and module in services.crm.modules():
            counts[module].update(_in_records(services, module, fields))
    rows = [
        {
            "kind": kind,
            "code": code,
            "products": counts[Module.PRODUCTS][kind, code],
            "services": counts[Module.SERVICES][kind, code],
        }
        for kind, code in sorted({each for counted in counts.values() for each in counted})
    ]
    now = services.clock.now()
    with services.database.write() as session:
        profiles.put_reference(session, organisation_id, {STOCK: rows}, now)
        keep_warnings(session, organisation_id, now)


def kind_of(target: str) -> str | None:
    """What a Xero field names: "accounts", "tax_rates", or neither."""
    return _NAMED.get(target.rpartition(".")[2])


def named(module: Module, document_type: DocumentType | None) -> str:
    """What people call a mapping: Contacts, Invoice, Bill."""
    return document_type.value if document_type else module.value


def _mapped(session: Session, organisation_id: int) -> Iterator[tuple[str, str, str]]:
    """(Mapping's name, kind, code) of all that the templates in use name."""
    for module in Module:
        for kind in list(DocumentType) if module in DOCUMENTS else [None]:
            row = templates.newest(session, organisation_id, module, kind)
            if row is None:
                continue
            name, body = named(module, kind), row.body
            for each in (*body.get("fields", ()), *body.get("lines", ())):
                if what := kind_of(str(each.get("to"))):
                    yield from ((name, what, code) for code in _fixed(each.get("from")))
                if category := each.get("category"):
                    yield name, "tracking", str(category)
                    for option in _fixed(each.get("from")):
                        yield name, "tracking", f"{category}: {option}"
            for code in (body.get("tax_types") or {}).values():
                yield name, "tax_rates", str(code)
            for part, value in (body.get("money") or {}).items():
                if part.endswith("account") and value:
                    yield name, "accounts", str(value)


def _fixed(source: Any) -> Iterator[str]:
    """The fixed values that a transform may give: constants, and what stands in tables."""
    if isinstance(source, Mapping):
        own = FIXED.get(str(source.get("transform")))
        if own and source.get(own) not in (None, ""):
            yield str(source[own])
        table = source.get("table")
        if isinstance(table, Mapping):
            yield from (str(value) for value in table.values() if value not in (None, ""))
        for name, inner in source.items():
            if name != "table":
                yield from (one for one in _fixed(inner) if name != "of" or lets_out(source, one))
    elif isinstance(source, list):
        for inner in source:
            yield from _fixed(inner)


def lets_out(source: Mapping[str, Any], value: str) -> bool:
    """Whether a value of a transform's `of` may come out of it.

    What a lookup looks up is a word of its table, no account or tax rate, unless it keeps what
    isn't in the table.
    """
    if source.get("transform") != "lookup":
        return True
    table = source.get("table")
    words = {folded(str(word)) for word in table} if isinstance(table, Mapping) else set()
    return source.get("unmatched") == "keep" and folded(value) not in words


def _booking_fields(session: Session, organisation_id: int, module: Module) -> dict[str, str]:
    """The fields that say which account or tax rate a record is booked on, with the kind."""
    row = templates.newest(session, organisation_id, module, None)
    if row is None:
        return {}
    try:
        template = MappingTemplate.from_json(row.body)
    except TemplateFault:
        return {}  # its page says what is wrong with it
    return {
        name: kind
        for each in template.fields
        if (kind := kind_of(each.to))
        for name in each.source.reads()
    }


def _in_records(
    services: Services, module: Module, fields: Mapping[str, str]
) -> Counter[tuple[str, str]]:
    """How many records name each code in one of these fields; one counts once a code."""
    counts: Counter[tuple[str, str]] = Counter()
    ends = time.monotonic() + _SECONDS
    looked, after = 0, None
    while looked < _MOST and time.monotonic() < ends:
        records = services.crm.scan(module, after=after, limit=MOST_ROWS)
        if not records:
            break
        after = records[-1].ref.id
        looked += len(records)
        for record in records:
            values = {(kind, str(record.fields.get(name) or "")) for name, kind in fields.items()}
            counts.update(each for each in values if each[1])
    return counts


def _lost_items(session: Session, organisation_id: int, module: Module) -> Counter[tuple[str, str]]:
    """Items that a module's records are linked with and that Xero doesn't list any more."""
    known = profiles.reference(session, organisation_id).get("items")
    if known is None:
        return Counter()
    there = {str(row.get("ItemID")) for row in known.data}
    bound = session.execute(
        select(Binding.xero_id, Binding.number).where(
            Binding.organisation_id == organisation_id,
            Binding.resource == RESOURCE_OF[module].value,
            Binding.module == module.value,
            # What was linked after Xero was read can't be missing there.
            Binding.bound_at <= known.read_at,
        )
    )
    return Counter(
        ("items", str(number or xero_id)) for xero_id, number in bound if xero_id not in there
    )


def failing(session: Session, organisation_id: int, causes: Sequence[str]) -> int:
    """How many records fail for these causes now."""
    if not causes:
        return 0
    return (
        session.scalar(
            select(func.count())
            .select_from(QueueItem)
            .where(
                QueueItem.organisation_id == organisation_id,
                text("state IN ('failed', 'check')"),
                QueueItem.cause.in_(causes),
            )
        )
        or 0
    )


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
