"""Auto-map: a proposal for each Xero field that a mapping leaves empty."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from xtiger.domain.defaults import DEFAULTS, MappingTemplate, Row
from xtiger.domain.records import DOCUMENTS, Field, FieldKind, ModuleInfo
from xtiger.domain.resources import RESOURCE_OF
from xtiger.domain.targets import LINE_TARGETS, TARGETS, Target, TargetKind
from xtiger.domain.transforms import Field as FieldOf
from xtiger.domain.transforms import Fields

#: The kinds of CRM fields that each kind of Xero field can be read from.
_FITS: Mapping[TargetKind, frozenset[FieldKind]] = {
    TargetKind.TEXT: frozenset({FieldKind.TEXT, FieldKind.NUMBER}),
    TargetKind.LINE: frozenset({FieldKind.TEXT, FieldKind.NUMBER}),
    TargetKind.DATE: frozenset({FieldKind.DATE}),
    TargetKind.NUMBER: frozenset({FieldKind.NUMBER}),
    TargetKind.LINK: frozenset({FieldKind.LINK}),
}
#: Other words that CRMs have for a Xero field, without blanks and signs.
_ALSO: Mapping[str, tuple[str, ...]] = {
    "emailaddress": ("email", "email1", "mail"),
    "taxnumber": ("taxid", "vatnumber", "vatid", "gstnumber", "abn"),
    "companynumber": ("registrationnumber", "companyregistration", "companyid"),
    "firstname": ("givenname", "forename"),
    "lastname": ("surname", "familyname"),
    "invoicenumber": ("number", "invoiceno", "documentnumber"),
    "date": ("invoicedate", "documentdate", "issuedate"),
    "duedate": ("paymentdue", "payby"),
    "reference": ("customerreference", "ponumber", "purchaseorder", "yourreference"),
    "currencycode": ("currency",),
    "code": ("partnumber", "sku", "productcode", "itemcode"),
    "salesdetailsunitprice": ("price", "salesprice", "listprice"),
    "purchasedetailsunitprice": ("cost", "purchaseprice", "buyprice"),
    "salesdetailsaccountcode": ("salesaccount", "incomeaccount"),
    "purchasedetailsaccountcode": ("purchaseaccount", "expenseaccount"),
    "salesdetailstaxtype": ("salestaxtype",),
    "purchasedetailstaxtype": ("purchasetaxtype",),
    "phonesdefaultphonenumber": ("phone", "telephone", "officephone"),
    "phonesmobilephonenumber": ("mobile", "mobilephone", "cell", "cellphone"),
    "phonesfaxphonenumber": ("fax", "faxnumber"),
    "phonesddiphonenumber": ("directphone", "directdial", "ddi"),
    "addressespoboxaddressline1": ("street", "address", "billingstreet", "mailingstreet"),
    "addressespoboxaddressline2": ("street2", "addressline2", "billingstreet2"),
    "addressespoboxcity": ("city", "town", "billingcity", "mailingcity"),
    "addressespoboxregion": ("region", "state", "billingstate", "county"),
    "addressespoboxpostalcode": ("postalcode", "postcode", "zip", "zipcode", "billingcode"),
    "addressespoboxcountry": ("country", "billingcountry", "mailingcountry"),
    "addressesstreetaddressline1": ("shippingstreet", "shipstreet", "deliverystreet"),
    "addressesstreetcity": ("shippingcity", "shipcity", "deliverycity"),
    "addressesstreetregion": ("shippingstate", "shippingregion", "shipstate"),
    "addressesstreetpostalcode": ("shippingcode", "shippingpostcode", "shipcode"),
    "addressesstreetcountry": ("shippingcountry", "shipcountry", "deliverycountry"),
    "addressespoboxattentionto": ("attention", "attentionto"),
    "itemcode": ("product",),
    "accountcode": ("account", "glaccount"),
    "taxtype": ("taxcode",),
}


def proposals(
    template: MappingTemplate, info: ModuleInfo
) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """Rows for the Xero fields that a template leaves empty: its fields' and its lines'.

    1. The row of the mapping that a new organisation begins with, if the CRM has its fields.
    2. A CRM field that no row reads yet and whose name or label is the Xero field's own, or
       one of the other words for it; of the right type, and a custom one only after the CRM's.
    """
    standard = DEFAULTS.get((template.module, template.document_type))
    begun = MappingTemplate.from_json(standard) if standard else template
    targets = TARGETS[RESOURCE_OF[template.module]]
    bill = template.document_type is not None and template.document_type.value == "Bill"
    fields = _missing(template.fields, begun.fields, targets, info.fields, bill)
    if template.module not in DOCUMENTS:
        return tuple(fields), ()
    lines = _missing(template.lines, begun.lines, LINE_TARGETS, info.line_fields, bill)
    return tuple(fields), tuple(lines)


def _missing(
    rows: Sequence[Row],
    standard: Sequence[Row],
    targets: Mapping[str, Target],
    known: Sequence[Field],
    bill: bool,
) -> Iterator[Row]:
    filled = {row.to for row in rows}
    used = {name for row in rows for name in row.source.reads()}
    first = {row.to: row for row in standard}
    able = Fields(known)
    names: dict[str, Field] = {}
    # The CRM's own fields come first: a custom one of the same name doesn't take their place.
    for field in sorted(known, key=lambda one: one.custom):
        for word in (field.name, field.label):
            names.setdefault(_plain(word), field)
    for to, target in targets.items():
        # Which category a line is tracked by, no name of a field tells.
        if to in filled or target.tracks or (bill and target.sales_only):
            continue
        row = first.get(to)
        if row is not None and not any(able.fault(name) for name in row.source.reads()):
            used.update(row.source.reads())
            yield row
            continue
        for word in (_plain(to), *_ALSO.get(_plain(to), ())):
            found = names.get(word)
            if found and found.kind in _FITS[target.kind] and found.name not in used:
                used.add(found.name)
                yield Row(to, FieldOf(found.name))
                break


def _plain(word: str) -> str:
    """A name as it is compared: letters and digits alone, without what marks a custom field."""
    plain = re.sub(r"[^a-z0-9]", "", word.lower())
    return plain.removeprefix("cf") if re.match(r"cf[_ ]", word.lower()) else plain
