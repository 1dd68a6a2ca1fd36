"""Xero's published OpenAPI description, if it is at hand: which schema an exchange must fit.

`XTIGER_XERO_OPENAPI` names the file `xero_accounting.yaml` or the folder that holds it
(github.com/XeroAPI/Xero-OpenAPI). Without it nothing here is used, and the run says so.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_API = "/api.xro/2.0"
_FILE = "xero_accounting.yaml"


def described_in() -> Path | None:
    """The description's file, None where none is at hand."""
    named = os.environ.get("XTIGER_XERO_OPENAPI", "")
    if not named:
        return None
    path = Path(named)
    path = path / _FILE if path.is_dir() else path
    return path if path.is_file() else None


@dataclass(frozen=True)
class Operation:
    """One address and method: the schemas of what is sent and of each status' answer."""

    pattern: re.Pattern[str]
    path: str
    method: str
    request: Mapping[str, Any] | None
    answers: Mapping[str, Mapping[str, Any]]


class Description:
    """The description's operations and a validator for each of its schemas."""

    def __init__(self, path: Path) -> None:
        import referencing
        import referencing.jsonschema
        import yaml

        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C, ten times as fast
        self.document: dict[str, Any] = yaml.load(path.read_text(), Loader=loader)  # noqa: S506
        for part in ("schemas", "responses", "requestBodies"):
            _own_types(self.document["components"][part])
        _own_types(self.document["paths"])
        resource = referencing.Resource(
            contents=self.document, specification=referencing.jsonschema.DRAFT4
        )
        self._registry = referencing.Registry().with_resource("xero:", resource)
        self.operations = [
            _operation(self.document, address, method)
            for address, methods in self.document["paths"].items()
            for method in methods
            if method in ("get", "put", "post", "delete")
        ]
        # an address without parameters is meant before one with them
        self.operations.sort(key=lambda one: one.path.count("{"))

    def operation(self, method: str, path: str) -> Operation | None:
        """The operation of a call, None where the description has none."""
        below = path.removeprefix(_API)
        for one in self.operations:
            if one.method == method.lower() and one.pattern.fullmatch(below):
                return one
        return None

    def faults(self, body: object, schema: Mapping[str, Any]) -> list[str]:
        """What of a body doesn't fit, one line each; empty if all does."""
        validator = self._validator(repr(schema), _Frozen(schema))
        return [
            f"{'/'.join(map(str, one.absolute_path)) or '(all)'}: {one.message[:160]}"
            for one in validator.iter_errors(body)
        ]

    @cache  # noqa: B019  one description lives as long as the run
    def _validator(self, _key: str, schema: _Frozen) -> Any:
        import jsonschema

        return jsonschema.Draft4Validator(schema.schema, registry=self._registry)


class _Frozen:
    """A schema that can be a cache's argument; its text is the key."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = schema

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Frozen)


def _own_types(schema: Any) -> None:
    """OpenAPI's `nullable` in JSON Schema's words, references made absolute."""
    if isinstance(schema, list):
        for one in schema:
            _own_types(one)
    if not isinstance(schema, dict):
        return
    if isinstance(schema.get("$ref"), str):
        schema["$ref"] = "xero:" + schema["$ref"].removeprefix("xero:")
    if schema.get("nullable") is True and isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
    for one in schema.values():
        _own_types(one)


def _operation(document: Mapping[str, Any], address: str, method: str) -> Operation:
    one = document["paths"][address][method]
    pattern = re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(address)), re.IGNORECASE)
    answers = {
        str(status): schema
        for status, answer in one["responses"].items()
        if (schema := _schema(document, answer)) is not None
    }
    request = _schema(document, one.get("requestBody", {}))
    return Operation(pattern, address, method, request, answers)


def _schema(document: Mapping[str, Any], part: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The JSON schema of a body, None where the description leaves it open."""
    if "$ref" in part:
        found: Any = document
        for word in part["$ref"].removeprefix("xero:").removeprefix("#/").split("/"):
            found = found[word]
        return _schema(document, found)
    schema = part.get("content", {}).get("application/json", {}).get("schema")
    if not schema or schema.get("format") in ("binary", "byte"):
        return None
    return dict(schema)
