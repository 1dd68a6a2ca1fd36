"""The form of What syncs, its rules in the pages' own words, and how it becomes a profile."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from flask_wtf import FlaskForm
from wtforms import (
    BooleanField,
    Field,
    HiddenField,
    RadioField,
    SelectChoice,
    SelectField,
    StringField,
    ValidationError,
)
from wtforms.validators import Optional

from xtiger.domain.meeting import OVERWRITES, PARTS
from xtiger.domain.records import DOCUMENTS, FieldKind, Module, ModuleInfo
from xtiger.domain.resources import CATALOGUE, RESOURCE_OF, Removal
from xtiger.domain.schedules import LEAST_MINUTES, MOST_MINUTES, Schedule, When, clock_time
from xtiger.domain.selection import (
    Locked,
    RuleKind,
    SelectionRule,
    SyncProfile,
    plain_value,
)
from xtiger.store.models import Profile
from xtiger.web.forms import DayField, TicksField, WholeField, at_most, between, clean
from xtiger.web.words import say


def _radio(label: str, choices: dict[str, str]) -> RadioField:
    options = [SelectChoice(value, text) for value, text in choices.items()]
    return RadioField(label, choices=options)


class ProfileForm(FlaskForm):  # type: ignore[misc]
    """What syncs of one module to one organisation."""

    seen = HiddenField()
    enabled = BooleanField("On")
    rule = _radio(
        "Sync Records",
        {
            "all": "All records",
            "ticked": "Enable Xero Sync: only ticked",
            "status": "By status",
        },
    )
    statuses = TicksField("Statuses")
    created_from = DayField("Created from", [Optional()])
    dated_from = DayField("Dated from", [Optional()])
    route_field = SelectField("Only where")
    route_value = StringField("is", [at_most(255)])
    target_status = _radio(
        "Create in Xero as",
        {"DRAFT": "Draft", "SUBMITTED": "Submitted", "AUTHORISED": "Authorised"},
    )
    add_needed = _radio(
        "Needed records (contact, item)",
        {"1": say("what.needed.add"), "0": say("what.needed.wait")},
    )
    locked = _radio(
        "Locked period",
        {"hold": "hold", "first open day": "first open day", "as draft": "send as draft"},
    )
    deleted = _radio(
        "Deleted in the CRM", {"leave": "leave", "remove": say("what.deleted.status.label")}
    )
    overwrites = TicksField("Found in Xero before")
    schedule = _radio(
        "When",
        {
            "at once": "at once",
            "every": "every so many minutes",
            "daily": "daily",
            "by sync": "only by Sync",
        },
    )
    minutes = WholeField("Minutes")
    daily_at = StringField("Time of day", [at_most(8)])
    order = _radio("Order", {"normal": "normal", "strict": "strict"})
    retries = WholeField("Retries by schedule", [Optional(), between(Decimal(0), Decimal(20))])
    #: Where an earlier cut-off brings documents in, the organisation's name, typed.
    typed = StringField("Organisation's name", [at_most(255)])

    def validate_statuses(self, field: Field) -> None:
        """The rule by status needs at least one."""
        if self.rule.data == "status" and not field.data:
            raise ValidationError(say("what.rule.status.empty"))

    def validate_route_value(self, field: Field) -> None:
        """Both halves of a condition, or none; a box is ticked or not."""
        if bool(clean(field.data)) != bool(self.route_field.data):
            raise ValidationError(say("what.route.half"))
        if self.route_field.data in self.boxes and plain_value(field.data) not in ("yes", "no"):
            label = self.boxes[self.route_field.data]
            raise ValidationError(say("what.route.yes_no", label=label))

    def validate_minutes(self, field: Field) -> None:
        """Asked for only where the schedule has any."""
        if self.schedule.data == "every" and not (
            field.data is not None and LEAST_MINUTES <= field.data <= MOST_MINUTES
        ):
            raise ValidationError(
                say("what.minutes.bad", least=LEAST_MINUTES, most=f"{MOST_MINUTES:,}")
            )

    def validate_daily_at(self, field: Field) -> None:
        """Asked for only where the schedule has any."""
        if self.schedule.data == "daily" and clock_time(field.data or "") is None:
            bad = clean(field.data)
            raise ValidationError(
                say("what.daily.bad", value=bad) if bad else say("what.daily.none")
            )

    #: The yes-or-no fields among those a condition can ask for, with their labels.
    boxes: dict[str, str] = {}


#: What only a document's profile has.
_OF_DOCUMENTS = (
    "dated_from",
    "target_status",
    "add_needed",
    "locked",
    "route_field",
    "route_value",
    "typed",
)


def fit(form: ProfileForm, info: ModuleInfo) -> None:
    """Gives the form what the CRM has: statuses, and fields a condition can ask for."""
    form.statuses.choices = list(info.statuses)
    form.boxes = {
        field.name: field.label for field in info.fields if field.kind is FieldKind.YES_NO
    }
    if info.module in DOCUMENTS:
        form.route_field.choices = [
            SelectChoice("", "–"),
            *(
                SelectChoice(field.name, field.label)
                for field in info.fields
                if field.kind in (FieldKind.TEXT, FieldKind.YES_NO)
            ),
        ]
        del form.overwrites
    else:
        form.overwrites.choices = list(PARTS[RESOURCE_OF[info.module]].items())
        # Its page doesn't show them, so nobody can answer them.
        for name in _OF_DOCUMENTS:
            if name in form:
                del form[name]
    label = say(f"what.deleted.{removal_of(info.module).value}.label")
    form.deleted.choices = [SelectChoice("leave", "leave"), SelectChoice("remove", label)]


def removal_of(module: Module) -> Removal:
    """What deleting means in Xero for what a module's records become there."""
    return CATALOGUE[RESOURCE_OF[module]].removal


