"""What tests may ask of the sandbox: spoil answers, turn its dials, and tell what it was sent."""

from __future__ import annotations

from dataclasses import asdict

from flask import Blueprint, Response, abort, request

from xtiger.sandbox import bounds, webhooks
from xtiger.sandbox.accounting.api import RESOURCES
from xtiger.sandbox.accounting.receipts import set_classic
from xtiger.sandbox.faults import Fault
from xtiger.sandbox.forms import ours
from xtiger.sandbox.shared import current, named
from xtiger.sandbox.wire import Json, Malformed, day, dumps, flag

blueprint = Blueprint("control", __name__, url_prefix="/_control")


@blueprint.before_request
def _guarded() -> None:
    """A web page of somebody else may not command, be it with an empty body."""
    if request.method == "POST" and not ours(request):
        abort(403)


def _json(body: object, status: int = 200) -> Response:
    return Response(dumps(body), status, content_type="application/json")


@blueprint.errorhandler(Malformed)
def _unread(error: Malformed) -> Response:
    return _json({"error": str(error)}, 400)


def _asked() -> Json:
    """The JSON object sent; other content types are refused. Raises Malformed."""
    asked = request.get_json()
    if not isinstance(asked, dict):
        raise Malformed("The body must be an object.")
    return asked


@blueprint.post("/hold")
def hold() -> Response:
    """`{"method", "resource", "count", "after_store"}`: holds back the next matching answer."""
    return _add([{"kind": "hold"} | _asked()])


@blueprint.post("/faults")
def faults() -> Response:
    """One fault or a list of them: the fields of Fault. An empty list clears what is coming."""
    asked = request.get_json()
    if asked == []:
        current().faults.clear()
    return _add(asked if isinstance(asked, list) else [asked])


def _add(asked: list[Json]) -> Response:
    try:
        found = [Fault.read(one) for one in asked]
    except ValueError as error:
        return _json({"error": f"not a fault: {error}"}, 400)
    current().faults.add(found)
    return _json({"coming": len(current().faults.coming)})


@blueprint.get("/faults")
def coming() -> Response:
    """The faults still to come."""
    return _json({"coming": [asdict(one) for one in current().faults.coming]})


@blueprint.route("/dial", methods=["GET", "POST"])
def dial() -> Response:
    """`{"percent", "kinds", "seed"}`: faults by chance for accounting calls; 0 ends them."""
    found = current().dial
    if request.method == "POST":
        asked = _asked()
        try:
            found.set(asked.get("percent"), asked.get("kinds", ()), asked.get("seed", 0))  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            return _json({"error": f"not a dial: {error}"}, 400)
    return _json(found.told())


@blueprint.route("/limits", methods=["GET", "POST"])
def limits() -> Response:
    """What is left for each organisation; `{"enforced", "day", "minute", "reset"}` changes it."""
    found = current().limits
    if request.method == "POST":
        asked = _asked()
        try:
            found.change(asked.get("enforced"), day=asked.get("day"), minute=asked.get("minute"))
        except ValueError as error:
            return _json({"error": f"not a limit: {error}"}, 400)
        if flag(asked.get("reset")):
            found.reset()
    tenants = [one.tenant for one in current().state.organisations()]
    return _json(found.told() | {"left": {tenant: found.left(tenant) for tenant in tenants}})


@blueprint.get("/webhooks")
def subscriptions() -> Response:
    """Every subscription and the last calls made, newest first."""
    hooks = current().webhooks
    found = [hooks.told(one) for one in hooks.subscriptions()]
    return _json({"subscriptions": found, "history": hooks.history()})


