"""JSON with exact decimals: no cent passes through a float."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from xtiger.domain import exactjson


@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, places=8, min_value=-(10**12), max_value=10**12
    )
)
def test_a_decimal_comes_back_to_the_last_digit(value: Decimal) -> None:
    text = exactjson.dumps({"a": value})
    assert Decimal(str(exactjson.loads(text)["a"])) == value


def test_a_decimal_is_written_as_a_number_with_its_own_digits() -> None:
    assert exactjson.dumps([Decimal("0.10"), Decimal("1E+3")]) == b"[0.10,1000]"


def test_the_digest_doesnt_depend_on_the_order_of_keys() -> None:
    assert exactjson.digest({"a": 1, "b": Decimal("2.50")}) == exactjson.digest(
        {"b": Decimal("2.50"), "a": 1}
    )
    assert exactjson.digest({"a": 1}) != exactjson.digest({"a": 2})
