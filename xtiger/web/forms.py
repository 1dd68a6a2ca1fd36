"""The forms of the pages, each with its rules in the pages' own words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from flask_wtf import FlaskForm
from wtforms import (
    BooleanField,
    DateField,
    Field,
    FieldList,
    Form,
    FormField,
    HiddenField,
    IntegerField,
    PasswordField,
    RadioField,
    SelectChoice,
    SelectField,
    SelectMultipleField,
    StringField,
    TextAreaField,
    ValidationError,
)
from wtforms.validators import InputRequired, Optional, StopValidation
from wtforms.widgets import CheckboxInput, ListWidget

from xtiger.web.words import say


def required(_form: Any, field: Field) -> None:
    """Something must be there; what can't be read has said so already."""
    if field.process_errors:
        raise StopValidation
    if field.data is None or (isinstance(field.data, str) and not field.data.strip()):
        field.errors = []
        raise StopValidation(say("form.required", label=field.label.text))


def at_most(most: int) -> Callable[[Any, Field], None]:
    """A text's length."""

    def check(_form: Any, field: Field) -> None:
        text = field.data or ""
        if len(text) > most:
            raise ValidationError(
                say("form.long", label=field.label.text, most=most, count=len(text))
            )

    return check


def between(
    least: Decimal | None = None, most: Decimal | None = None
) -> Callable[[Any, Field], None]:
    """A number's bounds."""

    def check(_form: Any, field: Field) -> None:
        if field.data is None:
            return
        if least is not None and field.data < least:
            raise ValidationError(say("form.least", label=field.label.text, least=least))
        if most is not None and field.data > most:
            raise ValidationError(say("form.most", label=field.label.text, most=f"{most:,}"))

    return check


def clean(value: str | None) -> str | None:
    """A text without blanks around it; an empty one is None."""
    return (value or "").strip() or None


class ExactField(StringField):  # type: ignore[misc]
    """A Decimal exactly as typed; it never passes through a float."""

    data: Any

    def process_formdata(self, valuelist: list[Any]) -> None:
        self.raw = valuelist[0].strip() if valuelist else ""
        if not self.raw:
            self.data = None
            return
        try:
            number = Decimal(self.raw)
        except InvalidOperation:
            number = Decimal("NaN")
        if not number.is_finite() or number.adjusted() > 14 or number != round(number, 8):
            self.data = None
            raise ValueError(say("form.number", value=self.raw))
        self.data = number

    def _value(self) -> str:
        if self.raw_data:
            return str(self.raw_data[0])
        return "" if self.data is None else format(self.data, "f")


class DayField(DateField):  # type: ignore[misc]
    """A plain day."""

    data: Any

    def process_formdata(self, valuelist: list[Any]) -> None:
        text = valuelist[0].strip() if valuelist else ""
        try:
            self.data = date.fromisoformat(text) if text else None
        except ValueError:
            self.data = None
            raise ValueError(say("form.day", value=text)) from None


class WholeField(IntegerField):  # type: ignore[misc]
    """A whole number."""

    def process_formdata(self, valuelist: list[Any]) -> None:
        try:
            super().process_formdata(valuelist)
        except ValueError:
            raise ValueError(say("form.whole", value=valuelist[0])) from None


class TicksField(SelectMultipleField):  # type: ignore[misc]
    """Several of a list, each with its own box."""

    widget = ListWidget(prefix_label=False)
    option_widget = CheckboxInput()


class AppForm(FlaskForm):  # type: ignore[misc]
    """The Xero app."""

    client_id = StringField(
        "Client ID",
        [required, at_most(100)],
        render_kw={"autocomplete": "off", "spellcheck": "false"},
    )
    client_secret = PasswordField(
        "Client secret", [at_most(200)], render_kw={"autocomplete": "new-password"}
    )
    kind = RadioField(
        "Kind of app",
        choices=[
            SelectChoice("web", say("api.kind.web")),
            SelectChoice("custom", say("api.kind.custom")),
        ],
        validate_choice=False,  # where the environment fixes it, it isn't on the page
    )
    extras = TicksField("More permissions")
    #: The boxes were on the page: then none ticked means none wanted.
    boxes = HiddenField(default="1")


class WebhookForm(FlaskForm):  # type: ignore[misc]
    """What Xero signs its webhooks with."""

    key = PasswordField(
        "Key", [required, at_most(200)], render_kw={"autocomplete": "off", "spellcheck": "false"}
    )


class RecipientsForm(FlaskForm):  # type: ignore[misc]
    """Who gets the mail after each sync."""

    addresses = TextAreaField("Addresses, one a line", render_kw={"rows": "5"})


