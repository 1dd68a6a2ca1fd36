"""Tax rates of the local Xero: system rates, rates made here, components, deletion."""

from __future__ import annotations

import re
from decimal import Decimal as D
from typing import Any

import pytest

from xtiger.sandbox import start

from .conftest import SandboxClient, exact
from .test_sandbox_schema import check, known_fields
from .test_sandbox_schema import pytestmark as needs_description
from .test_sandbox_sdk import api, api_client, tenant  # noqa: F401

accounting = pytest.importorskip("xero_python.accounting")
CITY = {"Name": "City", "Rate": "7.5"}


def rate(client: SandboxClient, **fields: Any) -> dict[str, Any]:
    """An acceptable tax rate of a name nobody has."""
    body = {"Name": client.name("Rate"), "ReportTaxType": "OUTPUT", "TaxComponents": [CITY]}
    return {field: value for field, value in (body | fields).items() if value is not None}


def made(client: SandboxClient, **fields: Any) -> dict[str, Any]:
    return client.created("TaxRates", rate(client, **fields))


def part(name: str, percent: object, **flags: bool) -> dict[str, Any]:
    return {"Name": name, "Rate": percent} | flags


def test_rate_made_here_gets_the_next_tax_type(sandbox_client: SandboxClient) -> None:
    first, second = made(sandbox_client), made(sandbox_client)
    assert re.fullmatch(r"TAX\d{3}", first["TaxType"])
    assert int(second["TaxType"][3:]) == int(first["TaxType"][3:]) + 1
    assert first["Status"] == "ACTIVE"
    assert first["TaxComponents"] == [
        {"Name": "City", "Rate": D("7.5"), "IsCompound": False, "IsNonRecoverable": False}
    ]
    read = exact(sandbox_client.get(f"TaxRates/{first['TaxType']}"))["TaxRates"]
    assert read == [first]


@pytest.mark.parametrize(
    ("parts", "display", "effective", "tax"),
    [
        ([part("a", "7.5")], "7.5", "7.5", "7.50"),
        ([part("a", "4.5"), part("b", 10)], "14.5", "14.5", "14.50"),
        ([part("a", "6.25"), part("b", "1.125"), part("c", "0.5")], "7.875", "7.875", "7.87"),
        ([part("a", 10), part("b", 5, IsCompound=True)], "15", "15.5", "15.50"),
        ([part("b", 5, IsCompound=True), part("a", 10)], "15", "15.5", "15.50"),
        ([part("a", "5"), part("b", "9.975", IsCompound=True)], "14.975", "15.4738", "15.47"),
        ([part("a", "12.3456")], "12.3456", "12.3456", "12.34"),
        ([part("a", 0)], "0", "0", "0.00"),
    ],
)
def test_combined_rate_taxes_a_line(
    sandbox_client: SandboxClient,
    parts: list[dict[str, Any]],
    display: str,
    effective: str,
    tax: str,
) -> None:
    found = made(sandbox_client, TaxComponents=parts)
    assert (found["DisplayTaxRate"], found["EffectiveRate"]) == (D(display), D(effective))
    line = {
        "Description": "x",
        "UnitAmount": "99.99",
        "AccountCode": "200",
        "TaxType": found["TaxType"],
    }
    document = sandbox_client.created("Invoices", sandbox_client.invoice(LineItems=[line]))
    assert document["TotalTax"] == D(tax)


