"""Fixtures of the contract tests: a running local Xero and a plain HTTP client for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
import requests

from xtiger.sandbox import Running, start

_unique = count(1)


@dataclass
class SandboxClient:
    """Calls one organisation of a sandbox with a token of a custom connection."""

    running: Running
    session: requests.Session = field(default_factory=requests.Session)

    def __post_init__(self) -> None:
        self.session.trust_env = False
        self.tenant = self.running.organisations[0]["tenant_id"]
        self.session.headers.update(
            {
                "Authorization": f"Bearer {self.token()['access_token']}",
                "xero-tenant-id": self.tenant,
                "Accept": "application/json",
            }
        )

    def token(self, **form: str) -> dict[str, Any]:
        answer = self.session.post(
            f"{self.running.identity_url}/connect/token",
            data={"grant_type": "client_credentials"} | form,
            auth=(self.running.client_id, self.running.client_secret),
        )
        body: dict[str, Any] = answer.json()
        return body

    def call(self, method: str, path: str, body: object = None, **more: Any) -> requests.Response:
        if body is not None:
            more["data"] = json.dumps(body)
            more["headers"] = {"Content-Type": "application/json"} | more.get("headers", {})
        url = f"{self.running.api_url}/api.xro/2.0/{path}"
        return self.session.request(method, url, timeout=30, **more)

    def get(self, path: str, **more: Any) -> requests.Response:
        return self.call("GET", path, **more)

    def put(self, path: str, body: object, **more: Any) -> requests.Response:
        return self.call("PUT", path, body, **more)

    def post(self, path: str, body: object, **more: Any) -> requests.Response:
        return self.call("POST", path, body, **more)

    def control(self, path: str, body: object = None) -> Any:
        url = f"{self.running.api_url}/_control/{path}"
        if body is None:
            return self.session.get(url, timeout=30).json()
        return self.session.post(url, json=body, timeout=30).json()

    def created(self, path: str, body: object, **more: Any) -> dict[str, Any]:
        """PUTs one element that must be accepted."""
        answer = self.put(path, body, **more)
        assert answer.status_code == 200, answer.text
        element: dict[str, Any] = exact(answer)[path.split("?")[0]][0]
        return element

    def errors(self, method: str, path: str, body: object) -> list[str]:
        """The messages of one element that must be refused."""
        answer = self.call(method, path, body)
        assert answer.status_code == 400, answer.text
        return [one["Message"] for one in answer.json()["Elements"][0]["ValidationErrors"]]

    def invoice(self, **fields: Any) -> dict[str, Any]:
        """An acceptable sales invoice of a number nobody has used."""
        return {
            "Type": "ACCREC",
            "InvoiceNumber": f"N-{next(_unique)}",
            "Contact": {"Name": "Harbour Cafe"},
            "LineItems": [
                {"Description": "Coffee", "Quantity": 1, "UnitAmount": 10, "AccountCode": "200"}
            ],
        } | fields

    def name(self, stem: str = "Contact") -> str:
        return f"{stem} {next(_unique)}"


def exact(answer: requests.Response) -> Any:
    """The answer's JSON with every number as Decimal."""
    return json.loads(answer.text, parse_float=Decimal)


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Running]:
    """One local Xero in memory for all tests that don't need their own."""
    with start() as running:
        yield running


@pytest.fixture(scope="session")
def sandbox_client(sandbox: Running) -> SandboxClient:
    return SandboxClient(sandbox)
