"""Saving mappings: checked, proved by their kept tests, as a new version; export and import."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from xtiger.domain import exactjson
from xtiger.domain.defaults import MappingTemplate
from xtiger.domain.errors import PermanentError
from xtiger.domain.transforms import TemplateFault
from xtiger.domain.values import absurd
from xtiger.engine.mapping import kept_tests, uses
from xtiger.engine.mapping.checks import Problem, problems
from xtiger.engine.mapping.kept_tests import Ran
from xtiger.engine.mapping.mappings import Bench
from xtiger.engine.services import Services
from xtiger.store import templates
from xtiger.store.models import Template, TemplateTest
from xtiger.store.templates import Stale

#: The name of the form in which mappings are exported, and the largest file in bytes.
FORM, LARGEST = "xtiger mapping 1", 1_000_000
_LONGEST_NAME = 255


class Refused(Exception):
    """A mapping that isn't saved: what is wrong with it, or the kept tests that fail."""

    def __init__(self, found: Sequence[Problem] = (), failed: Sequence[Ran] = ()) -> None:
        tests = [f"The test “{one.name}” fails: {one}." for one in failed]
        super().__init__(" ".join(dict.fromkeys([*(one.sentence for one in found), *tests])))
        self.problems = tuple(found)
        self.failed = tuple(failed)


@dataclass(frozen=True, slots=True)
class Saved:
    """The version in use after saving; `new` is False where it had the same content before."""

    version: int
    new: bool


@dataclass(frozen=True, slots=True)
class Carried:
    """A kept test on its way from one place to another."""

    name: str
    sample: Any
    expected: Mapping[str, str]


def save(
    services: Services,
    on: Bench,
    template: MappingTemplate,
    *,
    seen: int,
    who: str,
    carried: Sequence[Carried] = (),
    standing: Collection[Problem] = (),
) -> Saved:
    """Saves a template as the next version, if all is well with it.

    1. The version it was made from must be the one in use: else Stale.
    2. Its problems, then its kept tests that fail: either Refused.
    3. The same content as the version in use makes no new one.
    `carried` tests come with it and are kept too. `standing` problems don't keep it from being
    saved: a change of one thing in many mappings needn't mend the others.
    """
    if on.latest is not None and on.latest.version != seen:
        raise Stale(on.latest)
    if found := [one for one in problems(on, template) if one not in standing]:
        raise Refused(found)
    now = services.clock.now()
    if failed := failing_tests(services, on, template, carried):
        raise Refused(failed=failed)
    with services.database.write() as session:
        for one in carried:
            templates.keep_test(
                session,
                on.place,
                one.name,
                sample=one.sample,
                expected=dict(one.expected),
                who=who,
                now=now,
            )
        if on.latest is not None and not differences(on.latest, template):
            return Saved(on.latest.version, new=False)
        row = templates.add(session, on.place, template.to_json(), seen=seen, who=who, now=now)
        uses.keep_warnings(session, on.place.organisation_id, now)
        return Saved(row.version, new=True)


def failing_tests(
    services: Services, on: Bench, template: MappingTemplate, carried: Sequence[Carried] = ()
) -> list[Ran]:
    """The kept tests, and those that are `carried`, that a template doesn't pass."""
    with services.database.read() as session:
        kept = {one.name: one for one in templates.tests(session, on.place)}
    for one in carried:
        kept[one.name] = _row(one)
    ran = kept_tests.run(services, on, template, list(kept.values()))
    return [one for one in ran if not one.passed]


def _row(one: Carried) -> TemplateTest:
    return TemplateTest(name=one.name, sample=one.sample, expected=dict(one.expected))


def differences(before: Template, after: MappingTemplate) -> bool:
    """Whether a kept version says anything else than a template."""
    try:
        return bool(MappingTemplate.from_json(before.body).differences(after))
    except TemplateFault:
        return True


def read_version(row: Template) -> MappingTemplate:
    """A kept version as a template. Raises PermanentError where this program can't read it."""
    try:
        return MappingTemplate.from_json(row.body)
    except TemplateFault as wrong:
        raise PermanentError(f"Version {row.version} can't be read: {wrong.sentence}") from wrong


