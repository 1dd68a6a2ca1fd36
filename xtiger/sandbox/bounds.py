"""Numbers that people and tests set: read strictly, and within what the sandbox can hold."""

from __future__ import annotations

import re
from decimal import Decimal

#: the most that anything here counts to, be it calls, seconds or a limit
MOST = 1_000_000
LARGEST_SEED = 1_000_000_000
#: characters of a number as people type it
_LONGEST = 40
#: plain digits, or thousands parted by commas; Python alone would take full-width digits and _ too
_TYPED = re.compile(r"[+-]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?")
_PLACES = 2


def whole(value: object, name: str, low: int, high: int = MOST) -> int:
    """A whole number that is no text. Raises ValueError with a sentence that names the field."""
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    raise ValueError(f"{name} must be a whole number between {low:,} and {high:,}.")


def real(value: object, name: str, low: float, high: float) -> float:
    """A number, fractions too. Raises ValueError with a sentence that names the field."""
    fits = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    if fits and low <= value <= high:  # type: ignore[operator]
        return float(value)  # type: ignore[arg-type]
    raise ValueError(f"{name} must be a number between {low:,g} and {high:,g}.")


def typed(given: str) -> Decimal | None:
    """A number as people type it and as the pages print it: 1000.5 or 1,000.50. Else None."""
    given = given.strip()
    fits = len(given) <= _LONGEST and _TYPED.fullmatch(given)
    return Decimal(given.replace(",", "")) if fits else None


def typed_whole(given: str, name: str, low: int, high: int = MOST) -> int:
    """A whole number of a form. Raises ValueError."""
    found = typed(given)
    return whole(int(found) if found is not None and "." not in given else None, name, low, high)


def typed_real(given: str, name: str, low: float, high: float) -> float:
    """A number of a form. Raises ValueError."""
    return real(typed(given), name, low, high)


def typed_amount(given: str, name: str) -> Decimal:
    """An amount of money of a form, to the cent. Raises ValueError."""
    found = typed(given)
    if found is None:
        raise ValueError(f"{name} must be an amount such as 1,000.00.")
    if -int(found.as_tuple().exponent) > _PLACES:
        raise ValueError(f"{name} can have no more than two decimals.")
    return found
