"""The four ways a whole call can fail; nothing above an adapter knows any other.

    XTigerError
    ├── TransientError        Xero is busy or away: keeps its place and is tried again
    ├── PermanentError        refused, and would be refused again: a cause must go first
    ├── AuthorisationError    the consent is gone or too narrow: the connection pauses
    ├── UnknownOutcome        sent, and no answer to believe: recovery asks Xero first
    └── LeaseLost             somebody else works on this organisation now: write nothing

`LeaseLost` never comes from an adapter; it is how a drain learns that it was overtaken.
"""

from __future__ import annotations


class XTigerError(Exception):
    """Carries one sentence for people: what is wrong and what happens next."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class TransientError(XTigerError):
    """The call did nothing and may work later.

    `retry_after` is in seconds, None where Xero named none. `counts` says whether the try
    counts against the back-off: limits and lost leases never do.
    """

    def __init__(
        self, sentence: str, *, retry_after: float | None = None, counts: bool = True
    ) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after
        self.counts = counts


class PermanentError(XTigerError):
    """The call was refused as a whole and nothing of it was stored."""


class AuthorisationError(XTigerError):
    """The token, the consent or a scope is not good enough; nothing was stored.

    `expired` is True where a fresh access token may be all that is missing.
    """

    def __init__(self, sentence: str, *, expired: bool = False) -> None:
        super().__init__(sentence)
        self.expired = expired


class UnknownOutcome(XTigerError):
    """The request left, and whether Xero stored it cannot be told from what came back.

    `answered` is True where Xero itself gave an answer, such as a 500, and no line broke: then
    it may be what was sent that Xero stumbles over.
    """

    def __init__(self, sentence: str, *, answered: bool = False) -> None:
        super().__init__(sentence)
        self.answered = answered


class LeaseLost(XTigerError):
    """The organisation's lease is no longer ours; the next holder repairs what is open."""
