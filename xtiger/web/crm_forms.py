"""The forms of the small built-in CRM: contacts, products, services, invoices with lines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from flask import redirect, request, url_for
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm.exc import StaleDataError
from wtforms import SelectChoice

from xtiger.crm.builtin import (
    CONTACTS,
    PRODUCTS,
    Contact,
    Invoice,
    InvoiceLine,
    Product,
    Service,
)
from xtiger.domain.errors import XTigerError
from xtiger.domain.records import SOLD, Module, RecordRef
from xtiger.engine import intake, scheduler
from xtiger.web.access import can, needs
from xtiger.web.actions import done, fault, module_of, name, whole
from xtiger.web.crm_lines import (
    MORE,
    SIGNS,
    charges_of,
    crm_session,
    lines_of,
    sold_by,
    totals_of,
)
from xtiger.web.errors import no_record
from xtiger.web.forms import (
    ContactForm,
    InvoiceForm,
    ProductForm,
    clean,
    entered,
    faults,
    spare_empty,
)
from xtiger.web.frame import clock_time, load, now, page, xt, zone
from xtiger.web.routes import Routes
from xtiger.web.words import say

routes = Routes()

MODELS: dict[Module, Any] = {
    Module.CONTACTS: Contact,
    Module.PRODUCTS: Product,
    Module.SERVICES: Service,
    Module.INVOICES: Invoice,
}
#: Lines an empty form begins with, and the most a form may have.
FIRST_LINES, MOST_LINES = 2, 200
#: The most charges of an invoice.
MOST_CHARGES = 20


@routes.get("/crm/<module>/new")
@needs("crm.edit")
def crm_new(module: str) -> Any:
    """An empty form."""
    chosen = module_of(module)
    return _page(chosen, None, _form(chosen, None))


@routes.post("/crm/<module>/new")
@needs("crm.edit")
def crm_add(module: str) -> Any:
    """Makes a record, or redraws the form with a line more or less."""
    chosen = module_of(module)
    return _submitted(chosen, None)


@routes.get("/crm/<module>/<record_id>/edit")
@needs("crm.edit")
def crm_edit(module: str, record_id: str) -> Any:
    """A record's form."""
    chosen = module_of(module)
    thing = _thing(chosen, record_id)
    return _page(chosen, thing, _form(chosen, thing))


@routes.post("/crm/<module>/<record_id>/edit")
@needs("crm.edit")
def crm_save(module: str, record_id: str) -> Any:
    """Saves a record, or redraws the form with a line more or less."""
    chosen = module_of(module)
    return _submitted(chosen, _thing(chosen, record_id))


def _thing(module: Module, record_id: str) -> Any:
    number = int(record_id) if record_id.isascii() and record_id.isdigit() else -1
    thing = crm_session().get(MODELS[module], number) if number < 2**31 else None
    if thing is None:
        no_record()
    return thing


def _form(module: Module, thing: Any, *, submitted: bool = False) -> Any:
    """The module's form with its choices, from the request or from the record."""
    given: dict[str, Any] = {} if submitted else {"formdata": None}
    form: Any
    if module is Module.CONTACTS:
        form = ContactForm(obj=thing, **given)
        form.status.choices = list(CONTACTS.statuses)
    elif module in SOLD:
        form = ProductForm(obj=thing, **given)
        form.status.choices = list(PRODUCTS.statuses)
    else:
        form = InvoiceForm(data=None if submitted else _invoice_data(thing), **given)
        form.status.choices = list(Invoice.STATUSES)
        _invoice_choices(form)
    return form


def _invoice_data(invoice: Invoice | None) -> dict[str, Any]:
    if invoice is None:
        today = now().astimezone(zone()).date()
        return {
            "number": _next_number(),
            "date": today,
            "due_date": today + timedelta(days=14),
            "currency": _usual_currency(),
            "amounts": "exclusive",
            "tax_mode": "group",
            "status": "Created",
            "lines": [{"quantity": Decimal(1)} for _ in range(FIRST_LINES)],
        }
    names = ("edition", "number", "date", "due_date", "reference", "currency", "amounts", "status")
    return {
        **{each: getattr(invoice, each) for each in (*names, *MORE)},
        "charges": [{**one, "tax_rate": one.get("taxes")} for one in invoice.charges or ()],
        "contact": str(invoice.contact_id),
        "lines": [
            {
                "product": _chosen(line),
                "description": line.description,
                "quantity": line.quantity,
                "unit_price": line.unit_price,
                "discount": line.discount or None,
                "discount_amount": line.discount_amount,
                "tax_rate": line.taxes or line.tax_rate or None,
            }
            for line in invoice.lines
        ],
    }


def _invoice_choices(form: InvoiceForm) -> None:
    contacts = crm_session().execute(select(Contact.id, Contact.name).order_by(Contact.name)).all()
    form.contact.choices = [
        SelectChoice("", "–"),
        *(SelectChoice(str(id_), text) for id_, text in contacts),
    ]
    choices = _sold_choices()
    for line in form.lines:
        line.form.product.choices = choices


