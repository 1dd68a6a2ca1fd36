"""Countries by their ISO codes, and the names that people write for them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from typing import NamedTuple


class Country(NamedTuple):
    """One country; `name` is in English, of plain letters and blanks as Xero's addresses want."""

    code: str
    name: str


#: ISO 3166-1: code of two letters, of three letters, name.
_TABLE = """
AD AND Andorra; AE ARE United Arab Emirates; AF AFG Afghanistan; AG ATG Antigua and Barbuda;
AI AIA Anguilla; AL ALB Albania; AM ARM Armenia; AO AGO Angola; AQ ATA Antarctica;
AR ARG Argentina; AS ASM American Samoa; AT AUT Austria; AU AUS Australia; AW ABW Aruba;
AX ALA Aland Islands; AZ AZE Azerbaijan; BA BIH Bosnia and Herzegovina; BB BRB Barbados;
BD BGD Bangladesh; BE BEL Belgium; BF BFA Burkina Faso; BG BGR Bulgaria; BH BHR Bahrain;
BI BDI Burundi; BJ BEN Benin; BL BLM Saint Barthelemy; BM BMU Bermuda; BN BRN Brunei;
BO BOL Bolivia; BQ BES Caribbean Netherlands; BR BRA Brazil; BS BHS Bahamas; BT BTN Bhutan;
BV BVT Bouvet Island; BW BWA Botswana; BY BLR Belarus; BZ BLZ Belize; CA CAN Canada;
CC CCK Cocos Islands; CD COD Democratic Republic of the Congo; CF CAF Central African Republic;
CG COG Congo; CH CHE Switzerland; CI CIV Ivory Coast; CK COK Cook Islands; CL CHL Chile;
CM CMR Cameroon; CN CHN China; CO COL Colombia; CR CRI Costa Rica; CU CUB Cuba;
CV CPV Cape Verde; CW CUW Curacao; CX CXR Christmas Island; CY CYP Cyprus; CZ CZE Czechia;
DE DEU Germany; DJ DJI Djibouti; DK DNK Denmark; DM DMA Dominica; DO DOM Dominican Republic;
DZ DZA Algeria; EC ECU Ecuador; EE EST Estonia; EG EGY Egypt; EH ESH Western Sahara;
ER ERI Eritrea; ES ESP Spain; ET ETH Ethiopia; FI FIN Finland; FJ FJI Fiji;
FK FLK Falkland Islands; FM FSM Micronesia; FO FRO Faroe Islands; FR FRA France; GA GAB Gabon;
GB GBR United Kingdom; GD GRD Grenada; GE GEO Georgia; GF GUF French Guiana; GG GGY Guernsey;
GH GHA Ghana; GI GIB Gibraltar; GL GRL Greenland; GM GMB Gambia; GN GIN Guinea;
GP GLP Guadeloupe; GQ GNQ Equatorial Guinea; GR GRC Greece;
GS SGS South Georgia and the South Sandwich Islands; GT GTM Guatemala; GU GUM Guam;
GW GNB Guinea Bissau; GY GUY Guyana; HK HKG Hong Kong;
HM HMD Heard Island and McDonald Islands; HN HND Honduras; HR HRV Croatia; HT HTI Haiti;
HU HUN Hungary; ID IDN Indonesia; IE IRL Ireland; IL ISR Israel; IM IMN Isle of Man;
IN IND India; IO IOT British Indian Ocean Territory; IQ IRQ Iraq; IR IRN Iran; IS ISL Iceland;
IT ITA Italy; JE JEY Jersey; JM JAM Jamaica; JO JOR Jordan; JP JPN Japan; KE KEN Kenya;
KG KGZ Kyrgyzstan; KH KHM Cambodia; KI KIR Kiribati; KM COM Comoros;
KN KNA Saint Kitts and Nevis; KP PRK North Korea; KR KOR South Korea; KW KWT Kuwait;
KY CYM Cayman Islands; KZ KAZ Kazakhstan; LA LAO Laos; LB LBN Lebanon; LC LCA Saint Lucia;
LI LIE Liechtenstein; LK LKA Sri Lanka; LR LBR Liberia; LS LSO Lesotho; LT LTU Lithuania;
LU LUX Luxembourg; LV LVA Latvia; LY LBY Libya; MA MAR Morocco; MC MCO Monaco; MD MDA Moldova;
ME MNE Montenegro; MF MAF Saint Martin; MG MDG Madagascar; MH MHL Marshall Islands;
MK MKD North Macedonia; ML MLI Mali; MM MMR Myanmar; MN MNG Mongolia; MO MAC Macau;
MP MNP Northern Mariana Islands; MQ MTQ Martinique; MR MRT Mauritania; MS MSR Montserrat;
MT MLT Malta; MU MUS Mauritius; MV MDV Maldives; MW MWI Malawi; MX MEX Mexico; MY MYS Malaysia;
MZ MOZ Mozambique; NA NAM Namibia; NC NCL New Caledonia; NE NER Niger; NF NFK Norfolk Island;
NG NGA Nigeria; NI NIC Nicaragua; NL NLD Netherlands; NO NOR Norway; NP NPL Nepal;
NR NRU Nauru; NU NIU Niue; NZ NZL New Zealand; OM OMN Oman; PA PAN Panama; PE PER Peru;
PF PYF French Polynesia; PG PNG Papua New Guinea; PH PHL Philippines; PK PAK Pakistan;
PL POL Poland; PM SPM Saint Pierre and Miquelon; PN PCN Pitcairn Islands; PR PRI Puerto Rico;
PS PSE Palestine; PT PRT Portugal; PW PLW Palau; PY PRY Paraguay; QA QAT Qatar; RE REU Reunion;
RO ROU Romania; RS SRB Serbia; RU RUS Russia; RW RWA Rwanda; SA SAU Saudi Arabia;
SB SLB Solomon Islands; SC SYC Seychelles; SD SDN Sudan; SE SWE Sweden; SG SGP Singapore;
SH SHN Saint Helena; SI SVN Slovenia; SJ SJM Svalbard and Jan Mayen; SK SVK Slovakia;
SL SLE Sierra Leone; SM SMR San Marino; SN SEN Senegal; SO SOM Somalia; SR SUR Suriname;
SS SSD South Sudan; ST STP Sao Tome and Principe; SV SLV El Salvador; SX SXM Sint Maarten;
SY SYR Syria; SZ SWZ Eswatini; TC TCA Turks and Caicos Islands; TD TCD Chad;
TF ATF French Southern Territories; TG TGO Togo; TH THA Thailand; TJ TJK Tajikistan;
TK TKL Tokelau; TL TLS East Timor; TM TKM Turkmenistan; TN TUN Tunisia; TO TON Tonga;
TR TUR Turkey; TT TTO Trinidad and Tobago; TV TUV Tuvalu; TW TWN Taiwan; TZ TZA Tanzania;
UA UKR Ukraine; UG UGA Uganda; UM UMI United States Minor Outlying Islands;
US USA United States; UY URY Uruguay; UZ UZB Uzbekistan; VA VAT Vatican City;
VC VCT Saint Vincent and the Grenadines; VE VEN Venezuela; VG VGB British Virgin Islands;
VI VIR United States Virgin Islands; VN VNM Vietnam; VU VUT Vanuatu; WF WLF Wallis and Futuna;
WS WSM Samoa; YE YEM Yemen; YT MYT Mayotte; ZA ZAF South Africa; ZM ZMB Zambia;
ZW ZWE Zimbabwe
"""

