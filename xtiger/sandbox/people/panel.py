"""Pages that spoil calls: faults by order and by chance, limits, and who is told by webhook."""

from __future__ import annotations

from dataclasses import replace

from flask import Blueprint, make_response, render_template, request
from werkzeug.wrappers import Response as Answer

from xtiger.sandbox.accounting.api import RESOURCES
from xtiger.sandbox.faults import CATALOGUE, LASTING, Fault
from xtiger.sandbox.forms import Note
from xtiger.sandbox.people.pages import told, trusted
from xtiger.sandbox.people.portrait import words
from xtiger.sandbox.shared import current
from xtiger.sandbox.webhooks import CATEGORIES, EVERY, Mishaps

_METHODS = ("GET", "PUT", "POST", "DELETE")

blueprint = Blueprint("panel", __name__, template_folder="templates")
blueprint.before_request(trusted)


@blueprint.get("/faults")
def faults() -> str:
    """What goes wrong next, how often chance strikes, and what is left of the limits."""
    return _faults_page([])


def _faults_page(errors: list[str]) -> str:
    sandbox = current()
    organisations = sandbox.state.organisations()
    names = {one.tenant: one.name for one in organisations}
    return render_template(
        "faults.html",
        catalogue=CATALOGUE,
        dialled={name: one for name, one in CATALOGUE.items() if one.fault.kind not in LASTING},
        resources=[one.plural for one in dict.fromkeys(RESOURCES.values())],
        methods=_METHODS,
        organisations=organisations,
        coming=[(_words(one), one, names.get(one.tenant, "")) for one in sandbox.faults.coming],
        held=sandbox.faults.holding(),
        dial=sandbox.dial.told(),
        limits=sandbox.limits.told(),
        left=[(one, sandbox.limits.left(one.tenant)) for one in organisations],
        errors=errors,
    )


def _words(fault: Fault) -> str:
    """What a fault does, as the list to choose from says it."""
    plain = replace(fault, method="", resource="", tenant="", count=1)
    same = (one.words for one in CATALOGUE.values() if one.fault == plain)
    alike = (one.words for one in CATALOGUE.values() if one.fault.kind is fault.kind)
    return next(same, next(alike, str(fault.kind)))


def _number(name: str, kind: type[int] | type[float], plain: float) -> float:
    """A number of the form. Raises ValueError."""
    given = request.form.get(name, "").strip()
    try:
        return kind(given) if given else plain
    except ValueError:
        raise ValueError(f"'{given}' is not a number.") from None


def _refused(error: Exception) -> Answer:
    return make_response(_faults_page([str(error)]), 400)


@blueprint.post("/faults")
def add() -> Answer:
    """Lets the next matching calls meet one fault."""
    form = request.form
    try:
        ready = CATALOGUE[form["fault"]].fault
        wanted = {
            "kind": form["fault"],
            "method": form.get("method", ""),
            "resource": form.get("resource", ""),
            "tenant": form.get("tenant", ""),
            "count": int(_number("count", int, 1)),
            "seconds": _number("seconds", float, ready.seconds),
            "after_store": ready.after_store,
            "status": ready.status,
        }
        fault = Fault.read(wanted)
    except (KeyError, TypeError, ValueError) as error:
        return _refused(error)
    current().faults.add([fault])
    return told(Note(f"Coming: {_words(fault)}."), "panel.faults")


@blueprint.post("/faults/clear")
def clear() -> Answer:
    current().faults.clear()
    return told(Note("No fault is coming any more."), "panel.faults")


@blueprint.post("/faults/release")
def release() -> Answer:
    count = current().faults.release()
    return told(Note(f"{count} held answers released."), "panel.faults")


@blueprint.post("/faults/dial")
def dial() -> Answer:
    found = current().dial
    try:
        percent, seed = _number("percent", float, 0), int(_number("seed", int, 0))
        found.set(percent, request.form.getlist("kinds"), seed)
    except ValueError as error:
        return _refused(error)
    said = f"{percent:g} % of the calls go wrong from now on." if percent else "The dial is off."
    return told(Note(said), "panel.faults")


@blueprint.post("/faults/limits")
def limits() -> Answer:
    found = current().limits
    try:
        found.change(
            request.form.get("enforced") == "yes",
            day=int(_number("day", int, 0)) or None,
            minute=int(_number("minute", int, 0)) or None,
        )
    except ValueError as error:
        return _refused(error)
    if request.form.get("reset"):
        found.reset()
    said = "Calls over the limits are refused." if found.enforced else "Calls are only counted."
    return told(Note(said), "panel.faults")


@blueprint.get("/webhooks")
def webhooks() -> str:
    """Who is told what, and the last deliveries."""
    return _webhooks_page([])


def _webhooks_page(errors: list[str]) -> str:
    hooks = current().webhooks
    organisations = current().state.organisations()
    names = {EVERY: "Every organisation"} | {one.tenant: one.name for one in organisations}
    return render_template(
        "webhooks.html",
        names=names,
        categories=list(CATEGORIES.values()),
        words={category: words(plural) for plural, category in CATEGORIES.items()},
        subscriptions=[(one, hooks.waiting(one.owner)) for one in hooks.subscriptions()],
        history=hooks.history(),
        mishaps=hooks.mishaps,
        errors=errors,
    )


@blueprint.post("/webhooks")
def subscribe() -> Answer:
    """Begins, or begins anew, with the intent to receive."""
    form, state = request.form, current().state
    owner = form.get("owner", EVERY)
    try:
        if owner != EVERY and state.organisation(owner) is None:
            raise ValueError("There is no such organisation.")
        current().webhooks.subscribe(
            owner, form.get("url", ""), form.get("key", "").strip(), form.getlist("categories")
        )
    except ValueError as error:
        return make_response(_webhooks_page([str(error)]), 400)
    return told(Note("The receiver is being asked now; reload in a moment."), "panel.webhooks")


@blueprint.post("/webhooks/end")
def unsubscribe() -> Answer:
    current().webhooks.unsubscribe(request.form.get("owner", ""))
    return told(Note("The subscription has ended."), "panel.webhooks")


@blueprint.post("/webhooks/mishaps")
def mishaps() -> Answer:
    try:
        wanted = {name: int(_number(name, int, 0)) for name in ("duplicate", "drop", "forge")}
    except ValueError as error:
        return make_response(_webhooks_page([str(error)]), 400)
    current().webhooks.mishaps = Mishaps(**{name: max(0, one) for name, one in wanted.items()})
    return told(Note("Saved for the next deliveries."), "panel.webhooks")
