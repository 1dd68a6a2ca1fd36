"""Mappings tried on real records, checked, and what the next sync makes of them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from tests import books
from tests.conftest import Engine
from tests.engine import scenes
from tests.engine.mapping_scenes import (
    INVOICE,
    bench,
    changed,
    constant,
    field,
    in_use,
    newest,
    results,
    subject_of,
)
from xtiger.crm.builtin import Contact, Product
from xtiger.domain import exactjson
from xtiger.domain.automap import proposals
from xtiger.domain.defaults import MappingTemplate
from xtiger.domain.records import DocumentType, Field, FieldKind, Module
from xtiger.engine.connection import connect
from xtiger.engine.mapping import checks, mappings, trials
from xtiger.engine.mapping.mappings import Bench
from xtiger.engine.mapping.versions import (
    Refused,
    save,
)
from xtiger.store import journal


@pytest.fixture
def kauri(engine: Engine) -> int:
    return engine.connect(scenes.KAURI)[scenes.KAURI]


@pytest.fixture
def on(engine: Engine, kauri: int) -> Bench:
    return bench(engine, kauri)


# -- results on a real record -----------------------------------------------------------------


def test_each_row_shows_what_it_makes_of_a_record(engine: Engine, on: Bench) -> None:
    scenes.invoices(engine, goods=True)
    found = results(on, newest(engine, on), in_use(on))
    assert found["InvoiceNumber"].text == "INV-1"
    assert found["DueDate"].text == "20 Dec 2026"
    assert found["Contact"].text == "Ana Lee Ltd"
    assert found["AccountCode"].text == "200 Sales"
    assert not any(one.fault for one in found.values())


def test_a_row_that_cant_is_at_fault_alone(engine: Engine, on: Bench) -> None:
    scenes.invoices(engine)
    table = {"transform": "lookup", "of": field("number"), "table": {"INV-9": "x"}}
    template = changed(in_use(on), "Reference", table)
    template = changed(template, "DueDate", field("number"))
    found = results(on, newest(engine, on), template)
    assert found["Reference"].fault == "“INV-1” isn't in the mapping's table. Add it there."
    assert found["DueDate"].fault == "“INV-1” isn't a day such as 2026-11-21."
    assert found["InvoiceNumber"].text == "INV-1"


def test_a_text_too_long_says_how_long(engine: Engine, on: Bench) -> None:
    scenes.invoices(engine, reference="x" * 255)
    long = {"transform": "concat", "parts": [field("reference"), constant("y" * 45)]}
    subject = newest(engine, on)
    found = results(on, subject, changed(in_use(on), "Reference", long))
    assert found["Reference"].fault == (
        "Xero takes 255 characters in Reference; INV-1 has 300. Cut it or choose another field."
    )
    cut = results(on, subject, changed(in_use(on), "Reference", long, too_long="cut"))
    assert cut["Reference"].text == "x" * 255


def test_an_account_is_shown_by_name_and_an_archived_one_is_a_fault(
    engine: Engine, on: Bench
) -> None:
    scenes.invoices(engine)
    subject = newest(engine, on)
    found = results(on, subject, changed(in_use(on), "AccountCode", constant("nope")))
    assert found["AccountCode"].fault
    assert "nope" in found["AccountCode"].fault


def test_values_of_several_lines_stand_beside_each_other(engine: Engine, on: Bench) -> None:
    scenes.invoices(engine, goods=True)
    template = changed(in_use(on), "Description", field("unit_price"))
    assert results(on, newest(engine, on), template)["Description"].text == "100 · 5"


def test_a_record_is_found_by_number_name_or_id(engine: Engine, on: Bench) -> None:
    made = scenes.invoices(engine, 12)
    for words in ("INV-1", " inv-1 ", str(made[0].id)):
        found = mappings.find_record(engine.services, on, words)
        assert found
        assert found.label == "INV-1", words
    assert mappings.find_record(engine.services, on, "zebra") is None
    assert mappings.find_record(engine.services, on, "") is None


def test_only_documents_that_go_here_are_offered(engine: Engine, on: Bench) -> None:
    scenes.invoices(engine, 2)
    (bill,) = scenes.invoices(engine, first=3)
    scenes.tick(engine, bill, document_type=DocumentType.BILL)
    labels = [one.label for one in mappings.records_here(engine.services, on)]
    assert labels == ["INV-2", "INV-1"]
    bills = mappings.bench(engine.services, replace(on.place, document_type=DocumentType.BILL))
    assert [one.label for one in mappings.records_here(engine.services, bills)] == ["INV-3"]


@pytest.mark.parametrize("module", list(Module))
def test_an_empty_crm_shows_an_invented_record_that_would_go(
    engine: Engine, kauri: int, module: Module
) -> None:
    at = bench(engine, kauri, module)
    subject = mappings.invented(at, date(2026, 11, 21))
    tried = trials.trial(engine.services, at, in_use(at), subject)
    assert tried.faults == ()
    assert tried.action == "create"
    found = results(at, subject, in_use(at))
    assert not [one.fault for one in found.values() if one.fault]


# -- the request ------------------------------------------------------------------------------


def test_a_trial_is_the_very_request_that_a_sync_sends(engine: Engine, on: Bench) -> None:
    """The payload of Test, then what the local Xero got, byte for byte of its JSON."""
    scenes.invoices(engine, goods=True)
    before = trials.trial(engine.services, on, in_use(on), newest(engine, on))
    assert before.action == "create"
    assert before.faults == ()
    assert [what.split()[0] for what in before.subject.missing] == ["contact", "product"]
    assert mappings.STAND_IN in before.request
    scenes.sync(engine)
    attempt = next(one for one in scenes.attempts(engine) if one.resource == "Invoices")
    sent = exactjson.loads(journal.body_of(attempt))
    tried = exactjson.loads(before.request)
    real = sent["Invoices"][0]["Contact"]["ContactID"]
    tried["Invoices"][0]["Contact"]["ContactID"] = real
    assert tried == sent
    after = trials.trial(engine.services, on, in_use(on), newest(engine, on))
    assert (after.action, after.subject.missing) == ("none", ())


def test_totals_are_counted_as_xero_counts_them(engine: Engine, on: Bench) -> None:
    """Against the local Xero's own arithmetic, cents that naive counting gets wrong among them."""
    with scenes.crm(engine) as session:
        buyer = books.contact(session)
        rows = [(None, "1", "25.06"), (None, "1", "25.61"), (None, "1", "25.63")]
        made = books.invoice(session, "INV-1", buyer, *rows)
    scenes.tick(engine, made)
    tried = trials.trial(engine.services, on, in_use(on), newest(engine, on))
    scenes.sync(engine)
    (theirs,) = scenes.in_xero(engine, "Invoices")
    counted = tried.counted
    assert counted
    assert counted.total == Decimal(str(theirs["Total"]))
    assert counted.total_tax == Decimal(str(theirs["TotalTax"]))
    assert counted.subtotal == Decimal(str(theirs["SubTotal"]))
    assert counted.difference == 0
    assert counted.crm_total == made.total
    assert sum(line.amount for line in counted.lines) == counted.subtotal