REFUSED = [
    ({"Name": None}, "The Name of a tax rate must be specified"),
    ({"Name": "no gst"}, "There is already a tax rate with the name 'no gst'"),
    ({"TaxComponents": None}, "A tax rate must have at least one TaxComponent"),
    ({"TaxComponents": []}, "A tax rate must have at least one TaxComponent"),
    ({"TaxComponents": [{"Rate": 1}]}, "The Name of a TaxComponent must be specified"),
    (
        {"TaxComponents": [{"Name": "x"}]},
        "The Rate of a TaxComponent must be 0 to 100 with 4 decimals",
    ),
    (
        {"TaxComponents": [part("x", "-1")]},
        "The Rate of a TaxComponent must be 0 to 100 with 4 decimals",
    ),
    (
        {"TaxComponents": [part("x", "100.0001")]},
        "The Rate of a TaxComponent must be 0 to 100 with 4 decimals",
    ),
    (
        {"TaxComponents": [part("x", "1.00001")]},
        "The Rate of a TaxComponent must be 0 to 100 with 4 decimals",
    ),
    (
        {"TaxComponents": [part("x", 1), part("X", 2)]},
        "The TaxComponents of a tax rate must have different names",
    ),
    (
        {"TaxComponents": [part("x", 1, IsCompound=True)]},
        "One TaxComponent may be compound, beside others that aren't",
    ),
    (
        {
            "TaxComponents": [
                part("x", 1),
                part("y", 1, IsCompound=True),
                part("z", 1, IsCompound=True),
            ]
        },
        "One TaxComponent may be compound, beside others that aren't",
    ),
    (
        {"TaxComponents": [part("x", 1, IsNonRecoverable=True)]},
        "Non-recoverable TaxComponents are for Canada only",
    ),
    ({"ReportTaxType": None}, "The ReportTaxType must be specified"),
    (
        {"ReportTaxType": "MOSSSALES"},
        "The ReportTaxType 'MOSSSALES' cannot be used in this organisation",
    ),
    ({"Status": "DELETED"}, "A tax rate can only become DELETED, once it exists"),
    ({"Status": "ARCHIVED"}, "A tax rate can only become DELETED, once it exists"),
]


@pytest.mark.parametrize(("fields", "message"), REFUSED)
def test_rate_is_refused(
    sandbox_client: SandboxClient, fields: dict[str, Any], message: str
) -> None:
    assert sandbox_client.errors("PUT", "TaxRates", rate(sandbox_client, **fields)) == [message]


def test_refused_rate_shows_no_id(sandbox_client: SandboxClient) -> None:
    answer = sandbox_client.put("TaxRates", rate(sandbox_client, TaxComponents=None))
    assert "TaxType" not in answer.json()["Elements"][0]


@pytest.mark.parametrize("sent", ["city", {"Name": "x"}, [1]])
def test_components_must_be_a_list_of_objects(sandbox_client: SandboxClient, sent: object) -> None:
    answer = sandbox_client.put("TaxRates", rate(sandbox_client, TaxComponents=sent))
    assert (answer.status_code, answer.json()["ErrorNumber"]) == (400, 14)


@pytest.mark.parametrize(
    ("report", "refused"),
    [
        ("OUTPUT", {"CanApplyToExpenses"}),
        ("EXEMPTOUTPUT", {"CanApplyToExpenses"}),
        ("INPUT", {"CanApplyToRevenue"}),
        ("EXEMPTINPUT", {"CanApplyToRevenue"}),
        ("NONE", set()),
        (
            "GSTONIMPORTS",
            {
                "CanApplyToAssets",
                "CanApplyToEquity",
                "CanApplyToExpenses",
                "CanApplyToRevenue",
            },
        ),
    ],
)
def test_what_it_is_reported_as_decides_where_it_applies(
    sandbox_client: SandboxClient, report: str, refused: set[str]
) -> None:
    found = made(sandbox_client, ReportTaxType=report.lower())
    assert found["ReportTaxType"] == report
    no = {name for name, value in found.items() if name.startswith("CanApply") and not value}
    assert no == refused


def test_rate_is_updated_by_tax_type_and_by_name(sandbox_client: SandboxClient) -> None:
    first = made(sandbox_client)
    change = {"TaxType": first["TaxType"], "Name": sandbox_client.name("Renamed")}
    found = exact(sandbox_client.post("TaxRates", change))["TaxRates"][0]
    assert (found["Name"], found["TaxType"]) == (change["Name"], first["TaxType"])
    assert found["TaxComponents"] == first["TaxComponents"]
    change = {"Name": change["Name"].lower(), "TaxComponents": [part("a", 1), part("b", 2)]}
    found = exact(sandbox_client.post("TaxRates", change))["TaxRates"][0]
    assert (found["TaxType"], found["EffectiveRate"]) == (first["TaxType"], 3)


