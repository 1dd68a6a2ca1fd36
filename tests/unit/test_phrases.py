"""The words of mails: none, one and many, full stops, days and places, in each language."""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping
from datetime import date
from itertools import product

import pytest

from xtiger.domain import alert_phrases, phrases

#: Both sets of phrases, by the language.
ALL: tuple[tuple[str, Mapping[str, str]], ...] = (
    *phrases._SAID.items(),
    *alert_phrases.SAID.items(),
)
#: What is only ever said of several.
MANY = {"organisations", "csv.cut"}
#: Where a number stands alone, one reads as many do.
ALIKE = {
    *("synced", "more", "fewer", "calls.run", "hours", "connect", "names", "and more"),
    *("more.one", "first.more.one"),
}


def fields(phrase: str) -> set[str]:
    return {name for _plain, name, _format, _as in string.Formatter().parse(phrase) if name}


def counted() -> Iterator[tuple[str, Mapping[str, str], str]]:
    """Every phrase that counts something, without its forms for none and one."""
    for language, said in ALL:
        for name, phrase in said.items():
            if "count" in fields(phrase) and not name.endswith((".none", ".one")):
                yield language, said, name


@pytest.mark.parametrize(("language", "said"), ALL)
def test_no_sentence_ends_in_two_full_stops(language: str, said: Mapping[str, str]) -> None:
    for name, phrase in said.items():
        for value in ("20. Nov.", "Acme Ltd."):
            told = phrases.filled(said, language, name, dict.fromkeys(fields(phrase), value))
            assert ".." not in told, (name, told)


def test_a_day_at_the_end_of_a_sentence_keeps_one_full_stop() -> None:
    day = phrases.day("de", date(2026, 11, 21))
    assert phrases.say("de", "same.daily", period=day) == "So viele übertragen wie am 21. Nov."
    assert phrases.say("de", "before.daily", change="5 mehr", period=day) == (
        "5 mehr übertragen als am 21. Nov."
    )
    told = phrases.say("de", "left out", count=4, first="17. Nov.", last="20. Nov.")
    assert "17. Nov. bis 20. Nov. Sie kommen" in told
    # May has its full stop from the sentence; an abbreviation within one keeps its own.
    may = phrases.day("de", date(2026, 5, 21))
    assert phrases.say("de", "same.daily", period=may) == "So viele übertragen wie am 21. Mai."
    assert phrases.say("de", "quiet.daily", period=day) == "Am 21. Nov. stand nichts an."
    said = alert_phrases.say("en", "webhooks.over.sentence", name="Acme Ltd.")
    assert said == "Xero's webhooks come again: Acme Ltd."
    assert phrases.ended("Paused: Acme Ltd.") == "Paused: Acme Ltd."
    assert phrases.ended("Paused: Acme") == "Paused: Acme."


def test_each_phrase_that_counts_has_words_for_one() -> None:
    for language, said, name in counted():
        if name in ALIKE | MANY:
            continue
        assert f"{name}.one" in said, (language, name)


@pytest.mark.parametrize(
    ("phrase", "count", "english", "german"),
    [
        ("calls", 0, "A: 0 calls used today, 9 left.", "A: heute 0 Aufrufe verbraucht, 9 übrig."),
        ("calls", 1, "A: 1 call used today, 9 left.", "A: heute 1 Aufruf verbraucht, 9 übrig."),
        ("calls", 2, "A: 2 calls used today, 9 left.", "A: heute 2 Aufrufe verbraucht, 9 übrig."),
        ("calls.used", 1, "A: 1 call used today.", "A: heute 1 Aufruf verbraucht."),
        ("need", 1, "1 needs you", "1 wartet auf Sie"),
        ("need since", 1, "1 needs you since", "1 wartet seither auf Sie"),
        ("still waiting", 1, "1 still waits", "1 wartet noch"),
        ("records", 1, "1 record", "1 Datensatz"),
        ("and more", 1, "and 1 more.", "und 1 weitere."),
        ("and more went.plain", 1, "and 1 more.", "und 1 weiterer."),
        ("and more went.plain", 2, "and 2 more.", "und 2 weitere."),
        ("asleep.more", 1, "and at 1 other time", "und ein weiteres Mal"),
        (
            "csv",
            0,
            "A holds no entries: nothing was logged.",
            "A enthält keine Einträge: Nichts wurde protokolliert.",
        ),
        (
            "csv",
            1,
            "A holds the one log entry.",
            "A enthält den einen Eintrag des Protokolls.",
        ),
        ("waits", 1, "A: 1 record waits, for 6 min.", "A: 1 Datensatz wartet, seit 6 min."),
        (
            "waits.blocked",
            1,
            "1 of them waits for another record.",
            "1 davon wartet auf einen anderen Datensatz.",
        ),
        (
            "sentence.wait",
            1,
            "0 synced; 1 waits for another record.",
            "0 synced; 1 wartet auf einen anderen Datensatz.",
        ),
    ],
)
def test_a_report_counts_none_one_and_two(
    phrase: str, count: int, english: str, german: str
) -> None:
    values = {"name": "A", "left": 9, "age": "6 min", "synced": "0 synced", "count": count}
    assert phrases.say("en", phrase, **values) == english
    assert phrases.say("de", phrase, **values) == german


