"""Pages for people: what is in the books of the local Xero, and what a person may do there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from flask import (
    Blueprint,
    Response,
    abort,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as Answer

from xtiger.sandbox.accounting.api import RESOURCES
from xtiger.sandbox.accounting.books import Books, PartCall, Resource
from xtiger.sandbox.accounting.queries import Query, literal
from xtiger.sandbox.forms import Note
from xtiger.sandbox.kept.state import Organisation, State, Stored, fold
from xtiger.sandbox.people import actions
from xtiger.sandbox.people.portrait import (
    Cell,
    Table,
    called,
    listing,
    portrait,
    table,
    title_of,
    words,
)
from xtiger.sandbox.shared import current
from xtiger.sandbox.wire import Json, Malformed, Reply, day, loads

_PAGE = 100
#: documents of each organisation on the first page
_NEWEST = 5
_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self';"
    " frame-ancestors 'none'; base-uri 'none'"
)
#: addresses that programs ask: what they answer stays as it is
_PROGRAMS = ("/api.xro", "/connections", "/identity", "/connect/", "/_control", "/_static")
_WRONG = {
    400: "That can't be done",
    404: "There is nothing here",
    405: "Nothing can be opened here",
    413: "That is too large",
}
_MISSING = "No page has this address, or what it showed was removed."
_LOCKS = {"PeriodLockDate": "Period lock date", "EndOfYearLockDate": "Year end lock date"}

blueprint = Blueprint("pages", __name__, template_folder="templates")


@dataclass(frozen=True, slots=True)
class Tab:
    """A list of one kind of object; bills are invoices of their own type."""

    name: str
    label: str
    resource: str
    condition: str = "1"


#: lists that people read by name or code
_BY_NAME = frozenset({"accounts", "contacts", "items", "taxrates", "currencies", "contactgroups"})
_TABS = {
    "invoices": Tab("invoices", "Invoices", "invoices", "type <> 'ACCPAY'"),
    "bills": Tab("bills", "Bills", "invoices", "type = 'ACCPAY'"),
}
_GROUPS = {
    "Business": (
        "invoices",
        "bills",
        "quotes",
        "purchaseorders",
        "creditnotes",
        "receipts",
        "items",
    ),
    "Money": ("payments", "banktransactions", "prepayments", "overpayments"),
    "People": ("contacts", "contactgroups", "users"),
}


def tabs() -> dict[str, Tab]:
    """Every kind of object that has its own list, the usual ones first, new ones by themselves."""
    known = [name for group in _GROUPS.values() for name in group]
    found = [name for name in known if name in RESOURCES or name in _TABS]
    found += [
        name
        for name, one in RESOURCES.items()
        if name not in found and one.plural != "Organisations"
    ]
    return {
        name: _TABS.get(name) or Tab(name, words(RESOURCES[name].plural), name) for name in found
    }


def guarded(response: Response) -> Response:
    """Strict headers for every page; the API's JSON isn't concerned."""
    if response.mimetype == "text/html" and response.data:
        response.headers.setdefault("Content-Security-Policy", _POLICY)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
    return response


def trusted() -> None:
    """Stops a form that no page of ours sent."""
    if request.method == "POST" and not current().desk.trusts(request):
        abort(400, "This form is no longer valid. Go back, reload the page and try again.")


def told(note: Note, endpoint: str, **values: str) -> Answer:
    """Leads on after an action; the next page says the note."""
    given: Json = {**values, "note": current().desk.leave(note)}
    return redirect(url_for(endpoint, **given), 303)


blueprint.before_request(trusted)


@blueprint.app_errorhandler(HTTPException)
def wrong(error: HTTPException) -> HTTPException | Answer:
    """What went wrong, within the frame of the pages."""
    if error.code not in _WRONG or request.path.lower().startswith(_PROGRAMS):
        return error
    answer = error.get_response()
    said = _MISSING if error.code == 404 else error.description
    page = render_template("wrong.html", title=_WRONG[error.code], said=said)
    answer.set_data(page)
    return answer


@blueprint.app_context_processor
def _shared() -> Json:
    """What every page of the sandbox shows or needs."""
    desk = current().desk
    return {"form_token": desk.token, "note": desk.note(request.args.get("note"))}


def _state() -> State:
    return current().state


def _organisation(tenant: str) -> Organisation:
    return _state().organisation(tenant) or abort(404)


def _books(organisation: Organisation) -> Books:
    return Books(_state(), organisation, "", four=True)


def _counts(books: Books) -> dict[str, int]:
    """How many there are of each kind that the organisation has."""
    return {
        name: books.state.count(books.tenant, RESOURCES[tab.resource].kind, tab.condition)
        for name, tab in tabs().items()
        if RESOURCES[tab.resource].offered(books)
    }


def _menu(books: Books) -> list[tuple[str, list[tuple[Tab, int]]]]:
    counts, known = _counts(books), tabs()
    grouped = {name for names in _GROUPS.values() for name in names}
    groups = dict(_GROUPS) | {"Settings": tuple(n for n in counts if n not in grouped)}
    return [
        (group, [(known[name], counts[name]) for name in names if name in counts])
        for group, names in groups.items()
    ]


def _tab_of(kind: str, body: Json) -> str:
    if kind == "invoice":
        return "bills" if body.get("Type") == "ACCPAY" else "invoices"
    return next((name for name, tab in tabs().items() if RESOURCES[tab.resource].kind == kind), "")


def _ids() -> dict[str, str]:
    """Which id fields lead to a page, and to which list it belongs."""
    found = {one.id_field: name for name, one in RESOURCES.items() if "GET/id" in one.methods}
    found.pop("", None)
    return found


@blueprint.get("/healthz")
def healthz() -> Response:
    return Response("ok", content_type="text/plain; charset=utf-8")


@blueprint.get("/favicon.ico")
def favicon() -> Response:
    return Response(b"", 204)


@blueprint.get("/")
def home() -> str:
    """Every organisation with its counts and newest invoices."""
    found = []
    for organisation in _state().organisations():
        books = _books(organisation)
        counts = {name: count for name, count in _counts(books).items() if name in _MAIN}
        query = Query(order="position DESC", page=1, size=_NEWEST)
        rows = _table("Newest invoices and bills", books, RESOURCES["invoices"], query)
        found.append((organisation, counts, rows))
    return render_template("home.html", organisations=found, tabs=tabs(), ids=_ids())


_MAIN = ("contacts", "invoices", "bills", "payments", "items")


def _table(title: str, books: Books, known: Resource, query: Query) -> Table:
    members = known.members(books, query, detail=False)
    headings, numeric, rows = listing(members, _ids(), known.id_field)
    return Table(title, headings, numeric, rows)


@blueprint.get("/organisations/<tenant>")
def organisation(tenant: str) -> str:
    """One organisation: what is in it, its lock dates, and what else is set."""
    return _organisation_page(tenant, [])


def _organisation_page(tenant: str, errors: list[str]) -> str:
    found = _organisation(tenant)
    books, state = _books(found), _state()
    connected = [one for _, _, one in state.grants.of("connection") if one["tenantId"] == tenant]
    return render_template(
        "organisation.html",
        organisation=found,
        groups=_menu(books),
        connected=connected,
        locks=[(name, label, found.body.get(name) or "") for name, label in _LOCKS.items()],
        errors=errors,
    )


@blueprint.get("/organisations/<tenant>/locks")
def unlocked(tenant: str) -> Answer:
    """The address that a refused form leaves in the browser leads back to the form."""
    return redirect(url_for("pages.organisation", tenant=_organisation(tenant).tenant))


@blueprint.post("/organisations/<tenant>/locks")
def lock(tenant: str) -> Answer:
    """Sets or, left empty, clears the lock dates."""
    _organisation(tenant)
    try:
        dates = {name: day(request.form.get(name), label) for name, label in _LOCKS.items()}
    except Malformed as error:
        return make_response(_organisation_page(tenant, [str(error)]), 400)
    changes = {name: found.isoformat() if found else None for name, found in dates.items()}
    _state().change_organisation(tenant, changes)
    return told(Note("Lock dates saved."), "pages.organisation", tenant=tenant)


@blueprint.get("/organisations/<tenant>/<tab>")
def listed(tenant: str, tab: str) -> str:
    """One kind of object, a hundred a page, newest first; what has a name goes by that."""
    organisation, known = _organisation(tenant), tabs()
    chosen = known.get(tab) or abort(404)
    books, resource = _books(organisation), RESOURCES[chosen.resource]
    if not resource.offered(books):
        abort(404)
    order = "name, position" if tab in _BY_NAME else "position DESC"
    query = Query(order=order, page=1, size=_PAGE)
    query.narrow(chosen.condition)
    sought = request.args.get("q", "").strip()
    if sought:
        _seek(query, sought)
    count = books.state.count(tenant, resource.kind, query.condition, query.values)
    pages = max(1, -(-count // _PAGE))
    query.page = min(max(1, request.args.get("page", 1, int)), pages)
    return render_template(
        "listing.html",
        organisation=organisation,
        organisations=_state().organisations(),
        tab=chosen,
        groups=_menu(books),
        table=_table(chosen.label, books, resource, query),
        ids=_ids(),
        count=count,
        sought=sought,
        page=query.page,
        pages=pages,
    )


def _seek(query: Query, sought: str) -> None:
    """In names, numbers and codes, and in the name of the contact."""
    like = f"%{literal(fold(sought))}%"
    query.narrow(
        "name LIKE ? ESCAPE '\\' OR number LIKE ? ESCAPE '\\' OR contact IN (SELECT id FROM"
        " objects c WHERE c.tenant = objects.tenant AND c.kind = 'contact'"
        " AND c.name LIKE ? ESCAPE '\\')",
        like,
        like,
        like,
    )


@blueprint.get("/organisations/<tenant>/<tab>/<key>")
def thing(tenant: str, tab: str, key: str) -> str:
    """One object with all that is known of it, and what may be done to it."""
    return _thing_page(*_found(tenant, tab, key), errors=[], entered={})


def _found(tenant: str, tab: str, key: str) -> tuple[Books, Tab, Resource, Stored]:
    organisation, chosen = _organisation(tenant), tabs().get(tab) or abort(404)
    books, known = _books(organisation), RESOURCES[chosen.resource]
    stored = known.find(books, key) if "GET/id" in known.methods else None
    return books, chosen, known, stored or abort(404)


def _thing_page(
    books: Books,
    tab: Tab,
    known: Resource,
    stored: Stored,
    *,
    errors: list[str],
    entered: dict[str, str],
) -> str:
    shown = known.show_alone(books, stored)
    tab = tabs()[_tab_of(known.kind, stored.body)]
    seen = portrait(shown, _ids(), known.id_field)
    tables = [*seen.tables, *_below(books, known, stored)]
    if known.kind == "contact":
        tables += _documents(books, stored.id)
    return render_template(
        "thing.html",
        organisation=books.organisation,
        tab=tab,
        key=stored.id,
        seen=seen,
        tables=tables,
        ids=_ids(),
        actions=actions.offered(books, known, stored, shown),
        remark=actions.remark(known, stored),
        errors=errors,
        entered=entered,
    )


def _below(books: Books, known: Resource, stored: Stored) -> Iterable[Table]:
    """What the API shows below the object: files, options, notes."""
    for name, part in known.parts.items():
        if name not in ("attachments", "history"):
            continue  # the object itself shows the rest
        reply: Reply = part.call(books, stored, PartCall("GET", None, b"", "", {}))
        if reply.status == 200:
            body = loads(reply.body)
            rows = next((one for one in body.values() if isinstance(one, list)), [])
            if found := table(words(part.plural), rows, {}):
                yield found


def _documents(books: Books, contact: str) -> Iterable[Table]:
    """All documents of a contact, of every kind."""
    for tab in tabs().values():
        known = RESOURCES[tab.resource]
        query = Query(order="position DESC", page=1, size=_PAGE)
        query.narrow(tab.condition)
        query.narrow("contact = ?", contact)
        if known.kind != "contact" and books.state.count(
            books.tenant, known.kind, query.condition, query.values
        ):
            yield _table(tab.label, books, known, query)


@blueprint.post("/organisations/<tenant>/<tab>/<key>/<action>")
def act(tenant: str, tab: str, key: str, action: str) -> Answer:
    """One action; refused, the page says why in Xero's words and keeps what was entered.

    What can't be taken back is asked for by a page of its own first.
    """
    books, chosen, known, stored = _found(tenant, tab, key)
    shown = known.show_alone(books, stored)
    meant = actions.meant(books, known, stored, shown, action)
    if meant and meant.asked and request.form.get("sure") != "yes":
        return make_response(_question(books, known, stored, shown, meant))
    if meant is None:
        errors = ["This can no longer be done here."]
    else:
        errors = actions.perform(books, known, stored, action, request.form)
    if errors:
        page = _thing_page(
            books, chosen, known, stored, errors=errors, entered=request.form.to_dict()
        )
        return make_response(page, 400)
    assert meant is not None
    note = Note(meant.done)
    if known.find(books, stored.id) is None:
        return told(note, "pages.listed", tenant=tenant, tab=tab)
    return told(note, "pages.thing", tenant=tenant, tab=tab, key=stored.id)


@blueprint.get("/organisations/<tenant>/<tab>/<key>/<action>")
def act_again(tenant: str, tab: str, key: str, action: str) -> Answer:
    """The address that a refused action leaves in the browser leads back to the object."""
    *_, stored = _found(tenant, tab, key)
    return redirect(url_for("pages.thing", tenant=tenant, tab=tab, key=stored.id))


def _question(
    books: Books, known: Resource, stored: Stored, shown: Json, meant: actions.Action
) -> str:
    """Whether that is meant."""
    name = called(shown, known.id_field)
    verb = meant.title
    if not title_of(shown)[1]:  # by its kind and amount
        verb, name = verb.partition(" ")[0], f"the {name[:1].lower()}{name[1:]}"
    return render_template(
        "question.html",
        organisation=books.organisation,
        tab=tabs()[_tab_of(known.kind, stored.body)],
        key=stored.id,
        question=f"{verb} {name}?",
        action=meant,
    )


@blueprint.app_template_filter("address")
def address(cell: Cell, tenant: str) -> str:
    """Where the object that a cell names has its page, empty if it has none."""
    tab = _ids().get(cell.id_field, "")
    return url_for("pages.thing", tenant=tenant, tab=tab, key=cell.id) if tab and cell.id else ""


# Xero's own addresses, so that links made for Xero work here


def _by_short_code(short_code: str) -> Organisation:
    found = [one for one in _state().organisations() if one.short_code == short_code]
    return found[0] if found else abort(404)


def _deep(short_code: str, tab: str, key: str) -> Answer:
    tenant = _by_short_code(short_code).tenant
    return redirect(url_for("pages.thing", tenant=tenant, tab=tab, key=key))


@blueprint.get("/app/<short_code>/invoicing/view/<key>")
def deep_invoice(short_code: str, key: str) -> Answer:
    return _deep(short_code, "invoices", key)


@blueprint.get("/app/<short_code>/contacts/contact/<key>")
def deep_contact(short_code: str, key: str) -> Answer:
    return _deep(short_code, "contacts", key)


@blueprint.get("/app/<short_code>/quotes/view/<key>")
def deep_quote(short_code: str, key: str) -> Answer:
    return _deep(short_code, "quotes", key)
