"""A person's browser, as far as links, forms and cookies go: checks use the pages people use."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin

import requests


class NotThere(Exception):
    """A page that doesn't come or a button that isn't on it; its text is a sentence."""


@dataclass(slots=True)
class Button:
    """A button: the pair it sends, and where it goes if not where its form goes."""

    pair: tuple[str, str] | None = None
    action: str | None = None


@dataclass(slots=True)
class Form:
    """One form of a page: where it goes, what its fields hold, its buttons by text and name."""

    action: str
    method: str
    fields: list[tuple[str, str]] = field(default_factory=list)
    buttons: dict[str, Button] = field(default_factory=dict)


@dataclass(slots=True)
class _Select:
    name: str
    form: Form
    first: str | None = None
    chosen: str | None = None


class _Forms(HTMLParser):
    """Reads forms as browsers do, fields elsewhere on the page (form="…") included."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._by_id: dict[str, Form] = {}
        self._open: Form | None = None
        self._button: tuple[Form, Button, str] | None = None
        self._select: _Select | None = None
        self._text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._open = Form(given.get("action", ""), given.get("method", "get").lower())
            self.forms.append(self._open)
            self._by_id[given.get("id", "")] = self._open
        form = self._by_id.get(given["form"]) if "form" in given else self._open
        name, value = given.get("name", ""), given.get("value", "")
        if tag == "option" and self._select:
            self._option(value, "selected" in given)
        if form is None or "disabled" in given:
            return
        if tag == "input" and given.get("type") in {"submit", "button"}:
            form.buttons[value] = Button((name, value) if name else None, given.get("formaction"))
        elif tag == "input" and name:
            if given.get("type") not in {"checkbox", "radio"}:
                form.fields.append((name, value))
            elif "checked" in given:
                form.fields.append((name, value or "on"))
        elif tag == "button":
            button = Button((name, value) if name else None, given.get("formaction"))
            self._button, self._text = (form, button, given.get("aria-label", "")), []
        elif tag == "textarea" and name:
            form.fields.append((name, ""))
        elif tag == "select":
            self._select = _Select(name, form)

    def _option(self, value: str, selected: bool) -> None:
        assert self._select is not None
        if self._select.first is None:
            self._select.first = value
        if selected:
            self._select.chosen = value

    def handle_data(self, data: str) -> None:
        self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "button" and self._button:
            form, button, spoken = self._button
            form.buttons.setdefault(" ".join("".join(self._text).split()), button)
            if spoken:
                form.buttons[spoken] = button
            self._button = None
        elif tag == "form":
            self._open = None
        elif tag == "select" and self._select:
            one = self._select
            value = one.chosen if one.chosen is not None else one.first
            if value is not None and one.name:
                one.form.fields.append((one.name, value))
            self._select = None


class Browser:
    """Follows redirects and presses buttons; raises NotThere where a page or button isn't there."""

    def __init__(self) -> None:
        self._session = requests.Session()
        self._session.trust_env = False
        self.url = ""
        self.page = ""

    def open(self, url: str) -> str:
        """Loads a page; answers with its HTML."""
        return self._take(self._session.get(url, timeout=60))

    def forms(self) -> list[Form]:
        """The forms of the page."""
        parser = _Forms()
        parser.feed(self.page)
        return parser.forms

    def press(self, button: str, *, follow: bool = True, **values: str | list[str]) -> str:
        """Presses the first button of that text, with fields filled in; answers with the page."""
        for form in self.forms():
            if button in form.buttons:
                break
        else:
            raise NotThere(f"There is no button “{button}” on {self.url}.")
        data = [(name, value) for name, value in form.fields if name not in values]
        for name, value in values.items():
            data.extend((name, one) for one in ([value] if isinstance(value, str) else value))
        pressed = form.buttons[button]
        if pressed.pair:
            data.append(pressed.pair)
        url = urljoin(self.url, pressed.action or form.action)
        answer = self._session.request(
            form.method, url, data=data, timeout=120, allow_redirects=follow
        )
        return self._take(answer)

    def _take(self, answer: requests.Response) -> str:
        if answer.status_code >= 400:
            raise NotThere(f"{answer.url.split('?')[0]} answered {answer.status_code}.")
        self.url = urljoin(answer.url, answer.headers.get("Location", answer.url))
        self.page = answer.text
        return self.page
