"""Refusals and failures in words: the pages for 400, 401, 403, 404, 500 and our own errors."""

from __future__ import annotations

from typing import Any, NoReturn
from uuid import uuid4

from flask import Blueprint, Flask, Response, abort, current_app, g, request
from werkzeug.exceptions import Forbidden, NotFound, SecurityError

from xtiger.domain.errors import TransientError, XTigerError
from xtiger.web.access import access
from xtiger.web.frame import page, plain_page, who_or_nobody
from xtiger.web.words import ALLOWED, PAGES, names, say


class NotTheirs(Forbidden):
    """Their role opens the page, but this is somebody else's; the description says whose."""


class NoRecord(NotFound):
    """The CRM has no such record, or hides it."""


def put_on(house: Blueprint | Flask) -> None:
    """Registers the pages on a blueprint, or on the standalone app for all other addresses."""
    house.before_request(legible)
    house.register_error_handler(400, bad_request)
    house.register_error_handler(401, ended)
    house.register_error_handler(403, refused)
    house.register_error_handler(404, missing)
    house.register_error_handler(405, missing)
    house.register_error_handler(413, bad_request)
    house.register_error_handler(500, broken)
    house.register_error_handler(XTigerError, unable)


def legible() -> None:
    """Refuses an address with a NUL: PostgreSQL takes none in a text. Forms leave theirs out."""
    if "\0" in request.path or any(
        "\0" in text for pair in request.args.items(multi=True) for text in pair
    ):
        abort(400)


def bad_request(error: Any) -> Any:
    """A form without its token, or an address that can't be read."""
    if isinstance(error, SecurityError):
        # asked by a name that isn't ours: without one no page can be built, nor should it
        return Response("This server answers to its own name only.\n", 400, mimetype="text/plain")
    sentence = say("error.token" if g.get("xtiger_refused") == "token" else "error.400")
    return _shown("Nothing was done", sentence, 400)


def ended(_error: Any) -> Any:
    """A fragment of a session that has ended; the script stops and says so."""
    return say("error.ended"), 401


def refused(error: Any) -> Any:
    """Who may open or do it, and who to ask."""
    view = current_app.view_functions.get(request.endpoint or "")
    capability = getattr(view, "xtiger_needs", None)
    person = who_or_nobody()
    if capability is None:
        return _shown("Not open", say("error.404.why"), 403)
    if isinstance(error, NotTheirs):
        sentence = str(error.description)
    else:
        sentence = say(
            "error.403",
            who=ALLOWED.get(capability, "administrators"),
            page=_page_name(),
            role=(person.role or "none").capitalize(),
        )
    helpers = access().administrators()
    if helpers:
        sentence = f"{sentence} {say('error.403.ask', names=names(helpers))}"
    return _shown("Not for your role", sentence, 403)


def missing(error: Any) -> Any:
    """No page, or no record."""
    if isinstance(error, NoRecord):
        return _shown("No such record", say("error.404.record"), 404)
    return _shown(say("error.404"), say("error.404.why"), getattr(error, "code", None) or 404)


def broken(_error: Any) -> Any:
    """A fault of ours: a reference joins the page and the server's log."""
    reference = uuid4().hex[:8]
    current_app.logger.error("Reference %s: %s %s", reference, request.method, request.path)
    return plain_page(
        "xtiger/error.html",
        status=500,
        title="This page broke",
        sentence=say("error.500", reference=reference),
    )


def unable(error: XTigerError) -> Any:
    """The database, the CRM or Xero is away, or refused: its own sentence."""
    status = 503 if isinstance(error, TransientError) else 409
    return plain_page(
        "xtiger/error.html", status=status, title="Not possible now", sentence=error.sentence
    )


def not_theirs(sentence: str) -> NoReturn:
    """Ends the request with the words for what only somebody else, or an administrator, may do."""
    raise NotTheirs(sentence)


def no_record() -> NoReturn:
    """Ends the request with the words for a record that isn't there."""
    raise NoRecord


def _page_name() -> str:
    endpoint = (request.endpoint or "").rpartition(".")[2]
    for prefix, name in PAGES.items():
        if endpoint.startswith(prefix):
            return name
    return "this page"


def _shown(title: str, sentence: str, status: int) -> Any:
    """With the menu where somebody is signed in, plain otherwise."""
    show = page if who_or_nobody().signed_in else plain_page
    try:
        return show("xtiger/error.html", status=status, title=title, sentence=sentence)
    except XTigerError:
        return plain_page("xtiger/error.html", status=status, title=title, sentence=sentence)
