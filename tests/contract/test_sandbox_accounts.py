"""The chart of accounts of the local Xero: codes, names, types, archiving, deletion."""

from __future__ import annotations

from itertools import count
from typing import Any
from uuid import uuid4

import pytest

from xtiger.sandbox import Running, start

from .conftest import SandboxClient, exact
from .test_sandbox_schema import check, known_fields
from .test_sandbox_schema import pytestmark as needs_description
from .test_sandbox_sdk import api, api_client, tenant  # noqa: F401

accounting = pytest.importorskip("xero_python.accounting")
_numbers = count(1000)


def account(client: SandboxClient, **fields: Any) -> dict[str, Any]:
    """An acceptable account whose code and name nobody has."""
    body = {"Code": str(next(_numbers)), "Name": client.name("Account"), "Type": "EXPENSE"} | fields
    return {field: value for field, value in body.items() if value is not None}


def refused(client: SandboxClient, **fields: Any) -> list[str]:
    return client.errors("PUT", "Accounts", account(client, **fields))


def post(client: SandboxClient, one: dict[str, Any], **fields: Any) -> dict[str, Any]:
    answer = client.post(f"Accounts/{one['AccountID']}", fields)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = exact(answer)["Accounts"][0]
    return found


def coded(client: SandboxClient, code: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"Accounts/{code}").json()["Accounts"][0]
    return found


def test_account_is_created_with_all_its_fields(sandbox_client: SandboxClient) -> None:
    body = account(
        sandbox_client,
        Description="Hello",
        TaxType="INPUT2",
        EnablePaymentsToAccount=True,
        ShowInExpenseClaims="true",
        AddToWatchlist=True,
        ReportingCode="EXP",
    )
    made = sandbox_client.created("Accounts", body)
    read = coded(sandbox_client, body["Code"])
    for found in (made, read):
        assert {field: found[field] for field in body} == body | {"ShowInExpenseClaims": True}
        assert (found["Status"], found["Class"]) == ("ACTIVE", "EXPENSE")
    assert made["AccountID"] == read["AccountID"]


@pytest.mark.parametrize(
    ("type", "klass", "tax"),
    [
        ("CURRENT", "ASSET", "NONE"),
        ("INVENTORY", "ASSET", "NONE"),
        ("FIXED", "ASSET", "NONE"),
        ("NONCURRENT", "ASSET", "NONE"),
        ("PREPAYMENT", "ASSET", "NONE"),
        ("CURRLIAB", "LIABILITY", "NONE"),
        ("LIABILITY", "LIABILITY", "NONE"),
        ("TERMLIAB", "LIABILITY", "NONE"),
        ("PAYG", "LIABILITY", "NONE"),
        ("EQUITY", "EQUITY", "NONE"),
        ("REVENUE", "REVENUE", "OUTPUT2"),
        ("SALES", "REVENUE", "OUTPUT2"),
        ("OTHERINCOME", "REVENUE", "OUTPUT2"),
        ("DIRECTCOSTS", "EXPENSE", "INPUT2"),
        ("expense", "EXPENSE", "INPUT2"),
        ("OVERHEADS", "EXPENSE", "INPUT2"),
        ("DEPRECIATN", "EXPENSE", "INPUT2"),
    ],
)
def test_type_gives_class_and_tax(
    sandbox_client: SandboxClient, type: str, klass: str, tax: str
) -> None:
    made = sandbox_client.created("Accounts", account(sandbox_client, Type=type))
    assert (made["Type"], made["Class"], made["TaxType"]) == (type.upper(), klass, tax)


