"""The form of one subscription, its rules in the pages' own words, and how it becomes one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import cache
from typing import Any
from zoneinfo import available_timezones

from flask_wtf import FlaskForm
from wtforms import (
    BooleanField,
    Field,
    HiddenField,
    SelectChoice,
    SelectField,
    StringField,
    ValidationError,
)

from xtiger.domain import exactjson
from xtiger.domain.alerting import FAILURES, HOURS
from xtiger.domain.phrases import LANGUAGES
from xtiger.domain.records import Module
from xtiger.engine.reporting.subscriptions import Choices
from xtiger.store.models import Organisation, Subscription
from xtiger.web.forms import TicksField, WholeField, at_most, between, required
from xtiger.web.words import say

#: The kinds of mail in the order of the page.
KINDS = ("after_sync", "daily", "weekly", "monthly", "alerts")
#: One mailbox and nothing that could begin another or end a header.
_PART = r"[^\s@<>()\[\],;:\"\\]+"
_MAILBOX = re.compile(f"{_PART}@{_PART}")


def mailbox(_form: Any, field: Field) -> None:
    """One address, without name or brackets."""
    field.data = (field.data or "").strip()
    if not _MAILBOX.fullmatch(field.data):
        raise ValidationError(say("mail.address.bad", value=field.data))


def _zone(_form: Any, field: Field) -> None:
    field.data = (field.data or "").strip()
    if field.data not in zones():
        raise ValidationError(say("mail.zone.bad", value=field.data))


@cache
def zones() -> tuple[str, ...]:
    """The zones that this machine knows, without those that are there for old machines."""
    known = {one for one in available_timezones() if "/" in one and not one.startswith("Etc/")}
    return tuple(sorted(known | {"UTC"}))


class SubscriptionForm(FlaskForm):  # type: ignore[misc]
    """Which mails one address gets."""

    seen = HiddenField()
    address = StringField(
        "Address",
        [required, at_most(255), mailbox],
        render_kw={"type": "email", "autocomplete": "off", "spellcheck": "false"},
    )
    organisation = SelectField("Organisations")
    after_sync = BooleanField("after each sync")
    daily = BooleanField("daily")
    weekly = BooleanField("weekly, Mon")
    monthly = BooleanField("monthly, 1st")
    alerts = BooleanField("alerts")
    only_failed = BooleanField("only if something failed")
    hour = SelectField(
        "Hour", choices=[SelectChoice(f"{hour}", f"{hour:02}:00") for hour in range(24)]
    )
    zone = StringField(
        "Time zone",
        [required, _zone],
        render_kw={"list": "zones", "autocomplete": "off", "spellcheck": "false"},
    )
    language = SelectField("Language", choices=[SelectChoice(*one) for one in LANGUAGES.items()])
    modules = TicksField("Modules")
    attach_csv = BooleanField("CSV attached")

    def validate_modules(self, field: Field) -> None:
        """About no module there is nothing to tell."""
        if not field.data:
            raise ValidationError(say("mail.modules.none"))


def _within(bounds: tuple[int, int]) -> Callable[[Any, Field], None]:
    return between(Decimal(bounds[0]), Decimal(bounds[1]))


class AlertsForm(FlaskForm):  # type: ignore[misc]
    """When an alert is sent."""

    hours = WholeField("Hours without a sync while records wait", [required, _within(HOURS)])
    failures = WholeField(
        "Records that failed within an hour and still fail", [required, _within(FAILURES)]
    )


def fit(
    form: SubscriptionForm, organisations: Sequence[Organisation], modules: Sequence[Module]
) -> SubscriptionForm:
    """Gives the form what there is to choose from."""
    each = [SelectChoice(str(one.id), one.name) for one in organisations]
    form.organisation.choices = [SelectChoice("", say("mail.all")), *each]
    form.modules.choices = [SelectChoice(one.value, one.value) for one in modules]
    return form


def data_of(row: Subscription, modules: Sequence[Module]) -> dict[str, Any]:
    """A subscription as the form shows it."""
    names = (*KINDS, "address", "only_failed", "zone", "language", "attach_csv")
    return {
        **{name: getattr(row, name) for name in names},
        "organisation": "" if row.organisation_id is None else str(row.organisation_id),
        "hour": str(row.hour),
        "modules": row.modules or [one.value for one in modules],
        "seen": seen_of(row),
    }


def wanted(
    form: SubscriptionForm, modules: Sequence[Module], *, person: str | None = None
) -> Choices:
    """What the form asks for. All modules ticked are all, those to come included."""
    ticked = list(form.modules.data)
    return Choices(
        **{kind: bool(form[kind].data) for kind in KINDS},
        hour=int(form.hour.data),
        organisation_id=int(form.organisation.data) if form.organisation.data else None,
        person=person,
        modules=None if len(ticked) == len(modules) else ticked,
        only_failed=bool(form.only_failed.data),
        attach_csv=bool(form.attach_csv.data),
        language=form.language.data,
        zone=form.zone.data,
    )


_SEEN = (*KINDS, "organisation_id", "hour", "modules", "only_failed", "attach_csv", "language")


def seen_of(row: Subscription) -> str:
    """What a person saw of a subscription: it changes with whatever a form of it changes."""
    values = [row.address, row.zone, str(row.stopped_at), *(getattr(row, one) for one in _SEEN)]
    return hashlib.sha256(exactjson.dumps(values)).hexdigest()[:32]


def differences(
    form: SubscriptionForm, row: Subscription, modules: Sequence[Module]
) -> Iterator[str]:
    """A sentence for each entry of the form that differs from what is saved."""
    saved = data_of(row, modules)
    for field in form:
        if field.name in saved and field.name != "seen" and field.data != saved[field.name]:
            yield say(
                "mail.changed.line",
                label=field.label.text.capitalize(),
                theirs=_in_words(field, saved[field.name]),
                mine=_in_words(field, field.data),
            )


def _in_words(field: Field, value: Any) -> str:
    if isinstance(value, bool):
        return "ticked" if value else "not ticked"
    choices = {one.value: one.label for one in getattr(field, "choices", None) or ()}
    if isinstance(value, list):
        return f"“{', '.join(value)}”"
    return f"“{choices.get(value, value)}”"


def kinds_of(row: Subscription | Choices) -> list[str]:
    """The mails of a subscription as people say them: After each sync, Daily 07:00."""
    hour = f"{row.hour:02}:00"
    found = [say(f"mail.kind.{kind}", hour=hour) for kind in KINDS if getattr(row, kind)]
    return found or [say("mail.kind.none")]
