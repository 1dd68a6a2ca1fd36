"""Xero's time zones by their names in the tz database: an organisation's days are its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, tzinfo
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

#: A day without a known zone is UTC's.
UNKNOWN = "UTC"

# Xero writes the names that Windows gives to zones without blanks and in capitals (its OpenAPI
# data lists them); Unicode CLDR, supplemental/windowsZones.xml, says which zone each of them is.
_TABLE = """
AFGHANISTAN Asia/Kabul|ALASKAN America/Anchorage|ALEUTIAN America/Adak|ALTAI Asia/Barnaul
ARABIAN Asia/Dubai|ARABIC Asia/Baghdad|ARAB Asia/Riyadh|ARGENTINA America/Buenos_Aires
ASTRAKHAN Europe/Astrakhan|ATLANTIC America/Halifax|AUSCENTRAL Australia/Darwin
AUSCENTRALW Australia/Eucla|AUSEASTERN Australia/Sydney|AZERBAIJAN Asia/Baku
AZORES Atlantic/Azores|BAHIA America/Bahia|BANGLADESH Asia/Dhaka|BELARUS Europe/Minsk
BOUGAINVILLE Pacific/Bougainville|CANADACENTRAL America/Regina|CAPEVERDE Atlantic/Cape_Verde
CAUCASUS Asia/Yerevan|CENAUSTRALIA Australia/Adelaide|CENTRALAMERICA America/Guatemala
CENTRALASIA Asia/Almaty|CENTRALBRAZILIAN America/Cuiaba|CENTRALEUROPEAN Europe/Warsaw
CENTRALEUROPE Europe/Budapest|CENTRALPACIFIC Pacific/Guadalcanal|CENTRAL America/Chicago
CENTRAL(MEXICO) America/Mexico_City|CHATHAMISLANDS Pacific/Chatham|CHINA Asia/Shanghai
CUBA America/Havana|DATELINE Etc/GMT+12|EAFRICA Africa/Nairobi|EASTERISLAND Pacific/Easter
EASTERN America/New_York|EASTERN(MEXICO) America/Cancun|EAUSTRALIA Australia/Brisbane
EEUROPE Europe/Chisinau|EGYPT Africa/Cairo|EKATERINBURG Asia/Yekaterinburg
ESOUTHAMERICA America/Sao_Paulo|FIJI Pacific/Fiji|FLE Europe/Kiev|GEORGIAN Asia/Tbilisi
GMT Europe/London|GREENLAND America/Godthab|GREENWICH Atlantic/Reykjavik|GTB Europe/Bucharest
HAITI America/Port-au-Prince|HAWAIIAN Pacific/Honolulu|INDIA Asia/Calcutta|IRAN Asia/Tehran
ISRAEL Asia/Jerusalem|JORDAN Asia/Amman|KALININGRAD Europe/Kaliningrad|KAMCHATKA Asia/Kamchatka
KOREA Asia/Seoul|LIBYA Africa/Tripoli|LINEISLANDS Pacific/Kiritimati|LORDHOWE Australia/Lord_Howe
MAGADAN Asia/Magadan|MAGALLANES America/Punta_Arenas|MARQUESAS Pacific/Marquesas
MAURITIUS Indian/Mauritius|MIDATLANTIC Etc/GMT+2|MIDDLEEAST Asia/Beirut
MONTEVIDEO America/Montevideo|MOROCCO Africa/Casablanca|MOUNTAIN America/Denver
MOUNTAIN(MEXICO) America/Mazatlan|MYANMAR Asia/Rangoon|NAMIBIA Africa/Windhoek
NCENTRALASIA Asia/Novosibirsk|NEPAL Asia/Katmandu|NEWFOUNDLAND America/St_Johns
NEWZEALAND Pacific/Auckland|NORFOLK Pacific/Norfolk|NORTHASIAEAST Asia/Irkutsk
NORTHASIA Asia/Krasnoyarsk|NORTHKOREA Asia/Pyongyang|OMSK Asia/Omsk|PACIFICSA America/Santiago
PACIFIC America/Los_Angeles|PACIFIC(MEXICO) America/Tijuana|PAKISTAN Asia/Karachi
PARAGUAY America/Asuncion|QYZYLORDA Asia/Qyzylorda|ROMANCE Europe/Paris|RUSSIAN Europe/Moscow
SAEASTERN America/Cayenne|SAINTPIERRE America/Miquelon|SAKHALIN Asia/Sakhalin|SAMOA Pacific/Apia
SAOTOME Africa/Sao_Tome|SAPACIFIC America/Bogota|SARATOV Europe/Saratov|SAWESTERN America/La_Paz
SEASIA Asia/Bangkok|SINGAPORE Asia/Singapore|SOUTHAFRICA Africa/Johannesburg
SOUTHSUDAN Africa/Juba|SRILANKA Asia/Colombo|SUDAN Africa/Khartoum|SYRIA Asia/Damascus
TAIPEI Asia/Taipei|TASMANIA Australia/Hobart|TOCANTINS America/Araguaina|TOKYO Asia/Tokyo
TOMSK Asia/Tomsk|TONGA Pacific/Tongatapu|TRANSBAIKAL Asia/Chita|TURKEY Europe/Istanbul
TURKSANDCAICOS America/Grand_Turk|ULAANBAATAR Asia/Ulaanbaatar|USEASTERN America/Indianapolis
USMOUNTAIN America/Phoenix|VENEZUELA America/Caracas|VLADIVOSTOK Asia/Vladivostok
VOLGOGRAD Europe/Volgograd|WAUSTRALIA Australia/Perth|WCENTRALAFRICA Africa/Lagos
WESTASIA Asia/Tashkent|WESTBANK Asia/Hebron|WESTPACIFIC Pacific/Port_Moresby
WEUROPE Europe/Berlin|WMONGOLIA Asia/Hovd|YAKUTSK Asia/Yakutsk|YUKON America/Whitehorse
"""
#: Those whose names follow another pattern.
_OTHERS = {
    "UTC": "UTC",
    "UTC+12": "Etc/GMT-12",
    "UTC+13": "Etc/GMT-13",
    "UTC02": "Etc/GMT+2",
    "UTC08": "Etc/GMT+8",
    "UTC09": "Etc/GMT+9",
    "UTC11": "Etc/GMT+11",
    "RUSSIATIMEZONE3": "Europe/Samara",
    "RUSSIATIMEZONE10": "Asia/Srednekolymsk",
    "RUSSIATIMEZONE11": "Asia/Kamchatka",
}


def _table() -> Mapping[str, str]:
    found = dict(_OTHERS)
    for each in re.split(r"[|\n]", _TABLE.strip()):
        word, zone = each.split(" ")
        name, bracket, country = word.partition("(")
        found[f"{name}STANDARDTIME{bracket}{country}"] = zone
    return found


#: By Xero's word ("NEWZEALANDSTANDARDTIME") the zone's name ("Pacific/Auckland").
ZONES: Mapping[str, str] = _table()


def zone_name(word: str | None) -> str:
    """The tz database's name of a zone as Xero writes it; "UTC" for one that nobody knows."""
    return ZONES.get((word or "").upper(), UNKNOWN)


@cache
def zone(name: str) -> tzinfo:
    """A zone by the tz database's name; UTC where this machine doesn't know it."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def city(name: str) -> str:
    """What people call a zone: "Auckland time", "UTC"."""
    return f"{name.rpartition('/')[2].replace('_', ' ')} time" if "/" in name else name
