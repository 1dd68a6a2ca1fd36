"""Versions of mappings: restored, proved by kept tests, exported, imported, copied."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests import books
from tests.conftest import Engine
from tests.engine import scenes
from tests.engine.mapping_scenes import (
    bench,
    changed,
    constant,
    field,
    in_use,
    newest,
    subject_of,
)
from xtiger.domain import exactjson
from xtiger.domain.records import Module
from xtiger.domain.transforms import TemplateFault
from xtiger.engine.mapping import kept_tests, mappings
from xtiger.engine.mapping.mappings import Bench
from xtiger.engine.mapping.versions import (
    Refused,
    carried_from,
    exported,
    imported,
    restore,
    save,
)
from xtiger.store import templates
from xtiger.store.templates import Stale


@pytest.fixture
def kauri(engine: Engine) -> int:
    return engine.connect(scenes.KAURI)[scenes.KAURI]


@pytest.fixture
def on(engine: Engine, kauri: int) -> Bench:
    return bench(engine, kauri)


# -- versions ---------------------------------------------------------------------------------


def test_the_same_content_makes_no_new_version(engine: Engine, on: Bench) -> None:
    turned = replace(in_use(on), fields=tuple(reversed(in_use(on).fields)))
    saved = save(engine.services, on, turned, seen=1, who="Ana")
    assert (saved.version, saved.new) == (1, False)


def test_restoring_makes_a_new_version_of_the_old_content(engine: Engine, on: Bench) -> None:
    one = on.place.organisation_id
    save(engine.services, on, changed(in_use(on), "Reference", None), seen=1, who="Ana")
    saved = restore(engine.services, bench(engine, one), 1, seen=2, who="Bo")
    assert (saved.version, saved.new) == (3, True)
    now = bench(engine, one)
    assert now.latest
    assert now.latest.author == "Bo"
    assert in_use(now).differences(in_use(on)) == ()
    with pytest.raises(Stale):
        restore(engine.services, now, 1, seen=2, who="Ana")


def test_differences_name_what_changed_and_nothing_else(on: Bench) -> None:
    before = in_use(on)
    after = changed(before, "Reference", None)
    after = changed(after, "Description", field("description"))
    after = replace(after, tax_types={Decimal(15): "OUTPUT2"})
    found = {(one.where, one.to): one for one in before.differences(after)}
    assert set(found) == {("fields", "Reference"), ("lines", "Description"), ("taxes", "15")}
    assert found["fields", "Reference"].after is None
    assert found["taxes", "15"].before is None
    assert before.differences(replace(before, version=9)) == ()


# -- kept tests -------------------------------------------------------------------------------


def keep(engine: Engine, on: Bench, label: str) -> None:
    record = mappings.find_record(engine.services, on, label)
    assert record
    subject = subject_of(engine, on, record)
    sample = kept_tests.sample_of(subject)
    expected = kept_tests.worth_keeping(engine.services, on, in_use(on), sample)
    with engine.database.write() as session:
        templates.keep_test(
            session,
            on.place,
            label,
            sample=sample,
            expected=expected,
            who="Ana",
            now=engine.services.clock.now(),
        )


def test_a_kept_test_that_fails_stops_a_save_and_says_which_value(
    engine: Engine, on: Bench
) -> None:
    scenes.invoices(engine, goods=True)
    keep(engine, on, "INV-1")
    moved = {"transform": "date", "of": field("due_date"), "add_days": 1}
    with pytest.raises(Refused) as refused:
        save(engine.services, on, changed(in_use(on), "DueDate", moved), seen=1, who="Ana")
    (ran,) = refused.value.failed
    assert ran.name == "INV-1"
    assert ran.differs == (kept_tests.Differs("DueDate", "2026-12-20", "2026-12-21"),)
    unmoved = changed(in_use(on), "CurrencyCode", constant("NZD"))
    assert save(engine.services, on, unmoved, seen=1, who="Ana").new


def test_a_kept_test_holds_the_record_as_it_was(engine: Engine, on: Bench) -> None:
    """Whatever becomes of the record in the CRM, or of it in Xero, its test stays the same."""
    (made,) = scenes.invoices(engine, goods=True)
    keep(engine, on, "INV-1")
    scenes.sync(engine)
    with scenes.crm(engine) as session:
        session.delete(session.get_one(type(made), made.id))
    with engine.database.read() as session:
        rows = templates.tests(session, on.place)
    (ran,) = kept_tests.run(engine.services, on, in_use(on), rows)
    assert ran.passed, ran


def test_a_record_that_is_in_xero_can_be_kept_too(engine: Engine, kauri: int) -> None:
    """An update says more than a create, such as what it empties; a test is about neither."""
    with scenes.crm(engine) as session:
        made = books.contact(session, "Ana Lee Ltd", city="Wellington")
    scenes.tick(engine, made)
    scenes.sync(engine)
    at = bench(engine, kauri, Module.CONTACTS)
    keep(engine, at, "Ana Lee Ltd")
    with engine.database.read() as session:
        rows = templates.tests(session, at.place)
    assert rows[0].expected == {"Name": "Ana Lee Ltd", "Addresses.POBOX.City": "Wellington"}
    (ran,) = kept_tests.run(engine.services, at, in_use(at), rows)
    assert ran.passed


def test_samples_read_back_to_the_same_record(engine: Engine, on: Bench) -> None:
    scenes.invoices(engine, goods=True, reference="PO 7")
    subject = newest(engine, on)
    text = exactjson.dumps(kept_tests.sample_of(subject))
    again = kept_tests.subject_of(exactjson.loads(text))
    assert again.record.fields == subject.record.fields
    assert again.record.lines == subject.record.lines
    assert {ref: one.fields for ref, one in again.parents.items()} == {
        ref: one.fields for ref, one in subject.parents.items()
    }


# -- export, import, copy ---------------------------------------------------------------------


def test_an_export_imports_to_the_same_mapping_and_tests(engine: Engine, on: Bench) -> None:
    scenes.invoices(engine, goods=True)
    keep(engine, on, "INV-1")
    assert on.latest
    data = exported(engine.services, on, on.latest)
    template, tests = imported(on, data)
    assert template.differences(in_use(on)) == ()
    assert [one.name for one in tests] == ["INV-1"]
    assert tests == carried_from(engine.services, on)
    alone, none = imported(on, exactjson.dumps(in_use(on).to_json()))
    assert (alone.differences(in_use(on)), none) == ((), [])


def test_a_mapping_goes_to_another_organisation_with_its_tests(engine: Engine, kauri: int) -> None:
    scenes.invoices(engine, goods=True)
    there = engine.connect(scenes.KAURI, scenes.THAMES)[scenes.THAMES]
    on = bench(engine, kauri)
    save(engine.services, on, changed(in_use(on), "Reference", None), seen=1, who="Ana")
    on, other = bench(engine, kauri), bench(engine, there)
    saved = save(engine.services, other, in_use(on), seen=other.seen, who="Ana")
    assert (saved.version, saved.new) == (2, True)
    assert in_use(bench(engine, there)).differences(in_use(on)) == ()


NESTED: dict[str, Any] = field("number")
for _ in range(40):
    NESTED = {"transform": "text", "of": NESTED}

HOSTILE: list[tuple[str, bytes]] = [
    ("empty", b""),
    ("no JSON", b"<html>"),
    ("a number", b"7"),
    ("null", b"null"),
    ("a list", b"[]"),
    ("not UTF-8", b"\xff\xfe{}"),
    ("cut off", b'{"module": "Invo'),
    ("nested lists", b"[" * 100_000 + b"]" * 100_000),
    ("nested objects", b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
    ("a huge number", b'{"module": "Invoices", "version": ' + b"9" * 5_000 + b"}"),
    ("an exponent no number has", b'{"module": "Invoices", "version": 1e99999999999999999999}'),
    ("not a number", b'{"module": "Invoices", "document_type": "Invoice", "version": NaN}'),
    ("a lone surrogate", b'{"module": "\\ud800"}'),
    ("a zero byte", b'{"module": "Invoices\\u0000"}'),
    ("another form", b'{"form": "xtiger mapping 99", "template": {}}'),
    ("a form without template", b'{"form": "xtiger mapping 1"}'),
    ("another module", b'{"module": "Contacts"}'),
    ("another type", b'{"module": "Invoices", "document_type": "Bill"}'),
    ("no type", b'{"module": "Invoices"}'),
    ("rows that are text", b'{"module": "Invoices", "document_type": "Invoice", "fields": "x"}'),
    ("too many rows", exactjson.dumps({
        "module": "Invoices", "document_type": "Invoice",
        "fields": [{"to": f"X{n}", "from": field("number")} for n in range(5_000)],
    })),
    ("a row of code", exactjson.dumps({
        "module": "Invoices", "document_type": "Invoice",
        "fields": [{"to": "Date", "from": {"transform": "__import__", "os": "system"}}],
    })),
    ("deep transforms", exactjson.dumps({
        "module": "Invoices", "document_type": "Invoice",
        "fields": [{"to": "Date", "from": NESTED}],
    })),
    ("tax types that are a list", b'{"module": "Invoices", "document_type": "Invoice", '
     b'"tax_types": ["15"]}'),
    ("a tax type that is an object", b'{"module": "Invoices", "document_type": "Invoice", '
     b'"tax_types": {"15": {"a": 1}}}'),
    ("a rate that is none", b'{"module": "Invoices", "document_type": "Invoice", '
     b'"tax_types": {"sNaN": "OUTPUT2"}}'),
    ("a part of its own", b'{"module": "Invoices", "document_type": "Invoice", "x": 1}'),
    ("money that is a list", b'{"module": "Invoices", "document_type": "Invoice", "money": []}'),
    ("too large", b" " * 1_000_001),
]  # fmt: skip


@pytest.mark.parametrize("data", [data for _, data in HOSTILE], ids=[name for name, _ in HOSTILE])
def test_whatever_a_file_holds_it_gets_one_sentence(on: Bench, data: bytes) -> None:
    with pytest.raises(TemplateFault) as wrong:
        imported(on, data)
    sentence = wrong.value.sentence
    assert sentence.endswith((".", "?", ".”"))
    assert 10 < len(sentence) < 1_000
    assert "Traceback" not in sentence
    sentence.encode()


@pytest.mark.parametrize(
    "test",
    [
        7,
        {"name": "x"},
        {"name": "", "sample": {}, "expected": {"a": "b"}},
        {"name": "x" * 300, "sample": {}, "expected": {"a": "b"}},
        {"name": "x", "sample": {"record": "Cars:1"}, "expected": {"a": "b"}},
        {"name": "x", "sample": {"record": "Invoices:1", "label": "x", "fields": []},
         "expected": {"a": "b"}},
        {"name": "x", "sample": {"record": "Invoices:1", "label": 7, "fields": {}},
         "expected": {"a": "b"}},
        {"name": "x", "sample": {"record": "Invoices:1", "label": "x", "fields": {"a": [1]}},
         "expected": {"a": "b"}},
        {"name": "x", "sample": {"record": "Invoices:1", "label": "x",
                                 "fields": {"a": {"day": "tomorrow"}}}, "expected": {"a": "b"}},
        {"name": "x", "sample": {"record": "Invoices:1", "label": "x", "fields": {}},
         "expected": {}},
        {"name": "x", "sample": {"record": "Invoices:1", "label": "x", "fields": {}},
         "expected": {"a": 7}},
        {"name": "x", "sample": {"record": "Invoices:1", "label": "x" * 300_000, "fields": {}},
         "expected": {"a": "b"}},
    ],
)  # fmt: skip
def test_a_test_that_is_none_is_said_too(on: Bench, test: Any) -> None:
    data = {"form": "xtiger mapping 1", "template": in_use(on).to_json(), "tests": [test]}
    with pytest.raises(TemplateFault, match=r"\.$"):
        imported(on, exactjson.dumps(data))


@pytest.mark.parametrize("number", ["1e9999999", "-2.5e-9999999", "0e-9999999"])
def test_a_number_that_would_fill_the_memory_is_refused_before_anything_is_made_of_it(
    on: Bench, number: str
) -> None:
    """Written out each has ten million digits; a file of a million bytes holds 90,000 of them."""
    sample = {"record": "Invoices:1", "label": "x", "fields": {"lines": [{"a": "@"}]}}
    test = {"name": "x", "sample": sample, "expected": {"a": "b"}}
    whole = {"form": "xtiger mapping 1", "template": in_use(on).to_json(), "tests": [test]}
    for data in (whole, {"tests": [["@"]]}, ["@"] * 1_000):
        text = exactjson.dumps(data).replace(b'"@"', number.encode())
        with pytest.raises(TemplateFault) as wrong:
            imported(on, text)
        said = f"The number {Decimal(number)} in it is too large or too small."
        assert wrong.value.sentence == said
