"""Mapping templates as data, and those that a new organisation begins with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple

from xtiger.domain import transforms
from xtiger.domain.records import (
    DOCUMENTS,
    SOLD,
    DocumentType,
    Field,
    FieldKind,
    Module,
    ModuleInfo,
)
from xtiger.domain.resources import RESOURCE_OF
from xtiger.domain.targets import LINE_TARGETS, TARGETS, Target, TargetKind
from xtiger.domain.transforms import TemplateFault, as_text, did_you_mean

#: The most rows of a mapping, and characters of a field's name.
_MOST_ROWS, _LONGEST_NAME = 200, 120


class TooLong(StrEnum):
    """What happens to a text longer than Xero takes."""

    CUT = "cut"
    FAULT = "fault"


class Overwrite(StrEnum):
    """Whether a field of an object that is in Xero already is written."""

    ALWAYS = "always"
    BLANK = "blank"  #: only while Xero has nothing there
    NEVER = "never"  #: only when the object is created


@dataclass(frozen=True, slots=True)
class Row:
    """One Xero field and where its value comes from."""

    to: str
    source: transforms.Transform
    required: bool = False
    too_long: TooLong = TooLong.FAULT
    overwrite: Overwrite = Overwrite.ALWAYS
    #: The tracking category that the value is an option of, where the Xero field takes one.
    category: str = ""

    @classmethod
    def from_json(cls, data: Any) -> Row:
        """Reads {"to": …, "from": {…}, "required": …, "too_long": …, "overwrite": …}.

        Rows that track lines have a "category" too. Raises TemplateFault.
        """
        known = ("to", "from", "required", "too_long", "overwrite", "category")
        _known_keys(data, known, "A row of a mapping")
        to = data.get("to")
        if not isinstance(to, str) or not 0 < len(to) <= _LONGEST_NAME:
            raise TemplateFault("A row of a mapping names a Xero field in 'to'.")
        try:
            source = transforms.from_json(data.get("from"))
        except TemplateFault as wrong:
            raise TemplateFault(wrong.sentence, ((to, wrong.sentence),)) from None
        required, too_long = data.get("required", False), data.get("too_long", TooLong.FAULT)
        if not isinstance(required, bool) or too_long not in list(TooLong):
            sentence = "'required' is true or false, 'too_long' is cut or fault."
            raise TemplateFault(sentence, ((to, sentence),))
        overwrite = data.get("overwrite", Overwrite.ALWAYS)
        if overwrite not in list(Overwrite):
            sentence = "'overwrite' is always, blank or never."
            raise TemplateFault(sentence, ((to, sentence),))
        category = data.get("category", "")
        if not isinstance(category, str) or len(category) > _LONGEST_NAME:
            sentence = "'category' names a tracking category of Xero's."
            raise TemplateFault(sentence, ((to, sentence),))
        category = " ".join(category.split())
        return cls(to, source, required, TooLong(too_long), Overwrite(overwrite), category)

    def to_json(self) -> dict[str, Any]:
        """The form that `from_json` reads."""
        data: dict[str, Any] = {"to": self.to, "from": self.source.to_json()}
        if self.required:
            data["required"] = True
        if self.too_long is not TooLong.FAULT:
            data["too_long"] = self.too_long.value
        if self.overwrite is not Overwrite.ALWAYS:
            data["overwrite"] = self.overwrite.value
        if self.category:
            data["category"] = self.category
        return data


@dataclass(frozen=True, slots=True)
class MoneyFields:
    """The CRM fields that the money rules read, and the accounts of what isn't a line.

    The first four, `discount_amount` and `taxes` are fields of a line. A CRM needn't have those
    behind `amounts`. An account is a code; an empty one is chosen as docs/money.md says.
    """

    quantity: str = "quantity"
    unit_price: str = "unit_price"
    discount: str = "discount"  #: percent
    tax_rate: str = "tax_rate"  #: percent
    subtotal: str = "subtotal"  #: without tax, before adjustment and withheld tax
    total: str = "total"
    amounts: str = "amounts"  #: "exclusive", "inclusive" or "no tax"
    discount_amount: str = "discount_amount"  #: off the line
    #: Several taxes of one line: [{"name": …, "rate": percent, "compound": false}, …].
    taxes: str = "taxes"
    tax_mode: str = "tax_mode"  #: "group" or "individual"
    header_discount: str = "header_discount"  #: percent
    header_discount_amount: str = "header_discount_amount"
    #: [{"description": …, "amount": …, "tax_rate": percent or "taxes": […]}, …].
    charges: str = "charges"
    adjustment: str = "adjustment"
    withheld: str = "withheld"  #: tax that the customer keeps back, as a positive number
    discount_account: str = ""
    charge_account: str = ""
    adjustment_account: str = ""
    withheld_account: str = ""
    #: Empty: the one that Xero itself rounds to.
    rounding_account: str = ""
    rounding_limit: str = "0.05"  #: the most that a rounding line may be; 0: none is made
    decimals: str = "decimals"  #: to how many places the CRM rounds; without one to 2

    @property
    def most_rounded(self) -> Decimal:
        """The most that a rounding line may be; `problems` has told of what is no number."""
        return Decimal(self.rounding_limit or "0")


#: Those that a CRM may lack: a name that nobody changed and that it doesn't know is no fault.
MAY_LACK = frozenset(
    {"discount_amount", "tax_mode", "header_discount", "header_discount_amount"}
    | {"adjustment", "withheld", "decimals"}
    | {"charges", "taxes"}
)
#: Those that are lists, and those of a line that a CRM may lack.
LISTS, _OF_LINE = frozenset({"charges", "taxes"}), frozenset({"discount_amount", "taxes"})
#: A rounding line above it would hide a mistake.
MOST_ROUNDED = Decimal(1)


class Difference(NamedTuple):
    """What one version of a mapping has otherwise than another.

    `where` is "fields" or "lines", whose `before` and `after` are rows; "money", whose are names
    of CRM fields; or "taxes", whose are TaxTypes. None: it has none there.
    """

    where: str
    to: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class MappingTemplate:
    """One version of a mapping. `tax_types` overrides the choice of TaxTypes by rate."""

    module: Module
    document_type: DocumentType | None = None
    version: int = 1
    fields: tuple[Row, ...] = ()
    lines: tuple[Row, ...] = ()
    money: MoneyFields = MoneyFields()
    tax_types: Mapping[Decimal, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: Any) -> MappingTemplate:
        """Reads a template's JSON data. Raises TemplateFault naming all faults."""
        _known_keys(data, [each.name for each in fields(cls)], "A mapping")
        try:
            module = Module(data.get("module"))
            kind = data.get("document_type")
            document_type = None if kind is None else DocumentType(kind)
            tax_types = _tax_types(data.get("tax_types", {}))
        except (ValueError, ArithmeticError, AttributeError, TypeError):
            raise TemplateFault(
                "A mapping names its module, for documents Invoice or Bill, and TaxTypes by "
                'rate, such as {"15": "OUTPUT2"}.'
            ) from None
        money = data.get("money", {})
        _known_keys(money, [each.name for each in fields(MoneyFields)], "The money part")
        if not all(isinstance(one, str) and len(one) <= _LONGEST_NAME for one in money.values()):
            raise TemplateFault("The money part names CRM fields.")
        version = data.get("version", 1)
        if type(version) is not int or version < 1:
            raise TemplateFault("The version of a mapping is a whole number from 1.")
        rows, lines = _rows(data.get("fields", ())), _rows(data.get("lines", ()))
        return cls(module, document_type, version, rows, lines, MoneyFields(**money), tax_types)

    def to_json(self) -> dict[str, Any]:
        """JSON data that `from_json` reads back to an equal template."""
        money = {each.name: getattr(self.money, each.name) for each in fields(MoneyFields)}
        return {
            "module": self.module.value,
            "document_type": self.document_type and self.document_type.value,
            "version": self.version,
            "fields": [row.to_json() for row in self.fields],
            "lines": [row.to_json() for row in self.lines],
            "money": money,
            "tax_types": {as_text(rate): to for rate, to in self.tax_types.items()},
        }

    def problems(self, info: ModuleInfo | None = None) -> tuple[tuple[str, str], ...]:
        """(Xero field, sentence) for everything that keeps the template from being used.

        Xero fields that don't exist, are filled twice or, being required, not at all; and,
        where the CRM describes the module by `info`, CRM fields that it doesn't have.
        """
        bill = self.document_type is DocumentType.BILL
        found = list(_target_problems(self.fields, TARGETS[RESOURCE_OF[self.module]], bill))
        if self.module in DOCUMENTS:
            found += _target_problems(self.lines, LINE_TARGETS, bill, lines=True)
        elif self.lines:
            found.append(("LineItems", f"{self.module.value} have no lines."))
        if not _is_limit(self.money.rounding_limit):
            most = f"A rounding line is at most 0.00 to {MOST_ROUNDED:.2f}, in whole cents."
            found.append(("money", most))
        if info is not None:
            targets = TARGETS[RESOURCE_OF[self.module]]
            found += _value_problems(self.fields, targets, info.fields)
            found += _value_problems(self.lines, LINE_TARGETS, info.line_fields)
            found += self._money_problems(info)
        return tuple(found)

    def differences(self, after: MappingTemplate) -> tuple[Difference, ...]:
        """What another version has otherwise; the order and number of versions don't count."""
        parts: list[tuple[str, Mapping[str, Any], Mapping[str, Any]]] = [
            ("fields", _by_target(self.fields), _by_target(after.fields)),
            ("lines", _by_target(self.lines), _by_target(after.lines)),
            ("money", _named(self.money), _named(after.money)),
            ("taxes", _by_text(self.tax_types), _by_text(after.tax_types)),
        ]
        return tuple(
            Difference(where, to, old.get(to), new.get(to))
            for where, old, new in parts
            for to in dict.fromkeys([*old, *new])
            if old.get(to) != new.get(to)
        )

    def _money_problems(self, info: ModuleInfo) -> Iterator[tuple[str, str]]:
        money, header, lines = self.money, info.fields, info.line_fields
        wanted = [(money.tax_rate, header)] if self.module in SOLD else []
        if self.module in DOCUMENTS:
            wanted = [(name, header) for name in (money.subtotal, money.total, money.amounts)]
            of_line = (money.quantity, money.unit_price, money.discount, money.tax_rate)
            wanted += [(name, lines) for name in of_line]
            # What CRMs may lack, under a name that somebody chose.
            for one in fields(MoneyFields):
                name = getattr(money, one.name)
                if one.name in MAY_LACK and name != one.default:
                    wanted.append((name, lines if one.name in _OF_LINE else header))
            for lists, possible in (("taxes", lines), ("charges", header)):
                name = getattr(money, lists)
                kinds = [each.kind for each in possible if each.name == name]
                if kinds and kinds != [FieldKind.LIST]:
                    yield "money", f"The field '{name}' isn't a list of {lists}."
        for name, possible in wanted:
            known = [each.name for each in possible]
            if name not in known:
                yield "money", f"There is no field '{name}'{did_you_mean(name, known)}"