def test_bank_account(sandbox_client: SandboxClient) -> None:
    body = account(sandbox_client, Type="BANK", BankAccountNumber="12-1", CurrencyCode="aud")
    made = sandbox_client.created("Accounts", body)
    assert (made["Class"], made["BankAccountType"], made["CurrencyCode"]) == (
        "ASSET",
        "BANK",
        "AUD",
    )
    assert made["TaxType"] == "NONE"
    assert "Description" not in made
    own = account(sandbox_client, Type="BANK", BankAccountNumber="1", BankAccountType="CREDITCARD")
    made = sandbox_client.created("Accounts", own)
    assert (made["BankAccountType"], made["CurrencyCode"]) == ("CREDITCARD", "NZD")


REFUSED = [
    ({"Code": None}, "The Code of an account must be specified"),
    ({"Code": "  "}, "The Code of an account must be specified"),
    ({"Code": "12345678901"}, "Account Code is too long. Maximum of 10 characters allowed"),
    ({"Code": "200"}, "Please enter a unique Code."),
    ({"Code": "490"}, "Please enter a unique Code."),
    ({"Name": None}, "The Name of an account must be specified"),
    ({"Name": "sALES"}, "Please enter a unique Name."),
    ({"Name": "Fax & Telegrams"}, "Please enter a unique Name."),
    ({"Name": "n" * 151}, "The Name must not exceed 150 characters"),
    ({"Description": "d" * 4001}, "The Description must not exceed 4000 characters"),
    ({"Type": None}, "The Type of an account must be specified"),
    ({"Type": "CASH"}, "'CASH' is not a Type of account"),
    ({"Status": "ARCHIVED"}, "The Status of an account must be ACTIVE or ARCHIVED"),
    (
        {"TaxType": "NOPE"},
        "The TaxType code 'NOPE' does not exist or cannot be used for this type of transaction.",
    ),
    (
        {"TaxType": "INPUT"},
        "The TaxType code 'INPUT' does not exist or cannot be used for this type of transaction.",
    ),
    (
        {"Code": "X1", "TaxType": "OUTPUT2"},
        "The TaxType code 'OUTPUT2' cannot be used with account code 'X1'.",
    ),
    (
        {"Type": "BANK"},
        "The BankAccountNumber must be specified for accounts of type BANK",
    ),
    (
        {"Type": "BANK", "BankAccountNumber": "1", "Description": "x"},
        "Accounts of type BANK cannot have a Description",
    ),
    (
        {"Type": "BANK", "BankAccountNumber": "1", "BankAccountType": "SAFE"},
        "The BankAccountType must be BANK, CREDITCARD or PAYPAL",
    ),
    (
        {"Type": "BANK", "BankAccountNumber": "1", "CurrencyCode": "EUR"},
        "Organisation is not subscribed to currency EUR",
    ),
]


@pytest.mark.parametrize(("fields", "message"), REFUSED)
def test_account_is_refused(
    sandbox_client: SandboxClient, fields: dict[str, Any], message: str
) -> None:
    assert refused(sandbox_client, **fields) == [message]


def test_longest_code_and_name_are_taken(sandbox_client: SandboxClient) -> None:
    name = sandbox_client.name("n" * 130).ljust(150, "x")
    sandbox_client.created("Accounts", account(sandbox_client, Code="ABCDEFGHIJ", Name=name))


def test_refusal_has_the_form_of_the_description(sandbox_client: SandboxClient) -> None:
    body = account(sandbox_client, Name="Sales")
    element = sandbox_client.put("Accounts", body).json()["Elements"][0]
    assert element["AccountID"] == "00000000-0000-0000-0000-000000000000"
    assert element["ValidationErrors"] == [{"Message": "Please enter a unique Name."}]
    assert "HasErrors" not in element


def test_only_the_first_of_a_list_is_created(sandbox_client: SandboxClient) -> None:
    bodies = [account(sandbox_client), account(sandbox_client)]
    made = sandbox_client.put("Accounts", {"Accounts": bodies}).json()["Accounts"]
    assert [one["Code"] for one in made] == [bodies[0]["Code"]]
    assert sandbox_client.get(f"Accounts/{bodies[1]['Code']}").status_code == 404


