"""A person's browser, as far as links, forms and cookies go: checks use the pages people use."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin

import requests


@dataclass(slots=True)
class Form:
    """One form of a page: where it goes, what its fields hold, and its buttons by their text."""

    action: str
    method: str
    fields: list[tuple[str, str]] = field(default_factory=list)
    buttons: dict[str, tuple[str, str] | None] = field(default_factory=dict)


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._form: Form | None = None
        self._button: tuple[str, str] | None = None
        self._select: str | None = None
        self._text: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._form = Form(given.get("action", ""), given.get("method", "get").lower())
            self.forms.append(self._form)
        form = self._form
        if form is None:
            return
        name, value = given.get("name", ""), given.get("value", "")
        if tag == "input" and given.get("type") in {"submit", "button"}:
            form.buttons[value] = (name, value) if name else None
        elif tag == "input" and name:
            ticked = given.get("type") not in {"checkbox", "radio"} or "checked" in given
            if ticked:
                form.fields.append((name, value or ("on" if "checked" in given else "")))
        elif tag == "button":
            self._button, self._text = (name, value), []
        elif tag == "textarea" and name:
            form.fields.append((name, ""))
        elif tag == "select":
            self._select = name
        elif tag == "option" and "selected" in given and self._select:
            form.fields.append((self._select, value))

    def handle_data(self, data: str) -> None:
        if self._text is not None:
            self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "button" and self._text is not None and self._form is not None:
            label = " ".join("".join(self._text).split())
            name, value = self._button or ("", "")
            self._form.buttons[label] = (name, value) if name else None
            self._text = None
        elif tag == "form":
            self._form = None
        elif tag == "select":
            self._select = None


class Browser:
    """Follows redirects and presses buttons; raises LookupError where a button isn't there."""

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
            raise LookupError(f"There is no button “{button}” on {self.url}.")
        data = [(name, value) for name, value in form.fields if name not in values]
        for name, value in values.items():
            data.extend((name, one) for one in ([value] if isinstance(value, str) else value))
        pressed = form.buttons[button]
        if pressed:
            data.append(pressed)
        url = urljoin(self.url, form.action)
        answer = self._session.request(
            form.method, url, data=data, timeout=120, allow_redirects=follow
        )
        return self._take(answer)

    def _take(self, answer: requests.Response) -> str:
        if answer.status_code >= 400:
            raise LookupError(f"{answer.url.split('?')[0]} answered {answer.status_code}.")
        self.url = urljoin(answer.url, answer.headers.get("Location", answer.url))
        self.page = answer.text
        return self.page
