"""Replacing an account, tax rate or tracking option by another, wherever mappings name it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from xtiger.domain.defaults import MappingTemplate, Row
from xtiger.domain.facts import OrganisationFacts, account_fault, folded
from xtiger.domain.records import DOCUMENTS, SOLD, DocumentType, Module
from xtiger.domain.transforms import (
    Default,
    Field,
    TemplateFault,
    Transform,
    ValueFault,
    as_text,
    empty,
)
from xtiger.engine.connection import reference
from xtiger.engine.mapping import mappings, uses, versions
from xtiger.engine.mapping.checks import Problem, problems
from xtiger.engine.mapping.kept_tests import Ran
from xtiger.engine.mapping.mappings import Bench
from xtiger.engine.mapping.uses import Use
from xtiger.engine.services import Services
from xtiger.store import profiles, templates
from xtiger.store.templates import Place, Stale

#: The kinds of reference data whose rows can be replaced. An item is a record's own.
KINDS = ("accounts", "tax_rates", "tracking")


@dataclass(frozen=True, slots=True)
class Old:
    """What is to be replaced: a code, a TaxType, or an option as “Region: North”."""

    organisation_id: int
    kind: str
    code: str

    @property
    def category(self) -> str:
        """The tracking category of an option; empty where it isn't one."""
        return self.code.partition(": ")[0] if self.kind == "tracking" else ""

    @property
    def value(self) -> str:
        """As mappings name it: an option without its category."""
        return self.code.partition(": ")[2] if self.kind == "tracking" else self.code

    def is_named_by(self, value: Any) -> bool:
        """Whether a fixed value of a mapping means it; capitals and blanks don't count."""
        return bool(self.value) and folded(as_text(value)) == folded(self.value)


@dataclass(frozen=True, slots=True)
class Spot:
    """One mapping that names it: the version in use, and the Xero fields where it stands."""

    on: Bench
    name: str
    template: MappingTemplate
    targets: tuple[str, ...]

    @property
    def version(self) -> int:
        """The number of the version in use."""
        return self.on.seen


@dataclass(frozen=True, slots=True)
class Users:
    """Who names it: mappings, and by the last count products, services and failed records."""

    spots: tuple[Spot, ...]
    use: Use
    #: The CRM's own fields that hold it, by module.
    fields: Mapping[Module, tuple[str, ...]]


class Choice(NamedTuple):
    """What may stand instead: as mappings name it, its name, and whether it is of its kind."""

    value: str
    name: str
    alike: bool


class Sharer(NamedTuple):
    """Another organisation in use, whose mappings take accounts from the same records."""

    organisation: str
    #: Why it couldn't use the new account, as a sentence; empty where it can.
    wrong: str = ""
    #: What the account is called there; empty where it is called the same.
    name: str = ""


class Moved(Exception):
    """Somebody saved a mapping meanwhile, which therefore wasn't changed.

    `saved` are those that were, by name and new version; empty: nothing was.
    """

    def __init__(self, name: str, who: str, saved: Sequence[tuple[str, int]] = ()) -> None:
        super().__init__(name)
        self.name, self.who, self.saved = name, who, tuple(saved)


class Unfit(Exception):
    """A mapping that can't take the other one, for `sentences` or for kept tests that `failed`.

    It wasn't changed. `saved` are those that were, by name and new version; empty: nothing was.
    """

    def __init__(
        self,
        name: str,
        sentences: Sequence[str] = (),
        failed: Sequence[Ran] = (),
        saved: Sequence[tuple[str, int]] = (),
    ) -> None:
        super().__init__(name)
        self.name, self.saved = name, tuple(saved)
        self.sentences, self.failed = tuple(sentences), tuple(failed)


def users(services: Services, old: Old) -> Users:
    """Everybody who names it now."""
    places = _places(services.crm.modules(), old.organisation_id)
    spots = tuple(spot for place in places if (spot := _spot(services, old, place)))
    with services.database.read() as session:
        use = uses.uses(session, old.organisation_id)[old.kind].get(old.code, Use())
        fields = {module: _own_fields(session, old, module) for module in SOLD}
    use.failed = sum(failing(services, old).values())
    return Users(spots, use, {module: names for module, names in fields.items() if names})


def failing(services: Services, old: Old) -> dict[str, int]:
    """How many records still fail for it, by cause."""
    causes = uses.causes_of(old.kind, old.code)
    with services.database.read() as session:
        found = {one: uses.failing(session, old.organisation_id, [one]) for one in causes}
    return {cause: number for cause, number in found.items() if number}