def restore(services: Services, on: Bench, number: int, *, seen: int, who: str) -> Saved:
    """Makes an earlier version the one in use, as a new version.

    Raises PermanentError for a version that isn't there, Refused or Stale as `save` does.
    """
    with services.database.read() as session:
        row = templates.version(session, on.place, number)
    if row is None:
        raise PermanentError(f"There is no version {number}.")
    return save(services, on, read_version(row), seen=seen, who=who)


def carried_from(services: Services, on: Bench) -> list[Carried]:
    """The kept tests of a mapping, to be copied with it."""
    with services.database.read() as session:
        rows = templates.tests(session, on.place)
        return [Carried(row.name, row.sample, dict(row.expected)) for row in rows]


# -- export and import ------------------------------------------------------------------------


def packed(template: Any, tests: Sequence[Carried]) -> bytes:
    """A template's JSON data and tests in the form that `imported` reads."""
    kept = [{"name": one.name, "sample": one.sample, "expected": one.expected} for one in tests]
    return exactjson.dumps({"form": FORM, "template": template, "tests": kept})


def exported(services: Services, on: Bench, row: Template) -> bytes:
    """A version with its kept tests, as the JSON that `imported` reads."""
    return packed(row.body, carried_from(services, on))


def imported(on: Bench, data: bytes) -> tuple[MappingTemplate, list[Carried]]:
    """Reads an export, or a template alone; nothing is saved.

    Raises TemplateFault, in one sentence, for whatever isn't a mapping of this module and
    document type: nothing of a file is believed.
    """
    if len(data) > LARGEST:
        raise TemplateFault(f"A mapping's file has at most {LARGEST:,} bytes.")
    absurdity: Decimal | None = None
    try:
        found = exactjson.loads(data.decode("utf-8-sig"))
        absurdity = _absurdity(found)
        # Characters that no database keeps must not reach one, nor a page.
        if absurdity is None and b"\\u0000" in exactjson.dumps(found):
            raise ValueError
    except (ValueError, TypeError, RecursionError):
        raise TemplateFault("This isn't a mapping's file: it can't be read as JSON.") from None
    if absurdity is not None:
        raise TemplateFault(f"The number {str(absurdity)[:40]} in it is too large or too small.")
    try:
        return _imported(on, found)
    except RecursionError:
        raise TemplateFault("Its parts are nested too deep.") from None


def _absurdity(found: Any) -> Decimal | None:
    """A number that would fill the memory if it were written out, None if there is none."""
    left = [found]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            left.extend(one.values())
        elif isinstance(one, list):
            left.extend(one)
        elif isinstance(one, Decimal) and absurd(one):
            return one
    return None


def _imported(on: Bench, found: Any) -> tuple[MappingTemplate, list[Carried]]:
    tests: Any = []
    if isinstance(found, Mapping) and "form" in found:
        if found["form"] != FORM:
            raise TemplateFault(f"It isn't in the form “{FORM}”.")
        tests, found = found.get("tests", []), found.get("template")
    template = MappingTemplate.from_json(found)
    if template.module is not on.place.module:
        raise TemplateFault(
            f"This is a mapping of {template.module.value}, not of {on.place.module.value}."
        )
    if template.document_type is not on.place.document_type:
        kind = template.document_type.value if template.document_type else "no type"
        raise TemplateFault(f"This mapping is for {kind}, not for {on.place.kind}.")
    if not isinstance(tests, list) or len(tests) > templates.MOST_TESTS:
        raise TemplateFault(f"The tests are a list of at most {templates.MOST_TESTS}.")
    return template, [_carried(one) for one in tests]


def _carried(data: Any) -> Carried:
    if not isinstance(data, Mapping) or not isinstance(data.get("name"), str):
        raise TemplateFault("A test has a name, a sample and what is expected of it.")
    name = data["name"].strip()
    if not 0 < len(name) <= _LONGEST_NAME:
        raise TemplateFault(f"The name of a test has at most {_LONGEST_NAME} characters.")
    kept_tests.subject_of(data.get("sample"))
    return Carried(name, data.get("sample"), kept_tests.expected_of(data.get("expected")))
