"""How each state looks: its word, icon, colours and help, once for all pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from xtiger.domain.queueing import State


@dataclass(frozen=True, slots=True)
class Look:
    """`tone` is the class suffix in xtiger.css that holds both colour pairs."""

    word: str
    icon: str
    tone: str
    help: str


LOOKS: Mapping[str, Look] = {
    State.PENDING.value: Look("Pending", "clock", "pending", "Waits its turn."),
    State.RUNNING.value: Look("Running", "arrow-repeat", "running", "Is in a call to Xero now."),
    State.BLOCKED.value: Look("Blocked", "link-45deg", "blocked", "Waits for another record."),
    State.FAILED.value: Look(
        "Failed",
        "x-octagon",
        "failed",
        "A cause must go first; then it is retried in its old place.",
    ),
    State.CHECK.value: Look(
        "Check",
        "question-octagon",
        "failed",
        "Was sent, and XTiger can't tell whether it arrived. Look in Xero. "
        "Never sent again by itself.",
    ),
    State.SUCCEEDED.value: Look(
        "Succeeded", "check-circle", "succeeded", "Is in Xero and was read back."
    ),
    State.UNCHANGED.value: Look(
        "Unchanged", "check", "unchanged", "Xero already had the same; no call."
    ),
    State.SUPERSEDED.value: Look(
        "Superseded", "layers", "ended", "A newer change of the record took over."
    ),
    State.CANCELLED.value: Look("Cancelled", "slash-circle", "ended", "Taken out by a person."),
    # A record's own sync state, derived from its queue item, binding and rule.
    "In Xero": Look("In Xero", "check-circle", "succeeded", "Is in Xero and was read back."),
    "In Queue": Look("In Queue", "clock", "pending", "Waits its turn."),
    "Changed, not sent": Look(
        "Changed, not sent", "pencil", "paused", "Its last change isn't in Xero yet."
    ),
    "Not selected": Look("Not selected", "dash-circle", "ended", "No rule sends it."),
    # Runs, organisations and mails.
    "waiting": Look("Waiting", "clock", "pending", "Waits its turn."),
    "active": Look("Running", "arrow-repeat", "running", "Is at work now."),
    "finished": Look("Finished", "check-circle", "succeeded", "Has ended."),
    "stopped": Look("Stopped", "exclamation-triangle", "paused", "Ended before its work was done."),
    "connected": Look("Connected", "check-circle", "succeeded", "The consent works."),
    "disconnected": Look("Disconnected", "x-octagon", "failed", "Somebody must connect again."),
    "paused": Look("Paused", "pause-circle", "paused", "Organisation held."),
    "held": Look("Waiting for Xero", "exclamation-triangle", "paused", "Goes on by itself."),
    "not live": Look(
        "Not live", "exclamation-triangle", "paused", "Nothing is sent until it goes live."
    ),
    "live": Look("Live", "check-circle", "succeeded", "Selected records are sent."),
    "mail sent": Look("Sent", "envelope-check", "succeeded", "The mail server took it."),
    "mail waiting": Look("Waiting", "envelope", "pending", "Goes by itself."),
    "mail couldn't be sent": Look(
        "Couldn't be sent", "envelope-exclamation", "failed", "The mail server refused it."
    ),
    "mail not due": Look("Not due", "dash", "ended", "Nobody gets a mail about it."),
}


def look(state: str) -> Look:
    """The look of a state; an unheard-of one is printed plainly."""
    for key in (state, state.lower()):
        if key in LOOKS:
            return LOOKS[key]
    return Look(state, "dash", "ended", "")