#: What people write besides.
_ALSO: Mapping[str, str] = {
    "AE": "UAE, Emirates",
    "AT": "Österreich",
    "AU": "Commonwealth of Australia",
    "BA": "Bosnia",
    "BE": "België, Belgique",
    "BN": "Brunei Darussalam",
    "BQ": "Bonaire",
    "BR": "Brasil",
    "CC": "Keeling Islands",
    "CD": "DR Congo, DRC, Congo Kinshasa",
    "CG": "Republic of the Congo, Congo Brazzaville",
    "CH": "Schweiz, Suisse, Svizzera",
    "CI": "Côte d'Ivoire",
    "CN": "Peoples Republic of China, PRC, Mainland China",
    "CV": "Cabo Verde",
    "CZ": "Czech Republic, Česko",
    "DE": "Deutschland",
    "DK": "Danmark",
    "ES": "España",
    "FI": "Suomi",
    "FK": "Falklands",
    "FM": "Federated States of Micronesia",
    "GB": "UK, Great Britain, Britain, England, Scotland, Wales, Northern Ireland, Un"
    "ited Kingdom of Great Britain and Northern Ireland",
    "GR": "Hellas",
    "HK": "Hong Kong SAR",
    "HR": "Hrvatska",
    "HU": "Magyarország",
    "IE": "Republic of Ireland, Eire",
    "IR": "Islamic Republic of Iran",
    "IT": "Italia",
    "KP": "DPRK",
    "KR": "Korea, Republic of Korea",
    "LA": "Lao PDR",
    "MD": "Republic of Moldova",
    "MK": "Macedonia",
    "MM": "Burma",
    "MO": "Macao",
    "NL": "Holland, Nederland",
    "NO": "Norge",
    "NZ": "Aotearoa, Aotearoa New Zealand",
    "PH": "Republic of the Philippines",
    "PL": "Polska",
    "PN": "Pitcairn",
    "PS": "State of Palestine",
    "RU": "Russian Federation",
    "SE": "Sverige",
    "SG": "Republic of Singapore",
    "SI": "Slovenija",
    "SK": "Slovak Republic, Slovensko",
    "SY": "Syrian Arab Republic",
    "SZ": "Swaziland",
    "TL": "Timor Leste",
    "TR": "Türkiye",
    "TW": "Republic of China",
    "TZ": "United Republic of Tanzania",
    "US": "United States of America, America, United States",
    "VA": "Vatican, Holy See",
    "VI": "US Virgin Islands",
    "VN": "Viet Nam",
    "ZA": "Republic of South Africa, RSA",
}


def country_of(text: str) -> Country | None:
    """The country that a code or a name stands for, whatever its case, accents and dots."""
    return _BY_KEY.get(_key(text))


def _key(text: str) -> str:
    """Only the small plain letters of a text: "U.K." and "uk" are one."""
    words = text.casefold().replace("&", " and ").replace("ø", "o").split()
    if words[:1] == ["the"] and len(words) > 1:
        del words[0]
    if words[:1] in (["st"], ["st."]):
        words[0] = "saint"
    plain = unicodedata.normalize("NFKD", "".join(words))
    return "".join(one for one in plain if one.isalpha())


def _entries() -> Iterator[tuple[str, Country]]:
    by_code = {}
    for entry in _TABLE.split(";"):
        code, longer, name = entry.split(maxsplit=2)
        by_code[code] = country = Country(code, name.strip())
        for word in (code, longer, name):
            yield _key(word), country
    for code, names in _ALSO.items():
        for name in names.split(","):
            yield _key(name), by_code[code]


_BY_KEY: Mapping[str, Country] = dict(_entries())