@pytest.mark.parametrize(
    ("phrase", "count", "english", "german"),
    [
        ("waits", 0, "no record waits", "kein Datensatz wartet"),
        ("waits", 1, "1 record waits", "1 Datensatz wartet"),
        (
            "goes",
            0,
            "no record waits; it goes on at about 14:05",
            "kein Datensatz wartet; es geht weiter (etwa 14:05)",
        ),
        (
            "goes",
            1,
            "1 record waits and goes on at about 14:05",
            "1 Datensatz wartet und geht weiter (etwa 14:05)",
        ),
        ("way", 0, "nothing was held up", "nichts wurde aufgehalten"),
        ("way", 1, "1 record is on its way", "1 Datensatz ist unterwegs"),
        ("names", 1, "A and 1 more", "A und 1 weitere"),
        ("causes", 1, "one cause", "eine Ursache"),
        ("more", 1, "and 1 more.", "und 1 weitere."),
        ("first.more", 1, "First: INV-1 and 1 more", "Zuerst: INV-1 und 1 weiterer"),
        (
            "first.more",
            "9,999+",
            "First: INV-1 and 9,999+ more",
            "Zuerst: INV-1 und 9,999+ weitere",
        ),
        (
            "failures.subject",
            1,
            "[XTiger] A: 1 record fails for one cause",
            "[XTiger] A: 1 Datensatz scheitert, one cause",
        ),
        (
            "mail.sentence",
            1,
            "1 mail couldn't be sent since 14:05: Busy.",
            "1 Mail konnte seit 14:05 nicht gesendet werden: Busy.",
        ),
    ],
)
def test_an_alert_counts_none_one_and_many(
    phrase: str, count: int | str, english: str, german: str
) -> None:
    values = {"name": "A", "first": "A", "labels": "INV-1", "time": "14:05", "why": "Busy."}
    for language, wanted in (("en", english), ("de", german)):
        told = alert_phrases.say(language, phrase, causes="one cause", count=count, **values)
        assert told == wanted


def test_the_end_of_one_cause_is_a_sentence_in_german() -> None:
    one = alert_phrases.say("de", "causes", count=1)
    told = alert_phrases.say("de", "failures.over.sentence", name="Acme", causes=one)
    assert told == "Acme: Kein Datensatz scheitert mehr (eine Ursache)."


def test_times_are_those_of_a_place_in_the_readers_words() -> None:
    for zone, english, german in (
        ("Asia/Kolkata", "Kolkata time", "Ortszeit Kolkata"),
        ("America/New_York", "New York time", "Ortszeit New York"),
        ("UTC", "UTC", "UTC"),
    ):
        assert phrases.local_time("en", zone) == english
        assert phrases.local_time("de", zone) == german


def test_days_stand_in_their_case() -> None:
    assert phrases.span("de", 86_400) == "1 Tag"
    assert phrases.span("de", 4 * 86_400) == "4 Tagen"  # seit 4 Tagen
    assert phrases.span("de", 4 * 86_400, since=False) == "4 Tage"
    for since, (days, words) in product((True, False), ((1, "1 day"), (4, "4 days"))):
        assert phrases.span("en", days * 86_400, since=since) == words
