"""The forms of the pages, each with its rules in the pages' own words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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

from xtiger.domain.money import Tax, combined_rate
from xtiger.web import formats
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


def listed(_form: Any, field: Field) -> None:
    """One of the choices that the field offers."""
    if field.data not in [value for value, *_ in field.iter_choices()]:
        raise ValidationError(say("form.choice"))


def clean(value: str | None) -> str | None:
    """A text without blanks around it; an empty one is None."""
    return (value or "").strip() or None


def printable(text: str, *, lines: bool = False) -> str:
    """A text without control characters, which come along when something is pasted.

    What ends a line stays an end of line in a text of `lines`, and is a blank in any other.
    """
    text = _LINE_ENDS.sub("\n" if lines else " ", text)
    return "".join(one for one in text if one in "\n\t" or not _is_control(one))


def _is_control(one: str) -> bool:
    return unicodedata.category(one) in ("Cc", "Cs")


#: Everything that some program ends a line with; a tab is a blank where lines are, too.
_LINE_ENDS = re.compile("\r\n|[\n\r\x0b\x0c\x85\u2028\u2029]")


class LineField(StringField):  # type: ignore[misc]
    """One line of text."""

    def process_formdata(self, valuelist: list[Any]) -> None:
        super().process_formdata([printable(one).replace("\t", " ") for one in valuelist])


class LinesField(TextAreaField):  # type: ignore[misc]
    """A text of several lines."""

    def process_formdata(self, valuelist: list[Any]) -> None:
        super().process_formdata([printable(one, lines=True) for one in valuelist])


def _sound(number: Decimal) -> Decimal | None:
    """A typed number of at most 15 digits and 8 places, None for any other.

    Noughts that say nothing are left out: 0e-99999999 written out would fill the memory.
    """
    if not number.is_finite() or (number and number.adjusted() > 14):
        return None
    kept = round(number, 8)
    if number != kept:
        return None
    return number if -8 <= int(number.as_tuple().exponent) <= 14 else kept or Decimal(0)


class ExactField(StringField):  # type: ignore[misc]
    """A Decimal exactly as typed; it never passes through a float."""

    data: Any

    def process_formdata(self, valuelist: list[Any]) -> None:
        self.raw = valuelist[0].strip() if valuelist else ""
        if not self.raw:
            self.data = None
            return
        try:
            self.data = _sound(Decimal(self.raw))
        except InvalidOperation:
            self.data = None
        if self.data is None:
            raise ValueError(say("form.number", value=self.raw))

    def _value(self) -> str:
        if self.raw_data:
            return str(self.raw_data[0])
        return "" if self.data is None else format(self.data, "f")


#: How one tax of several is written: "5", or "5 compound".
_COMPOUND = "compound"
_MOST_TAXES = 5


class TaxesField(ExactField):
    """One tax in percent, or several: "4.5 + 10", "10 + 5 compound".

    `data` is what they come to together; `taxes` lists them where there are several.
    """

    taxes: Sequence[Mapping[str, Any]] | None = None

    def process_data(self, value: Any) -> None:
        if isinstance(value, Sequence):
            self._take([(one["rate"], bool(one.get("compound"))) for one in value])
        else:
            self.taxes, self.data = None, value

    def process_formdata(self, valuelist: list[Any]) -> None:
        text = valuelist[0].strip() if valuelist else ""
        self.taxes = None
        if "+" not in text and _COMPOUND not in text:
            super().process_formdata(valuelist)
            return
        found: list[tuple[Decimal, bool]] = []
        for part in text.split("+"):
            number, _, word = part.strip().partition(" ")
            try:
                rate = _sound(Decimal(number))
            except InvalidOperation:
                rate = None
            known = word.strip() in ("", _COMPOUND) and len(found) < _MOST_TAXES
            if rate is None or not 0 < rate <= 100 or not known:
                self.data = None
                raise ValueError(say("form.taxes", value=text))
            found.append((rate, bool(word)))
        self._take(found)

    def _take(self, found: Sequence[tuple[Decimal, bool]]) -> None:
        self.taxes = [
            {"name": f"{format(rate, 'f')} %", "rate": rate, "compound": compound}
            for rate, compound in found
        ]
        made = combined_rate([Tax("", rate, compound) for rate, compound in found])
        self.data = round(made, 8)

    def _value(self) -> str:
        if self.raw_data or not self.taxes:
            return super()._value()
        return " + ".join(
            f"{one['rate']:f}{f' {_COMPOUND}' if one['compound'] else ''}" for one in self.taxes
        )


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
    """A whole number; nothing where nothing was written."""

    def process_formdata(self, valuelist: list[Any]) -> None:
        if not any(one.strip() for one in valuelist):
            self.data = None
            return
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


class ContactForm(FlaskForm):  # type: ignore[misc]
    """A contact of the small CRM."""

    edition = HiddenField()
    name = LineField("Name", [required, at_most(255)])
    first_name = LineField("First name", [at_most(255)])
    last_name = LineField("Last name", [at_most(255)])
    email = LineField("E-mail", [at_most(255)], render_kw={"type": "email"})
    phone = LineField("Phone", [at_most(60)])
    street = LineField("Street", [at_most(500)])
    city = LineField("City", [at_most(255)])
    region = LineField("Region", [at_most(255)])
    postal_code = LineField("Postal code", [at_most(50)])
    country = LineField("Country", [at_most(60)])
    tax_number = LineField("Tax number", [at_most(60)])
    account_number = LineField("Account number", [at_most(60)])
    is_supplier = BooleanField("Supplier")
    status = SelectField("Status", [listed], validate_choice=False)


_PRICE = {"inputmode": "decimal"}
#: What an empty entry of a line counts as is shown in its place.
_QUANTITY, _UNIT_PRICE = (_PRICE | {"placeholder": each} for each in ("1", "0.00"))


class ProductForm(FlaskForm):  # type: ignore[misc]
    """A product or service of the small CRM."""

    edition = HiddenField()
    code = LineField("Part number", [at_most(30)])
    name = LineField("Name", [required, at_most(255)])
    description = LinesField("Description", [at_most(4000)], render_kw={"rows": "3"})
    price = ExactField("Price", [required], render_kw=_PRICE)
    cost = ExactField("Cost", [Optional()], render_kw=_PRICE)
    tax_rate = ExactField(
        "Tax %", [Optional(), between(Decimal(0), Decimal(100))], render_kw=_PRICE
    )
    sales_account = LineField("Sales account", [at_most(10)])
    purchase_account = LineField("Purchase account", [at_most(10)])
    status = SelectField("Status", [listed], validate_choice=False)


class LineForm(Form):  # type: ignore[misc]
    """One line of an invoice."""

    product = SelectField("Product", validate_choice=False)
    description = LineField("Description", [at_most(4000)])
    quantity = ExactField("Qty", [Optional()], render_kw=_QUANTITY)
    unit_price = ExactField("Price", [Optional()], render_kw=_UNIT_PRICE)
    discount = ExactField(
        "Discount %", [Optional(), between(Decimal(0), Decimal(100))], render_kw=_PRICE
    )
    discount_amount = ExactField("Discount as an amount", [Optional()], render_kw=_PRICE)
    tax_rate = TaxesField("Tax %", [Optional(), between(Decimal(0), Decimal(100))])

    def validate_discount_amount(self, field: Field) -> None:
        """In percent or as an amount, not both."""
        if field.data and self.discount.data:
            raise ValidationError(say("form.discounts"))

    def blank(self) -> bool:
        """Whether nothing was entered in it; what can't be read was entered, too."""
        return not (
            self.product.data
            or clean(self.description.data)
            or self.unit_price.data is not None
            or any(field.process_errors or field.errors for field in self)
        )