def _chosen(line: InvoiceLine) -> str:
    """The line's product or service as the list of both names it."""
    if line.service_id:
        return f"{SIGNS[Module.SERVICES]}{line.service_id}"
    return str(line.product_id or "")


def _next_number() -> str:
    """The number behind the newest invoice's, where that one ends in digits."""
    last = crm_session().scalar(select(Invoice.number).order_by(Invoice.id.desc()).limit(1))
    if last is None:
        return "INV-1"
    head = str(last).rstrip("0123456789")
    digits = str(last)[len(head) :]
    for step in range(1, 50 if digits else 0):
        number = head + str(int(digits) + step).zfill(len(digits))
        if crm_session().scalar(select(Invoice.id).where(Invoice.number == number)) is None:
            return number
    return ""


def _usual_currency() -> str:
    last = crm_session().scalar(select(Invoice.currency).order_by(Invoice.id.desc()).limit(1))
    if last:
        return str(last)
    with xt().services.database.read() as session:
        first = next(iter(load(session).organisations), None)
    return str(first.currency or "") if first else ""


def _submitted(module: Module, thing: Any) -> Any:
    form = _form(module, thing, submitted=True)
    if isinstance(form, InvoiceForm) and (step := _line_step(form)):
        form.validate()
        spare_empty(form)
        return _page(module, thing, form, step=step, status=422 if any(faults(form)) else 200)
    sound = form.validate()
    if isinstance(form, InvoiceForm):
        sound = _check_invoice(form, thing) and sound
    if isinstance(form, ProductForm):
        sound = _check_code(form, module, thing) and sound
    if not sound:
        return _page(module, thing, form, status=422)
    if thing is not None and form.edition.data != str(thing.edition):
        return _stale(module, thing, form)
    session = crm_session()
    saved = thing if thing is not None else MODELS[module]()
    saved.changed_by, saved.changed_at = name()[:255], now()
    _fill(module, saved, form)
    if thing is None:
        session.add(saved)
    try:
        session.commit()
    except IntegrityError:
        session.rollback()
        form.number.errors = [say("crm.number.taken", number=form.number.data)]
        return _page(module, thing, form, status=422)
    except StaleDataError:  # somebody saved it at this very moment
        session.rollback()
        return _stale(module, _thing(module, str(thing.id)), form)
    return _after(RecordRef(module, str(saved.id)), saved.label)


def _stale(module: Module, thing: Any, form: Any) -> Any:
    """Somebody saved it meanwhile: what was entered is kept, and what differs is listed."""
    who, when = thing.changed_by or "Somebody", thing.changed_at
    clash = say("what.changed", who=who, time=clock_time(when)) if when else say("crm.changed")
    mine, theirs = entered(form), entered(_form(module, thing))
    differs = [
        say(
            "what.changed.line",
            label=label,
            theirs=theirs.get(label, "–"),
            mine=mine.get(label, "–"),
        )
        for label in dict.fromkeys([*theirs, *mine])
        if theirs.get(label, "–") != mine.get(label, "–")
    ]
    # Whoever has compared may save over it.
    form.edition.data = str(thing.edition)
    return _page(module, thing, form, status=409, clash=clash, differs=differs)


def _line_step(form: InvoiceForm) -> str | None:
    """Adds or removes a line, fills in what a product says; None where a save was meant."""
    pressed = request.form.get("step", "")
    if not pressed:
        return None
    what, _, number = pressed.partition(":")
    rows = form.charges if what == "uncharge" else form.lines
    place = whole(number)
    if what in ("remove", "uncharge") and place is not None and place < len(rows.entries):
        del rows.entries[place]
        _renumber(rows)
    _products_say(form)
    if what == "charge" and len(form.charges.entries) < MOST_CHARGES:
        form.charges.append_entry()
    if what == "add" and len(form.lines.entries) < MOST_LINES:
        form.lines.append_entry({"quantity": Decimal(1)})
        form.lines.entries[-1].form.product.choices = _sold_choices()
    return what


def _sold_choices() -> list[SelectChoice]:
    """All products and services by part number, each kind under its name."""
    choices = [SelectChoice("", "–")]
    for module, sign in SIGNS.items():
        model = MODELS[module]
        rows = crm_session().execute(
            select(model.id, model.code, model.name).order_by(model.code, model.name)
        )
        choices += [
            SelectChoice(
                f"{sign}{id_}", f"{code} · {text}" if code else text, optgroup=module.value
            )
            for id_, code, text in rows
        ]
    return choices


def _renumber(rows: Any) -> None:
    """Gives the lines, or charges, behind a removed one their new names."""
    for place, entry in enumerate(rows.entries):
        prefix = f"{rows.name}-{place}"
        entry.name = entry.id = prefix
        for field in entry.form:
            field.name = field.id = f"{prefix}-{field.short_name}"
            field.label.field_id = field.id
    rows.last_index = len(rows.entries) - 1