def _by_target(rows: Sequence[Row]) -> dict[str, Row]:
    return {row.to: row for row in rows}


def _by_text(tax_types: Mapping[Decimal, str]) -> dict[str, str]:
    return {as_text(rate): name for rate, name in tax_types.items()}


def _named(money: MoneyFields) -> dict[str, str]:
    return {each.name: getattr(money, each.name) for each in fields(MoneyFields)}


def _target_problems(
    rows: Sequence[Row], targets: Mapping[str, Target], bill: bool, *, lines: bool = False
) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    tracked: set[str] = set()
    for row in rows:
        to, target = row.to, targets.get(row.to)
        if target is None:
            yield to, f"There is no Xero field '{to}'{did_you_mean(to, targets)}"
        elif to in seen:
            yield to, f"{to} is filled twice."
        elif target.sales_only and bill:
            yield to, f"Xero has no {to} on bills: leave it out."
        elif target.tracks and not row.category:
            yield to, f"Choose the tracking category that {to} is of."
        elif row.category and not target.tracks:
            yield to, f"{to} isn't tracked: leave the category out."
        elif row.category and row.category.casefold() in tracked:
            yield to, f"Lines have the tracking category “{row.category}” already: choose another."
        elif row.overwrite is not Overwrite.ALWAYS and (target.required or lines):
            yield to, f"{to} goes with every change: it can't be kept from overwriting."
        seen.add(to)
        tracked.add(row.category.casefold())
    for to, target in targets.items():
        if target.required and to not in seen:
            yield to, f"{to} is required by Xero: choose a field or a fixed value."


