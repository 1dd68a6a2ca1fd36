"""What XTiger asks Xero to allow (scopes), and what a connection lacks of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

#: Who gave consent, and access that outlives it; custom connections have neither.
_PERSON = ("openid", "profile", "email", "offline_access")


@dataclass(frozen=True, slots=True)
class Permission:
    """One box of the page. `broad` is the older scope that covers it too (FACTS section 1)."""

    name: str
    label: str
    scope: str
    broad: str
    #: Asked for only where somebody ticks it.
    extra: bool = False


#: Old apps have one scope for all that moves money; the others were granular always.
_MOVES = "accounting.transactions"

PERMISSIONS = (
    Permission("contacts", "contacts", "accounting.contacts", "accounting.contacts"),
    Permission("settings", "settings", "accounting.settings", "accounting.settings"),
    Permission("invoices", "invoices", "accounting.invoices", _MOVES),
    Permission("payments", "payments", "accounting.payments", _MOVES),
    Permission("attachments", "attachments", "accounting.attachments", "accounting.attachments"),
    Permission("bank", "bank transactions", "accounting.banktransactions", _MOVES, extra=True),
    Permission("receipts", "classic receipts", "accounting.classicexpenses", _MOVES, extra=True),
)

#: The names of what somebody may tick.
EXTRAS = tuple(each.name for each in PERMISSIONS if each.extra)


def wanted(extras: Collection[str]) -> tuple[Permission, ...]:
    """What XTiger needs, and what was ticked beyond it."""
    return tuple(each for each in PERMISSIONS if not each.extra or each.name in extras)


def scopes(extras: Collection[str] = (), *, broad: bool = False, custom: bool = False) -> str:
    """The scopes to ask for, by blanks. A custom connection's tokens stand for no person."""
    asked = [each.broad if broad else each.scope for each in wanted(extras)]
    return " ".join(dict.fromkeys([*(() if custom else _PERSON), *asked]))


def lacking(granted: str, extras: Collection[str] = ()) -> tuple[Permission, ...]:
    """What a connection was asked for and hasn't got; nothing where Xero named no scopes."""
    has = set(granted.split())
    if not has:
        return ()
    return tuple(each for each in wanted(extras) if not has & {each.scope, each.broad})
