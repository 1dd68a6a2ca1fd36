"""Tracking categories of the local Xero, their options, and what lines say of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from xtiger.demo.books import TRACKING, add_tracking, consent_token
from xtiger.sandbox import start

from .conftest import SandboxClient, exact
from .test_sandbox_schema import check, known_fields
from .test_sandbox_schema import pytestmark as needs_description
from .test_sandbox_sdk import api, api_client, tenant  # noqa: F401

accounting = pytest.importorskip("xero_python.accounting")


@pytest.fixture
def books() -> Iterator[SandboxClient]:
    """Books without any category: an organisation has room for few."""
    with start() as running:
        yield SandboxClient(running)


def category(client: SandboxClient, name: str = "Region", *options: str) -> dict[str, Any]:
    body = {"Name": name, "Options": [{"Name": one} for one in options]}
    return client.created("TrackingCategories", body)


def path(one: dict[str, Any], option: dict[str, Any] | None = None) -> str:
    found = f"TrackingCategories/{one['TrackingCategoryID']}"
    return f"{found}/Options/{option['TrackingOptionID']}" if option else found


def archive(client: SandboxClient, where: str, status: str = "ARCHIVED") -> None:
    answer = client.post(where, {"Status": status})
    assert answer.status_code == 200, answer.text


def names(client: SandboxClient, **params: Any) -> list[str]:
    found = client.get("TrackingCategories", params=params).json()["TrackingCategories"]
    return [one["Name"] for one in found]


def option_names(client: SandboxClient, **params: Any) -> list[str]:
    found = client.get("TrackingCategories", params=params).json()["TrackingCategories"]
    return [option["Name"] for option in found[0]["Options"]]


def line(*tracking: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "Description": "x",
        "UnitAmount": 10,
        "AccountCode": "200",
        "Tracking": list(tracking),
    } | fields


def tracked(client: SandboxClient, *tracking: dict[str, Any]) -> dict[str, Any]:
    return client.created("Invoices", client.invoice(LineItems=[line(*tracking)]))


def test_category_is_created_alone_and_with_options(books: SandboxClient) -> None:
    made = books.created("TrackingCategories", {"name": " Region "})
    assert (made["Name"], made["Status"], made["Options"]) == ("Region", "ACTIVE", [])
    made = category(books, "Team", "Blue", "Red")
    assert [one["Name"] for one in made["Options"]] == ["Blue", "Red"]
    assert books.get(path(made)).json()["TrackingCategories"] == [made]
    assert names(books) == ["Region", "Team"]


def test_the_demo_gives_each_organisation_two_and_only_once(books: SandboxClient) -> None:
    described = books.running.described()
    for _again in range(2):
        add_tracking(described)
        token = consent_token(described)
        for organisation in described["organisations"]:
            headers = {
                "Authorization": f"Bearer {token}",
                "xero-tenant-id": organisation["tenant_id"],
            }
            listed = books.get("TrackingCategories", headers=headers).json()["TrackingCategories"]
            found = {one["Name"]: tuple(each["Name"] for each in one["Options"]) for one in listed}
            assert found == TRACKING


def test_options_are_created_renamed_and_deleted(books: SandboxClient) -> None:
    made = category(books)
    answer = books.put(f"{path(made)}/Options", {"name": " North "}).json()
    north = answer["Options"][0]
    assert list(answer)[-1] == "Options"
    assert {field: north[field] for field in north if field != "TrackingOptionID"} == {
        "Name": "North",
        "Status": "ACTIVE",
        "HasValidationErrors": False,
        "IsDeleted": False,
        "IsArchived": False,
        "IsActive": True,
    }
    books.put(f"{path(made)}/Options", {"Options": [{"Name": "East"}, {"Name": "West"}]})
    found = books.post(path(made, north), {"Name": "South"}).json()["Options"][0]
    assert (found["Name"], found["TrackingOptionID"]) == ("South", north["TrackingOptionID"])
    assert option_names(books) == ["South", "East", "West"]
    gone = books.call("DELETE", path(made, north)).json()["Options"][0]
    assert (gone["Status"], gone["IsDeleted"], gone["IsActive"]) == ("DELETED", True, False)
    assert option_names(books) == ["East", "West"]
    assert option_names(books, includeArchived="true") == ["East", "West"]


CATEGORIES = [
    ({}, "The Name must be specified for tracking categories and options"),
    ({"Name": " "}, "The Name must be specified for tracking categories and options"),
    ({"Name": "n" * 101}, "The Name must not exceed 100 characters"),
    ({"Name": "rEGION"}, "The name of a tracking category must be unique."),
    ({"Name": "x", "Status": "DELETED"}, "The Status must be ACTIVE or ARCHIVED"),
    (
        {"Name": "x", "Options": [{"Name": "a"}, {"Name": "A"}]},
        "For each specified tracking option the name must be unique.",
    ),
    (
        {"Name": "x", "Options": [{}]},
        "The Name must be specified for tracking categories and options",
    ),
]


@pytest.mark.parametrize(("body", "message"), CATEGORIES)
def test_category_is_refused(books: SandboxClient, body: dict[str, Any], message: str) -> None:
    category(books)
    assert books.errors("PUT", "TrackingCategories", body) == [message]
    assert names(books) == ["Region"]


OPTIONS = [
    ({}, "The Name must be specified for tracking categories and options"),
    ({"Name": "n" * 101}, "The Name must not exceed 100 characters"),
    ({"Name": "nORTH"}, "For each specified tracking option the name must be unique."),
    ({"Name": "x", "Status": "OFF"}, "The Status must be ACTIVE or ARCHIVED"),
]


@pytest.mark.parametrize(("body", "message"), OPTIONS)
def test_option_is_refused(books: SandboxClient, body: dict[str, Any], message: str) -> None:
    made = category(books, "Region", "North")
    assert books.errors("PUT", f"{path(made)}/Options", body) == [message]
    assert option_names(books) == ["North"]


def test_option_cannot_take_anothers_name(books: SandboxClient) -> None:
    made = category(books, "Region", "North", "South")
    south = made["Options"][1]
    assert books.errors("POST", path(made, south), {"Name": "north"}) == [
        "For each specified tracking option the name must be unique."
    ]
    assert books.post(path(made, south), {"Name": "SOUTH"}).status_code == 200
    assert option_names(books) == ["North", "SOUTH"]


def test_longest_names_are_taken(books: SandboxClient) -> None:
    made = category(books, "n" * 100, "o" * 100)
    assert (len(made["Name"]), len(made["Options"][0]["Name"])) == (100, 100)


def test_two_are_active_and_four_there_are_in_all(books: SandboxClient) -> None:
    first, second = category(books, "A"), category(books, "B")
    active = "An organisation can have at most 2 active tracking categories"
    assert books.errors("PUT", "TrackingCategories", {"Name": "C"}) == [active]
    archive(books, path(first))
    archive(books, path(second))
    third = category(books, "C")
    category(books, "D")
    assert books.errors("POST", path(first), {"Status": "ACTIVE"}) == [active]
    archive(books, path(third))
    assert books.errors("PUT", "TrackingCategories", {"Name": "E"}) == [
        "An organisation can have at most 4 tracking categories"
    ]
    assert books.call("DELETE", path(second)).status_code == 200
    category(books, "E")
    archive(books, path(third), "ARCHIVED")


def test_archived_ones_are_shown_when_asked_for(books: SandboxClient) -> None:
    made = category(books, "Region", "North", "South")
    team = category(books, "Team")
    archive(books, path(made, made["Options"][0]))
    archive(books, path(team))
    assert names(books) == ["Region"]
    assert option_names(books) == ["South"]
    assert names(books, includeArchived="True", order="Name DESC") == ["Team", "Region"]
    assert option_names(books, includeArchived="true") == ["North", "South"]
    alone = books.get(path(made)).json()["TrackingCategories"][0]
    assert [one["IsArchived"] for one in alone["Options"]] == [True, False]
    archive(books, path(team), "ACTIVE")
    assert names(books) == ["Region", "Team"]


def test_categories_are_filtered(books: SandboxClient) -> None:
    team = category(books, "Team")
    category(books, "Region")
    archive(books, path(team))
    assert names(books, where='Name=="region"') == ["Region"]
    assert names(books, where='Status=="ARCHIVED"') == []
    assert names(books, where='Status=="ARCHIVED"', includeArchived="true") == ["Team"]
    found = f'TrackingCategoryID==Guid("{team["TrackingCategoryID"]}")'
    assert names(books, where=found, includeArchived="true") == ["Team"]


def test_deleted_category_is_final_and_gives_its_name_free(books: SandboxClient) -> None:
    made = category(books, "Region", "North")
    gone = books.call("DELETE", path(made)).json()["TrackingCategories"][0]
    assert (gone["Status"], gone["Name"]) == ("DELETED", "Region")
    assert names(books, includeArchived="true") == []
    assert books.get(path(made)).json()["TrackingCategories"][0]["Status"] == "DELETED"
    deleted = "Deleted tracking categories and options cannot be changed"
    assert books.errors("POST", path(made), {"Name": "Again"}) == [deleted]
    assert books.errors("PUT", f"{path(made)}/Options", {"Name": "x"}) == [deleted]
    assert books.errors("POST", path(made, made["Options"][0]), {"Name": "x"}) == [deleted]
    category(books, "Region")


def test_update_adds_options_and_leaves_known_ones(books: SandboxClient) -> None:
    made = category(books, "Region", "North")
    sent = {"Options": [{**made["Options"][0], "Name": "ignored"}, {"Name": "South"}]}
    found = books.post(path(made), sent).json()["TrackingCategories"][0]
    assert [one["Name"] for one in found["Options"]] == ["North", "South"]
    assert books.errors("POST", path(made), {"Options": [{"Name": "South"}]}) == [
        "For each specified tracking option the name must be unique."
    ]


@pytest.mark.parametrize(
    ("method", "where", "status"),
    [
        ("GET", "TrackingCategories/{none}", 404),
        ("POST", "TrackingCategories/{none}", 404),
        ("DELETE", "TrackingCategories/{none}", 404),
        ("POST", "TrackingCategories", 405),
        ("PUT", "TrackingCategories/{none}/Options", 404),
        ("POST", "{here}/Options/{none}", 404),
        ("DELETE", "{here}/Options/{none}", 404),
        ("GET", "{here}/Options", 405),
        ("DELETE", "{here}/Options", 405),
        ("PUT", "{here}/Options/{none}", 405),
    ],
)
def test_what_is_not_there(books: SandboxClient, method: str, where: str, status: int) -> None:
    here = path(category(books))
    address = where.format(here=here, none=uuid4())
    assert books.call(method, address, {"Name": "x"}).status_code == status


@pytest.mark.parametrize("body", [[], "x", {"Options": "x"}, {"Options": []}])
def test_unreadable_options(books: SandboxClient, body: object) -> None:
    answer = books.put(f"{path(category(books))}/Options", body)
    assert (answer.status_code, answer.json()["ErrorNumber"]) == (400, 14)


# on lines


def forms(one: dict[str, Any]) -> list[dict[str, Any]]:
    """The ways in which a line may name an option."""
    category_id, option = one["TrackingCategoryID"], one["Options"][0]
    return [
        {"Name": "Region", "Option": "North"},
        {"Name": "rEGION", "Option": "nORTH"},
        {"name": "Region", "option": "North"},
        {"TrackingCategoryID": category_id, "TrackingOptionID": option["TrackingOptionID"]},
        {"TrackingCategoryID": category_id, "Option": "North"},
        {"Name": "Region", "TrackingOptionID": option["TrackingOptionID"]},
    ]


def test_a_line_names_its_option_in_any_form(books: SandboxClient) -> None:
    made = category(books, "Region", "North")
    for sent in forms(made):
        found = tracked(books, sent)["LineItems"][0]["Tracking"]
        assert found == [
            {
                "Name": "Region",
                "Option": "North",
                "TrackingCategoryID": made["TrackingCategoryID"],
                "TrackingOptionID": made["Options"][0]["TrackingOptionID"],
            }
        ]


@pytest.mark.parametrize(
    ("resource", "more"),
    [
        ("Invoices", {"Type": "ACCREC"}),
        ("CreditNotes", {"Type": "ACCRECCREDIT"}),
        ("PurchaseOrders", {}),
        ("Quotes", {"Date": "2026-09-14"}),
        ("BankTransactions", {"Type": "RECEIVE", "BankAccount": {"Code": "090"}}),
    ],
)
def test_every_document_shows_tracking(
    books: SandboxClient, resource: str, more: dict[str, Any]
) -> None:
    category(books, "Region", "North")
    contact = books.created("Contacts", {"Name": "Harbour Cafe"})["ContactID"]
    region = {"Name": "Region", "Option": "North"}
    body = {"Contact": {"ContactID": contact}, "LineItems": [line(region)]} | more
    made = books.created(resource, body)
    assert [one["Option"] for one in made["LineItems"][0]["Tracking"]] == ["North"]


def test_a_line_without_tracking_shows_none(books: SandboxClient) -> None:
    assert tracked(books)["LineItems"][0]["Tracking"] == []


def test_two_categories_on_one_line(books: SandboxClient) -> None:
    category(books, "Region", "North")
    category(books, "Team", "Blue")
    made = tracked(books, {"Name": "Team", "Option": "Blue"}, {"Name": "Region", "Option": "North"})
    assert [one["Name"] for one in made["LineItems"][0]["Tracking"]] == ["Team", "Region"]


NORTH = {"Name": "Region", "Option": "North"}
LINES: list[tuple[list[dict[str, Any]], str]] = [
    (
        [{"Name": "Area", "Option": "North"}],
        "There is no ACTIVE tracking category with the name 'Area'",
    ),
    ([{}], "There is no ACTIVE tracking category with the name ''"),
    ([{"Option": "North"}], "There is no ACTIVE tracking category with the name ''"),
    (
        [{"Name": "Old", "Option": "x"}],
        "There is no ACTIVE tracking category with the name 'Old'",
    ),
    (
        [{"Name": "Region", "Option": "Up"}],
        "There is no ACTIVE tracking option 'Up' in the tracking category 'Region'",
    ),
    (
        [{"Name": "Region", "Option": "Gone"}],
        "There is no ACTIVE tracking option 'Gone' in the tracking category 'Region'",
    ),
    (
        [{"Name": "Region"}],
        "There is no ACTIVE tracking option '' in the tracking category 'Region'",
    ),
    (
        [{"Name": "Region", "Option": "Blue"}],
        "There is no ACTIVE tracking option 'Blue' in the tracking category 'Region'",
    ),
    (
        [NORTH, {"Name": "Region", "Option": "South"}],
        "A line item can have a tracking category only once",
    ),
]


@pytest.fixture(scope="module")
def stocked() -> Iterator[SandboxClient]:
    """Two active categories, one archived, one archived option."""
    with start() as running:
        client = SandboxClient(running)
        old = category(client, "Old", "x")
        archive(client, path(old))
        region = category(client, "Region", "North", "South", "Gone")
        archive(client, path(region, region["Options"][2]))
        category(client, "Team", "Blue")
        yield client


@pytest.mark.parametrize(("tracking", "message"), LINES)
def test_tracking_of_a_line_is_refused(
    stocked: SandboxClient, tracking: list[dict[str, Any]], message: str
) -> None:
    body = stocked.invoice(LineItems=[line(*tracking)])
    answer = stocked.put("Invoices", body)
    element = answer.json()["Elements"][0]
    assert element["ValidationErrors"] == [{"Message": message}]
    assert element["LineItems"][0]["ValidationErrors"] == [{"Message": message}]


def test_three_on_a_line_are_refused(stocked: SandboxClient) -> None:
    body = stocked.invoice(LineItems=[line(NORTH, {"Name": "Team", "Option": "Blue"}, NORTH)])
    assert "A line item can have at most 2 tracking categories" in stocked.errors(
        "PUT", "Invoices", body
    )


@pytest.mark.parametrize(
    "sent",
    [
        {"Name": "Region", "Option": "North"},
        "Region",
        ["Region"],
        [{"Name": "Region", "TrackingOptionID": "4ec1e59b-60c0-4b5c-b173-e53e46c3"}],
        [{"TrackingCategoryID": "x", "Option": "North"}],
    ],
)
def test_tracking_that_cannot_be_read(stocked: SandboxClient, sent: object) -> None:
    body = stocked.invoice(LineItems=[line() | {"Tracking": sent}])
    answer = stocked.put("Invoices", body)
    assert (answer.status_code, answer.json()["ErrorNumber"]) == (400, 14)


def test_option_of_another_category_is_refused_by_id(stocked: SandboxClient) -> None:
    found = stocked.get("TrackingCategories").json()["TrackingCategories"]
    region, team = found
    sent = {
        "TrackingCategoryID": region["TrackingCategoryID"],
        "TrackingOptionID": team["Options"][0]["TrackingOptionID"],
    }
    message = stocked.errors("PUT", "Invoices", stocked.invoice(LineItems=[line(sent)]))[0]
    assert message.startswith("There is no ACTIVE tracking option")


def test_update_of_a_line_keeps_or_clears_tracking(stocked: SandboxClient) -> None:
    made = tracked(stocked, NORTH)
    one = {"LineItemID": made["LineItems"][0]["LineItemID"], "UnitAmount": 5}
    where = f"Invoices/{made['InvoiceID']}"
    kept = stocked.post(where, {"LineItems": [one]}).json()["Invoices"][0]
    assert kept["LineItems"][0]["Tracking"] == made["LineItems"][0]["Tracking"]
    cleared = stocked.post(where, {"LineItems": [one | {"Tracking": []}]}).json()["Invoices"][0]
    assert cleared["LineItems"][0]["Tracking"] == []


def test_used_ones_are_archived_not_deleted(books: SandboxClient) -> None:
    made = category(books, "Region", "North", "South")
    north, south = made["Options"]
    document = tracked(books, NORTH)
    assert books.errors("DELETE", path(made), None) == [
        "The tracking category is in use; it can be archived"
    ]
    assert books.errors("DELETE", path(made, north), None) == [
        "The tracking option is in use; it can be archived"
    ]
    assert books.call("DELETE", path(made, south)).status_code == 200
    archive(books, path(made, north))
    where = f"Invoices/{document['InvoiceID']}"
    # the document keeps what it has, and can still be edited with it
    old = exact(books.get(where))["Invoices"][0]["LineItems"][0]
    assert old["Tracking"][0]["Option"] == "North"
    change = {"LineItems": [{"LineItemID": old["LineItemID"], "UnitAmount": 7}]}
    assert books.post(where, change).status_code == 200
    sent = {"LineItems": [{"LineItemID": old["LineItemID"], "Tracking": old["Tracking"]}]}
    assert books.post(where, sent).status_code == 200
    assert books.post(where, {"LineAmountTypes": "Inclusive"}).status_code == 200
    body = books.invoice(LineItems=[line(NORTH)])
    assert books.errors("PUT", "Invoices", body) == [
        "There is no ACTIVE tracking option 'North' in the tracking category 'Region'"
    ]


def test_documents_show_the_names_of_today(books: SandboxClient) -> None:
    made = category(books, "Region", "North")
    document = tracked(books, NORTH)
    books.post(path(made), {"Name": "Area"})
    books.post(path(made, made["Options"][0]), {"Name": "Up"})
    found = books.get(f"Invoices/{document['InvoiceID']}").json()["Invoices"][0]
    tracking = found["LineItems"][0]["Tracking"][0]
    assert (tracking["Name"], tracking["Option"]) == ("Area", "Up")
    assert found["UpdatedDateUTC"] == document["UpdatedDateUTC"]


def test_sdk_drives_tracking(api: Any, tenant: str) -> None:  # noqa: F811
    made = api.create_tracking_category(tenant, accounting.TrackingCategory(name="SDK region"))
    one = made.tracking_categories[0].tracking_category_id
    option = api.create_tracking_options(tenant, one, accounting.TrackingOption(name="North"))
    option = option.options[0].tracking_option_id
    renamed = accounting.TrackingOption(name="South", status="ACTIVE")
    assert api.update_tracking_options(tenant, one, option, renamed).options[0].name == "South"
    found = api.get_tracking_category(tenant, one).tracking_categories[0]
    assert [each.name for each in found.options] == ["South"]
    change = accounting.TrackingCategory(name="SDK area", status="ARCHIVED")
    assert api.update_tracking_category(tenant, one, change).tracking_categories[0].name
    listed = api.get_tracking_categories(tenant, include_archived=True).tracking_categories
    assert one in {each.tracking_category_id for each in listed}
    assert api.delete_tracking_options(tenant, one, option).options[0].status == "DELETED"
    gone = api.delete_tracking_category(tenant, one).tracking_categories[0]
    assert gone.status == "DELETED"


@needs_description
def test_answers_fit_the_description(stocked: SandboxClient) -> None:
    examples = {"HasValidationErrors", "IsDeleted", "IsArchived", "IsActive"}
    body = stocked.get("TrackingCategories?includeArchived=true").json()
    check(body, "TrackingCategories")
    for one in body["TrackingCategories"]:
        known_fields(one, "TrackingCategory")
        for option in one["Options"]:
            known_fields({k: v for k, v in option.items() if k not in examples}, "TrackingOption")
    region = next(one for one in body["TrackingCategories"] if one["Name"] == "Region")
    answer = stocked.post(path(region, region["Options"][1]), {"Name": "South"})
    check(answer.json(), "TrackingOptions")
    check(stocked.put(f"{path(region)}/Options", {}).json(), "Error")
    document = stocked.put("Invoices", stocked.invoice(LineItems=[line(NORTH)])).json()
    check(document, "Invoices")
    known_fields(document["Invoices"][0]["LineItems"][0]["Tracking"][0], "LineItemTracking")
