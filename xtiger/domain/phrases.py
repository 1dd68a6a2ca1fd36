"""What mails say around the figures, in each language; causes stay as they were logged."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from string import Formatter
from types import MappingProxyType
from typing import Any

from xtiger.domain.reporting import Kind, Period

#: The languages a reader may choose, by the code that is stored.
LANGUAGES: Mapping[str, str] = MappingProxyType({"en": "English", "de": "Deutsch"})

_MONTHS = {
    "en": "January February March April May June July August September October November December",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
}
_SHORT = {
    "en": "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec",
    "de": "Jan. Feb. März Apr. Mai Juni Juli Aug. Sept. Okt. Nov. Dez.",
}
_WEEKDAYS = {"en": "Mon Tue Wed Thu Fri Sat Sun", "de": "Mo Di Mi Do Fr Sa So"}

#: A phrase for one alone stands under the same name with `.one` behind, for none with `.none`.
_EN = {
    "subject": "[XTiger] {name}: {rest}",
    "subject.period": "[XTiger] {name}, {period}: {rest}",
    "synced": "{count} synced",
    "need": "{count} need you",
    "need.one": "1 needs you",
    "need since": "{count} need you since",
    "need since.one": "1 needs you since",
    "nothing to do": "nothing to do",
    "still waiting": "{count} still wait",
    "still waiting.one": "1 still waits",
    "connect": "must be connected again",
    "connect.one": "must be connected again",
    "sentence.connect": "{names} {connect}; {rest}",
    "organisations": "{count} organisations",
    "no organisation": "no organisation",
    "and": "{first} and {second}",
    "sentence.need": "{synced}, {need}.",
    "sentence.wait": "{synced}; {count} wait for another record.",
    "sentence.wait.one": "{synced}; 1 waits for another record.",
    "sentence.done": "{synced}, nothing to do.",
    "quiet.daily": "Nothing was due on {period}.",
    "quiet.weekly": "Nothing was due in the {period}.",
    "quiet.monthly": "Nothing was due in {period}.",
    "held up.daily": "Nothing was sent on {period}; {count} records wait.",
    "held up.daily.one": "Nothing was sent on {period}; 1 record waits.",
    "held up.weekly": "Nothing was sent in the {period}; {count} records wait.",
    "held up.weekly.one": "Nothing was sent in the {period}; 1 record waits.",
    "held up.monthly": "Nothing was sent in {period}; {count} records wait.",
    "held up.monthly.one": "Nothing was sent in {period}; 1 record waits.",
    "awake.daily": "XTiger was running all day.",
    "awake.weekly": "XTiger was running all week.",
    "awake.monthly": "XTiger was running all month.",
    "asleep": "XTiger wasn't running for {length} of it, {spans}.",
    "asleep.span": "{start} to {end}",
    "asleep.more": "and at {count} other times",
    "asleep.more.one": "and at 1 other time",
    "left out": "XTiger wasn't running when {count} earlier reports were due, {first} to {last}. "
    "They aren't sent one by one; Reports shows their figures.",
    "left out.one": "XTiger wasn't running when the report of {first} was due. "
    "It isn't sent any more; Reports shows its figures.",
    "so far": "{period} isn't over: these are its figures so far.",
    "after_sync": "XTiger sync report",
    "daily": "XTiger daily report",
    "weekly": "XTiger weekly report",
    "monthly": "XTiger monthly report",
    "alert": "XTiger alert",
    "Succeeded": "Succeeded",
    "Unchanged": "Unchanged",
    "Failed": "Failed",
    "Blocked": "Blocked",
    "sent": "Sent {money}",
    "before.daily": "{change} synced than on {period}.",
    "before.weekly": "{change} synced than in the {period}.",
    "before.monthly": "{change} synced than in {period}.",
    "more": "{count} more",
    "fewer": "{count} fewer",
    "same.daily": "As many synced as on {period}.",
    "same.weekly": "As many synced as in the {period}.",
    "same.monthly": "As many synced as in {period}.",
    "failed.before": "Failed: {now}, before: {then}.",
    "Needs somebody": "Needs somebody",
    "records": "{count} records",
    "records.one": "1 record",
    "first ones": "First: {labels}",
    "Open the Queue": "Open the Queue",
    "Reconnect": "Reconnect",
    "Show them": "Show them",
    "and more": "and {count} more.",
    "Still open since": "Still open since {day}",
    "Still open": "Still open from before",
    "By module": "By module",
    "Organisation": "Organisation",
    "Module": "Module",
    "Value": "Value",
    "chart.after_sync": "Synced",
    "chart.daily": "Synced through the day",
    "chart.weekly": "Synced by day",
    "chart.monthly": "Synced by week",
    "from": "from",
    "What waits": "What waits now",
    "waits": "{name}: {count} records wait, the oldest for {age}.",
    "waits.one": "{name}: 1 record waits, for {age}.",
    "waits.blocked": "{count} of them wait for another record.",
    "waits.blocked.one": "1 of them waits for another record.",
    "waits.blocked.alone": "It waits for another record.",
    "What went over": "What went over",
    "and more went.plain": "and {count} more.",
    "and more went.plain.one": "and 1 more.",
    "Run": "Run {number}",
    "Runs": "Runs {first} to {last}",
    "calls.run": "Write calls: {count}",
    "calls": "{name}: {count} calls used today, {left} left.",
    "calls.one": "{name}: 1 call used today, {left} left.",
    "calls.used": "{name}: {count} calls used today.",
    "calls.used.one": "{name}: 1 call used today.",
    "csv": "{name} holds the {count} log entries.",
    "csv.one": "{name} holds the one log entry.",
    "csv.none": "{name} holds no entries: nothing was logged.",
    "csv.cut": "{name} holds the first {count} of {all} log entries; Logs exports all of them.",
    "Logs": "Logs",
    "why.after_sync": "You get this because {address} hears of each sync.",
    "why.daily": "You get this because {address} asked for the daily report.",
    "why.weekly": "You get this because {address} asked for the weekly report.",
    "why.monthly": "You get this because {address} asked for the monthly report.",
    "why.alert": "You get this because {address} is told when something needs repair.",
    "why.test": "You get this because somebody tried the address {address}.",
    "Change": "Change it",
    "Stop": "Get no more of these mails",
    "times": "All times are {zone}.",
    "local time": "{city} time",
    "test.subject": "[XTiger] Test mail: this address works",
    "test": "This address gets XTiger's mails.",
}
_DE = {
    "subject": "[XTiger] {name}: {rest}",
    "subject.period": "[XTiger] {name}, {period}: {rest}",
    "synced": "{count} übertragen",
    "need": "{count} warten auf Sie",
    "need.one": "1 wartet auf Sie",
    "need since": "{count} warten seither auf Sie",
    "need since.one": "1 wartet seither auf Sie",
    "nothing to do": "nichts zu tun",
    "still waiting": "{count} warten noch",
    "still waiting.one": "1 wartet noch",
    "connect": "müssen neu verbunden werden",
    "connect.one": "muss neu verbunden werden",
    "sentence.connect": "{names} {connect}; {rest}",
    "organisations": "{count} Organisationen",
    "no organisation": "keine Organisation",
    "and": "{first} und {second}",
    "sentence.need": "{synced}, {need}.",
    "sentence.wait": "{synced}; {count} warten auf einen anderen Datensatz.",
    "sentence.wait.one": "{synced}; 1 wartet auf einen anderen Datensatz.",
    "sentence.done": "{synced}, nichts zu tun.",
    "quiet.daily": "Am {period} stand nichts an.",
    "quiet.weekly": "In der {period} stand nichts an.",
    "quiet.monthly": "Im {period} stand nichts an.",
    "held up.daily": "Am {period} wurde nichts übertragen; {count} Datensätze warten.",
    "held up.daily.one": "Am {period} wurde nichts übertragen; 1 Datensatz wartet.",
    "held up.weekly": "In der {period} wurde nichts übertragen; {count} Datensätze warten.",
    "held up.weekly.one": "In der {period} wurde nichts übertragen; 1 Datensatz wartet.",
    "held up.monthly": "Im {period} wurde nichts übertragen; {count} Datensätze warten.",
    "held up.monthly.one": "Im {period} wurde nichts übertragen; 1 Datensatz wartet.",
    "awake.daily": "XTiger lief den ganzen Tag.",
    "awake.weekly": "XTiger lief die ganze Woche.",
    "awake.monthly": "XTiger lief den ganzen Monat.",
    "asleep": "XTiger lief {length} davon nicht, {spans}.",
    "asleep.span": "{start} bis {end}",
    "asleep.more": "und {count} weitere Male",
    "asleep.more.one": "und ein weiteres Mal",
    "left out": "XTiger lief nicht, als {count} frühere Berichte fällig waren, {first} bis {last}. "
    "Sie kommen nicht einzeln nach; unter Reports stehen ihre Zahlen.",
    "left out.one": "XTiger lief nicht, als der Bericht für {first} fällig war. "
    "Er kommt nicht mehr nach; unter Reports stehen seine Zahlen.",
    "so far": "{period} ist noch nicht vorbei: Das sind die Zahlen bis jetzt.",
    "after_sync": "XTiger: Bericht nach der Übertragung",
    "daily": "XTiger: Tagesbericht",
    "weekly": "XTiger: Wochenbericht",
    "monthly": "XTiger: Monatsbericht",
    "alert": "XTiger: Warnung",
    "Succeeded": "Übertragen",
    "Unchanged": "Unverändert",
    "Failed": "Gescheitert",
    "Blocked": "Warten",
    "sent": "Übertragen: {money}",
    "before.daily": "{change} übertragen als am {period}.",
    "before.weekly": "{change} übertragen als in der {period}.",
    "before.monthly": "{change} übertragen als im {period}.",
    "more": "{count} mehr",
    "fewer": "{count} weniger",
    "same.daily": "So viele übertragen wie am {period}.",
    "same.weekly": "So viele übertragen wie in der {period}.",
    "same.monthly": "So viele übertragen wie im {period}.",
    "failed.before": "Gescheitert: {now}, davor: {then}.",
    "Needs somebody": "Braucht jemanden",
    "records": "{count} Datensätze",
    "records.one": "1 Datensatz",
    "first ones": "Zuerst: {labels}",
    "Open the Queue": "Warteschlange öffnen",
    "Reconnect": "Neu verbinden",
    "Show them": "Zeigen",
    "and more": "und {count} weitere.",
    "Still open since": "Noch offen seit {day}",
    "Still open": "Noch offen von früher",
    "By module": "Nach Modul",
    "Organisation": "Organisation",
    "Module": "Modul",
    "Value": "Wert",
    "chart.after_sync": "Übertragen",
    "chart.daily": "Übertragen im Lauf des Tages",
    "chart.weekly": "Übertragen nach Tagen",
    "chart.monthly": "Übertragen nach Wochen",
    "from": "ab",
    "What waits": "Was jetzt wartet",
    "waits": "{name}: {count} Datensätze warten, der älteste seit {age}.",
    "waits.one": "{name}: 1 Datensatz wartet, seit {age}.",
    "waits.blocked": "{count} davon warten auf einen anderen Datensatz.",
    "waits.blocked.one": "1 davon wartet auf einen anderen Datensatz.",
    "waits.blocked.alone": "Er wartet auf einen anderen Datensatz.",
    "What went over": "Was übertragen wurde",
    "and more went.plain": "und {count} weitere.",
    "and more went.plain.one": "und 1 weiterer.",
    "Run": "Lauf {number}",
    "Runs": "Läufe {first} bis {last}",
    "calls.run": "Schreibende Aufrufe: {count}",
    "calls": "{name}: heute {count} Aufrufe verbraucht, {left} übrig.",
    "calls.one": "{name}: heute 1 Aufruf verbraucht, {left} übrig.",
    "calls.used": "{name}: heute {count} Aufrufe verbraucht.",
    "calls.used.one": "{name}: heute 1 Aufruf verbraucht.",
    "csv": "{name} enthält die {count} Einträge des Protokolls.",
    "csv.one": "{name} enthält den einen Eintrag des Protokolls.",
    "csv.none": "{name} enthält keine Einträge: Nichts wurde protokolliert.",
    "csv.cut": "{name} enthält die ersten {count} von {all} Einträgen des Protokolls; "
    "unter Logs gibt es alle.",
    "Logs": "Protokoll",
    "why.after_sync": "Sie erhalten dies, weil {address} von jeder Übertragung hört.",
    "why.daily": "Sie erhalten dies, weil {address} den Tagesbericht bestellt hat.",
    "why.weekly": "Sie erhalten dies, weil {address} den Wochenbericht bestellt hat.",
    "why.monthly": "Sie erhalten dies, weil {address} den Monatsbericht bestellt hat.",
    "why.alert": "Sie erhalten dies, weil {address} hört, wenn etwas zu richten ist.",
    "why.test": "Sie erhalten dies, weil jemand die Adresse {address} erprobt hat.",
    "Change": "Ändern",
    "Stop": "Keine dieser Mails mehr",
    "times": "Alle Zeiten: {zone}.",
    "local time": "Ortszeit {city}",
    "test.subject": "[XTiger] Testmail: Diese Adresse funktioniert",
    "test": "Diese Adresse erhält die Mails von XTiger.",
}
_SAID = {"en": _EN, "de": _DE}


def say(language: str, phrase: str, /, **values: Any) -> str:
    """A phrase with its values filled in; whole numbers get their separators.

    `count` chooses between none, one and many. A language nobody knows is English. Raises
    KeyError for a phrase that isn't there.
    """
    return filled(_SAID.get(language, _EN), language, phrase, values)


def filled(said: Mapping[str, str], language: str, phrase: str, values: Mapping[str, Any]) -> str:
    """A phrase of `said`, with its values filled in as `say` does.

    A full stop behind a value that ends with one, such as “21. Nov.” or “Acme Ltd.”, is left out.
    """
    few = {0: f"{phrase}.none", 1: f"{phrase}.one"}.get(values.get("count", -1), phrase)
    told = ""
    for plain, name, _format, _as in Formatter().parse(said[few if few in said else phrase]):
        told += plain[1:] if told.endswith(".") and plain.startswith(".") else plain
        if name is not None:
            value = values[name]
            told += number(language, value) if type(value) is int else str(value)
    return told


def ended(text: str) -> str:
    """A text as a sentence: with a full stop, unless it ends as one already."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def local_time(language: str, zone: str) -> str:
    """What people call a zone: Auckland time, UTC; in German Ortszeit Auckland."""
    city = zone.rpartition("/")[2].replace("_", " ")
    return say(language, "local time", city=city) if "/" in zone else city


