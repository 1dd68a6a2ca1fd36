"""Who uses an organisation's accounts, tax rates and items, and what of it Xero has archived."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from xtiger.domain.defaults import MappingTemplate
from xtiger.domain.records import DOCUMENTS, DocumentType, Module
from xtiger.domain.resources import RESOURCE_OF
from xtiger.domain.transforms import TemplateFault
from xtiger.engine.services import Services
from xtiger.store import profiles, templates
from xtiger.store.models import Binding, QueueItem
from xtiger.store.schema import MOST_ROWS

#: What of a mapping names what: the last part of a Xero field.
_NAMED = {"AccountCode": "accounts", "TaxType": "tax_rates"}
#: What each kind is called, and under which causes records fail for one of it.
WORDS: Mapping[str, str] = {"accounts": "account", "tax_rates": "tax rate", "items": "item"}
_CAUSES: Mapping[str, tuple[str, ...]] = {
    "accounts": ("account-archived", "account-unusable"),
    "tax_rates": ("tax-unknown",),
}
#: Records of one module are counted for at most so many seconds, and no more than so many.
_SECONDS, _MOST = 10.0, 50_000
#: Under which kind the counts are kept among the reference data, with their age.
STOCK = "uses"


@dataclass(slots=True)
class Use:
    """Who uses one account, tax rate or item."""

    mappings: list[str] = field(default_factory=list)
    products: int = 0
    failed: int = 0

    @property
    def words(self) -> str:
        """3 mappings, 12 products; empty where nobody does."""
        parts = ((len(self.mappings), "mapping"), (self.products, "product"))
        return ", ".join(_counted(number, noun) for number, noun in parts if number)


class Warning(NamedTuple):
    """Something that is used here and can't be used in Xero any more."""

    kind: str
    code: str
    #: "Account 200 is archived in Xero".
    cause: str
    use: Use

    @property
    def users(self) -> str:
        """Who is concerned: 1 mapping, 12 products, 21 failed records."""
        failed = _counted(self.use.failed, "failed record") if self.use.failed else ""
        return ", ".join(part for part in (self.use.words, failed) if part)

    @property
    def sentence(self) -> str:
        """The cause and the users."""
        return f"{self.cause}, used by {self.users}."


def uses(session: Session, organisation_id: int) -> dict[str, dict[str, Use]]:
    """By kind (accounts, tax_rates, items) and code who uses it.

    Mappings as they are now; products as they were counted when Xero was last read.
    """
    found: dict[str, dict[str, Use]] = {kind: {} for kind in WORDS}
    for name, kind, code in _mapped(session, organisation_id):
        mappings = found[kind].setdefault(code, Use()).mappings
        if name not in mappings:
            mappings.append(name)
    kept = profiles.reference(session, organisation_id).get(STOCK)
    for counted in kept.data if kept else ():
        found[counted["kind"]].setdefault(counted["code"], Use()).products = counted["products"]
    return found


def warnings(session: Session, organisation_id: int) -> list[Warning]:
    """What is used although Xero has archived or deleted it, as last read."""
    known = profiles.reference(session, organisation_id)
    found = []
    for kind, each in uses(session, organisation_id).items():
        if kind not in known:
            continue
        rows = {row.code: row for row in rows_of(kind, known[kind].data)}
        for code, use in sorted(each.items()):
            row = rows.get(code)
            if row is not None and row.usable:
                continue
            word = WORDS[kind].capitalize()
            why = f"is {row.status.lower()} in Xero" if row else "isn't in Xero any more"
            use.failed = _failed(session, organisation_id, kind, code)
            found.append(Warning(kind, code, f"{word} {code} {why}", use))
    return found


class Row(NamedTuple):
    """One account, tax rate or item: its code, and whether records may use it."""

    code: str
    status: str
    usable: bool