def sharers(
    services: Services, old: Old, fields: Mapping[Module, Collection[str]], new: str = ""
) -> list[Sharer]:
    """The other organisations in use that take accounts from these fields of the same records.

    With a `new` account each is judged by what its mappings would make of it. Of what was never
    read from Xero nothing is known, and nothing is said.
    """
    found, modules = [], services.crm.modules()
    with services.database.read() as session:
        here = reference.facts(session, old.organisation_id)
        account = here.facts.by_code.get(new.upper()) if here else None
        for organisation in profiles.organisations(session):
            if organisation.id == old.organisation_id:
                continue
            places = _places(modules, organisation.id)
            sources = list(_sources(session, places, fields))
            known = reference.facts(session, organisation.id) if new and sources else None
            if sources:
                wrong, name = "", ""
                if known is not None:
                    wrong, name = _judged(sources, new, account.name if account else "", known)
                found.append(Sharer(organisation.name, wrong, name))
    return found


def _sources(
    session: Session, places: Sequence[Place], fields: Mapping[Module, Collection[str]]
) -> Iterator[tuple[Transform, list[str]]]:
    """What accounts are made of, with those of these fields that are read for it.

    Documents read them of the product or service that a line names: `product.sales_account`.
    """
    every = {name for names in fields.values() for name in names}
    for place in places:
        row = templates.newest(session, place.organisation_id, place.module, place.document_type)
        try:
            template = MappingTemplate.from_json(row.body) if row else None
        except TemplateFault:
            continue  # its page says what is wrong with it
        for each in (*template.fields, *template.lines) if template else ():
            if uses.kind_of(each.to) != "accounts":
                continue
            names = [
                name
                for name in each.source.reads()
                if name in fields.get(place.module, ())
                or (place.module in DOCUMENTS and "." in name and name.rpartition(".")[2] in every)
            ]
            if names:
                yield each.source, names


def _judged(
    sources: Sequence[tuple[Transform, list[str]]], new: str, name: str, known: reference.Known
) -> tuple[str, str]:
    """(Why records can't use what becomes of an account, what it is called if not `name`)."""
    otherwise = ""
    for source, fields in sources:
        try:
            made = source.compile()(dict.fromkeys(fields, new))
        except ValueFault as fault:
            return fault.sentence, ""
        if empty(made):
            continue
        code = as_text(made)
        if wrong := account_fault(known.facts, code, ""):
            return wrong.sentence, ""
        theirs = known.facts.by_code[code.upper()].name
        if folded(code) == folded(new) and folded(theirs) != folded(name):
            otherwise = theirs
    return "", otherwise


def _places(modules: Collection[Module], organisation_id: int) -> list[Place]:
    return [
        Place(organisation_id, module, kind)
        for module in modules
        for kind in (DocumentType if module in DOCUMENTS else [None])
    ]


def _spot(services: Services, old: Old, place: Place) -> Spot | None:
    with services.database.read() as session:
        row = templates.newest(session, place.organisation_id, place.module, place.document_type)
    if row is None:
        return None
    try:
        template = MappingTemplate.from_json(row.body)
    except TemplateFault:
        return None  # its page says what is wrong with it
    targets = _targets(old, template)
    if not targets:
        return None
    on = mappings.bench(services, place)
    name = uses.named(place.module, place.document_type)
    return Spot(on, name, template, targets) if on.seen == row.version else None


def _targets(old: Old, template: MappingTemplate) -> tuple[str, ...]:
    """Where a template names it: Xero fields, tax percentages, accounts of what isn't a line."""
    body, found = template.to_json(), []
    for row in (*body.get("fields", ()), *body.get("lines", ())):
        if _swapped_row(old, row, "") != row:
            found.append(str(row["to"]))
    if old.kind == "tax_rates":
        taxes = body.get("tax_types") or {}
        found += [f"{rate} %" for rate, code in taxes.items() if old.is_named_by(code)]
    if old.kind == "accounts":
        money = body.get("money") or {}
        found += [part for part in money if _is_account(part) and old.is_named_by(money[part])]
    return tuple(dict.fromkeys(found))


def _is_account(part: str) -> bool:
    return part.endswith("account")


def replaced(old: Old, template: MappingTemplate, new: str) -> MappingTemplate:
    """The template with the other one wherever it names the old one. Raises TemplateFault."""
    body = template.to_json()
    for part in ("fields", "lines"):
        if part in body:
            body[part] = [_swapped_row(old, row, new) for row in body[part]]
    if old.kind == "tax_rates" and body.get("tax_types"):
        taxes = body["tax_types"].items()
        body["tax_types"] = {rate: new if old.is_named_by(one) else one for rate, one in taxes}
    if old.kind == "accounts" and body.get("money"):
        body["money"] = {
            part: new if _is_account(part) and old.is_named_by(value) else value
            for part, value in body["money"].items()
        }
    return MappingTemplate.from_json(body)


def _swapped_row(old: Old, row: Mapping[str, Any], new: str) -> dict[str, Any]:
    if old.kind == "tracking":
        ours = folded(str(row.get("category") or "")) == folded(old.category)
    else:
        ours = uses.kind_of(str(row.get("to"))) == old.kind
    return {**row, "from": _swapped(old, row.get("from"), new)} if ours else dict(row)