def test_post_without_a_match_creates(sandbox_client: SandboxClient) -> None:
    body = rate(sandbox_client)
    found = sandbox_client.post("TaxRates", {"TaxRates": [body]}).json()["TaxRates"][0]
    assert found["Name"] == body["Name"]
    assert found["TaxType"].startswith("TAX")


def test_name_of_another_rate_is_refused_on_update(sandbox_client: SandboxClient) -> None:
    first, second = made(sandbox_client), made(sandbox_client)
    change = {"TaxType": second["TaxType"], "Name": first["Name"]}
    assert sandbox_client.errors("POST", "TaxRates", change) == [
        f"There is already a tax rate with the name '{first['Name']}'"
    ]


def test_unknown_tax_type_is_refused(sandbox_client: SandboxClient) -> None:
    assert sandbox_client.errors("POST", "TaxRates", rate(sandbox_client, TaxType="TAX999")) == [
        "A tax rate with the TaxType 'TAX999' could not be found"
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"TaxType": "OUTPUT2", "Status": "DELETED"},
        {"TaxType": "OUTPUT2", "Name": "Mine"},
        {"Name": "15% GST on Income", "TaxComponents": [CITY]},
        {"TaxType": "NONE", "Status": "DELETED"},
    ],
)
def test_system_rates_stay_as_they_are(
    sandbox_client: SandboxClient, change: dict[str, Any]
) -> None:
    assert sandbox_client.errors("POST", "TaxRates", change) == [
        "System tax rates cannot be changed"
    ]


def test_deleted_rate_is_listed_final_and_gives_its_name_free(
    sandbox_client: SandboxClient,
) -> None:
    first = made(sandbox_client)
    gone = {"TaxType": first["TaxType"], "Status": "DELETED"}
    assert sandbox_client.post("TaxRates", gone).json()["TaxRates"][0]["Status"] == "DELETED"
    listed = {
        one["TaxType"]: one["Status"] for one in sandbox_client.get("TaxRates").json()["TaxRates"]
    }
    assert listed[first["TaxType"]] == "DELETED"
    back = {"TaxType": first["TaxType"], "Status": "ACTIVE"}
    assert sandbox_client.errors("POST", "TaxRates", back) == [
        "Deleted tax rates cannot be changed"
    ]
    line = {"Description": "x", "UnitAmount": 1, "AccountCode": "200", "TaxType": first["TaxType"]}
    assert sandbox_client.errors("PUT", "Invoices", sandbox_client.invoice(LineItems=[line])) == [
        f"The TaxType code '{first['TaxType']}' does not exist or cannot be used for this type of"
        " transaction."
    ]
    again = made(sandbox_client, Name=first["Name"])
    assert again["TaxType"] != first["TaxType"]


def test_rate_can_be_deleted_by_its_name(sandbox_client: SandboxClient) -> None:
    first = made(sandbox_client)
    found = sandbox_client.post(
        "TaxRates", rate(sandbox_client, Name=first["Name"]) | {"Status": "DELETED"}
    )
    assert found.json()["TaxRates"][0]["TaxType"] == first["TaxType"]


@pytest.mark.parametrize("place", ["account", "item", "contact"])
def test_default_rate_cannot_be_deleted(sandbox_client: SandboxClient, place: str) -> None:
    type = made(sandbox_client)["TaxType"]
    if place == "account":
        body = {"Code": type, "Name": type, "Type": "REVENUE", "TaxType": type}
        sandbox_client.created("Accounts", body)
    elif place == "item":
        details = {"AccountCode": "200", "TaxType": type}
        sandbox_client.created("Items", {"Code": type, "SalesDetails": details})
    else:
        body = {"Name": sandbox_client.name(), "AccountsReceivableTaxType": type}
        sandbox_client.created("Contacts", body)
    gone = {"TaxType": type, "Status": "DELETED"}
    assert sandbox_client.errors("POST", "TaxRates", gone) == [
        "The tax rate is the default of an account, item or contact"
    ]


