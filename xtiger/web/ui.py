"""What templates may call: one object `xt` in the template environment, nothing else of ours."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any
from urllib.parse import quote

from flask import current_app, g, make_response, render_template, request, url_for
from flask_wtf.csrf import generate_csrf
from markupsafe import Markup

from xtiger import __version__
from xtiger.domain.records import Module, RecordRef
from xtiger.domain.resources import RESOURCE_OF
from xtiger.store import usage
from xtiger.store.models import Organisation
from xtiger.web import filters, formats, forms, lists, states, words
from xtiger.web.access import can
from xtiger.web.frame import clock_time, now, xt, zone


class Ui:
    """Formats, addresses and small helpers for templates."""

    say = staticmethod(words.say)
    look = staticmethod(states.look)
    money = staticmethod(formats.money)
    quantity = staticmethod(formats.quantity)
    day = staticmethod(formats.day)
    cell = staticmethod(formats.cell)
    counted = staticmethod(formats.counted)
    size = staticmethod(formats.size)
    short_id = staticmethod(formats.short_id)
    span = staticmethod(formats.span)
    milliseconds = staticmethod(formats.milliseconds)
    printed = staticmethod(lists.printed)
    places = staticmethod(words.places)
    told = staticmethod(filters.told)
    can = staticmethod(can)
    clock_time = staticmethod(clock_time)

    def faults(self, form: Any) -> list[forms.Fault]:
        """Every fault of a form, for the summary on top of it."""
        return list(forms.faults(form))

    def calls_left(self, organisation: Organisation) -> int | None:
        """Calls left today, None where Xero has never said."""
        return usage.left(organisation, now())

    def moment(self, value: datetime | None) -> Markup:
        """A `<time>` in the reader's zone."""
        return formats.moment(value, zone(), now())

    def exact(self, value: datetime | None) -> Markup:
        """A `<time>` with seconds."""
        return formats.exact(value, zone())

    def age(self, value: datetime | None) -> str:
        """How long ago."""
        return formats.age(value, now())

    def lasted(self, start: datetime | None, end: datetime | None) -> str:
        """The time between two moments."""
        return formats.lasted(start, end or now())

    def csrf(self) -> Markup:
        """The hidden field that every form carries."""
        return Markup('<input type="hidden" name="csrf_token" value="{}">').format(generate_csrf())

    def file(self, name: str) -> str:
        """A file of our static folder."""
        return url_for("xtiger.static", filename=name, v=_version())

    def bootstrap(self) -> str:
        """Bootstrap's stylesheet."""
        return url_for("xtiger.bootstrap_css", v=_version())

    def icon(self, name: str) -> Markup:
        """A drawn icon, silent for screen readers: its word stands beside it."""
        return Markup(
            '<svg class="bi" aria-hidden="true" focusable="false"><use href="{}#{}"/></svg>'
        ).format(url_for("xtiger.icons", v=_version()), name)

    def here(self, **changes: Any) -> str:
        """This page's address with other filters; None takes one out."""
        arguments: dict[str, Any] = request.args.to_dict(flat=False)
        for name, value in changes.items():
            if value is None:
                arguments.pop(name, None)
            else:
                arguments[name] = [str(value)]
        if request.endpoint is None:
            return self.root()
        endpoint = request.endpoint
        # A live fragment speaks for its page; "go_live" is no fragment.
        if endpoint.removesuffix("_live") in current_app.view_functions:
            endpoint = endpoint.removesuffix("_live")
        # A page whose path names the organisation takes the filter there.
        place = {
            name: changes.get(name) or value for name, value in (request.view_args or {}).items()
        }
        return url_for(endpoint, **(arguments | place))

    def live(self) -> str:
        """Where this page's live fragment is."""
        query = request.query_string.decode("utf-8", "replace")
        return f"{request.script_root}{request.path.rstrip('/')}/_live" + (
            f"?{query}" if query else ""
        )

    def kept(self, *dropped: str) -> list[tuple[str, str]]:
        """The query's filters as pairs, for hidden fields of another form."""
        return [
            (name, value)
            for name, value in request.args.items(multi=True)
            if name not in {*dropped, "after", "before"}
        ]

    def record(self, ref: RecordRef) -> str:
        """Our page of a record."""
        return url_for("xtiger.record", module=ref.module.value, record_id=ref.id)

    def record_of(self, row: Any) -> str:
        """Our page of the record a queue item or log entry is about."""
        return url_for("xtiger.record", module=row.module, record_id=row.record_id)

    def in_xero(
        self, organisation: Organisation | None, module: str, xero_id: str | None
    ) -> str | None:
        """Where Xero shows an object, None where no shape of link is known."""
        if organisation is None or not xero_id:
            return None
        return xt().services.links.xero(organisation, RESOURCE_OF[Module(module)], xero_id)

    def inside(self, address: str) -> str:
        """A path that the engine named, below where we are mounted."""
        public = xt().services.settings.public_url
        path = address.removeprefix(public) if address.startswith(public) else address
        if not path.startswith("/") or path.startswith("//"):
            return path if path.startswith(("https://", "http://")) else quote(path)
        return f"{url_for('xtiger.dashboard').rstrip('/')}{path}"

    def root(self) -> str:
        """Where we are mounted, for the script's cookies."""
        return url_for("xtiger.dashboard")


def _version() -> str:
    return __version__


def put_on(environment: Any) -> None:
    """Gives templates their `xt`."""
    environment.globals["xt"] = Ui()


def fragment(template: str, /, **values: Any) -> Any:
    """A live fragment with an ETag; unchanged ones cost 304 and no bytes."""
    body = render_template(template, as_of=now(), person=g.xtiger_person, **values)
    answer = make_response(body)
    # A token is signed with the second it was made in: it must not change the tag.
    token = generate_csrf()
    answer.set_etag(_digest(body.replace(token, "")))
    answer.make_conditional(request)
    answer.headers["Cache-Control"] = "no-cache"
    return answer


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:32]
