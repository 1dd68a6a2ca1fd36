"""Plain mode of the local Xero: what is sent comes back, unread and unchecked."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from uuid import UUID

import pytest

from xtiger.sandbox import start

from .conftest import SandboxClient, exact


@pytest.fixture
def plain() -> Iterator[SandboxClient]:
    with start(plain=True) as running:
        yield SandboxClient(running)


def test_a_write_is_echoed_with_an_id(plain: SandboxClient) -> None:
    body = plain.invoice(Total="11.50", Status="AUTHORISED", CurrencyCode="XXX", Anything=[1])
    found = plain.created("Invoices", body)
    assert UUID(found.pop("InvoiceID")).int
    assert found.pop("UpdatedDateUTC").startswith("/Date(")
    assert found == body


def test_without_summary_each_element_says_ok(plain: SandboxClient) -> None:
    answer = plain.put("Invoices?summarizeErrors=false", {"Invoices": [plain.invoice(), {}]})
    assert [one["StatusAttributeString"] for one in answer.json()["Invoices"]] == ["OK", "OK"]


def test_nothing_is_checked_or_worked_out(plain: SandboxClient) -> None:
    wrong = {"Type": "NOPE", "LineItems": [{"Quantity": "many"}]}
    found = plain.created("Invoices", wrong)
    assert "Total" not in found
    twice = [{"Name": "A"}, {"Name": "A", "EmailAddress": "no"}]
    assert plain.put("Contacts", twice).status_code == 200
    assert plain.control("counts")[plain.tenant]["contacts"] == 2


def test_numbers_keep_their_digits(plain: SandboxClient) -> None:
    body = '{"Total": 20.12345678901234567, "Small": 10.10}'
    answer = plain.call("PUT", "Invoices", data=body)
    assert '"Total":20.12345678901234567' in answer.text
    assert '"Small":10.10' in answer.text


def test_what_was_kept_can_be_read_and_changed(plain: SandboxClient) -> None:
    made = plain.created("Invoices", plain.invoice(Reference="R", Status="DRAFT"))
    key = made["InvoiceID"]
    plain.post("Invoices", {"InvoiceID": key, "Status": "AUTHORISED"})
    found = exact(plain.get(f"Invoices/{key}"))["Invoices"][0]
    assert (found["Status"], found["Reference"]) == ("AUTHORISED", "R")
    assert plain.post(f"Invoices/{key}", {"Status": "VOIDED"}).status_code == 200
    listed = plain.get("Invoices?page=1").json()
    assert [one["Status"] for one in listed["Invoices"]] == ["VOIDED"]
    assert listed["pagination"]["itemCount"] == 1
    number = made["InvoiceNumber"]
    assert len(plain.get(f"Invoices?InvoiceNumbers={number}").json()["Invoices"]) == 1


@pytest.mark.parametrize("path", ["Accounts", "TaxRates", "Organisation", "Currencies"])
def test_what_was_there_is_read_as_ever(plain: SandboxClient, path: str) -> None:
    body = plain.get(path).json()
    assert next(one for one in body.values() if isinstance(one, list))


def test_what_surrounds_a_write_stays(plain: SandboxClient) -> None:
    body, key = plain.invoice(), {"Idempotency-Key": "k"}
    first = plain.put("Invoices", body, headers=key)
    assert plain.put("Invoices", body, headers=key).content == first.content
    assert plain.put("Invoices", plain.invoice(), headers=key).status_code == 400
    assert plain.put("Invoices", body, headers={"Authorization": "Bearer x"}).status_code == 401
    assert plain.call("PUT", "Invoices", data="{").json()["ErrorNumber"] == 14
    assert plain.get("Invoices/nobody").status_code == 404
    assert plain.control("requests")["requests"][0]["elements"][0]["created"] is True


def test_plain_mode_is_several_times_faster() -> None:
    line = {"Description": "x", "Quantity": 3, "UnitAmount": "9.99", "AccountCode": "200"}

    def fastest(*, plain: bool) -> float:
        with start(plain=plain) as running:
            client = SandboxClient(running)
            found = 9.0
            for _ in range(8):
                batch = [client.invoice(LineItems=[line] * 5) for _ in range(50)]
                data = json.dumps({"Invoices": batch})
                began = time.process_time()  # both ends of the wire, but no one else's work
                assert client.call("PUT", "Invoices", data=data).status_code == 200
                found = min(found, time.process_time() - began)
            return found

    full, bare = fastest(plain=False), fastest(plain=True)
    print(f"{full * 1000:.1f} ms against {bare * 1000:.1f} ms for 50 invoices")
    assert bare * 2 < full