#: What a Xero field takes, as kinds of CRM fields.
_TAKES: Mapping[TargetKind, FieldKind] = {
    TargetKind.TEXT: FieldKind.TEXT,
    TargetKind.LINE: FieldKind.TEXT,
    TargetKind.DATE: FieldKind.DATE,
    TargetKind.NUMBER: FieldKind.NUMBER,
    TargetKind.LINK: FieldKind.LINK,
}


def _value_problems(
    rows: Sequence[Row], targets: Mapping[str, Target], known: Sequence[Field]
) -> Iterator[tuple[str, str]]:
    """Names and kinds that don't fit the CRM's fields, and fixed values that Xero can't take."""
    described = transforms.Fields(known)
    for row in rows:
        target = targets.get(row.to)
        wanted = None if target is None else _TAKES[target.kind]
        for sentence in row.source.check(described, wanted).faults:
            yield row.to, sentence
        longest = target.longest if target and row.too_long is TooLong.FAULT else 0
        for text in map(as_text, row.source.fixed()):
            if 0 < longest < len(text):
                much = f"“{text[:40]}” has {len(text)}. Cut it or choose another value."
                yield row.to, f"Xero takes {longest} characters; {much}"


def _tax_types(data: Mapping[str, Any]) -> dict[Decimal, str]:
    """TaxTypes by percentage. Raises one of the errors of what isn't that."""
    if len(data) > _MOST_ROWS:
        raise ValueError
    found: dict[Decimal, str] = {}
    for rate, name in data.items():
        percent = Decimal(rate)
        if not 0 <= percent <= 100 or not isinstance(name, str) or len(name) > _LONGEST_NAME:
            raise ValueError
        found[percent] = name
    return found