def test_batch_without_summary_keeps_the_good(sandbox_client: SandboxClient) -> None:
    batch = [rate(sandbox_client), rate(sandbox_client, TaxComponents=None)]
    answer = sandbox_client.put("TaxRates?summarizeErrors=false", {"TaxRates": batch})
    found = answer.json()["TaxRates"]
    assert [one["StatusAttributeString"] for one in found] == ["OK", "ERROR"]
    assert sandbox_client.get(f"TaxRates/{found[0]['TaxType']}").status_code == 200


def test_bad_batch_keeps_nothing(sandbox_client: SandboxClient) -> None:
    batch = [rate(sandbox_client), rate(sandbox_client, TaxComponents=None)]
    assert sandbox_client.put("TaxRates", {"TaxRates": batch}).status_code == 400
    names = {one["Name"] for one in sandbox_client.get("TaxRates").json()["TaxRates"]}
    assert batch[0]["Name"] not in names


@pytest.mark.parametrize(
    ("where", "types"),
    [
        ('TaxType=="OUTPUT2"', ["OUTPUT2"]),
        ('Name=="no gst"', ["NONE"]),
        ('Status=="DELETED"', ["INPUT", "OUTPUT"]),
        ('ReportTaxType=="INPUT" AND Status=="ACTIVE"', ["INPUT2"]),
        ("EffectiveRate==15", ["INPUT2", "OUTPUT2"]),
        ("EffectiveRate>12.5", ["INPUT2", "OUTPUT2"]),
        ("CanApplyToRevenue==false", ["GSTONIMPORTS", "INPUT", "INPUT2"]),
        ('CanApplyToEquity==false AND Name.StartsWith("Zero")', ["ZERORATED"]),
    ],
)
def test_rates_are_filtered(where: str, types: list[str]) -> None:
    with start() as running:
        client = SandboxClient(running)
        found = client.get("TaxRates", params={"where": where, "order": "TaxType"}).json()
    assert [one["TaxType"] for one in found["TaxRates"]] == types


def test_rate_needs_no_report_in_the_states() -> None:
    with start(countries=("US",)) as running:
        client = SandboxClient(running)
        found = client.created("TaxRates", rate(client, ReportTaxType=None))
        assert found["TaxType"] == "TAX003"
        assert "ReportTaxType" not in found
        assert found["CanApplyToExpenses"]
        assert found["CanApplyToRevenue"]
        sent = client.created("TaxRates", rate(client, ReportTaxType="INPUT"))
        assert "ReportTaxType" not in sent


def test_sdk_drives_tax_rates(api: Any, tenant: str) -> None:  # noqa: F811
    name = f"SDK {id(api)}"
    parts = [
        accounting.TaxComponent(name="State", rate=6.25, is_compound=False),
        accounting.TaxComponent(name="County", rate=1.125, is_compound=False),
    ]
    body = accounting.TaxRate(name=name, tax_components=parts, report_tax_type="OUTPUT")
    first = api.create_tax_rates(tenant, accounting.TaxRates(tax_rates=[body])).tax_rates[0]
    assert first.effective_rate == D("7.375")
    found = api.get_tax_rate_by_tax_type(tenant, first.tax_type).tax_rates[0]
    assert [one.name for one in found.tax_components] == ["State", "County"]
    assert api.get_tax_rates(tenant, where=f'Name=="{name}"').tax_rates
    gone = accounting.TaxRate(name=name, tax_type=first.tax_type, status="DELETED")
    gone = accounting.TaxRates(tax_rates=[gone])
    assert api.update_tax_rate(tenant, gone).tax_rates[0].status == "DELETED"


@needs_description
def test_answers_fit_the_description(sandbox_client: SandboxClient) -> None:
    answers = [sandbox_client.put("TaxRates", rate(sandbox_client)), sandbox_client.get("TaxRates")]
    change = {"Name": answers[0].json()["TaxRates"][0]["Name"], "Status": "DELETED"}
    answers.append(sandbox_client.post("TaxRates", change))
    for answer in answers:
        check(answer.json(), "TaxRates")
        for one in answer.json()["TaxRates"]:
            known_fields(one, "TaxRate")
    check(sandbox_client.put("TaxRates", {"Name": "x"}).json(), "Error")
