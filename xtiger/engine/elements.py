"""One record's element of a call: mapped, dated, checked, and without what stays Xero's own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from xtiger.domain import exactjson, overwriting
from xtiger.domain.comparing import only_emptied
from xtiger.domain.hints import Fault
from xtiger.domain.locked import in_open_period
from xtiger.domain.mapping import BuildContext, Built, CompiledMapper, Faults, OrganisationFacts
from xtiger.domain.meeting import OVERWRITES, left_to_xero
from xtiger.domain.preflight import check
from xtiger.domain.records import Record
from xtiger.domain.resources import RESOURCE_OF, Resource, Verb
from xtiger.domain.selection import Locked, SyncProfile
from xtiger.engine.settle import Agreed, agreed_of
from xtiger.store import journal
from xtiger.store.bindings import Bound
from xtiger.store.claims import Claimed


class Element(NamedTuple):
    """What both sides will agree on, and what has to be sent for it."""

    built: Built
    payload: dict[str, Any]
    #: What Xero's answer must equal.
    expected: Mapping[str, Any]
    agreed: Agreed
    #: Fields of the payload that an update leaves as Xero has them.
    unsent: tuple[overwriting.Path, ...] = ()
    #: Why Xero would refuse it.
    faults: tuple[Fault, ...] = ()

    def same(self, bound: Bound | None) -> bool:
        """Whether Xero has exactly this already."""
        return bound is not None and bound.agreed_hash == self.agreed.digest

    def sent(self, bound: Bound | None) -> dict[str, Any]:
        """The element as it goes."""
        payload = overwriting.without(self.payload, self.unsent)
        return payload if bound is None else only_emptied(payload, bound.agreed)

    def data(self, bound: Bound | None) -> bytes:
        """Its bytes; most are what is agreed on, and that was written already."""
        if bound is None and self.agreed.whole and not self.unsent:
            return self.agreed.text.encode()
        return exactjson.dumps(self.sent(bound))


class Ready(NamedTuple):
    """One element that was built and waits for its call; a DELETE names its object."""

    item: Claimed
    verb: Verb
    data: bytes
    expected: Mapping[str, Any]
    agreed: Agreed
    label: str
    version: str = ""
    template_id: int | None = None
    amount: Decimal | None = None
    currency: str | None = None
    xero_id: str | None = None
    note: str | None = None

    def meant(self, place: int) -> journal.Meant:
        """What the journal keeps of it beside its bytes, at its place in the call."""
        return journal.Meant(
            place=place,
            item_id=self.item.id,
            label=self.label,
            record_version=self.version,
            template_id=self.template_id,
            meant=self.expected,
            amount=self.amount,
            currency=self.currency,
            note=self.note,
        )


def element_of(
    mapper: CompiledMapper,
    record: Record,
    context: BuildContext,
    *,
    facts: OrganisationFacts,
    rule: SyncProfile | None,
    bound: Bound | None,
) -> Element | Faults:
    """What a record becomes in an organisation now; Faults where the mapping makes nothing of it.

    1. The mapping makes the whole payload; a document of a locked period is treated as its
       profile says.
    2. It is checked by Xero's own rules. What Xero has exactly so isn't sent, so nothing can
       refuse it.
    3. What stays Xero's own is left out: of objects that were there before the CRM met them, and
       fields that the mapping only writes on creating or while they are empty.
    """
    resource = RESOURCE_OF[record.ref.module]
    built = mapper.build(record, context)
    if isinstance(built, Faults):
        return built
    if rule is not None and rule.locked is not Locked.HOLD:
        there = bound.agreed if bound else None
        built = in_open_period(built, rule.locked, facts.locked_until, there)
    faults: tuple[Fault, ...] = check(built.payload, resource, facts)
    payload, expected = built.payload, built.meant
    if bound is None:
        return Element(built, payload, expected, agreed_of(resource, payload), (), faults)
    if faults and bound.agreed_hash == agreed_of(resource, payload).digest:
        faults = ()
    met = bound.met
    if met is not None:
        chosen = rule.overwrites if rule else None
        overwrites = OVERWRITES[resource] if chosen is None else chosen
        payload = left_to_xero(resource, payload, met, bound.agreed or {}, overwrites)
        expected = {name: value for name, value in expected.items() if name in payload}
    payload, unsent = overwriting.held(
        mapper.template, payload, lambda: bound.agreed, known=met is None
    )
    if resource is Resource.CONTACTS and built.note and not _is_named(payload, unsent, bound):
        built = built._replace(note="")
    return Element(built, payload, expected, agreed_of(resource, payload), unsent, faults)


def _is_named(
    payload: Mapping[str, Any], unsent: Collection[overwriting.Path], bound: Bound
) -> bool:
    """Whether an update gives a contact another name: only then is said what became of it."""
    before = (bound.agreed or {}).get("Name")
    return ("Name",) not in unsent and payload.get("Name", before) != before
