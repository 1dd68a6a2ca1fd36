"""What was compiled once serves all apps and engines of the tests: each test makes them anew.

In a process of XTiger there is one of each for hours; here there are thousands, and compiling
statements, routes and templates was a third of all the tests' work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask
from jinja2.bccache import Bucket, BytecodeCache
from sqlalchemy import Connection, Engine, event, util
from sqlalchemy.engine.default import DefaultDialect
from werkzeug.routing import Rule

_STATEMENTS: Any = util.LRUCache(5000)


def share() -> None:
    """From now on engines of one kind share their statements, and apps their routes and pages."""
    _share_statements()
    _share_routes()
    Flask.jinja_options = {"bytecode_cache": _Pages()}


def _share_statements() -> None:
    """An engine keeps its statements by its own dialect object; those of one kind are alike."""
    kinds: Any = DefaultDialect
    kinds.__eq__ = lambda one, other: type(one) is type(other)
    kinds.__hash__ = lambda one: hash(type(one))

    @event.listens_for(Engine, "engine_connect")
    def _sharing(connection: Connection) -> None:
        connection.engine._compiled_cache = _STATEMENTS


def _share_routes() -> None:
    """What builds an address takes its rule as an argument, so it serves each rule of the text."""
    routes: Any = Rule
    compile_builder: Callable[..., Any] = routes._compile_builder
    known: dict[Any, Any] = {}

    def compiled(rule: Any, append_unknown: bool = True) -> Any:
        if rule.defaults:
            return compile_builder(rule, append_unknown)
        text = (rule.rule, tuple(rule._trace), append_unknown)
        if text not in known:
            known[text] = compile_builder(rule, append_unknown)
        return known[text]

    routes._compile_builder = compiled


class _Pages(BytecodeCache):
    """Compiled templates, kept by what they were compiled of."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if code := self._known.get((bucket.key, bucket.checksum)):
            bucket.bytecode_from_string(code)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._known[bucket.key, bucket.checksum] = bucket.bytecode_to_string()