def number(language: str, value: int) -> str:
    """1,204; in German 1.204."""
    return _turned(language, f"{value:,}")


def money(language: str, amount: Decimal, currency: str | None) -> str:
    """NZD 1,150.00: always with its code, always with cents."""
    return f"{currency or ''} {_turned(language, f'{amount:,.2f}')}".strip()


def _turned(language: str, text: str) -> str:
    if language != "de":
        return text
    return text.translate(str.maketrans(",.", ".,"))


def day(language: str, value: date, *, year: bool = False) -> str:
    """20 Nov, or 20 Nov 2026; in German 20. Nov."""
    month = _SHORT.get(language, _SHORT["en"]).split()[value.month - 1]
    text = f"{value.day}. {month}" if language == "de" else f"{value.day} {month}"
    return f"{text} {value.year}" if year else text


def weekday(language: str, value: date) -> str:
    """Mon."""
    return _WEEKDAYS.get(language, _WEEKDAYS["en"]).split()[value.weekday()]


def period_words(language: str, period: Period) -> str:
    """20 Nov · week 16–22 Nov · November 2026."""
    first, last = period.first, period.last
    if period.kind is Kind.DAILY:
        return day(language, first)
    if period.kind is Kind.MONTHLY:
        return f"{_MONTHS.get(language, _MONTHS['en']).split()[first.month - 1]} {first.year}"
    dot = "." if language == "de" else ""
    begin = f"{first.day}{dot}" if first.month == last.month else day(language, first)
    joined = "–" if first.month == last.month else " – "
    word = "Woche" if language == "de" else "week"
    return f"{word} {begin}{joined}{day(language, last)}"


def span(language: str, seconds: float, *, since: bool = True) -> str:
    """A length of time in at most two units: 40 s, 6 min, 4 h 53 min, 3 days.

    In German it stands behind “seit” (3 Tagen), without `since` elsewhere (3 Tage).
    """
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86_400
    if minutes < 60:
        return f"{minutes} min"
    if hours < 24:
        rest = minutes % 60
        return f"{hours} h {rest} min" if rest and hours < 10 else f"{hours} h"
    names = ("Tag", "Tagen" if since else "Tage") if language == "de" else ("day", "days")
    return f"{days} {names[days > 1]}"


def lasted(language: str, seconds: float) -> str:
    """What something took, rounded: never nothing, however short it was."""
    whole = round(seconds)
    if whole < 1:
        return "unter 1 s" if language == "de" else "under 1 s"
    return span(language, whole)