def test_details_change_and_the_rest_stays(sandbox_client: SandboxClient) -> None:
    body = account(sandbox_client, Description="first")
    made = sandbox_client.created("Accounts", body)
    name = sandbox_client.name("Renamed")
    found = post(sandbox_client, made, Name=name, Type="OVERHEADS", AddToWatchlist=True)
    assert (found["Name"], found["Type"], found["Description"]) == (name, "OVERHEADS", "first")
    assert (found["Code"], found["AddToWatchlist"]) == (body["Code"], True)


def test_an_account_may_be_sent_back_as_it_was_read(sandbox_client: SandboxClient) -> None:
    made = sandbox_client.created("Accounts", account(sandbox_client))
    read = coded(sandbox_client, made["Code"])
    del read["Status"]
    assert post(sandbox_client, made, **read)["Name"] == made["Name"]


CHANGES = [
    (
        {"Status": "ACTIVE", "Name": "x"},
        "Cannot update account details and STATUS on the same request",
    ),
    (
        {"Status": "ARCHIVED", "Code": "Z9"},
        "Cannot update account details and STATUS on the same request",
    ),
    ({"Status": "DELETED"}, "The Status of an account must be ACTIVE or ARCHIVED"),
    ({"Type": "INVENTORY"}, "Account cannot be updated to Inventory"),
    ({"Type": "BANK"}, "The Type of this account cannot be changed"),
    ({"Type": "REVENUE"}, "The TaxType code 'INPUT2' cannot be used with account code '{Code}'."),
    ({"Name": "Sales"}, "Please enter a unique Name."),
    ({"Code": "200"}, "Please enter a unique Code."),
    ({"Code": ""}, "The Code of an account must be specified"),
]


@pytest.mark.parametrize(("fields", "message"), CHANGES)
def test_change_is_refused(
    sandbox_client: SandboxClient, fields: dict[str, Any], message: str
) -> None:
    made = sandbox_client.created("Accounts", account(sandbox_client))
    errors = sandbox_client.errors("POST", f"Accounts/{made['AccountID']}", fields)
    assert errors == [message.format_map(made)]
    assert coded(sandbox_client, made["Code"])["Name"] == made["Name"]


def test_archived_account_only_changes_its_status(sandbox_client: SandboxClient) -> None:
    made = sandbox_client.created("Accounts", account(sandbox_client))
    path = f"Accounts/{made['AccountID']}"
    assert post(sandbox_client, made, Status="ARCHIVED")["Status"] == "ARCHIVED"
    assert sandbox_client.errors("POST", path, {"Name": "New"}) == [
        "Can only update STATUS on Archived accounts"
    ]
    assert sandbox_client.errors("POST", path, {"Status": "ARCHIVED"}) == [
        "The account is already archived"
    ]
    line = {"Description": "x", "UnitAmount": 1, "AccountCode": made["Code"]}
    bill = sandbox_client.invoice(Type="ACCPAY", LineItems=[line])
    assert sandbox_client.errors("PUT", "Invoices", bill) == [
        f"Account code '{made['Code']}' has been archived, or has been deleted."
        " Each line item must reference a valid account."
    ]
    assert post(sandbox_client, made, Status="ACTIVE")["Status"] == "ACTIVE"
    sandbox_client.created("Invoices", bill)


@pytest.mark.parametrize("code", ["610", "800", "820", "840", "860", "877", "960"])
def test_system_accounts_stay(sandbox_client: SandboxClient, code: str) -> None:
    path = f"Accounts/{coded(sandbox_client, code)['AccountID']}"
    assert sandbox_client.errors("POST", path, {"Status": "ARCHIVED"}) == [
        "Cannot archive System accounts"
    ]
    assert sandbox_client.errors("DELETE", path, None) == ["Cannot delete System accounts"]
    assert sandbox_client.errors("POST", path, {"Type": "TERMLIAB"}) == [
        "The Type of this account cannot be changed"
    ]