@blueprint.post("/webhooks")
@blueprint.post("/webhooks/<tenant>")
def subscribe(tenant: str = webhooks.EVERY) -> Response:
    """`{"url", "key", "categories"}` for one organisation, or for all that have none of their own.

    The intent to receive begins at once; `{"url": ""}` ends the subscription.
    """
    if tenant != webhooks.EVERY and current().state.organisation(tenant) is None:
        return _json({"error": "no such organisation"}, 404)
    asked, hooks = _asked(), current().webhooks
    try:
        if not asked["url"]:
            return _json({"ended": hooks.unsubscribe(tenant)})
        found = hooks.subscribe(
            tenant, asked["url"], asked.get("key") or "", asked.get("categories") or ()
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return _json({"error": f"not a subscription: {error}"}, 400)
    return _json(hooks.told(found))


@blueprint.post("/webhooks/mishaps")
def mishaps() -> Response:
    """`{"duplicate": 1, "drop": 1, "forge": 1}`: how many of the next deliveries go wrong."""
    asked, hooks = _asked(), current().webhooks
    try:
        hooks.mishaps = webhooks.Mishaps(
            **{name: bounds.whole(count, name, 0) for name, count in asked.items()}
        )
    except (TypeError, ValueError) as error:
        return _json({"error": f"no mishap: {error}"}, 400)
    return _json(asdict(hooks.mishaps))


@blueprint.post("/identity")
def identities() -> Response:
    """`{"broad_scopes": true}` for an app made before March 2026; `{"custom": "<organisation>"}`
    is whom a custom connection reaches, by id, name or short code."""
    sandbox, asked = current(), _asked()
    if (broad := flag(asked.get("broad_scopes"))) is not None:
        sandbox.broad_scopes = broad
    if "custom" in asked:
        wanted = str(asked["custom"])
        if not any(wanted in named(one) for one in sandbox.state.organisations()):
            return _json({"error": "no such organisation"}, 404)
        sandbox.custom = wanted
    return _json({"broad_scopes": sandbox.broad_scopes, "custom": sandbox.custom})


@blueprint.get("/held")
def held() -> Response:
    """Which answers are being held at this moment."""
    found = current().faults.holding()
    return _json({"count": len(found), "held": found})


@blueprint.post("/release")
def release() -> Response:
    """Lets all held answers go."""
    return _json({"released": current().faults.release()})


@blueprint.get("/requests")
def requests() -> Response:
    """The ordered log of accounting calls after sequence `after`."""
    return _json({"requests": current().state.diary.logged(request.args.get("after", 0, int))})


@blueprint.post("/requests/clear")
def clear_requests() -> Response:
    current().state.diary.forget_log()
    current().shelf.clear()
    return _json({})


@blueprint.get("/counts")
def counts() -> Response:
    """Per organisation: objects kept by their kind, files and notes of history kept with them,
    write calls, replays among further calls, read calls."""
    state = current().state
    found: Json = {}
    for organisation in state.organisations():
        tenant = organisation.tenant
        calls = state.counters(tenant)
        found[tenant] = {
            "name": organisation.name,
            **{
                one.plural.lower(): state.count(tenant, one.kind)
                for one in RESOURCES.values()
                if one.plural != "Organisations"
            },
            "allocations": state.count(tenant, "allocation"),
            **state.cabinet.counts(tenant),
            "write_calls": calls.get("write_calls", 0),
            "write_replays": calls.get("write_replays", 0),
            "read_calls": calls.get("read_calls", 0),
        }
    return _json(found)


@blueprint.post("/organisations/<tenant>")
def organisation(tenant: str) -> Response:
    """Sets or clears lock dates: `{"PeriodLockDate": "2026-06-30"}` or null.

    `{"ClassicExpenses": true}` gives the organisation Receipts, which new ones don't have.
    """
    state = current().state
    if state.organisation(tenant) is None:
        return _json({"error": "no such organisation"}, 404)
    changes: Json = {}
    asked = _asked()
    for name in ("PeriodLockDate", "EndOfYearLockDate"):
        if name in asked:
            found = day(asked[name], name)
            changes[name] = found.isoformat() if found else None
    state.change_organisation(tenant, changes)
    if (expenses := flag(asked.get("ClassicExpenses"))) is not None:
        set_classic(state, tenant, has=expenses)
        changes["ClassicExpenses"] = expenses
    return _json(changes)


@blueprint.post("/tokens/expire")
def expire_tokens() -> Response:
    """Lets every access token end now; with `{"refresh": true}` the refresh tokens too."""
    state = current().state
    with state.transaction():
        state.grants.expire("access", state.now())
        if (request.get_json(silent=True) or {}).get("refresh"):
            state.grants.expire("refresh", state.now())
    return _json({})