class ProfileForm(FlaskForm):  # type: ignore[misc]
    """What syncs of one module to one organisation."""

    seen = HiddenField()
    enabled = BooleanField("On")
    rule = RadioField(
        "Sync Records",
        choices=[
            SelectChoice("all", "All records"),
            SelectChoice("ticked", "Enable Xero Sync: only ticked"),
            SelectChoice("status", "By status"),
        ],
    )
    statuses = TicksField("Statuses")
    created_from = DayField("Created from", [Optional()])
    target_status = RadioField(
        "Create in Xero as",
        choices=[
            SelectChoice("DRAFT", "Draft"),
            SelectChoice("SUBMITTED", "Submitted"),
            SelectChoice("AUTHORISED", "Authorised"),
        ],
    )
    add_needed = RadioField(
        "Needed records (contact, product)",
        choices=[
            SelectChoice("1", say("what.needed.add")),
            SelectChoice("0", say("what.needed.wait")),
        ],
    )
    order = RadioField(
        "Order",
        choices=[
            SelectChoice("normal", "normal"),
            SelectChoice("strict", "strict"),
        ],
    )
    deleted = RadioField(
        "Deleted in the CRM",
        choices=[
            SelectChoice("leave", "leave"),
            SelectChoice("remove", say("what.deleted.status.label")),
        ],
    )
    route_field = SelectField("Only where")
    route_value = StringField("is", [at_most(255)])
    retries = WholeField("Retries by schedule", [Optional(), between(Decimal(0), Decimal(20))])

    def validate_statuses(self, field: Field) -> None:
        """The rule by status needs at least one."""
        if self.rule.data == "status" and not field.data:
            raise ValidationError(say("what.rule.status.empty"))

    def validate_route_value(self, field: Field) -> None:
        """Both halves of a condition, or none."""
        if bool(clean(field.data)) != bool(self.route_field.data):
            raise ValidationError(say("what.route.half"))


class ContactForm(FlaskForm):  # type: ignore[misc]
    """A contact of the small CRM."""

    name = StringField("Name", [required, at_most(255)])
    first_name = StringField("First name", [at_most(255)])
    last_name = StringField("Last name", [at_most(255)])
    email = StringField("E-mail", [at_most(255)], render_kw={"type": "email"})
    phone = StringField("Phone", [at_most(60)])
    street = StringField("Street", [at_most(500)])
    city = StringField("City", [at_most(255)])
    region = StringField("Region", [at_most(255)])
    postal_code = StringField("Postal code", [at_most(50)])
    country = StringField("Country", [at_most(60)])
    tax_number = StringField("Tax number", [at_most(60)])
    account_number = StringField("Account number", [at_most(60)])
    is_supplier = BooleanField("Supplier")
    status = SelectField("Status")


_PRICE = {"inputmode": "decimal"}


class ProductForm(FlaskForm):  # type: ignore[misc]
    """A product of the small CRM."""

    code = StringField("Part number", [at_most(30)])
    name = StringField("Name", [required, at_most(255)])
    description = TextAreaField("Description", [at_most(4000)], render_kw={"rows": "3"})
    price = ExactField("Price", [required], render_kw=_PRICE)
    cost = ExactField("Cost", [Optional()], render_kw=_PRICE)
    tax_rate = ExactField(
        "Tax %", [Optional(), between(Decimal(0), Decimal(100))], render_kw=_PRICE
    )
    sales_account = StringField("Sales account", [at_most(10)])
    purchase_account = StringField("Purchase account", [at_most(10)])
    status = SelectField("Status")


class LineForm(Form):  # type: ignore[misc]
    """One line of an invoice."""

    product = SelectField("Product", validate_choice=False)
    description = StringField("Description", [at_most(4000)])
    quantity = ExactField("Qty", [Optional()], render_kw=_PRICE)
    unit_price = ExactField("Price", [Optional()], render_kw=_PRICE)
    discount = ExactField(
        "Discount %", [Optional(), between(Decimal(0), Decimal(100))], render_kw=_PRICE
    )
    tax_rate = ExactField(
        "Tax %", [Optional(), between(Decimal(0), Decimal(100))], render_kw=_PRICE
    )

    def blank(self) -> bool:
        """Whether nothing was entered in it."""
        return not (
            self.product.data
            or clean(self.description.data)
            or self.unit_price.data is not None
            or self.unit_price.errors
        )


class InvoiceForm(FlaskForm):  # type: ignore[misc]
    """An invoice or bill of the small CRM."""

    number = StringField("Number", [required, at_most(255)])
    contact = SelectField("Contact", [InputRequired(say("form.choice"))], validate_choice=False)
    date = DayField("Date", [required])
    due_date = DayField("Due date", [Optional()])
    reference = StringField("Reference", [at_most(255)])
    currency = StringField("Currency", [required], render_kw={"maxlength": "3"})
    status = SelectField("Status")
    amounts = RadioField(
        "Amounts are",
        choices=[
            SelectChoice("inclusive", "with tax"),
            SelectChoice("exclusive", "without tax"),
            SelectChoice("no tax", "no tax"),
        ],
    )
    lines = FieldList(FormField(LineForm))

    def validate_currency(self, field: Field) -> None:
        """Three letters, kept in capitals."""
        code = (field.data or "").strip().upper()
        if len(code) != 3 or not code.isascii() or not code.isalpha():
            raise ValidationError(say("form.currency"))
        field.data = code