class ChargeForm(Form):  # type: ignore[misc]
    """One charge of an invoice: shipping and the like."""

    description = LineField("Charge", [at_most(4000)])
    amount = ExactField("Amount", render_kw=_PRICE)
    tax_rate = TaxesField("Tax %", [Optional(), between(Decimal(0), Decimal(100))])

    def validate_amount(self, field: Field) -> None:
        """A charge that was begun has an amount."""
        begun = clean(self.description.data) or self.tax_rate.data is not None
        if begun and field.data is None and not field.errors:
            raise ValidationError(say("form.required", label=field.label.text))


class InvoiceForm(FlaskForm):  # type: ignore[misc]
    """An invoice or bill of the small CRM."""

    edition = HiddenField()
    number = LineField("Number", [required, at_most(255)])
    contact = SelectField("Contact", [InputRequired(say("form.choice"))], validate_choice=False)
    date = DayField("Date", [required])
    due_date = DayField("Due date", [Optional()])
    reference = LineField("Reference", [at_most(255)])
    currency = LineField("Currency", [required], render_kw={"maxlength": "3"})
    status = SelectField("Status", [listed], validate_choice=False)
    amounts = RadioField(
        "Amounts are",
        [listed],
        validate_choice=False,
        choices=[
            SelectChoice("inclusive", "with tax"),
            SelectChoice("exclusive", "without tax"),
            SelectChoice("no tax", "no tax"),
        ],
    )
    lines = FieldList(FormField(LineForm))
    tax_mode = RadioField(
        "Tax is counted",
        [listed],
        validate_choice=False,
        default="group",
        choices=[
            SelectChoice("group", "once a rate"),
            SelectChoice("individual", "on each line"),
        ],
    )
    header_discount = ExactField(
        "Discount on all, %", [Optional(), between(Decimal(0), Decimal(100))], render_kw=_PRICE
    )
    header_discount_amount = ExactField("Discount on all", [Optional()], render_kw=_PRICE)
    charges = FieldList(FormField(ChargeForm))
    adjustment = ExactField("Adjustment", [Optional()], render_kw=_PRICE)
    withheld = ExactField("Tax withheld", [Optional(), between(Decimal(0))], render_kw=_PRICE)

    def validate_header_discount_amount(self, field: Field) -> None:
        """In percent or as an amount, not both."""
        if field.data and self.header_discount.data:
            raise ValidationError(say("form.discounts"))

    def more(self) -> bool:
        """Whether anything stands in the part that is folded away while it is empty."""
        fields = [self.header_discount, self.header_discount_amount, self.adjustment]
        fields += [self.withheld, *(entry.form.discount_amount for entry in self.lines.entries)]
        return (
            self.tax_mode.data != "group"
            or bool(self.charges.entries)
            or any(field.data or field.errors for field in fields)
        )

    def validate_currency(self, field: Field) -> None:
        """Three letters, kept in capitals."""
        code = (field.data or "").strip().upper()
        if len(code) != 3 or not code.isascii() or not code.isalpha():
            raise ValidationError(say("form.currency"))
        field.data = code


