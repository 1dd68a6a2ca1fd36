"""What views share: flashes, ways back, and engine errors as sentences."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

from flask import flash, redirect, request, url_for
from markupsafe import Markup

from xtiger.domain.errors import XTigerError
from xtiger.domain.records import Module
from xtiger.web.access import can, who
from xtiger.web.errors import no_record
from xtiger.web.frame import xt
from xtiger.web.words import places, say


def done(sentence: str, *, label: str | None = None, url: str | None = None) -> None:
    """Says on the next page what happened, and where to look."""
    _flash(sentence, "done", label, url)


def fault(sentence: str, *, label: str | None = None, url: str | None = None) -> None:
    """Says on the next page why nothing happened, and where to mend it."""
    _flash(sentence, "fault", label, url)


def _flash(sentence: str, kind: str, label: str | None, url: str | None) -> None:
    if label and url:
        flash(Markup('{} <a href="{}">{}</a>').format(sentence, url, label), kind)
    else:
        flash(sentence, kind)


@contextmanager
def spoken() -> Iterator[None]:
    """Turns the engine's errors into a sentence on the next page."""
    try:
        yield
    except XTigerError as error:
        fault(error.sentence)


def go(endpoint: str, **values: Any) -> Any:
    """303 to one of our pages: a reload of it does nothing twice."""
    return redirect(url_for(f"xtiger.{endpoint}", **values), 303)


def back(endpoint: str, **values: Any) -> Any:
    """303 to the page the form stood on, by its hidden `back` field, else to a page of ours."""
    wanted = own_path(request.form.get("back", ""))
    return redirect(wanted, 303) if wanted else go(endpoint, **values)


def own_path(given: str) -> str | None:
    """A path below our own root as a form gave it, None for whatever could lead elsewhere.

    Browsers drop control characters and take a backslash for a slash before they look for a
    host (URL Standard, "basic URL parser"), so neither may be in it anywhere.
    """
    path = unquote(given.partition("?")[0].partition("#")[0])
    ours = given.startswith(url_for("xtiger.dashboard")) and given.isprintable()
    if not ours or "\\" in given or "//" in path or ".." in path.split("/"):
        return None
    return given


def name() -> str:
    """Who acts, as logs and queue print it."""
    person = who()
    return person.name or person.email


def module_of(text: str) -> Module:
    """The module of an address; others, and those that this CRM hasn't, have no page."""
    known = xt().services.crm.modules()
    found = next((one for one in known if one.value.lower() == text.lower()), None)
    return found or no_record()


def modules_of(text: str) -> list[Module] | None:
    """The modules that a menu chose; None is all."""
    return [module_of(text)] if text else None


def whole(text: str | None) -> int | None:
    """A whole number from a form, None where there is none."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None


def ticked() -> list[str]:
    """The ids of the ticked rows, each once."""
    return list(dict.fromkeys(request.form.getlist("ids")))


def say_added(count: int, first: int | None, last: int | None, what: str) -> None:
    """The flash of Add to Queue."""
    if not count:
        done(say("added.none"))
    elif can("queue.read"):
        done(
            say("added", what=what, places=places(first, last)),
            label="Open Queue",
            url=url_for("xtiger.queue", state="pending"),
        )
    else:
        done(say("added", what=what, places=places(first, last)))