def test_bank_accounts_are_archived_but_not_changed(sandbox_client: SandboxClient) -> None:
    made = sandbox_client.created(
        "Accounts", account(sandbox_client, Type="BANK", BankAccountNumber="1")
    )
    path = f"Accounts/{made['AccountID']}"
    assert sandbox_client.errors("POST", path, {"Name": "x"}) == ["Cannot update Bank Accounts"]
    assert post(sandbox_client, made, Status="ARCHIVED")["Status"] == "ARCHIVED"


def test_unused_account_is_deleted(sandbox_client: SandboxClient) -> None:
    body = account(sandbox_client)
    made = sandbox_client.created("Accounts", body)
    answer = sandbox_client.call("DELETE", f"Accounts/{made['AccountID']}")
    assert answer.json()["Accounts"][0]["Status"] == "DELETED"
    assert sandbox_client.get(f"Accounts/{made['AccountID']}").status_code == 404
    assert sandbox_client.call("DELETE", f"Accounts/{made['AccountID']}").status_code == 404
    sandbox_client.created("Accounts", body)


def _document(client: SandboxClient, code: str) -> None:
    line = {"Description": "x", "UnitAmount": 1, "AccountCode": code}
    client.created("Invoices", client.invoice(Type="ACCPAY", LineItems=[line]))


def _item(client: SandboxClient, code: str) -> None:
    details = {"AccountCode": code.lower()}
    client.created("Items", {"Code": client.name("I"), "PurchaseDetails": details})


def _contact(client: SandboxClient, code: str) -> None:
    client.created("Contacts", {"Name": client.name(), "PurchasesDefaultAccountCode": code})


@pytest.mark.parametrize("use", [_document, _item, _contact])
def test_used_account_is_not_deleted(sandbox_client: SandboxClient, use: Any) -> None:
    made = sandbox_client.created("Accounts", account(sandbox_client, Code=f"U{next(_numbers)}"))
    use(sandbox_client, made["Code"])
    assert sandbox_client.errors("DELETE", f"Accounts/{made['AccountID']}", None) == [
        "The account cannot be deleted because it is in use; it can be archived"
    ]
    assert coded(sandbox_client, made["Code"])["Status"] == "ACTIVE"


def test_documents_and_items_follow_a_new_code(sandbox_client: SandboxClient) -> None:
    made = sandbox_client.created("Accounts", account(sandbox_client, Code=f"R{next(_numbers)}"))
    line = {"Description": "x", "UnitAmount": 1, "AccountCode": made["Code"]}
    bill = sandbox_client.created(
        "Invoices", sandbox_client.invoice(Type="ACCPAY", LineItems=[line])
    )
    item = sandbox_client.name("I")
    details = {"AccountCode": made["Code"], "UnitPrice": 2}
    sandbox_client.created("Items", {"Code": item, "PurchaseDetails": details})
    new = f"S{next(_numbers)}"
    post(sandbox_client, made, Code=new)
    shown = sandbox_client.get(f"Invoices/{bill['InvoiceID']}").json()["Invoices"][0]
    assert shown["LineItems"][0]["AccountCode"] == new
    assert shown["UpdatedDateUTC"] == bill["UpdatedDateUTC"]
    shown = exact(sandbox_client.get(f"Items/{item}"))["Items"][0]
    assert (shown["PurchaseDetails"]["AccountCode"], shown["PurchaseDetails"]["UnitPrice"]) == (
        new,
        2,
    )
    assert sandbox_client.get(f"Accounts/{made['Code']}").status_code == 404


@pytest.fixture(scope="module")
def chart() -> Any:
    with start() as running:
        yield SandboxClient(running)


