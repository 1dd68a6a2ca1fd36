"""Every way in which the local Xero can let a call go wrong, by order, by header and by chance."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import requests

from xtiger.sandbox import start
from xtiger.sandbox.faults import CATALOGUE, DIAL_KINDS, LASTING, Dial, Fault, Kind

from .conftest import SandboxClient, exact


@pytest.fixture
def own() -> Iterator[SandboxClient]:
    with start() as running:
        yield SandboxClient(running)


def contacts(client: SandboxClient) -> int:
    count: int = client.control("counts")[client.tenant]["contacts"]
    return count


def struck(fault: object) -> dict[str, Any]:
    return {"headers": {"X-Sandbox-Fault": fault if isinstance(fault, str) else json.dumps(fault)}}


def last(client: SandboxClient) -> dict[str, Any]:
    entry: dict[str, Any] = client.control("requests")["requests"][-1]
    return entry


# what each kind looks like


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("fault", "status", "type", "text"),
    [
        ({"kind": "status", "status": 500}, 500, "text/html", "<h1>500</h1>"),
        ({"kind": "status"}, 503, "text/html", "<h1>503</h1>"),
        ({"kind": "status", "status": 500, "plain": True}, 500, "text/plain", "An error"),
        ({"kind": "status", "plain": True}, 503, "text/plain", "unavailable"),
        ({"kind": "offline"}, 503, "text/plain", "temporarily cannot be connected to"),
        ({"kind": "empty", "status": 400}, 400, "text/html", ""),
        ({"kind": "empty"}, 200, "application/json", ""),
        ({"kind": "elements"}, 400, "application/json", '"Elements":[]'),
        ({"kind": "scope"}, 401, "application/json", "AuthorizationUnsuccessful"),
    ],
)
def test_an_answer_in_place_of_the_true_one(
    own: SandboxClient, fault: dict[str, Any], status: int, type: str, text: str, after: bool
) -> None:
    answer = own.put("Contacts", {"Name": "A"}, **struck(fault | {"after_store": after}))
    assert answer.status_code == status
    assert answer.headers["Content-Type"].startswith(type)
    assert text in answer.text
    assert bool(answer.text) == bool(text)
    assert contacts(own) == int(after)
    assert last(own)["fault"] == fault["kind"]
    assert last(own)["struck"] == {"kind": fault["kind"], "by": "header", "after_store": after}


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize(
    ("problem", "spent"),
    [
        ("minute", "X-MinLimit-Remaining"),
        ("day", "X-DayLimit-Remaining"),
        ("appminute", "X-AppMinLimit-Remaining"),
        ("concurrent", None),
    ],
)
def test_every_limit_with_and_without_retry_after(
    own: SandboxClient, problem: str, spent: str | None, silent: bool
) -> None:
    fault = {"kind": "limit", "problem": problem, "retry_after": 7, "silent": silent}
    answer = own.get("Contacts", **struck(fault))
    assert (answer.status_code, answer.content) == (429, b"")
    assert answer.headers["X-Rate-Limit-Problem"] == problem
    assert answer.headers.get("Retry-After") == (None if silent else "7")
    if spent:
        assert answer.headers[spent] == "0"
    assert last(own)["status"] == 429


@pytest.mark.parametrize(("name", "kept"), [("reset-before", 0), ("reset-after", 1)])
def test_reset_by_name(own: SandboxClient, name: str, kept: int) -> None:
    with pytest.raises(requests.ConnectionError):
        own.put("Contacts", {"Name": "A"}, **struck(name))
    assert contacts(own) == kept
    assert last(own)["fault"] == "reset"


def test_malformed_and_half(own: SandboxClient) -> None:
    with pytest.raises(requests.JSONDecodeError):
        own.put("Contacts", {"Name": "A"}, **struck("malformed")).json()
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        own.put("Contacts", {"Name": "B"}, **struck("half"))
    assert contacts(own) == 2


def test_slow(own: SandboxClient) -> None:
    began = time.monotonic()
    assert own.get("Contacts", **struck({"kind": "slow", "seconds": 0.2})).status_code == 200
    assert time.monotonic() - began >= 0.2


def test_time_out_after_the_write_was_kept(own: SandboxClient) -> None:
    url = f"{own.running.api_url}/api.xro/2.0/Contacts"
    with pytest.raises(requests.ReadTimeout):
        own.session.put(
            url, json={"Name": "A"}, headers={"X-Sandbox-Fault": "hold-after"}, timeout=0.2
        )
    assert contacts(own) == 1
    assert last(own)["fault"] == "hold"


def test_a_client_that_gives_up_before_its_call_is_read_leaves_a_line(own: SandboxClient) -> None:
    url = f"{own.running.api_url}/api.xro/2.0/Contacts"
    with pytest.raises(requests.ReadTimeout):
        own.session.put(
            url, json={"Name": "A"}, headers={"X-Sandbox-Fault": "hold-before"}, timeout=0.2
        )
    ends = time.monotonic() + 5
    while not own.control("requests")["requests"]:
        assert time.monotonic() < ends
        time.sleep(0.01)
    assert (last(own)["status"], last(own)["fault"], contacts(own)) == (0, "hold", 0)


# answers that differ from what was kept


@pytest.mark.parametrize(
    ("differs", "field", "change"),
    [("total", "Total", Decimal("0.01")), ("status", "Status", None)],
)
def test_answer_differs_but_not_what_was_kept(
    own: SandboxClient, differs: str, field: str, change: Decimal | None
) -> None:
    body = own.invoice()
    answer = own.put("Invoices", body, **struck({"kind": "differs", "differs": differs}))
    told = exact(answer)["Invoices"][0]
    kept = exact(own.get(f"Invoices/{told['InvoiceID']}"))["Invoices"][0]
    assert told[field] != kept[field]
    if change is not None:
        assert told[field] - kept[field] == change
    assert {k for k in told if k in kept and told[k] != kept[k]} <= {field}


def test_answer_leaves_an_element_out(own: SandboxClient) -> None:
    answer = own.put("Contacts", [{"Name": "A"}, {"Name": "B"}], **struck("missing-element"))
    assert [one["Name"] for one in answer.json()["Contacts"]] == ["A"]
    assert contacts(own) == 2


def test_a_differing_answer_is_repeated_true(own: SandboxClient) -> None:
    body, key = own.invoice(), {"Idempotency-Key": "once"}
    headers = key | {"X-Sandbox-Fault": "wrong-total"}
    wrong = exact(own.put("Invoices", body, headers=headers))["Invoices"][0]
    right = exact(own.put("Invoices", body, headers=key))["Invoices"][0]
    assert wrong["Total"] - right["Total"] == Decimal("0.01")


@pytest.mark.parametrize("name", ["wrong-total", "wrong-status", "missing-element"])
def test_answers_of_another_shape_stay(own: SandboxClient, name: str) -> None:
    answer = own.get("Contacts/unknown", **struck(name))
    assert (answer.status_code, answer.content) == (404, b"")


# faults that last


def test_expired_token_stays_expired(own: SandboxClient) -> None:
    answer = own.get("Contacts", **struck("expired"))
    assert answer.status_code == 401
    assert answer.json()["Detail"].startswith("TokenExpired: token expired at ")
    assert own.get("Contacts").status_code == 401
    fresh = {"Authorization": f"Bearer {own.token()['access_token']}"}
    assert own.get("Contacts", headers=fresh).status_code == 200


def test_removed_organisation_is_forbidden_and_no_longer_listed(own: SandboxClient) -> None:
    answer = own.get("Contacts", **struck("removed"))
    assert answer.status_code == 403
    assert answer.json()["Detail"] == "AuthenticationUnsuccessful"
    assert own.get("Contacts").status_code == 403
    assert own.session.get(f"{own.running.api_url}/connections").json() == []


def test_locked_period_refuses_in_xeros_words(own: SandboxClient) -> None:
    body = own.invoice(Date="2026-06-30", DueDate="2026-07-30", Status="AUTHORISED")
    fault = {"kind": "locked", "until": "2026-06-30"}
    answer = own.put("Invoices", body, **struck(fault))
    assert answer.status_code == 400
    assert "The document date cannot be before the period lock date" in answer.text
    later = own.invoice(Date="2026-07-01", LineItems=body["LineItems"])
    assert own.put("Invoices", later).status_code == 200
    shown = own.get("Organisation").json()["Organisations"][0]
    assert shown["PeriodLockDate"] == "/Date(1782777600000+0000)/"


def test_locked_without_a_day_locks_today(own: SandboxClient) -> None:
    assert own.put("Invoices", own.invoice(), **struck("locked")).status_code in (200, 400)
    assert "PeriodLockDate" in own.get("Organisation").json()["Organisations"][0]


def test_revoked_consent_is_invalid_grant_at_refresh() -> None:
    with start(auto_consent=True) as running:
        base = running.identity_url
        secret = {"client_id": running.client_id, "client_secret": running.client_secret}
        back = "http://localhost:1/back"
        scope = "offline_access accounting.contacts"
        asked = {"response_type": "code", "redirect_uri": back, "scope": scope}
        url = f"{base}/identity/connect/authorize"
        answer = requests.get(url, params=asked | secret, allow_redirects=False, timeout=5)
        code = answer.headers["Location"].split("code=")[1].split("&")[0]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": back}
        token = requests.post(f"{base}/connect/token", data=form | secret, timeout=5).json()
        renew = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
        refused = requests.post(
            f"{base}/connect/token",
            data=renew | secret,
            headers={"X-Sandbox-Fault": "revoked"},
            timeout=5,
        )
        assert (refused.status_code, refused.json()) == (400, {"error": "invalid_grant"})
        again = requests.post(f"{base}/connect/token", data=renew | secret, timeout=5)
        assert again.json() == {"error": "invalid_grant"}
        bearer = {"Authorization": f"Bearer {token['access_token']}"}
        assert requests.get(f"{base}/connections", headers=bearer, timeout=5).status_code == 401


def test_revoked_at_an_accounting_call(own: SandboxClient) -> None:
    answer = own.get("Contacts", **struck("revoked"))
    assert answer.status_code == 401
    assert own.get("Contacts").status_code == 401


# ordering


def test_header_strikes_one_call_only_and_wins_over_the_order(own: SandboxClient) -> None:
    own.control("faults", {"kind": "status", "status": 500})
    assert own.get("Contacts", **struck("503")).status_code == 503
    assert own.get("Contacts").status_code == 500
    assert last(own)["struck"]["by"] == "order"
    assert own.get("Contacts").status_code == 200


@pytest.mark.parametrize(
    "nonsense", ["earthquake", '{"kind": "slow", "seconds": -1}', '{"kind"', "{}", '{"kind":[]}']
)
def test_a_header_that_cannot_be_read_is_told(own: SandboxClient, nonsense: str) -> None:
    answer = own.put("Contacts", {"Name": "A"}, **struck(nonsense))
    assert answer.status_code == 400
    assert answer.text.startswith("not a fault: ")
    assert contacts(own) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "status", "status": 200},
        {"kind": "empty", "status": 503},
        {"kind": "limit", "problem": "year"},
        {"kind": "differs", "differs": "colour"},
        {"kind": "reset", "count": 0},
        {"kind": "reset", "count": True},
        {"kind": "reset", "count": "2"},
        {"kind": "slow", "seconds": 301},
        {"kind": "slow", "seconds": "long"},
        {"kind": "locked", "until": "yesterday"},
        {"kind": "reset", "method": 7},
        {"kind": "limit", "retry_after": -1},
        {"kind": "reset", "count": 10**20},
        {"kind": "reset", "status": 10**20},
        {"kind": "slow", "seconds": 10**400},
        {"kind": "slow", "seconds": "1"},
        {"kind": "limit", "retry_after": 10**20},
        {"kind": "reset", "after_store": 10**20},
        {"kind": "reset", "method": "\ud800"},
        {"kind": "\ud800"},
        {"kind": "reset", "number": 1},
        {},
        "reset",
    ],
)
def test_what_is_no_fault_is_refused(own: SandboxClient, wrong: object) -> None:
    assert own.control("faults", [wrong])["error"].startswith("not a fault: ")
    assert own.control("faults")["coming"] == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"count": -3}, "count must be a whole number between 1 and 1,000,000."),
        ({"count": 10**20}, "count must be a whole number between 1 and 1,000,000."),
        ({"status": 1}, "status must be a whole number between 100 and 599."),
        ({"retry_after": "2"}, "retry_after must be a whole number between 0 and 1,000,000."),
        ({"seconds": -1}, "seconds must be a number between 0 and 300."),
        ({"kind": "earthquake"}, "no fault is called 'earthquake'."),
        ({"until": "soon"}, "until must be a day such as 2026-06-30."),
        ({"number": 1}, "no field is called 'number'."),
    ],
)
def test_one_sentence_names_the_field(own: SandboxClient, wrong: dict[str, Any], said: str) -> None:
    assert own.control("faults", {"kind": "reset"} | wrong) == {"error": f"not a fault: {said}"}


def test_faults_match_method_resource_and_organisation(own: SandboxClient) -> None:
    other = own.running.organisations[1]["tenant_id"]
    own.control(
        "faults",
        [
            {"kind": "503", "tenant": other},
            {"kind": "503", "method": "put", "resource": "contacts"},
        ],
    )
    assert len(own.control("faults")["coming"]) == 2
    assert own.get("Contacts").status_code == 200
    assert own.put("Items", {"Code": "I"}).status_code == 200
    assert own.put("Contacts", {"Name": "A"}).status_code == 503
    own.control("faults", [])
    assert own.control("faults")["coming"] == []


def test_faults_leave_the_pages_of_identity_alone(own: SandboxClient) -> None:
    own.control("faults", {"kind": "503"})
    url = f"{own.running.identity_url}/connect/revocation"
    answer = requests.post(url, data={"token": "x"}, timeout=5)
    assert answer.json() == {"error": "invalid_client"}
    own.control("faults", [])
    own.control("faults", {"kind": "503", "resource": "revocation"})
    assert requests.post(url, data={"token": "x"}, timeout=5).status_code == 503


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_every_name_of_the_catalogue_can_be_ordered(name: str) -> None:
    assert Fault.read({"kind": name}).kind is CATALOGUE[name].fault.kind


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_has_a_name_people_can_choose(kind: Kind) -> None:
    assert any(one.fault.kind is kind for one in CATALOGUE.values())


def test_refused_calls_are_logged_too(own: SandboxClient) -> None:
    own.get("Contacts", headers={"Authorization": "Bearer nonsense"})
    own.get("Contacts", headers={"xero-tenant-id": "nobody"})
    log = own.control("requests")["requests"]
    assert [(one["status"], one["resource"], one["fault"]) for one in log] == [
        (401, "Contacts", None),
        (403, "Contacts", None),
    ]


# the dial


def test_dial_is_the_same_for_the_same_seed() -> None:
    def sequence(seed: int, percent: float = 30) -> list[Fault | None]:
        dial = Dial()
        dial.set(percent, ("reset-after", "500"), seed)
        return [dial.strike() for _ in range(200)]

    assert sequence(7) == sequence(7)
    assert sequence(7) != sequence(8)
    assert 30 < sum(one is not None for one in sequence(7)) < 90
    assert {one.kind for one in sequence(7) if one} == {Kind.RESET, Kind.STATUS}
    assert all(sequence(7, 100))
    assert not any(sequence(7, 0))


def test_dial_strikes_accounting_calls_only(own: SandboxClient) -> None:
    told = own.control("dial", {"percent": 100, "kinds": ["503-text"], "seed": 3})
    assert told == {"percent": 100, "kinds": ["503-text"], "seed": 3, "strikes": 0}
    assert own.get("Contacts").status_code == 503
    assert last(own)["struck"] == {"kind": "status", "by": "dial", "after_store": False}
    assert own.token()["access_token"]
    assert own.session.get(f"{own.running.api_url}/connections").status_code == 200
    assert own.control("dial")["strikes"] == 1
    own.control("dial", {"percent": 0})
    assert own.get("Contacts").status_code == 200


def test_the_same_calls_meet_the_same_faults() -> None:
    def codes() -> list[int]:
        kinds = ("500", "503", "minute", "empty-400")
        with start(dial=40, dial_kinds=kinds, dial_seed=11) as running:
            client = SandboxClient(running)
            return [client.get("Organisation").status_code for _ in range(40)]

    first = codes()
    assert first == codes()
    assert {200, 500, 503, 429, 400} >= set(first) > {200}


@pytest.mark.parametrize(
    "wrong",
    [
        {"percent": 101},
        {"percent": -1},
        {"percent": "often"},
        {"percent": 5, "kinds": ["earthquake"]},
        {"percent": 5, "kinds": ["removed"]},
        {"percent": 5, "seed": "x"},
        {"percent": 5, "seed": 10**20},
        {"percent": 10**400},
        {},
    ],
)
def test_what_is_no_dial_is_refused(own: SandboxClient, wrong: dict[str, Any]) -> None:
    assert own.control("dial", wrong)["error"].startswith("not a dial: ")
    assert own.control("dial")["percent"] == 0


def test_chance_never_chooses_what_lasts() -> None:
    assert all(CATALOGUE[name].fault.kind not in LASTING for name in DIAL_KINDS)


# limits


def test_limits_can_be_read_and_changed(own: SandboxClient) -> None:
    own.get("Contacts")
    told = own.control("limits")
    assert told["enforced"] is False
    assert told["left"][own.tenant] == {"day": 4999, "minute": 59, "appminute": 9999}
    own.control("limits", {"enforced": True, "minute": 2})
    assert own.get("Contacts").status_code == 200
    assert own.get("Contacts").headers["X-Rate-Limit-Problem"] == "minute"
    own.control("limits", {"reset": True, "day": 1})
    assert own.get("Contacts").status_code == 200
    assert own.get("Contacts").headers["X-Rate-Limit-Problem"] == "day"
    assert last(own)["status"] == 429


@pytest.mark.parametrize(
    "wrong", [{"day": 0}, {"minute": "many"}, {"enforced": "yes"}, {"day": 10**20}]
)
def test_what_is_no_limit_is_refused(own: SandboxClient, wrong: dict[str, Any]) -> None:
    assert own.control("limits", wrong)["error"].startswith("not a limit: ")


def test_limits_follow_the_clock() -> None:
    moment = [1_800_000_000.0]
    with start(enforce_limits=True, minute_limit=2, clock=lambda: moment[0]) as running:
        client = SandboxClient(running)
        codes = [client.get("Organisation").status_code for _ in range(3)]
        assert codes == [200, 200, 429]
        assert client.get("Organisation").headers["Retry-After"] == "60"
        moment[0] += 60
        assert client.control("limits")["left"][client.tenant]["minute"] == 2
        assert client.get("Organisation").headers["X-MinLimit-Remaining"] == "1"