def test_preflights_verdict_is_part_of_a_trial(engine: Engine, on: Bench) -> None:
    scenes.invoices(engine)
    wrong = changed(in_use(on), "InvoiceNumber", constant("№ 1"))
    tried = trials.trial(engine.services, on, wrong, newest(engine, on))
    assert tried.faults == (
        "Xero takes only plain letters, digits and signs in a number, not “№ 1”. "
        "Give another number.",
    )
    assert "№ 1" in tried.request


def test_a_trial_sends_nothing(engine: Engine, on: Bench) -> None:
    scenes.invoices(engine, 3)
    calls = len(engine.requests())
    for record in mappings.records_here(engine.services, on):
        trials.trial(engine.services, on, in_use(on), subject_of(engine, on, record))
    trials.would_change(engine.services, on, in_use(on), most=100)
    checks.checks(engine.services, on, in_use(on))
    assert len(engine.requests()) == calls
    assert scenes.items(engine) == []


def test_an_update_shows_only_what_would_be_sent(engine: Engine, kauri: int) -> None:
    with scenes.crm(engine) as session:
        made = books.contact(session, "Ana Lee Ltd", phone="1")
    scenes.tick(engine, made)
    scenes.sync(engine)
    at = bench(engine, kauri, Module.CONTACTS)
    with scenes.crm(engine) as session:
        session.get_one(Contact, made.id).phone = None
    tried = trials.trial(engine.services, at, in_use(at), newest(engine, at))
    assert tried.action == "update"
    element = json.loads(tried.request)["Contacts"][0]
    assert element["Phones"] == [{"PhoneType": "DEFAULT", "PhoneNumber": ""}]
    assert "FirstName" not in element


