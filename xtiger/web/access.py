"""Who may open what: people, roles, and the guard that refuses every route without a rule."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast
from urllib.parse import urlsplit

from flask import Blueprint, abort, current_app, g, redirect, request
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import validate_csrf
from wtforms import ValidationError

#: Seconds a form may stay open before it must be loaded again.
FORM_LIFE = 14 * 24 * 3600

#: The page a capability is named by where somebody lacks it; None is said by the role alone.
CAPABILITIES = (
    "overview",
    "records.read",
    "flag",
    "sync.one",
    "crm.edit",
    "queue.read",
    "queue.act",
    "logs.read",
    "logs.payload",
    "run",
    "reports",
    "setup",
    "users",
)

_USER = frozenset({"overview", "records.read", "flag", "sync.one", "crm.edit"})
_MANAGER = frozenset({"overview", "records.read", "queue.read", "logs.read", "reports"})

#: What each role may do; a host's `access` may map its own.
ROLES: Mapping[str, frozenset[str]] = {
    "user": _USER,
    "manager": _MANAGER,
    "administrator": frozenset(CAPABILITIES),
}


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks. `role` is a key of `ROLES` or a host's own word."""

    name: str
    email: str
    role: str | None
    capabilities: frozenset[str]
    signed_in: bool

    def can(self, capability: str) -> bool:
        """Whether the person has a capability."""
        return capability in self.capabilities


#: Whoever isn't signed in.
NOBODY = Person(name="", email="", role=None, capabilities=frozenset(), signed_in=False)


class Access(Protocol):
    """Where people come from: the standalone accounts, or a host's own."""

    def person(self) -> Person:
        """Who makes this request."""

    def sign_in_url(self, next: str) -> str:
        """Where to sign in, to come back to `next`."""

    def sign_out_url(self) -> str | None:
        """Where to sign out by POST, None where the host has its own way."""

    def administrators(self) -> list[str]:
        """Names of those who can help: "Ask Ana."."""


View = TypeVar("View", bound=Callable[..., Any])


def needs(capability: str) -> Callable[[View], View]:
    """Declares the capability a view needs; a view without a declaration is refused to all."""
    if capability not in CAPABILITIES:
        raise ValueError(f"{capability!r} isn't a capability")

    def declare(view: View) -> View:
        cast(Any, view).xtiger_needs = capability
        return view

    return declare


def guard(
    blueprint: Blueprint, *, public: Sequence[str] = (), tokenless: Sequence[str] = ()
) -> None:
    """Puts the rules before every request of a blueprint.

    `public` names the endpoints that are open to all, `tokenless` those whose POSTs come from
    machines, which prove themselves in another way.

    1. An endpoint without a declaration is refused.
    2. Nobody signed in: to the sign-in page, or 401 for a fragment.
    3. Without the capability: 403, with who could help.
    4. A POST without a fresh token of this session is refused.
    """
    open_to_all = {f"{blueprint.name}.{name}" for name in public}
    by_machines = {f"{blueprint.name}.{name}" for name in tokenless}

    def check() -> ResponseReturnValue | None:
        if request.endpoint in open_to_all:
            _check_method(by_machines)
            return None
        view = current_app.view_functions[request.endpoint or ""]
        capability = getattr(view, "xtiger_needs", None)
        if capability is None:
            abort(403)
        person = who()
        if not person.signed_in:
            return _sign_in()
        if not person.can(capability):
            abort(403)
        _check_method(by_machines)
        return None

    def exempt(_endpoint: str | None, _values: object) -> None:
        csrf = current_app.extensions.get("csrf")
        if csrf is not None:
            for name in by_machines:
                csrf.exempt(current_app.view_functions[name])

    # A host's own CSRFProtect hooks every view, and may be put on the host after us: this is
    # called before whatever it hooks.
    blueprint.url_value_preprocessor(exempt)
    blueprint.before_request(check)


def access() -> Access:
    """The host's or the standalone accounts."""
    return cast(Access, current_app.extensions["xtiger"].access)


def who() -> Person:
    """Who makes this request, asked once."""
    if "xtiger_person" not in g:
        g.xtiger_person = access().person()
    return cast(Person, g.xtiger_person)


def can(capability: str) -> bool:
    """Whether who asks has a capability."""
    return who().can(capability)


def _sign_in() -> ResponseReturnValue:
    if request.path.endswith("/_live"):
        abort(401)
    if request.method in {"GET", "HEAD"}:
        return redirect(access().sign_in_url(_own_path(request.full_path.rstrip("?"))), 302)
    # A form of an ended session: back to the page it stood on, which is safe to open again.
    came_from = urlsplit(request.referrer or "")
    same = came_from.netloc == request.host
    path = came_from.path + (f"?{came_from.query}" if came_from.query else "") if same else "/"
    return redirect(access().sign_in_url(path or "/"), 303)


def _own_path(path: str) -> str:
    return f"{request.script_root}{path}"


def _check_method(by_machines: Collection[str]) -> None:
    if request.method not in {"GET", "HEAD", "OPTIONS"} and request.endpoint not in by_machines:
        _check_token()


def _check_token() -> None:
    try:
        validate_csrf(request.form.get("csrf_token", ""), time_limit=FORM_LIFE)
    except ValidationError:
        g.xtiger_refused = "token"
        abort(400)
    # FlaskForm asks once more; the answer is known.
    g.csrf_valid = True
