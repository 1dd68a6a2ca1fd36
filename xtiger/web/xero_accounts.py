"""Xero Accounts: what was read from Xero of an organisation, how old it is, and who uses it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from flask import abort, request, url_for

from xtiger.domain.records import DOCUMENTS, DocumentType, Module
from xtiger.engine.connection import reference
from xtiger.engine.mapping import replacing, uses
from xtiger.store import profiles
from xtiger.store.models import Organisation, Reference
from xtiger.web import filters, formats
from xtiger.web.access import needs
from xtiger.web.actions import done, go, spoken
from xtiger.web.frame import Frame, load, page, xt
from xtiger.web.routes import Routes
from xtiger.web.words import say

routes = Routes()


@dataclass(frozen=True, slots=True)
class Tab:
    """One list: its kind of reference data, its columns, and how a row of Xero's becomes cells.

    `kind` is also the tab in the address. The first cell is the row's own name.
    """

    kind: str
    label: str
    columns: tuple[str, ...]
    cells: Callable[[Mapping[str, Any]], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Line:
    """One row: its cells, Xero's status, and who uses it."""

    cells: tuple[str, ...]
    status: str
    used: str = ""
    names: tuple[str, ...] = ()


#: Account types that Xero writes as one word (its OpenAPI data, AccountType).
_TYPES: Mapping[str, str] = {
    "CURRENT": "Current asset",
    "CURRLIAB": "Current liability",
    "DEPRECIATN": "Depreciation",
    "DIRECTCOSTS": "Direct costs",
    "FIXED": "Fixed asset",
    "NONCURRENT": "Non-current asset",
    "OTHERINCOME": "Other income",
    "PAYG": "PAYG",
    "PAYGLIABILITY": "PAYG liability",
    "SUPERANNUATIONEXPENSE": "Superannuation expense",
    "SUPERANNUATIONLIABILITY": "Superannuation liability",
    "TERMLIAB": "Non-current liability",
    "WAGESEXPENSE": "Wages expense",
    "WAGESPAYABLELIABILITY": "Wages payable",
}


def _account(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        str(row.get("Code") or "–"),
        str(row.get("Name") or ""),
        _TYPES.get(str(row.get("Type")), _words(row.get("Type"))),
        str(row.get("TaxType") or "–"),
    )


def _tax_rate(row: Mapping[str, Any]) -> tuple[str, ...]:
    rate = row.get("EffectiveRate")
    applies = {
        "CanApplyToRevenue": "revenue",
        "CanApplyToExpenses": "expenses",
        "CanApplyToAssets": "assets",
        "CanApplyToLiabilities": "liabilities",
        "CanApplyToEquity": "equity",
    }
    legal = ", ".join(word for name, word in applies.items() if row.get(name))
    return (
        str(row.get("TaxType") or "–"),
        str(row.get("Name") or ""),
        f"{formats.quantity(rate)} %" if rate is not None else "–",
        legal or "–",
    )


def _category(row: Mapping[str, Any]) -> tuple[str, ...]:
    options = [each for each in row.get("Options") or () if each.get("Status") == "ACTIVE"]
    return (
        str(row.get("Name") or ""),
        ", ".join(str(each.get("Name")) for each in options) or "–",
    )


TABS: Mapping[str, Tab] = {
    tab.kind: tab
    for tab in (
        Tab("accounts", "Accounts", ("Code", "Name", "Type", "Default tax"), _account),
        Tab("tax_rates", "Tax rates", ("Type", "Name", "Rate", "Legal for"), _tax_rate),
        Tab("tracking", "Tracking", ("Category", "Options"), _category),
        Tab(
            "currencies",
            "Currencies",
            ("Code", "Name"),
            lambda row: (str(row.get("Code") or ""), str(row.get("Description") or "–")),
        ),
        Tab(
            "branding_themes",
            "Branding themes",
            ("Name", "Order"),
            lambda row: (str(row.get("Name") or ""), str(row.get("SortOrder", "–"))),
        ),
    )
}
#: Statuses that a list shows unless it is asked for all.
_STATUSES = ("active", "archived", "all")