def rows_of(kind: str, data: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    """What was read of a kind, by what mappings and products name it by."""
    name = {"accounts": "Code", "tax_rates": "TaxType", "items": "Code"}[kind]
    for each in data:
        status = str(each.get("Status") or "ACTIVE")
        if each.get(name):
            yield Row(str(each[name]), status, status == "ACTIVE")


def take_stock(services: Services, organisation_id: int) -> None:
    """Counts which products use what, and which have lost their item in Xero; keeps the counts."""
    counts: dict[tuple[str, str], int] = Counter()
    with services.database.read() as session:
        fields = _product_fields(session, organisation_id)
        gone = _lost_items(session, organisation_id)
    if fields and Module.PRODUCTS in services.crm.modules():
        counts.update(_in_products(services, fields))
    counts.update(gone)
    rows = [
        {"kind": kind, "code": code, "products": number}
        for (kind, code), number in sorted(counts.items())
    ]
    with services.database.write() as session:
        profiles.put_reference(session, organisation_id, {STOCK: rows}, services.clock.now())


def _mapped(session: Session, organisation_id: int) -> Iterator[tuple[str, str, str]]:
    """(Mapping's name, kind, code) of all that the templates in use name."""
    for module in Module:
        for kind in list(DocumentType) if module in DOCUMENTS else [None]:
            row = templates.newest(session, organisation_id, module, kind)
            if row is None:
                continue
            name = kind.value if kind else module.value
            body = row.body
            for each in (*body.get("fields", ()), *body.get("lines", ())):
                named = _NAMED.get(str(each.get("to")).rpartition(".")[2])
                if named:
                    yield from ((name, named, code) for code in _fixed(each.get("from")))
            for code in (body.get("tax_types") or {}).values():
                yield name, "tax_rates", str(code)
            for part, value in (body.get("money") or {}).items():
                if part.endswith("account") and value:
                    yield name, "accounts", str(value)


def _fixed(source: Any) -> Iterator[str]:
    """The fixed values that a transform may give: constants, and what stands in tables."""
    if isinstance(source, Mapping):
        own = {"constant": "value", "lookup": "default"}.get(str(source.get("transform")))
        if own and source.get(own) not in (None, ""):
            yield str(source[own])
        table = source.get("table")
        if isinstance(table, Mapping):
            yield from (str(value) for value in table.values() if value not in (None, ""))
        for name, inner in source.items():
            if name != "table":
                yield from _fixed(inner)
    elif isinstance(source, list):
        for inner in source:
            yield from _fixed(inner)


def _product_fields(session: Session, organisation_id: int) -> dict[str, str]:
    """The fields of a product that say which account or tax rate it is booked on, with the kind."""
    row = templates.newest(session, organisation_id, Module.PRODUCTS, None)
    if row is None:
        return {}
    try:
        template = MappingTemplate.from_json(row.body)
    except TemplateFault:
        return {}  # its page says what is wrong with it
    return {
        name: _NAMED[target]
        for each in template.fields
        if (target := each.to.rpartition(".")[2]) in _NAMED
        for name in each.source.reads()
    }


def _in_products(services: Services, fields: Mapping[str, str]) -> Counter[tuple[str, str]]:
    """How many products name each code in one of these fields; one counts once a code."""
    counts: Counter[tuple[str, str]] = Counter()
    ends = time.monotonic() + _SECONDS
    looked, after = 0, None
    while looked < _MOST and time.monotonic() < ends:
        records = services.crm.scan(Module.PRODUCTS, after=after, limit=MOST_ROWS)
        if not records:
            break
        after = records[-1].ref.id
        looked += len(records)
        for record in records:
            values = {(kind, str(record.fields.get(name) or "")) for name, kind in fields.items()}
            counts.update(each for each in values if each[1])
    return counts


def _lost_items(session: Session, organisation_id: int) -> Counter[tuple[str, str]]:
    """Items that products are linked with and that Xero doesn't list any more, by code."""
    known = profiles.reference(session, organisation_id).get("items")
    if known is None:
        return Counter()
    there = {str(row.get("ItemID")) for row in known.data}
    bound = session.execute(
        select(Binding.xero_id, Binding.number).where(
            Binding.organisation_id == organisation_id,
            Binding.resource == RESOURCE_OF[Module.PRODUCTS].value,
            # What was linked after Xero was read can't be missing there.
            Binding.bound_at <= known.read_at,
        )
    )
    return Counter(
        ("items", str(number or xero_id)) for xero_id, number in bound if xero_id not in there
    )


def _failed(session: Session, organisation_id: int, kind: str, code: str) -> int:
    """How many records fail for it now."""
    causes = [f"{cause}:{code}"[:120] for cause in _CAUSES.get(kind, ())]
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