def _is_limit(text: str) -> bool:
    """Whether a text says how large a rounding line may be: cents, none of them negative."""
    try:
        limit = Decimal(text or "0")
    except ArithmeticError:
        return False
    return limit.is_finite() and 0 <= limit <= MOST_ROUNDED and limit == round(limit, 2)


def _known_keys(data: Any, known: Sequence[str], what: str) -> None:
    if not isinstance(data, Mapping):
        raise TemplateFault(f"{what} is an object with {', '.join(known)}.")
    for key in data:
        if key not in known:
            name = str(key)[:_LONGEST_NAME]
            raise TemplateFault(f"{what} has no part '{name}'{did_you_mean(name, known)}")


def _rows(data: Any) -> tuple[Row, ...]:
    """Rows out of JSON; all their faults in one TemplateFault."""
    if not isinstance(data, Sequence) or isinstance(data, str):
        raise TemplateFault("The rows of a mapping are a list.")
    if len(data) > _MOST_ROWS:
        raise TemplateFault(f"A mapping has at most {_MOST_ROWS} rows.")
    rows: list[Row] = []
    faults: list[tuple[str, str]] = []
    for each in data:
        try:
            rows.append(Row.from_json(each))
        except TemplateFault as wrong:
            faults += wrong.faults
    _raise(faults)
    return tuple(rows)