def _swapped(old: Old, source: Any, new: str) -> Any:
    """A transform with its fixed values exchanged: constants, and what stands in tables."""
    if isinstance(source, list):
        return [_swapped(old, inner, new) for inner in source]
    if not isinstance(source, Mapping):
        return source
    own = uses.FIXED.get(str(source.get("transform")))
    made: dict[str, Any] = {}
    for name, inner in source.items():
        if name == "table" and isinstance(inner, Mapping):
            made[name] = {
                key: new if old.is_named_by(value) else value for key, value in inner.items()
            }
        elif name == own and old.is_named_by(inner):
            made[name] = new
        elif name == "of" and not uses.lets_out(source, old.value):
            made[name] = inner
        else:
            made[name] = _swapped(old, inner, new)
    return made


def _own_fields(session: Session, old: Old, module: Module) -> tuple[str, ...]:
    """The fields of a product or service that go to Xero as they are and may hold it."""
    row = templates.newest(session, old.organisation_id, module, None)
    try:
        rows: Sequence[Row] = MappingTemplate.from_json(row.body).fields if row else ()
    except TemplateFault:
        return ()
    ours = [each.source for each in rows if uses.kind_of(each.to) == old.kind]
    return tuple(dict.fromkeys(name for source in ours for name in _passed_on(source)))


def _passed_on(source: Transform) -> list[str]:
    if isinstance(source, Field):
        return [source.field]
    if isinstance(source, Default):
        return [name for part in source.of for name in _passed_on(part)]
    return []


def choices(old: Old, facts: OrganisationFacts, spots: Sequence[Spot]) -> list[Choice]:
    """What may stand instead: usable, and taken by every mapping; those of its kind first."""
    judged = [(spot, set(problems(spot.on, spot.template))) for spot in spots]
    found = [
        one
        for one in _usable(old, facts)
        if not old.is_named_by(one.value)
        and all(not _new_problems(old, spot, known, one.value) for spot, known in judged)
    ]
    return sorted(found, key=lambda one: (not one.alike, folded(one.value)))


def _usable(old: Old, facts: OrganisationFacts) -> list[Choice]:
    if old.kind == "accounts":
        was = facts.by_code.get(old.code.upper())
        return [
            Choice(one.code, one.name, was is not None and one.class_ == was.class_)
            for one in facts.usable.values()
        ]
    if old.kind == "tax_rates":
        rate = facts.by_tax_type.get(old.code.upper())
        return [
            Choice(one.tax_type, one.name, rate is not None and one.fits(rate.rate))
            for one in facts.tax_rates
            if one.status == "ACTIVE"
        ]
    category = facts.categories.get(folded(old.category))
    options = category.options if category else ()
    return [Choice(name, "", True) for name, active in options if active]


def _new_problems(old: Old, spot: Spot, known: set[Problem], new: str) -> list[Problem]:
    """What would be wrong with a mapping that isn't wrong already."""
    try:
        after = replaced(old, spot.template, new)
    except TemplateFault as wrong:
        return [Problem("fields", "", wrong.sentence)]
    return [one for one in problems(spot.on, after) if one not in known]


def replace(
    services: Services, old: Old, new: str, *, seen: Mapping[str, int], who: str
) -> list[tuple[str, int]]:
    """Saves each mapping that names it with the other one; answers with names and new versions.

    1. The mappings and their versions must be those that the person saw (`seen`, by name): else
       Moved.
    2. All of them must be able to take it, their kept tests included: else Unfit. What was wrong
       with a mapping before doesn't keep it from being changed.
    3. Each is saved as a next version, in a transaction of its own. One that somebody else saves
       at this very moment ends it: Moved; one that can't take it any more: Unfit. Both tell which
       are saved.
    """
    spots = users(services, old).spots
    now = {spot.name: spot for spot in spots}
    for name in [*seen, *now]:
        spot = now.get(name)
        if spot is None or seen.get(name) != spot.version:
            latest = spot.on.latest if spot else None
            raise Moved(name, latest.author if latest else "")
    made = []
    for spot in spots:
        known = problems(spot.on, spot.template)
        if wrong := _new_problems(old, spot, set(known), new):
            raise Unfit(spot.name, [one.sentence for one in wrong])
        template = replaced(old, spot.template, new)
        failed = versions.failing_tests(services, spot.on, template)
        if failed:
            raise Unfit(spot.name, failed=failed)
        made.append((spot, template, known))
    saved: list[tuple[str, int]] = []
    for spot, template, known in made:
        try:
            kept = versions.save(
                services, spot.on, template, seen=spot.version, who=who, standing=known
            )
        except Stale as stale:
            raise Moved(spot.name, stale.latest.author, saved) from stale
        except versions.Refused as refused:
            sentences = [one.sentence for one in refused.problems]
            raise Unfit(spot.name, sentences, refused.failed, saved) from refused
        saved.append((spot.name, kept.version))
    return saved
