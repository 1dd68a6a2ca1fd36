"""What both sides agree on after a call, by what it says."""

from __future__ import annotations

from xtiger.domain.comparing import updated


def test_an_update_agrees_on_what_it_says_and_leaves_the_rest_as_it_was() -> None:
    agreed = {
        "Name": "Ana",
        "EmailAddress": "a@lee.test",
        "Phones": [{"PhoneType": "DDI", "PhoneNumber": "1"}],
        "SalesDetails": {"UnitPrice": 1, "AccountCode": "200"},
        "LineItems": [{"Description": "x"}, {"Description": "y"}],
    }
    sent = {
        "Name": "Bo",
        "Phones": [{"PhoneType": "DEFAULT", "PhoneNumber": "2"}],
        "SalesDetails": {"UnitPrice": 2},
        "LineItems": [{"Description": "z"}],
    }
    assert updated(agreed, sent) == {
        "Name": "Bo",
        "EmailAddress": "a@lee.test",
        "Phones": [
            {"PhoneType": "DDI", "PhoneNumber": "1"},
            {"PhoneType": "DEFAULT", "PhoneNumber": "2"},
        ],
        "SalesDetails": {"UnitPrice": 2, "AccountCode": "200"},
        "LineItems": [{"Description": "z"}],
    }
    assert updated(None, sent) == sent
