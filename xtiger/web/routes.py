"""Routes of one page's file, kept until a blueprint is made: no blueprint lives at module level."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Blueprint

#: The greatest id a database can hold; a greater one in an address is no page of ours.
GREATEST = 2**63 - 1

View = TypeVar("View", bound=Callable[..., Any])


class Routes:
    """Collects a page's views; the endpoint is the function's name."""

    def __init__(self) -> None:
        self._rules: list[tuple[str, str, Callable[..., Any]]] = []

    def get(self, path: str) -> Callable[[View], View]:
        """A view that only shows."""
        return self._add(path, "GET")

    def post(self, path: str) -> Callable[[View], View]:
        """A view that does something and redirects."""
        return self._add(path, "POST")

    def _add(self, path: str, method: str) -> Callable[[View], View]:
        def keep(view: View) -> View:
            self._rules.append((path, method, view))
            return view

        return keep

    def put_on(self, blueprint: Blueprint) -> None:
        """Adds the collected rules to a blueprint."""
        for path, method, view in self._rules:
            bounded = path.replace("<int:", f"<int(max={GREATEST}):")
            blueprint.add_url_rule(bounded, view_func=view, methods=[method])