def data_of(row: Profile) -> dict[str, Any]:
    """What the form shows of a profile, by field."""
    return {
        "enabled": row.enabled,
        "rule": row.rule,
        "statuses": list(row.statuses or ()),
        "created_from": row.created_from,
        "dated_from": row.dated_from,
        "route_field": row.route_field or "",
        "route_value": row.route_value or "",
        "target_status": row.target_status,
        "add_needed": "1" if row.add_needed else "0",
        "locked": row.locked,
        "deleted": row.deleted,
        "overwrites": overwrites_of(row),
        "schedule": row.schedule,
        "minutes": row.minutes,
        "daily_at": row.daily_at,
        "order": "strict" if row.strict else "normal",
        "retries": row.retries,
    }


def overwrites_of(row: Profile) -> list[str]:
    """What goes over a matched object's own values; documents are never matched."""
    usual = OVERWRITES.get(RESOURCE_OF[Module(row.module)], ())
    return list(usual if row.overwrites is None else row.overwrites)


def seen_of(row: Profile) -> str:
    """What the form was made from, so that a stale one is noticed."""
    values = data_of(row).values()
    parts = (",".join(sorted(one)) if isinstance(one, list) else one for one in values)
    return "|".join(str(part) for part in parts)


def wanted(form: ProfileForm, profile: SyncProfile, info: ModuleInfo) -> SyncProfile:
    """The profile as the form has it; `profile` is the one in use."""
    document = info.module in DOCUMENTS
    daily = clock_time(form.daily_at.data or "") or Schedule().daily
    return replace(
        profile,
        enabled=bool(form.enabled.data),
        rule=SelectionRule(
            RuleKind(form.rule.data),
            frozenset(form.statuses.data or ()),
            form.created_from.data,
            form.dated_from.data if document else None,
            dated_by(info) or "date",
        ),
        route_field=(form.route_field.data or None) if document else None,
        route_value=_condition(form) if document else None,
        target_status=form.target_status.data if document else profile.target_status,
        add_needed=form.add_needed.data == "1" if document else profile.add_needed,
        retries=form.retries.data or 0,
        strict=form.order.data == "strict",
        removes=form.deleted.data == "remove" and removal_of(info.module) is not Removal.NONE,
        schedule=Schedule(
            When(form.schedule.data),
            form.minutes.data or profile.schedule.minutes,
            daily,
            profile.zone,
        ),
        locked=Locked(form.locked.data) if document else profile.locked,
        overwrites=None if document else tuple(form.overwrites.data or ()),
    )


def keep(profile: SyncProfile, row: Profile) -> None:
    """Writes a profile into its row."""
    row.enabled, row.rule = profile.enabled, profile.rule.kind.value
    row.statuses = sorted(profile.rule.statuses)
    row.created_from, row.dated_from = profile.rule.created_from, profile.rule.dated_from
    row.dated_by = profile.rule.dated_by
    row.route_field, row.route_value = profile.route_field, profile.route_value
    row.target_status, row.add_needed = profile.target_status, profile.add_needed
    row.retries, row.strict = profile.retries, profile.strict
    row.deleted = "remove" if profile.removes else "leave"
    row.schedule, row.minutes = profile.schedule.when.value, profile.schedule.minutes
    row.daily_at = f"{profile.schedule.daily:%H:%M}"
    row.locked = profile.locked.value
    row.overwrites = None if profile.overwrites is None else list(profile.overwrites)


def dated_by(info: ModuleInfo) -> str | None:
    """The field that holds a document's own day: the first day the CRM describes."""
    days = (field.name for field in info.fields if field.kind is FieldKind.DATE)
    return next(days, None)


def _condition(form: ProfileForm) -> str | None:
    """A condition's value as it was written; Yes or No where the field is a box."""
    value = clean(form.route_value.data)
    if value and form.route_field.data in form.boxes:
        return plain_value(value).capitalize()
    return value
