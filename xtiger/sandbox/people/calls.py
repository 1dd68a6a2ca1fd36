"""Pages of the log: which calls came, what became of each element, and which fault struck."""

from __future__ import annotations

import contextlib

from flask import Blueprint, abort, render_template, request

from xtiger.sandbox.records import Exchange, described
from xtiger.sandbox.shared import current
from xtiger.sandbox.wire import Json, Malformed, dumps, loads

_PAGE = 100
#: of a call's number
_DIGITS = 18
#: characters of a body that one call's page shows
_LONGEST = 100_000

blueprint = Blueprint("calls", __name__, template_folder="templates")


@blueprint.get("/calls")
def calls() -> str:
    """Newest first; `before` is the number of the last call of the page before."""
    state = current().state
    before = request.args.get("before", 0, int)
    found = state.diary.calls(before, _PAGE + 1)
    return render_template(
        "calls.html",
        calls=[_summed(one) for one in found[:_PAGE]],
        older=found[_PAGE - 1]["sequence"] if len(found) > _PAGE else 0,
        before=before,
        names=_names(),
    )


def _names() -> dict[str, str]:
    return {one.tenant: one.name for one in current().state.organisations()}


def _summed(entry: Json) -> Json:
    elements = entry["elements"]
    bad = [one for one in elements if not one["ok"]]
    messages = list(dict.fromkeys(text for one in bad for text in one["errors"]))
    return entry | {"good": len(elements) - len(bad), "bad": len(bad), "messages": messages}


@blueprint.get("/calls/<number>")
def call(number: str) -> str:
    """One call: each element, and what went over the wire while it is still in memory."""
    # digits of any number: what is longer than a sequence can be is no call of ours
    if not (number.isascii() and number.isdigit() and len(number) <= _DIGITS):
        abort(404)
    sequence = int(number)
    found = current().state.diary.calls(sequence + 1, 1)
    if not found or found[0]["sequence"] != sequence:
        abort(404)
    exchange = current().shelf.get(sequence)
    return render_template(
        "call.html", call=_summed(found[0]), wire=exchange and _wire(exchange), names=_names()
    )


def _wire(exchange: Exchange) -> Json:
    shown = described(exchange)
    for name in ("request", "answer"):
        shown[name] = _readable(str(shown.get(name) or ""))
    return shown


def _readable(body: str) -> str:
    """JSON with its lines; other text as it is; long ones cut."""
    with contextlib.suppress(Malformed):
        body = dumps(loads(body), indented=True).decode() if body else ""
    return body if len(body) <= _LONGEST else f"{body[:_LONGEST]}\n… {len(body)} characters in all"
