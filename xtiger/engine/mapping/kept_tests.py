"""Tests kept with a mapping: a record as it was, and the values that must come out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from xtiger.domain import exactjson
from xtiger.domain.defaults import MappingTemplate
from xtiger.domain.mapping import Faults, Parent, compile_template
from xtiger.domain.records import Module, Record, RecordRef
from xtiger.domain.targets import TYPE_FIELDS
from xtiger.domain.transforms import TemplateFault, as_text
from xtiger.engine.mapping.mappings import STAND_IN, Bench, Subject
from xtiger.engine.services import Services
from xtiger.store.models import TemplateTest

#: What a payload holds that a mapping doesn't decide: ids, our marks, the status of the profile.
_NOT_MAPPED = frozenset(
    {"InvoiceID", "ContactID", "ItemID", "ContactNumber", "Url", "Status", "Type"}
)
#: The largest sample in bytes of its JSON, and the most values a test expects.
_LARGEST, _MOST_VALUES = 200_000, 2_000


@dataclass(frozen=True, slots=True)
class Differs:
    """One value of a kept test that came out otherwise; None: there is none."""

    field: str
    expected: str | None
    made: str | None


@dataclass(frozen=True, slots=True)
class Ran:
    """How a kept test went; `faults` are the reasons why nothing came out."""

    name: str
    differs: tuple[Differs, ...] = ()
    faults: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether exactly the expected values came out."""
        return not self.differs and not self.faults


# -- samples ----------------------------------------------------------------------------------


def sample_of(subject: Subject) -> dict[str, Any]:
    """A record with what it links to, as JSON data; days and links are marked as such."""
    record = subject.record
    return {
        "record": str(record.ref),
        "label": record.label,
        "status": record.status,
        "fields": _plain(record.fields),
        "lines": [_plain(line) for line in record.lines],
        "linked": {
            str(ref): {"label": one.label, "key": one.key, "fields": _plain(one.fields)}
            | ({"stock_tracked": True} if one.stock_tracked else {})
            for ref, one in subject.parents.items()
        },
    }


def subject_of(sample: Any) -> Subject:
    """The record that a sample keeps. Raises TemplateFault for JSON that is none."""
    try:
        if len(exactjson.dumps(sample)) > _LARGEST:
            raise TemplateFault("A test's record is too large to be kept.")
        parents = {
            _ref(name): Parent(
                xero_id=STAND_IN,
                key=_text(one.get("key")),
                label=_text(one.get("label")) or "",
                fields=_rich(one["fields"]),
                stock_tracked=one.get("stock_tracked") is True,
            )
            for name, one in sample.get("linked", {}).items()
        }
        record = Record(
            ref=_ref(sample["record"]),
            label=_text(sample["label"]) or "",
            version="",
            created_at=datetime(2000, 1, 1, tzinfo=UTC),
            fields=_rich(sample["fields"]),
            lines=tuple(_rich(line) for line in sample.get("lines", ())),
            status=_text(sample.get("status")),
        )
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as wrong:
        if isinstance(wrong, TemplateFault):
            raise
        raise TemplateFault("A test holds a record that can't be read.") from None
    return Subject(record, parents)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain_value(value) for name, value in values.items()}


def _plain_value(value: Any) -> Any:
    if isinstance(value, RecordRef):
        return {"record": str(value)}
    if isinstance(value, datetime):
        return {"moment": value.isoformat()}
    if isinstance(value, date):
        return {"day": value.isoformat()}
    if value is None or isinstance(value, str | bool | int | Decimal):
        return value
    if isinstance(value, list | tuple):  # taxes of a line, charges
        return [_plain(one) if isinstance(one, Mapping) else as_text(one) for one in value]
    return as_text(value)


def _rich(values: Any) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        raise TypeError
    return {str(name): _rich_value(value) for name, value in values.items()}


def _rich_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        if set(value) == {"record"}:
            return _ref(value["record"])
        if set(value) == {"day"}:
            return date.fromisoformat(value["day"])
        if set(value) == {"moment"}:
            return datetime.fromisoformat(value["moment"])
        raise ValueError
    if type(value) is int:
        return Decimal(value)
    if isinstance(value, list):
        return tuple(_rich(one) for one in value)
    if value is None or isinstance(value, str | bool | Decimal):
        return value
    raise TypeError


def _ref(name: Any) -> RecordRef:
    module, _, record_id = str(name).partition(":")
    return RecordRef(Module(module), record_id)


def _text(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError
    return value


# -- values -----------------------------------------------------------------------------------


def values_of(payload: Mapping[str, Any]) -> dict[str, str]:
    """What a mapping made, flat and as text: {"DueDate": …, "LineItems.1.AccountCode": …}."""
    found: dict[str, str] = {}

    def walk(value: Any, path: str) -> None:
        if isinstance(value, Mapping):
            for name, inner in value.items():
                if name not in _NOT_MAPPED:
                    walk(inner, f"{path}.{name}" if path else name)
        elif isinstance(value, list):
            kind = TYPE_FIELDS.get(path)
            for number, inner in enumerate(value, 1):
                part = {name: each for name, each in inner.items() if name != kind}
                walk(part, f"{path}.{inner[kind] if kind else number}")
        elif value not in (None, ""):
            found[path] = as_text(value)

    walk(payload, "")
    return found


def expected_of(data: Any) -> dict[str, str]:
    """The values a test expects, out of JSON. Raises TemplateFault."""
    if not isinstance(data, Mapping) or not all(isinstance(one, str) for one in data.values()):
        raise TemplateFault("A test expects texts by the name of their Xero field.")
    if not data or len(data) > _MOST_VALUES:
        raise TemplateFault(f"A test expects at least one value and at most {_MOST_VALUES}.")
    return {str(name): value for name, value in data.items()}


def worth_keeping(
    services: Services, on: Bench, template: MappingTemplate, sample: Any
) -> dict[str, str]:
    """The values that a test of this sample would expect: all that come out of it now.

    Empty where nothing comes out. Raises TemplateFault for the template.
    """
    subject = subject_of(sample)
    built = compile_template(template, on.info).build(subject.record, subject.context(services, on))
    return {} if isinstance(built, Faults) else values_of(built.payload)


# -- running ----------------------------------------------------------------------------------


def run(
    services: Services, on: Bench, template: MappingTemplate, tests: Sequence[TemplateTest]
) -> list[Ran]:
    """Runs kept tests on a template; Xero isn't asked. Raises TemplateFault for the template."""
    mapper = compile_template(template, on.info)
    ran = []
    for test in tests:
        try:
            subject, expected = subject_of(test.sample), expected_of(test.expected)
        except TemplateFault as wrong:
            ran.append(Ran(test.name, faults=(wrong.sentence,)))
            continue
        built = mapper.build(subject.record, subject.context(services, on))
        if isinstance(built, Faults):
            faults = tuple(dict.fromkeys(one.sentence for one in built.faults))
            ran.append(Ran(test.name, faults=faults))
            continue
        made = values_of(built.payload)
        ran.append(
            Ran(
                test.name,
                tuple(
                    Differs(name, value, made.get(name))
                    for name, value in expected.items()
                    if made.get(name) != value
                ),
            )
        )
    return ran