@pytest.mark.parametrize(
    ("where", "codes"),
    [
        ('Type=="BANK"', ["090"]),
        ('Class=="EQUITY"', ["880", "960"]),
        ('Code=="200"', ["200"]),
        ('Name=="sales"', ["200"]),
        ('Name.Contains("Office")', ["453", "710"]),
        ('Status=="ARCHIVED"', ["490"]),
        ('Status=="ACTIVE" AND Class=="REVENUE"', ["200", "260", "270"]),
        ("EnablePaymentsToAccount==true", ["880"]),
        ('SystemAccount=="ROUNDING"', ["860"]),
        ('TaxType=="OUTPUT2"', ["200", "260"]),
        ('CurrencyCode=="NZD"', ["090"]),
        ("BankAccountNumber!=null", ["090"]),
        ('Type=="NOPE"', []),
    ],
)
def test_accounts_are_filtered(chart: SandboxClient, where: str, codes: list[str]) -> None:
    found = chart.get("Accounts", params={"where": where, "order": "Code"}).json()["Accounts"]
    assert [one["Code"] for one in found] == codes


def test_accounts_are_ordered(chart: SandboxClient) -> None:
    found = chart.get("Accounts", params={"order": "Name DESC"}).json()["Accounts"]
    names = [one["Name"].lower() for one in found]
    assert names == sorted(names, reverse=True)


def test_accounts_changed_since(chart: SandboxClient) -> None:
    headers = {"If-Modified-Since": "2099-01-01T00:00:00"}
    assert chart.get("Accounts", headers=headers).json()["Accounts"] == []


def test_accounts_by_id_and_code_alike(chart: SandboxClient) -> None:
    one = coded(chart, "200")
    assert chart.get(f"Accounts/{one['AccountID']}").json()["Accounts"] == [one]
    assert chart.get("Accounts/nope").status_code == 404
    assert chart.get(f"Accounts/{uuid4()}").status_code == 404


def test_writing_accounts_needs_the_scope(chart: SandboxClient) -> None:
    for scope, status in (("accounting.settings.read", 401), ("accounting.settings", 200)):
        token = chart.token(scope=scope)["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        assert chart.get("Accounts", headers=headers).status_code == 200
        body = account(chart)
        answer = chart.put("Accounts", body, headers=headers | {"Content-Type": "x"})
        assert answer.status_code == status


def test_sdk_drives_accounts(api: Any, tenant: str) -> None:  # noqa: F811
    code = uuid4().hex[:10]
    made = api.create_account(
        tenant,
        accounting.Account(code=code, name=f"SDK {code}", type=accounting.AccountType.EXPENSE),
    ).accounts[0]
    assert made.tax_type == "INPUT2"
    change = accounting.Account(name=f"SDK more {code}", code=code)
    found = api.update_account(tenant, made.account_id, accounting.Accounts(accounts=[change]))
    assert found.accounts[0].name == f"SDK more {code}"
    assert api.get_account(tenant, made.account_id).accounts[0].code == code
    where = f'Code=="{code}"'
    assert len(api.get_accounts(tenant, where=where, order="Code ASC").accounts) == 1
    archive = accounting.Accounts(accounts=[accounting.Account(status="ARCHIVED")])
    assert api.update_account(tenant, made.account_id, archive).accounts[0].status == "ARCHIVED"
    assert api.delete_account(tenant, made.account_id).accounts[0].status == "DELETED"


@needs_description
def test_answers_fit_the_description(sandbox: Running, sandbox_client: SandboxClient) -> None:
    body = account(sandbox_client)
    answers = [sandbox_client.put("Accounts", body)]
    path = f"Accounts/{answers[0].json()['Accounts'][0]['AccountID']}"
    answers.append(sandbox_client.post(path, {"Description": "x"}))
    answers.append(sandbox_client.get(path))
    answers.append(sandbox_client.call("DELETE", path))
    for answer in answers:
        check(answer.json(), "Accounts")
        known_fields(answer.json()["Accounts"][0], "Account")
    check(sandbox_client.put("Accounts", {"Code": "1"}).json(), "Error")
