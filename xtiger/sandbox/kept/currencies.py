"""Currencies: which codes there are, what they are called, and a day rate for each."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

#: Xero OpenAPI CurrencyCode
_CODES = """
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP
    BYN BYR BZD CAD CDF CHF CLF CLP CNY COP CRC CUC CUP CVE CZK DJF DKK DOP DZD EEK EGP ERN ETB
    EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD
    JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LTL LVL LYD MAD MDL MGA MKD
    MMK MNT MOP MRO MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP
    PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SKK SLE SLL SOS SRD STD STN SVC
    SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VEF VES VND VUV WST XAF XCD
    XOF XPF YER ZAR ZMW ZMK ZWD
"""
CODES = frozenset(_CODES.split())
#: name and units for one US dollar, invented but near; others answer with their code and 1
_KNOWN = {
    "AED": ("United Arab Emirates Dirham", "3.67"),
    "AUD": ("Australian Dollar", "1.51"),
    "BRL": ("Brazilian Real", "5.40"),
    "CAD": ("Canadian Dollar", "1.37"),
    "CHF": ("Swiss Franc", "0.88"),
    "CNY": ("Chinese Yuan Renminbi", "7.20"),
    "CZK": ("Czech Koruna", "23.10"),
    "DKK": ("Danish Krone", "6.90"),
    "EUR": ("Euro", "0.92"),
    "FJD": ("Fiji Dollar", "2.25"),
    "GBP": ("British Pound", "0.79"),
    "HKD": ("Hong Kong Dollar", "7.80"),
    "HUF": ("Hungarian Forint", "360"),
    "IDR": ("Indonesian Rupiah", "15800"),
    "ILS": ("Israeli New Shekel", "3.70"),
    "INR": ("Indian Rupee", "83.50"),
    "JPY": ("Japanese Yen", "150"),
    "KRW": ("Korean Won", "1350"),
    "MXN": ("Mexican Peso", "18.20"),
    "MYR": ("Malaysian Ringgit", "4.45"),
    "NOK": ("Norwegian Krone", "10.80"),
    "NZD": ("New Zealand Dollar", "1.66"),
    "PGK": ("Papua New Guinea Kina", "3.90"),
    "PHP": ("Philippine Peso", "57.50"),
    "PLN": ("Polish Zloty", "3.95"),
    "SEK": ("Swedish Krona", "10.50"),
    "SGD": ("Singapore Dollar", "1.34"),
    "THB": ("Thai Baht", "35.50"),
    "TRY": ("Turkish Lira", "34"),
    "TWD": ("Taiwan New Dollar", "32.20"),
    "USD": ("United States Dollar", "1"),
    "VND": ("Vietnamese Dong", "25000"),
    "WST": ("Samoan Tala", "2.75"),
    "XPF": ("CFP Franc", "110"),
    "ZAR": ("South African Rand", "18.30"),
}


def name(code: str) -> str:
    return _KNOWN[code][0] if code in _KNOWN else code


def day_rate(base: str, code: str) -> str:
    """Units of the currency for one of the base, 6 decimals, as where no rate is sent."""
    if base not in _KNOWN or code not in _KNOWN:
        return "1.000000"
    rate = Decimal(_KNOWN[code][1]) / Decimal(_KNOWN[base][1])
    return str(rate.quantize(Decimal("0.000001"), ROUND_HALF_UP))
