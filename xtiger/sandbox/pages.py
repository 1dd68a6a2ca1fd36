"""Pages for people: what is in the books of the local Xero."""

from __future__ import annotations

from flask import (
    Blueprint,
    Response,
    abort,
    current_app,
    redirect,
    render_template,
    request,
    url_for,
)
from werkzeug.wrappers import Response as Answer

from xtiger.sandbox.books import Books
from xtiger.sandbox.invoices import Invoices
from xtiger.sandbox.state import Organisation, State, Stored
from xtiger.sandbox.wire import Json, identifier

_PAGE = 100
#: Invoices of each organisation on the first page.
_NEWEST = 10
_TABS = {"invoices": "invoice", "contacts": "contact", "items": "item"}
_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self';"
    " frame-ancestors 'none'; base-uri 'none'"
)

blueprint = Blueprint("pages", __name__, template_folder="templates")


def guarded(response: Response) -> Response:
    """Strict headers for every page; the API's JSON isn't concerned."""
    if response.mimetype == "text/html" and response.data:
        response.headers.setdefault("Content-Security-Policy", _POLICY)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _state() -> State:
    state: State = current_app.extensions["xero_sandbox"].state
    return state


def _organisation(tenant: str) -> Organisation:
    return _state().organisation(tenant) or abort(404)


def _counts(tenant: str) -> dict[str, int]:
    return {tab: _state().count(tenant, kind) for tab, kind in _TABS.items()}


@blueprint.get("/healthz")
def healthz() -> Response:
    return Response("ok", content_type="text/plain; charset=utf-8")


@blueprint.get("/favicon.ico")
def favicon() -> Response:
    return Response(b"", 204)


@blueprint.get("/")
def home() -> str:
    """Every organisation with its counts and newest invoices."""
    found = [
        (one, _counts(one.tenant), _newest(one.tenant, _NEWEST)) for one in _state().organisations()
    ]
    return render_template("home.html", organisations=found)


def _newest(tenant: str, limit: int) -> list[Json]:
    rows = _state().objects(tenant, "invoice", order="position DESC", limit=limit)
    return [_row(tenant, "invoices", one) for one in rows]


@blueprint.get("/organisations/<tenant>")
def books(tenant: str) -> Answer:
    return redirect(url_for("pages.listing", tenant=tenant, tab="invoices"))


@blueprint.get("/organisations/<tenant>/<any(invoices, contacts, items):tab>")
def listing(tenant: str, tab: str) -> str:
    """One kind of object, newest first, a hundred a page."""
    organisation, kind, state = _organisation(tenant), _TABS[tab], _state()
    counts = _counts(tenant)
    pages = max(1, -(-counts[tab] // _PAGE))
    page = min(max(1, request.args.get("page", 1, int)), pages)
    rows = state.objects(
        tenant, kind, order="position DESC", limit=_PAGE, offset=(page - 1) * _PAGE
    )
    return render_template(
        "listing.html",
        organisation=organisation,
        organisations=state.organisations(),
        tab=tab,
        counts=counts,
        rows=[_row(tenant, tab, one) for one in rows],
        page=page,
        pages=pages,
    )


def _row(tenant: str, tab: str, stored: Stored) -> Json:
    row: Json = stored.body | {"id": stored.id}
    if tab == "invoices":
        contact = _state().get(tenant, "contact", stored.body["ContactID"])
        row["contact"] = contact.body["Name"] if contact else ""
    return row


@blueprint.get("/organisations/<tenant>/invoices/<invoice>")
def invoice(tenant: str, invoice: str) -> str:
    organisation = _organisation(tenant)
    stored = _state().get(tenant, "invoice", identifier(invoice) or "") or abort(404)
    books = Books(_state(), organisation, "", four=True)
    return render_template(
        "invoice.html",
        organisation=organisation,
        invoice=stored.body | {"id": stored.id},
        contact=Invoices().show_alone(books, stored)["Contact"],
    )


@blueprint.get("/organisations/<tenant>/contacts/<contact>")
def contact(tenant: str, contact: str) -> str:
    organisation = _organisation(tenant)
    state = _state()
    stored = state.get(tenant, "contact", identifier(contact) or "") or abort(404)
    documents = state.objects(
        tenant, "invoice", "contact = ?", (stored.id,), order="position DESC", limit=_PAGE
    )
    return render_template(
        "contact.html",
        organisation=organisation,
        contact=stored.body | {"id": stored.id},
        rows=[_row(tenant, "invoices", one) for one in documents],
    )


def _by_short_code(short_code: str) -> Organisation:
    found = [one for one in _state().organisations() if one.short_code == short_code]
    return found[0] if found else abort(404)


@blueprint.get("/app/<short_code>/invoicing/view/<key>")
def deep_invoice(short_code: str, key: str) -> Answer:
    """Xero's own address of an invoice, so that links made for Xero work here."""
    tenant = _by_short_code(short_code).tenant
    return redirect(url_for("pages.invoice", tenant=tenant, invoice=key))


@blueprint.get("/app/<short_code>/contacts/contact/<key>")
def deep_contact(short_code: str, key: str) -> Answer:
    tenant = _by_short_code(short_code).tenant
    return redirect(url_for("pages.contact", tenant=tenant, contact=key))