# -- what saving would change -----------------------------------------------------------------


def test_saving_counts_the_records_in_xero_that_would_change_and_sync_sends_exactly_those(
    engine: Engine, on: Bench
) -> None:
    """Three have a reference of their own: giving the others one changes only these."""
    scenes.invoices(engine, 3, reference="PO 7")
    scenes.invoices(engine, 5, first=4)
    scenes.sync(engine)
    first = {"transform": "default", "of": [field("reference"), constant("none")]}
    template = changed(in_use(on), "Reference", first, too_long="cut")
    found = trials.would_change(engine.services, on, template, most=100)
    assert (len(found.refs), found.looked, found.whole, found.broken) == (5, 8, True, ())
    assert save(engine.services, on, template, seen=1, who="Ana").version == 2
    before = len(scenes.writes(engine, "Invoices"))
    scenes.sync(engine)
    sent = scenes.writes(engine, "Invoices")[before:]
    assert sum(len(call["elements"]) for call in sent) == 5
    states = [state for label, state in scenes.queue_of(engine)[-8:]]
    assert sorted(states) == ["succeeded"] * 5 + ["unchanged"] * 3
    after = trials.would_change(
        engine.services, bench(engine, on.place.organisation_id), template, most=100
    )
    assert (after.refs, after.looked) == ((), 8)


def test_the_count_says_what_it_looked_at_and_what_couldnt_go(engine: Engine, on: Bench) -> None:
    scenes.invoices(engine, 7)
    scenes.sync(engine)
    part = trials.would_change(
        engine.services, on, changed(in_use(on), "Reference", constant("x")), most=4
    )
    assert (len(part.refs), part.looked, part.whole) == (4, 4, False)
    broken = trials.would_change(
        engine.services, on, changed(in_use(on), "DueDate", field("number")), most=100
    )
    assert (len(broken.broken), broken.refs) == (7, ())
    assert broken.example
    assert "isn't a day" in broken.example[1]


# -- checks and problems ----------------------------------------------------------------------


def check_codes(engine: Engine, on: Bench, template: MappingTemplate) -> dict[str, bool]:
    found = checks.checks(engine.services, on, template)
    return {one.code: one.good for one in found}


def test_all_is_well_with_a_new_organisation(engine: Engine, on: Bench) -> None:
    scenes.invoices(engine, goods=True)
    assert check_codes(engine, on, in_use(on)) == {
        "required": True,
        "taxes": True,
        "rates": True,
        "accounts": True,
    }


def test_products_without_a_part_number_are_counted_and_named(engine: Engine, on: Bench) -> None:
    with scenes.crm(engine) as session:
        books.product(session, "W-1")
        for number in range(12):
            session.add(Product(name=f"Loose {number}", price=Decimal(1)))
    found = checks.checks(engine.services, on, in_use(on))
    blank = next(one for one in found if one.code == "blank")
    assert dict(blank.values) == {
        "count": "12 products",
        "has": "have",
        "what": "part number",
        "most": "500",
    }
    assert (len(blank.examples), blank.more) == (10, 2)
    assert blank.examples[0][0] == "Loose 11"


def test_a_rate_that_xero_hasnt_and_one_that_differs_are_said(engine: Engine, on: Bench) -> None:
    with scenes.crm(engine) as session:
        made = books.invoice(session, "INV-1", books.contact(session), (None, "1", "10"))
        for line in made.lines:
            line.tax_rate = Decimal("12.5")
    scenes.tick(engine, made)
    found = checks.checks(engine.services, on, in_use(on))
    (none,) = (one for one in found if one.code == "rates.none")
    assert dict(none.values) == {"label": "Tax %", "rate": "12.5"}
    named = replace(in_use(on), tax_types={Decimal("12.5"): "OUTPUT2"})
    found = checks.checks(engine.services, on, named)
    (differs,) = (one for one in found if one.code == "rates.differ")
    assert dict(differs.values) == {
        "label": "Tax %",
        "rate": "12.5",
        "tax": "OUTPUT2",
        "theirs": "15",
    }
    wrong = checks.problems(on, named)
    assert wrong == (
        ("taxes", "12.5", "CRM tax is 12.5 %, Xero's OUTPUT2 is 15 %. Choose another."),
    )