@routes.get("/xero-accounts")
@needs("setup")
def xero_accounts() -> Any:
    """One list of one organisation: `?tab=`, `?q=`, `?status=`."""
    tab = TABS.get(request.args.get("tab", "accounts")) or abort(404)
    text = request.args.get("q", "").strip()[:200]
    status = filters.one_of("account", request.args.get("status"), _STATUSES) or ""
    with xt().services.database.read() as session:
        frame = load(session)
        organisation = _shown(frame)
        if organisation is None:
            return page("xtiger/xero_accounts.html", organisation=None, tabs=[], tab=tab)
        known = profiles.reference(session, organisation.id)
        used = uses.uses(session, organisation.id)
        warned = uses.warnings(session, organisation.id)
    kept = known.get(tab.kind)
    every = _lines(tab, kept, used.get(tab.kind, {}))
    rows = [each for each in every if _matches(each, text, status)]
    active = sum(each.status == "Active" for each in every)
    return page(
        "xtiger/xero_accounts.html",
        organisation=organisation,
        tabs=[(one, _count(known.get(one.kind))) for one in TABS.values()],
        tab=tab,
        kept=kept,
        rows=rows,
        every=len(every),
        text=text,
        chosen_status=status,
        statuses=[(one, one.capitalize()) for one in _STATUSES[:2]],
        warnings=warned,
        mapping_url=partial(_mapping_url, organisation.id),
        replace_url=partial(_replace_url, organisation.id),
        tracking=say("accounts.tracking", used=active) if tab.kind == "tracking" else None,
        calls=refresh_calls(),
    )


def refresh_calls() -> str:
    """What a Refresh takes, as each button and sentence about it says."""
    return formats.counted(reference.CALLS, "call")


def read_again(organisation: Organisation) -> None:
    """Reads everything of an organisation from Xero and says on the next page what it was."""
    with spoken():
        reference.refresh_reference(xt().services, organisation.id, whole=True)
        with xt().services.database.read() as session:
            known = profiles.reference(session, organisation.id)
        what = ", ".join(
            formats.counted(_count(known.get(kind)), noun, plural)
            for kind, noun, plural in (
                ("accounts", "account", None),
                ("tax_rates", "tax rate", None),
                ("tracking", "tracking category", "tracking categories"),
                ("currencies", "currency", "currencies"),
                ("branding_themes", "branding theme", None),
            )
        )
        calls = refresh_calls()
        done(say("accounts.refreshed", organisation=organisation.name, calls=calls, what=what))


@routes.post("/xero-accounts/<int:organisation_id>/refresh")
@needs("setup")
def xero_accounts_refresh(organisation_id: int) -> Any:
    """Reads everything from Xero again."""
    with xt().services.database.read() as session:
        organisation = load(session).organisation(organisation_id)
    if organisation is None:
        abort(404)
    read_again(organisation)
    tab = request.form.get("tab", "")
    return go("xero_accounts", org=organisation_id, tab=tab if tab in TABS else None)


def _shown(frame: Frame) -> Organisation | None:
    """The organisation that was chosen, else the first with a warning, else the first."""
    warned = next((each for each, _warning in frame.warned), None)
    return frame.chosen or warned or next(iter(frame.organisations), None)


def _mapping_url(organisation_id: int, name: str) -> str:
    """The page of a mapping by what people call it."""
    places = (
        (module, kind)
        for module in Module
        for kind in (DocumentType if module in DOCUMENTS else [None])
    )
    module, kind = next(place for place in places if uses.named(*place) == name)
    values: dict[str, Any] = {"org": organisation_id, "module": module.value}
    return url_for("xtiger.mapping_of", **values, type=kind.value if kind else None)


def _replace_url(organisation_id: int, warning: uses.Warning) -> str | None:
    """The page on which it is replaced by another; None for what has no other."""
    old = replacing.Old(organisation_id, warning.kind, warning.code)
    if old.kind not in replacing.KINDS or not old.value or not warning.use.words:
        return None
    values: dict[str, Any] = {"organisation_id": organisation_id, "code": old.code}
    return url_for("xtiger.xero_accounts_replace", kind=old.kind, **values)


def _count(kept: Reference | None) -> int:
    return len(kept.data) if kept else 0


def _lines(tab: Tab, kept: Reference | None, used: Mapping[str, uses.Use]) -> Sequence[Line]:
    if kept is None:
        return []
    found = []
    for row in kept.data:
        cells = tab.cells(row)
        use = _of_category(cells[0], used) if tab.kind == "tracking" else used.get(cells[0])
        found.append(
            Line(
                cells,
                _words(row.get("Status") or "ACTIVE"),
                use.words if use else "",
                tuple(use.mappings) if use else (),
            )
        )
    # What is archived stands last; else as people look it up.
    return sorted(found, key=lambda each: (each.status != "Active", each.cells[0].casefold()))


def _of_category(name: str, used: Mapping[str, uses.Use]) -> uses.Use:
    """Who uses a tracking category, or one of its options."""
    lead = f"{name}: ".casefold()
    named = [use for code, use in used.items() if f"{code}: ".casefold().startswith(lead)]
    return uses.Use(list(dict.fromkeys(one for use in named for one in use.mappings)))


def _matches(line: Line, text: str, status: str) -> bool:
    if status in _STATUSES[:2] and (line.status == "Active") != (status == "active"):
        return False
    return not text or any(text.casefold() in cell.casefold() for cell in line.cells)


def _words(value: Any) -> str:
    """ARCHIVED as Archived: Xero's own word, easier to read."""
    return str(value or "–").replace("_", " ").capitalize()
