"""What the forms of the pages need: a token no foreign page knows, and notes across a redirect."""

from __future__ import annotations

import hmac
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from flask import Request

#: notes that wait to be shown
_NOTES = 200


def ours(request: Request) -> bool:
    """Whether no foreign page sent this: programs give no Origin, browsers their page's."""
    return request.headers.get("Origin") in (None, f"http://{request.host}")


@dataclass(frozen=True, slots=True)
class Note:
    """What is said after an action."""

    words: str
    good: bool = True


@dataclass(slots=True)
class Desk:
    """The pages have no sign-in and no cookie: the token alone tells own forms from foreign ones.

    A foreign page can post here but can't read a page of ours, so it can't know the token. It is
    made anew with each start of the sandbox.
    """

    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    _notes: OrderedDict[str, Note] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def trusts(self, request: Request) -> bool:
        """Whether a form comes from a page of this sandbox."""
        # browsers send "null" because our pages give no referrer
        own = ours(request) or request.headers["Origin"] == "null"
        given = request.form.get("form_token", "")
        return own and hmac.compare_digest(given.encode(), self.token.encode())

    def leave(self, note: Note) -> str:
        """Keeps a note for the page after the redirect. Returns its name."""
        name = secrets.token_urlsafe(8)
        with self._lock:
            self._notes[name] = note
            while len(self._notes) > _NOTES:
                self._notes.popitem(last=False)
        return name

    def note(self, name: str | None) -> Note | None:
        """It may be read again: a page that is reloaded says the same."""
        with self._lock:
            return self._notes.get(name or "")