def _products_say(form: InvoiceForm) -> None:
    """A chosen product or service gives an untouched line its price and tax."""
    for entry in form.lines.entries:
        line = entry.form
        sold = sold_by(line.product.data)
        if sold is not None and line.unit_price.data is None and not line.unit_price.process_errors:
            line.unit_price.data, line.unit_price.raw_data = sold.price, None
            if line.tax_rate.data is None:
                line.tax_rate.data, line.tax_rate.raw_data = sold.tax_rate, None


def _check_invoice(form: InvoiceForm, thing: Invoice | None) -> bool:
    """What a form alone can't know: the contact, the number, at least one line."""
    sound = True
    contact = whole(form.contact.data)
    if contact is None or crm_session().get(Contact, contact) is None:
        form.contact.errors = [say("form.choice")]
        sound = False
    other = crm_session().scalar(
        select(Invoice.id).where(Invoice.number == (form.number.data or "").strip())
    )
    if other is not None and (thing is None or other != thing.id):
        form.number.errors = [say("crm.number.taken", number=form.number.data)]
        sound = False
    if all(entry.form.blank() for entry in form.lines.entries):
        form.lines.errors = [say("crm.lines.none")]
        sound = False
    return sound


def _check_code(form: ProductForm, module: Module, thing: Any) -> bool:
    """A part number names one product or one service: Xero keeps item codes unique."""
    code = clean(form.code.data)
    if code is None:
        return True
    for each in SOLD:
        model = MODELS[each]
        found = crm_session().scalars(select(model.id).where(model.code == code)).all()
        own = thing.id if thing is not None and each is module else None
        if any(one != own for one in found):
            key = "crm.code.taken" if each is module else "crm.code.taken.by"
            form.code.errors = [say(key, singular=each.singular, code=code)]
            return False
    return True


def _fill(module: Module, thing: Any, form: Any) -> None:
    if module is Module.INVOICES:
        _fill_invoice(thing, form)
        return
    for field in form:
        if field.name in ("csrf_token", "edition"):
            continue
        value = field.data
        if isinstance(value, str):
            value = clean(value)
        if field.name == "tax_rate":
            value = value or Decimal(0)
        setattr(thing, field.name, value)


def _fill_invoice(invoice: Invoice, form: InvoiceForm) -> None:
    invoice.number = (form.number.data or "").strip()
    invoice.contact_id = int(form.contact.data)
    invoice.date = form.date.data
    invoice.due_date = form.due_date.data
    invoice.reference = clean(form.reference.data)
    invoice.currency, invoice.amounts = form.currency.data, form.amounts.data
    invoice.status = form.status.data
    for each in MORE:
        setattr(invoice, each, getattr(form, each).data or None)
    invoice.tax_mode = form.tax_mode.data or "group"
    invoice.charges = charges_of(form) or None
    _products_say(form)
    invoice.lines = lines_of(form)
    invoice.count()


def _after(ref: RecordRef, label: str) -> Any:
    """Behind a save: to the record, or with [Save and sync] to its run."""
    here = url_for("xtiger.record", module=ref.module.value, record_id=ref.id)
    if request.form.get("then") != "sync":
        done(say("crm.saved", label=label))
        return redirect(here, 303)
    try:
        intake.set_flag(xt().services, ref, who=name(), allow=True)
        runs = scheduler.sync_records(xt().services, [ref], who=name())
    except XTigerError as error:
        done(say("crm.saved", label=label))
        fault(error.sentence)
        return redirect(here, 303)
    done(say("crm.saved.sync", label=label))
    if runs and can("queue.read"):
        return redirect(url_for("xtiger.run", run_id=runs[0]), 303)
    return redirect(here, 303)


def _page(
    module: Module,
    thing: Any,
    form: Any,
    *,
    status: int = 200,
    step: str | None = None,
    clash: str | None = None,
    differs: Sequence[str] = (),
) -> Any:
    totals, amounts = totals_of(form) if isinstance(form, InvoiceForm) else (None, [])
    templates = {
        Module.CONTACTS: "xtiger/crm_contact.html",
        Module.PRODUCTS: "xtiger/crm_product.html",
        Module.SERVICES: "xtiger/crm_product.html",
        Module.INVOICES: "xtiger/crm_invoice.html",
    }
    where = url_for("xtiger.records", module=module.value)
    crumbs = [("Records", url_for("xtiger.records_home")), (module.value, where)]
    back = where
    if thing is not None:
        back = url_for("xtiger.record", module=module.value, record_id=thing.id)
        crumbs.append((thing.label, back))
    return page(
        templates[module],
        status=status,
        form=form,
        module=module,
        thing=thing,
        totals=totals,
        amounts=amounts,
        step=step,
        clash=clash,
        differs=differs,
        back=back,
        crumbs=crumbs,
        heading_text=f"Edit {thing.label}" if thing is not None else f"New {module.singular}",
    )
