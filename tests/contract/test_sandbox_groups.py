"""Contact groups of the local Xero, and the contacts in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from xtiger.sandbox import start

from .conftest import SandboxClient
from .test_sandbox_schema import check, known_fields
from .test_sandbox_schema import pytestmark as needs_description
from .test_sandbox_sdk import api, api_client, tenant  # noqa: F401

accounting = pytest.importorskip("xero_python.accounting")


@pytest.fixture(scope="module")
def books() -> Iterator[SandboxClient]:
    with start() as running:
        yield SandboxClient(running)


def group(client: SandboxClient, **fields: Any) -> dict[str, Any]:
    return client.created("ContactGroups", {"Name": client.name("Group")} | fields)


def contact(client: SandboxClient) -> str:
    made: str = client.created("Contacts", {"Name": client.name()})["ContactID"]
    return made


def path(one: dict[str, Any]) -> str:
    return f"ContactGroups/{one['ContactGroupID']}"


def add(client: SandboxClient, one: dict[str, Any], *contacts: str) -> Any:
    body = {"Contacts": [{"ContactID": member} for member in contacts]}
    answer = client.put(f"{path(one)}/Contacts", body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def members(client: SandboxClient, one: dict[str, Any]) -> list[str]:
    found = client.get(path(one)).json()["ContactGroups"][0]["Contacts"]
    return [member["ContactID"] for member in found]


def groups_of(client: SandboxClient, one: str) -> list[str]:
    found = client.get(f"Contacts/{one}").json()["Contacts"][0]["ContactGroups"]
    return [each["Name"] for each in found]


def test_group_is_created_and_renamed(books: SandboxClient) -> None:
    made = group(books)
    assert {field: made[field] for field in ("Status", "Contacts", "HasValidationErrors")} == {
        "Status": "ACTIVE",
        "Contacts": [],
        "HasValidationErrors": False,
    }
    name = books.name("Renamed")
    found = books.post(path(made), {"ContactGroups": [{"Name": name}]}).json()
    assert found["ContactGroups"][0]["Name"] == name
    assert books.get(path(made)).json()["ContactGroups"][0]["Name"] == name


def test_contacts_join_and_leave(books: SandboxClient) -> None:
    one, first, second, third = group(books), contact(books), contact(books), contact(books)
    answer = add(books, one, first, second)
    assert [member["ContactID"] for member in answer["Contacts"]] == [first, second]
    assert "Name" not in answer["Contacts"][0]
    add(books, one, second, third)
    assert members(books, one) == [first, second, third]
    gone = books.call("DELETE", f"{path(one)}/Contacts/{second}")
    assert (gone.status_code, gone.content) == (204, b"")
    assert members(books, one) == [first, third]
    assert books.call("DELETE", f"{path(one)}/Contacts").status_code == 204
    assert members(books, one) == []


def test_single_group_shows_id_and_name_of_its_contacts(books: SandboxClient) -> None:
    one, who = group(books), contact(books)
    add(books, one, who)
    found = books.get(path(one)).json()["ContactGroups"][0]["Contacts"][0]
    name = books.get(f"Contacts/{who}").json()["Contacts"][0]["Name"]
    assert (found["ContactID"], found["Name"], found["Phones"]) == (who, name, [])
    listed = books.get("ContactGroups").json()["ContactGroups"]
    assert all(each["Contacts"] == [] for each in listed)


def test_contacts_show_their_groups(books: SandboxClient) -> None:
    one, two, who = group(books), group(books), contact(books)
    assert groups_of(books, who) == []
    add(books, one, who)
    add(books, two, who)
    assert groups_of(books, who) == [one["Name"], two["Name"]]
    listed = books.get("Contacts", params={"IDs": who}).json()["Contacts"][0]["ContactGroups"]
    assert listed[0] == {
        "ContactGroupID": one["ContactGroupID"],
        "Name": one["Name"],
        "Status": "ACTIVE",
        "Contacts": [],
        "HasValidationErrors": False,
    }
    body = books.invoice(Contact={"ContactID": who})
    assert len(books.created("Invoices", body)["Contact"]["ContactGroups"]) == 2
    changed = books.post(f"Contacts/{who}", {"FirstName": "Ana"}).json()["Contacts"][0]
    assert len(changed["ContactGroups"]) == 2
    books.post(path(one), {"Status": "DELETED"})
    assert groups_of(books, who) == [two["Name"]]


def test_deleted_group_is_gone_and_its_name_free(books: SandboxClient) -> None:
    made = group(books)
    found = books.post(path(made), {"Status": "DELETED"}).json()["ContactGroups"][0]
    assert found["Status"] == "DELETED"
    assert books.get(path(made)).status_code == 404
    assert books.post(path(made), {"Status": "ACTIVE"}).status_code == 404
    listed = books.get("ContactGroups").json()["ContactGroups"]
    assert made["ContactGroupID"] not in {one["ContactGroupID"] for one in listed}
    group(books, Name=made["Name"])


REFUSED = [
    ({}, "The Name of a contact group must be specified"),
    ({"Name": " "}, "The Name of a contact group must be specified"),
    ({"Name": "TAKEN"}, "A Contact Group already exists with this name"),
    ({"Name": "x", "Status": "DELETED"}, "A contact group can only become DELETED, once it exists"),
    ({"Name": "x", "Status": "OFF"}, "A contact group can only become DELETED, once it exists"),
]


@pytest.mark.parametrize(("body", "message"), REFUSED)
def test_group_is_refused(books: SandboxClient, body: dict[str, Any], message: str) -> None:
    books.put("ContactGroups", {"Name": "Taken"})
    assert books.errors("PUT", "ContactGroups", body) == [message]


def test_refused_group_is_marked(books: SandboxClient) -> None:
    element = books.put("ContactGroups", {"Name": ""}).json()["Elements"][0]
    assert element["HasValidationErrors"] is True
    assert element["ContactGroupID"] == "00000000-0000-0000-0000-000000000000"


def test_group_cannot_take_anothers_name(books: SandboxClient) -> None:
    one, two = group(books), group(books)
    assert books.errors("POST", path(two), {"Name": one["Name"].upper()}) == [
        "A Contact Group already exists with this name"
    ]
    assert books.post(path(one), {"Name": one["Name"].upper()}).status_code == 200


def test_unknown_and_archived_contacts_cannot_join(books: SandboxClient) -> None:
    one, good, old = group(books), contact(books), contact(books)
    books.post(f"Contacts/{old}", {"ContactStatus": "ARCHIVED"})
    where = f"{path(one)}/Contacts"
    unknown = {"Contacts": [{"ContactID": good}, {"ContactID": str(uuid4())}]}
    assert books.put(where, unknown).json()["Elements"][1]["ValidationErrors"] == [
        {"Message": "An existing Contact with the specified ContactID could not be found"}
    ]
    assert books.errors("PUT", where, {"ContactID": old})[0].startswith(
        "The specified contact details matched an archived contact."
    )
    assert members(books, one) == []


def test_leaving_a_group_needs_being_in_it(books: SandboxClient) -> None:
    one, who = group(books), contact(books)
    assert books.errors("DELETE", f"{path(one)}/Contacts/{who}", None) == [
        "The contact is not in this contact group"
    ]
    assert books.call("DELETE", f"{path(one)}/Contacts/{uuid4()}").status_code == 404


@pytest.mark.parametrize(
    ("method", "where", "status"),
    [
        ("GET", "ContactGroups/{none}", 404),
        ("POST", "ContactGroups/{none}", 404),
        ("POST", "ContactGroups", 405),
        ("DELETE", "{here}", 405),
        ("PUT", "ContactGroups/{none}/Contacts", 404),
        ("GET", "{here}/Contacts", 405),
        ("POST", "{here}/Contacts", 405),
        ("PUT", "{here}/Contacts/{none}", 405),
    ],
)
def test_what_is_not_there(books: SandboxClient, method: str, where: str, status: int) -> None:
    address = where.format(here=path(group(books)), none=uuid4())
    assert books.call(method, address, {"Name": "x"}).status_code == status


def test_groups_are_filtered_and_ordered(books: SandboxClient) -> None:
    first, second = group(books, Name="Sort a"), group(books, Name="Sort b")
    params = {"where": 'Name.StartsWith("sort ")', "order": "Name DESC"}
    found = books.get("ContactGroups", params=params).json()["ContactGroups"]
    assert [one["Name"] for one in found] == [second["Name"], first["Name"]]


def test_there_are_a_hundred_groups_at_most() -> None:
    with start() as running:
        client = SandboxClient(running)
        batch = {"ContactGroups": [{"Name": f"G {n}"} for n in range(100)]}
        made = client.put("ContactGroups", batch).json()["ContactGroups"]
        assert len(made) == 100
        # with the curly apostrophe of the description's example
        assert client.errors("PUT", "ContactGroups", {"Name": "G 100"}) == [
            "You\u2019ve reached the limit of 100 contact groups."
        ]
        client.post(path(made[0]), {"Status": "DELETED"})
        client.created("ContactGroups", {"Name": "G 100"})


def test_groups_need_the_scope_of_contacts(books: SandboxClient) -> None:
    one = group(books)
    for scope, status in (
        ("accounting.settings", 401),
        ("accounting.contacts.read", 200),
        ("accounting.contacts", 200),
    ):
        token = books.token(scope=scope)["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        assert books.get("ContactGroups", headers=headers).status_code == status
        answer = books.call("DELETE", f"{path(one)}/Contacts", headers=headers)
        assert answer.status_code == (204 if scope == "accounting.contacts" else 401)


def test_sdk_drives_groups(api: Any, tenant: str) -> None:  # noqa: F811
    name = f"SDK {uuid4()}"
    body = accounting.ContactGroups(contact_groups=[accounting.ContactGroup(name=name)])
    one = api.create_contact_group(tenant, body).contact_groups[0].contact_group_id
    people = accounting.Contacts(contacts=[accounting.Contact(name=f"SDK {uuid4()}")])
    who = api.create_contacts(tenant, people).contacts[0].contact_id
    joined = accounting.Contacts(contacts=[accounting.Contact(contact_id=who)])
    assert api.create_contact_group_contacts(tenant, one, joined).contacts[0].contact_id == who
    found = api.get_contact_group(tenant, one).contact_groups[0]
    assert [each.contact_id for each in found.contacts] == [who]
    assert api.get_contact(tenant, who).contacts[0].contact_groups[0].name == name
    api.delete_contact_group_contact(tenant, one, who)
    api.delete_contact_group_contacts(tenant, one)
    where = f'Name=="{name}"'
    assert len(api.get_contact_groups(tenant, where=where).contact_groups) == 1
    gone = accounting.ContactGroup(status="DELETED")
    gone = accounting.ContactGroups(contact_groups=[gone])
    assert api.update_contact_group(tenant, one, gone).contact_groups[0].status == "DELETED"


@needs_description
def test_answers_fit_the_description(books: SandboxClient) -> None:
    one, who = group(books), contact(books)
    check(add(books, one, who), "Contacts")
    for answer in (books.get("ContactGroups"), books.get(path(one))):
        check(answer.json(), "ContactGroups")
        found = answer.json()["ContactGroups"][-1]
        del found["HasValidationErrors"]  # in the description's own examples
        known_fields(found, "ContactGroup")
    check(books.get(f"Contacts/{who}").json(), "Contacts")
    check(books.put("ContactGroups", {}).json(), "Error")


def test_each_refused_member_is_told_its_own_fault(books: SandboxClient) -> None:
    made, good = group(books), contact(books)
    body = {"Contacts": [{"ContactID": good}, {"ContactID": str(uuid4())}]}
    answer = books.put(f"{path(made)}/Contacts", body)
    assert answer.status_code == 400
    found = answer.json()["Elements"]
    assert [len(one["ValidationErrors"]) for one in found] == [0, 1]
    assert [one["HasValidationErrors"] for one in found] == [False, True]
    assert members(books, made) == []
    logged = books.control("requests")["requests"][-2]  # the last one is the look above
    assert [one["ok"] for one in logged["elements"]] == [False, False]
