"""What the parts of one sandbox share."""

from __future__ import annotations

from dataclasses import dataclass, field

from flask import current_app

from xtiger.sandbox.faults import Dial, Faults
from xtiger.sandbox.forms import Desk
from xtiger.sandbox.kept.state import Organisation, State
from xtiger.sandbox.limits import Limits
from xtiger.sandbox.records import Recorder, Shelf
from xtiger.sandbox.webhooks import Webhooks


@dataclass(slots=True)
class Sandbox:
    """One sandbox; several may live in one process."""

    state: State
    client_id: str
    client_secret: str
    limits: Limits
    webhooks: Webhooks
    time_factor: float = 1.0
    auto_consent: bool = False
    broad_scopes: bool = False  #: whether the app was made before March 2026
    custom: str = ""  #: the custom connection's organisation: id, name or short code
    plain: bool = False  #: writes are kept as they come
    recorder: Recorder | None = None
    faults: Faults = field(default_factory=Faults)
    dial: Dial = field(default_factory=Dial)
    shelf: Shelf = field(default_factory=Shelf)
    desk: Desk = field(default_factory=Desk)

    def custom_organisation(self) -> Organisation:
        """The organisation of the custom connection, the first where none was chosen."""
        known = self.state.organisations()
        return next((one for one in known if self.custom in named(one)), known[0])


def named(organisation: Organisation) -> tuple[str, str, str]:
    """What an organisation can be called by."""
    return organisation.tenant, organisation.name, organisation.short_code


def current() -> Sandbox:
    """The sandbox that answers this request."""
    sandbox: Sandbox = current_app.extensions["xero_sandbox"]
    return sandbox