def _raise(faults: Sequence[tuple[str, str]]) -> None:
    if faults:
        sentences = dict.fromkeys(sentence for _, sentence in faults)
        raise TemplateFault(" ".join(sentences), tuple(faults))


# -- the templates to begin with --------------------------------------------------------------


def _field(name: str) -> dict[str, Any]:
    return {"transform": "field", "field": name}


def _constant(value: str) -> dict[str, Any]:
    return {"transform": "constant", "value": value}


def _first(*of: dict[str, Any]) -> dict[str, Any]:
    return {"transform": "default", "of": list(of)}


def _row(to: str, source: str | dict[str, Any], **how: Any) -> dict[str, Any]:
    return {"to": to, "from": _field(source) if isinstance(source, str) else source, **how}


_FULL_NAME = {
    "transform": "concat",
    "parts": [_field("first_name"), _field("last_name")],
    "separator": " ",
}

#: POBOX is the address that Xero prints on documents.
_CONTACTS: dict[str, Any] = {
    "module": "Contacts",
    "fields": [
        _row("Name", _first(_field("name"), _FULL_NAME), required=True),
        _row("FirstName", "first_name"),
        _row("LastName", "last_name"),
        _row("EmailAddress", "email"),
        _row("AccountNumber", "account_number"),
        _row("TaxNumber", "tax_number"),
        _row("Phones.DEFAULT.PhoneNumber", "phone"),
        _row("Addresses.POBOX.AddressLine1", "street"),
        _row("Addresses.POBOX.City", "city"),
        _row("Addresses.POBOX.Region", "region"),
        _row("Addresses.POBOX.PostalCode", "postal_code"),
        _row("Addresses.POBOX.Country", "country"),
    ],
}


def _sold(module: str) -> dict[str, Any]:
    """An item of Xero's that nothing is counted of: stock needs accounts that no mapping names."""
    purchases = _first(_field("purchase_account"), _constant("300"))
    return {
        "module": module,
        "fields": [
            _row("Code", "code", required=True),
            _row("Name", "name", too_long="cut"),
            _row("Description", _first(_field("description"), _field("name")), too_long="cut"),
            _row("SalesDetails.UnitPrice", "price"),
            _row("SalesDetails.AccountCode", _first(_field("sales_account"), _constant("200"))),
            _row("PurchaseDetails.UnitPrice", "cost"),
            _row("PurchaseDetails.AccountCode", purchases),
        ],
    }


def _document(kind: str, account: str, default: str, *more: dict[str, Any]) -> dict[str, Any]:
    upper = {"transform": "text", "of": _field("currency"), "case": "upper"}
    return {
        "module": "Invoices",
        "document_type": kind,
        "fields": [
            _row("Contact", "contact", required=True),
            _row("Date", "date", required=True),
            _row("DueDate", "due_date"),
            _row("InvoiceNumber", "number", required=True),
            *more,
            _row("CurrencyCode", upper),
        ],
        "lines": [
            _row("Description", _first(_field("description"), _field("product.name"))),
            _row("ItemCode", "product"),
            _row("AccountCode", _first(_field(f"product.{account}"), _constant(default))),
        ],
    }


#: JSON data by module, and by document type for documents.
DEFAULTS: Mapping[tuple[Module, DocumentType | None], Mapping[str, Any]] = {
    (Module.CONTACTS, None): _CONTACTS,
    (Module.PRODUCTS, None): _sold("Products"),
    (Module.SERVICES, None): _sold("Services"),
    (Module.INVOICES, DocumentType.INVOICE): _document(
        "Invoice", "sales_account", "200", _row("Reference", "reference", too_long="cut")
    ),
    (Module.INVOICES, DocumentType.BILL): _document("Bill", "purchase_account", "300"),
}