#: What people call one entry of a list of entries.
_ROWS = {"lines": "Line", "charges": "Charge"}


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one entry: `at` is the id of the control that it stands at."""

    at: str
    sentence: str


def faults(form: Any, before: str = "") -> Iterator[Fault]:
    """Every fault of a checked form in its fields' order, each told apart from the others."""
    for field in form:
        if isinstance(field, FieldList):
            what = _ROWS.get(field.short_name, field.label.text)
            for place, entry in enumerate(field.entries, start=1):
                yield from faults(entry.form, f"{what} {place}, ")
        at = "main" if isinstance(field, HiddenField) else field.id
        if isinstance(field, RadioField):
            at = f"{at}-0"
        name = before + field.label.text
        for one in field.errors:
            if isinstance(one, str):
                said = name.casefold() in one.casefold() or isinstance(field, FieldList)
                # "Line 2: Price can't …" where the sentence names the field but not the line.
                named = before and one.casefold().startswith(field.label.text.casefold())
                where = before.removesuffix(", ") if named else name
                yield Fault(at, one if said else say("form.at", name=where, fault=one))


def spare_empty(form: Any) -> None:
    """Takes back what a check says of entries that nobody has filled in yet."""
    for field in form:
        for entry in field.entries if isinstance(field, FieldList) else ():
            spare_empty(entry.form)
        if not any(isinstance(one, str) and one.strip() for one in field.raw_data or ()):
            field.errors = []


def entered(form: Any, before: str = "") -> dict[str, str]:
    """What stands in a form, by what people call each entry."""
    found: dict[str, str] = {}
    for field in form:
        if field.name.endswith(("csrf_token", "edition")):
            continue
        if isinstance(field, FieldList):
            for place, entry in enumerate(field.entries, start=1):
                found |= entered(entry.form, f"{_ROWS[field.short_name]} {place}, ")
            continue
        value = field.data
        choices = (
            {str(value): str(label) for value, label, *_ in field.iter_choices()}
            if isinstance(field, SelectField | RadioField)
            else {}
        )
        if isinstance(value, bool):
            text = "yes" if value else "no"
        elif isinstance(value, Decimal):
            text = formats.quantity(value)
        else:
            text = choices.get(str(value), str(value)) if value not in (None, "") else ""
        if text:
            found[before + field.label.text] = text
    return found
