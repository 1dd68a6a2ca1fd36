"""Pages that spoil calls: faults by order and by chance, limits, and who is told by webhook."""

from __future__ import annotations

from dataclasses import replace

from flask import Blueprint, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as Answer

from xtiger.sandbox import bounds
from xtiger.sandbox.accounting.api import RESOURCES
from xtiger.sandbox.faults import CATALOGUE, LASTING, LONGEST_HOLD, Fault
from xtiger.sandbox.forms import Note
from xtiger.sandbox.people.pages import told, trusted
from xtiger.sandbox.people.portrait import words
from xtiger.sandbox.shared import current
from xtiger.sandbox.webhooks import CATEGORIES, EVERY, Mishaps

_METHODS = ("GET", "PUT", "POST", "DELETE")
_MISHAPS = {"duplicate": "Send twice", "drop": "Lose", "forge": "Sign wrongly"}

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


def _whole(name: str, label: str, low: int, high: int = bounds.MOST) -> int | None:
    """A whole number of the form, None where it was left empty. Raises ValueError."""
    given = request.form.get(name, "").strip()
    return bounds.typed_whole(given, label, low, high) if given else None


def _real(name: str, label: str, high: float) -> float | None:
    """A number of the form, None where it was left empty. Raises ValueError."""
    given = request.form.get(name, "").strip()
    return bounds.typed_real(given, label, 0, high) if given else None


def _refused(error: Exception) -> Answer:
    return make_response(_faults_page([str(error)]), 400)


@blueprint.post("/faults")
def add() -> Answer:
    """Lets the next matching calls meet one fault."""
    form = request.form
    try:
        if form.get("fault") not in CATALOGUE:
            raise ValueError("Choose what happens from the list.")
        ready = CATALOGUE[form["fault"]].fault
        seconds = _real("seconds", "Seconds, if late", LONGEST_HOLD)
        count = _whole("count", "How many calls", 1)
        wanted = {
            "kind": form["fault"],
            "method": form.get("method", ""),
            "resource": form.get("resource", ""),
            "tenant": form.get("tenant", ""),
            "count": 1 if count is None else count,
            "seconds": ready.seconds if seconds is None else seconds,
            "after_store": ready.after_store,
            "status": ready.status,
        }
        fault = Fault.read(wanted)
    except ValueError as error:
        return _refused(error)
    current().faults.add([fault])
    return told(Note(f"Coming: {_words(fault)}."), "panel.faults")


@blueprint.get("/faults/<any(clear, release, dial, limits):_>")
def faults_again(_: str) -> Answer:
    """The address that a refused form leaves in the browser leads back to the forms."""
    return redirect(url_for("panel.faults"))


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
        percent = _real("percent", "Per cent", 100) or 0
        seed = _whole("seed", "Seed", 0, bounds.LARGEST_SEED) or 0
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
            day=_whole("day", "Calls a day", 1),
            minute=_whole("minute", "Calls a minute", 1),
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


@blueprint.get("/webhooks/<any(end, mishaps):_>")
def webhooks_again(_: str) -> Answer:
    return redirect(url_for("panel.webhooks"))


@blueprint.post("/webhooks/end")
def unsubscribe() -> Answer:
    current().webhooks.unsubscribe(request.form.get("owner", ""))
    return told(Note("The subscription has ended."), "panel.webhooks")


@blueprint.post("/webhooks/mishaps")
def mishaps() -> Answer:
    try:
        wanted = {name: _whole(name, label, 0) or 0 for name, label in _MISHAPS.items()}
    except ValueError as error:
        return make_response(_webhooks_page([str(error)]), 400)
    current().webhooks.mishaps = Mishaps(**wanted)
    return told(Note("Saved for the next deliveries."), "panel.webhooks")
