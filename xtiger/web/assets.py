"""Files and headers: Bootstrap from its package, the few icons in use, the content policy."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from urllib.parse import urlsplit

from flask import Blueprint, Response, current_app, request, send_from_directory

#: Every icon that pages may draw; only these go into the sprite that browsers load.
ICONS = (
    "arrow-clockwise",
    "arrow-left",
    "arrow-repeat",
    "arrow-right",
    "bell",
    "box-arrow-up-right",
    "box-seam",
    "building",
    "check",
    "check-circle",
    "check-lg",
    "chevron-down",
    "chevron-right",
    "circle-half",
    "clock",
    "copy",
    "dash",
    "dash-circle",
    "diagram-3",
    "download",
    "envelope",
    "envelope-check",
    "envelope-exclamation",
    "exclamation-triangle",
    "funnel",
    "gear",
    "info-circle",
    "journal-check",
    "journal-text",
    "key",
    "layers",
    "link-45deg",
    "list",
    "list-task",
    "pause-circle",
    "pencil",
    "people",
    "person-circle",
    "play-circle",
    "play-fill",
    "plug",
    "plus-lg",
    "question-octagon",
    "receipt",
    "search",
    "send",
    "shuffle",
    "slash-circle",
    "sliders",
    "speedometer2",
    "trash",
    "x-circle",
    "x-lg",
    "x-octagon",
)

_YEAR = 365 * 24 * 3600
_SYMBOL = re.compile(r'<symbol [^>]*\bid="([^"]+)".*?</symbol>', re.DOTALL)


def bootstrap_css() -> Response:
    """Bootstrap's stylesheet, from the installed package."""
    folder = str(files("flask_bootstrap") / "static" / "bootstrap5" / "css")
    return send_from_directory(folder, "bootstrap.min.css", max_age=_YEAR)


def icons() -> Response:
    """A sprite of the icons in use: a fiftieth of the whole set."""
    answer = Response(sprite(), mimetype="image/svg+xml")
    answer.cache_control.public = True
    answer.cache_control.max_age = _YEAR
    return answer


@cache
def sprite() -> str:
    """The symbols of `ICONS`, cut from the sprite in the installed Bootstrap package."""
    whole = files("flask_bootstrap") / "static" / "bootstrap5" / "icons" / "bootstrap-icons.svg"
    known = {found[1]: found[0] for found in _SYMBOL.finditer(whole.read_text("utf-8"))}
    symbols = "".join(known[name] for name in ICONS)
    return f'<svg xmlns="http://www.w3.org/2000/svg">{symbols}</svg>'


def policy(login_url: str) -> str:
    """The Content-Security-Policy; Connect's form is redirected to Xero's login."""
    login = urlsplit(login_url)
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            "font-src 'self'",
            "connect-src 'self'",
            "frame-src 'self'",
            f"form-action 'self' {login.scheme}://{login.netloc}",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        )
    )


def secure(answer: Response) -> Response:
    """The headers of every page."""
    settings = current_app.extensions["xtiger"].services.settings
    headers = answer.headers
    headers.setdefault("Content-Security-Policy", policy(settings.xero_login_url))
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Referrer-Policy", "same-origin")
    headers.setdefault("X-Frame-Options", "DENY")
    if not (request.endpoint or "").endswith((".static", ".bootstrap_css", ".icons")):
        headers.setdefault("Cache-Control", "no-store")
    return answer


def put_on(blueprint: Blueprint) -> None:
    """Adds the files' routes and the headers."""
    blueprint.add_url_rule("/static/xtiger/bootstrap.css", view_func=bootstrap_css)
    blueprint.add_url_rule("/static/xtiger/icons.svg", view_func=icons)
    blueprint.after_request(secure)