@pytest.mark.parametrize(
    ("to", "source", "sentence"),
    [
        ("AccountCode", constant("nope"), "Xero has no account nope that this record can use."),
        (
            "AccountCode",
            {"transform": "lookup", "of": field("description"), "table": {"a": "nope"}},
            "Xero has no account nope that this record can use.",
        ),
        ("TaxType", constant("NOPE"), "Xero has no tax rate NOPE for this record."),
        ("Reference", field("refrence"), "There is no field 'refrence'; did you mean 'reference'?"),
        ("Referense", field("reference"), "did you mean 'Reference'?"),
        ("Contact", None, "Contact is required by Xero: choose a field or a fixed value."),
    ],
)
def test_faults_are_found_on_saving(
    engine: Engine, on: Bench, to: str, source: Any, sentence: str
) -> None:
    template = changed(in_use(on), to, source)
    with pytest.raises(Refused) as refused:
        save(engine.services, on, template, seen=1, who="Ana")
    (problem,) = refused.value.problems
    assert problem.to == to
    assert sentence in problem.sentence
    assert bench(engine, on.place.organisation_id).seen == 1


def test_an_account_archived_in_xero_is_found_on_saving(engine: Engine, on: Bench) -> None:
    account = next(one for one in on.facts.accounts if one.code == "200")
    archived = replace(account, status="ARCHIVED")
    others = tuple(one for one in on.facts.accounts if one.code != "200")
    facts = replace(on.facts, accounts=(*others, archived))
    wrong = checks.problems(replace(on, facts=facts), in_use(on))
    assert [one[1:] for one in wrong] == [
        ("AccountCode", "Account 200 is archived. Choose another account.")
    ]


def test_a_tax_that_the_account_cant_take_names_the_legal_ones(engine: Engine, on: Bench) -> None:
    template = changed(in_use(on), "AccountCode", constant("200"))
    template = changed(template, "TaxType", constant("INPUT2"))
    (wrong,) = checks.problems(on, template)
    assert wrong.sentence.startswith("INPUT2 can't be used with account 200. Legal for it: ")


# -- auto-map ---------------------------------------------------------------------------------


def test_auto_map_fills_what_is_empty_and_nothing_else(on: Bench) -> None:
    bare = MappingTemplate(Module.INVOICES, INVOICE)
    fields, lines = proposals(bare, on.info)
    made = replace(bare, fields=fields, lines=lines)
    assert in_use(on).differences(made) == ()
    assert proposals(made, on.info) == ((), ())


def test_auto_map_finds_fields_by_name_and_type_custom_ones_too(engine: Engine, kauri: int) -> None:
    at = bench(engine, kauri, Module.CONTACTS)
    more = (
        Field("cf_852", "Company number", custom=True),
        Field("cf_mobile", "Mobile", custom=True),
        Field("fax", "Fax", FieldKind.DATE),
        Field("zip2", "Zip code"),
    )
    info = replace(at.info, fields=(*at.info.fields, *more))
    fields, _ = proposals(in_use(at), info)
    assert {row.to: row.source.reads() for row in fields} == {
        "CompanyNumber": ("cf_852",),
        "Phones.MOBILE.PhoneNumber": ("cf_mobile",),
    }


# -- reference data that isn't there ----------------------------------------------------------


@pytest.fixture
def unread(engine: Engine) -> Bench:
    """An organisation of which nothing but its name is known."""
    begun = connect.begin(engine.services, who="Test")
    answer = requests.get(begun.url, allow_redirects=False, timeout=10)
    back = urlsplit(answer.headers["Location"])
    args = {key: values[0] for key, values in parse_qs(back.query).items()}
    offered = connect.finish(engine.services, sealed=begun.sealed, args=args, who="Test")
    return bench(engine, offered[0].id)


def test_before_anything_was_read_the_page_says_so(engine: Engine, unread: Bench) -> None:
    scenes.invoices(engine)
    assert unread.read_at is None
    template = MappingTemplate(Module.INVOICES, INVOICE)
    fields, lines = proposals(template, unread.info)
    template = replace(template, fields=fields, lines=lines)
    assert check_codes(engine, unread, template) == {"required": True, "unread": False}
    tried = trials.trial(engine.services, unread, template, newest(engine, unread))
    assert "aren't read yet" in tried.faults[0]
    assert save(engine.services, unread, template, seen=0, who="Ana").version == 1
