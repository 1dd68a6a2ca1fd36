"""What Xero's messages mean for people: the cause that groups records, and the fix."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from string import Formatter

#: Longer messages are cut before they are matched, longer values before they are quoted.
_LONGEST_MESSAGE = 1000
_LONGEST_VALUE = 300


@dataclass(frozen=True, slots=True)
class Hint:
    """One cause. Records with the same `fingerprint` fail for the same reason."""

    fingerprint: str
    cause: str
    fix: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Fault:
    """Why one record can't go; `field` is the Xero field as payloads name it."""

    field: str
    sentence: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Faults:
    """Why no payload could be built: at least one fault."""

    faults: tuple[Fault, ...]

    def __iter__(self) -> Iterator[Fault]:
        return iter(self.faults)

    @property
    def fingerprint(self) -> str:
        """That of the first fault: the cause under which the record is listed."""
        return self.faults[0].fingerprint

    @property
    def sentence(self) -> str:
        """All faults, each said once."""
        return " ".join(dict.fromkeys(each.sentence for each in self.faults))


@dataclass(frozen=True, slots=True)
class _Cause:
    """A cause's words: of the sentences, the first whose {values} are all known is said.

    `key` are the values that belong to the fingerprint; a missing one is left out of it.
    """

    causes: tuple[str, ...]
    fixes: tuple[str, ...]
    key: tuple[str, ...] = ()


def _one(cause: str | tuple[str, ...], fix: str | tuple[str, ...], *key: str) -> _Cause:
    causes = (cause,) if isinstance(cause, str) else cause
    return _Cause(causes, (fix,) if isinstance(fix, str) else fix, key)


_MAP_TAX = "Choose another tax rate in the mapping."
_UNLINK = "Link it or unlink it, then send it again."

#: Every cause that Xero or the preflight names, under its stable code.
CAUSES: Mapping[str, _Cause] = {
    # contacts
    "name-taken": _one(
        "Another contact in Xero is called {name}.", "Link them or rename one.", "name"
    ),
    "contact-number-taken": _one(
        "Another contact in Xero carries this record's number.", "Link them."
    ),
    "contact-archived": _one(
        "This contact is archived in Xero.", "Restore it there or link another."
    ),
    "name-missing": _one("The contact has no name.", "Fill it in: Xero needs one."),
    "name-characters": _one("The contact's name holds < or >.", "Take them out."),
    "email": _one("Xero doesn't take the e-mail address.", "Correct it on the contact."),
    "country-letters": _one(
        (
            "Xero takes only letters in a country, not “{country}”.",
            "A country may hold only letters.",
        ),
        "Correct it on the contact.",
    ),
    "contact-gone": _one("The contact isn't in Xero any more.", _UNLINK),
    # items
    "code-missing": _one("Give a part number: Xero needs an item code of up to 30 characters.", ""),
    "code-taken": _one(
        ("Another item in Xero has the code {code}.", "Another item in Xero has this code."),
        "Link them or give another part number.",
        "code",
    ),
    "item-unknown": _one(
        "The item {code} isn't in Xero.", "Send the product first, then this record.", "code"
    ),
    "item-gone": _one("The item isn't in Xero any more.", _UNLINK),
    # documents
    "contact-missing": _one("The document has no contact.", "Choose one."),
    "lines-missing": _one("The document has no lines.", "Add one, or leave it unsent."),
    "description-missing": _one("A line has no description.", "Fill it in."),
    "date-missing": _one("The document has no date.", "Fill it in."),
    "due-date-missing": _one(
        "It has no due date, and Xero needs one to authorise it.",
        "Fill it in, or map a due date such as 14 days after its date.",
    ),
    "type-wrong": _one("Xero has no document of this type.", "Choose Invoice or Bill."),
    "type-fixed": _one(
        "It is in Xero already, and the type can't change.", "Void it there and send it again."
    ),
    "number-taken": _one(
        ("{label} exists in Xero.", "Its number exists in Xero."),
        "Same total and contact: link it; else give a new number.",
    ),
    "number-characters": _one(
        (
            "Xero takes only plain letters, digits and signs in a number, not “{number}”.",
            "The number holds characters that Xero doesn't take.",
        ),
        "Give another number.",
    ),
    "status-create": _one(
        ("Xero creates no document as {status}.", "Xero creates no document in this status."),
        "Choose Draft or Authorised.",
    ),
    "status-change": _one(
        (
            "{label} is voided, deleted or locked in Xero.",
            "It is voided, deleted or locked in Xero.",
        ),
        "Create it again or unlink it.",
    ),
    "status-paid": _one(
        (
            "{label} has a payment in Xero, so its status can't become {status}.",
            "It has a payment in Xero, so its status can't become {status}.",
        ),
        "Take the payment off in Xero, or unlink.",
    ),
    "paid": _one(
        (
            "{label} has a payment in Xero; lines and amounts can't change.",
            "It has a payment in Xero; lines and amounts can't change.",
        ),
        "Credit note, accept Xero, or unlink.",
    ),
    "document-gone": _one("The document isn't in Xero any more.", "Create it again or unlink it."),
    "line-total": _one(
        "Xero counts {expected} for a line, {given} was sent.",
        "Open the document in the CRM and save it, then retry.",
    ),
    "period-locked": _one(
        (
            "Its date, {date}, is in a period locked until {until}.",
            "Its date is in a period locked until {until}.",
            "Its date is in a period locked in Xero.",
        ),
        "Unlock the period in Xero or choose another date.",
    ),
    "currency-missing": _one(
        ("{organisation} has no {currency}.", "The organisation has no {currency}."),
        "Add the currency in Xero, then retry.",
        "currency",
    ),
    "discount": _one("Xero takes discounts on invoices only.", "Take the discount off the line."),
    "too-large": _one("A line's amount is more than Xero takes.", "Split the line."),
    "link-wrong": _one("Xero doesn't take the link to the record.", "Set the site address."),
    # accounts and taxes
    "account-missing": _one("A line has no account.", "Choose one in the mapping."),
    "account-unusable": _one(
        "Xero has no account {code} that this record can use.", "Choose another account.", "code"
    ),
    "account-archived": _one("Account {code} is archived.", "Choose another account.", "code"),
    "accounts-unread": _one(
        "The accounts and tax rates of Xero aren't read yet.", "Read them on Xero Accounts."
    ),
    "tax-unknown": _one("Xero has no tax rate {tax} for this record.", _MAP_TAX, "tax"),
    "tax-account": _one(
        "{tax} can't be used with account {code}.",
        ("Legal for it: {legal}.", _MAP_TAX),
        "tax",
        "code",
    ),
    "tax-rate-missing": _one(
        "CRM tax {rate} % has no tax rate in Xero that account {code} can take.",
        "Choose one in the mapping, or add it in Xero.",
        "rate",
        "code",
    ),
    "tax-rate-differs": _one(
        "CRM tax is {rate} %, Xero's {tax} is {theirs} %.", "Choose another.", "rate", "tax"
    ),
    "tax-rate-several": _one(
        "CRM tax {rate} % has several tax rates in Xero that account {code} can take: {names}.",
        "Choose one for {rate} % in the mapping, under Amounts and taxes.",
        "rate",
        "code",
    ),
    "tax-parts-missing": _one(
        "CRM tax {rate} % is {parts}; no tax rate in Xero that account {code} can take is made so.",
        "Add one in Xero, or choose one of {rate} % in the mapping, under Amounts and taxes.",
        "parts",
        "code",
    ),
    "tracking-unread": _one(
        "The tracking categories of Xero aren't read yet.", "Read them on Xero Accounts."
    ),
    "tracking-category": _one(
        "Xero has no active tracking category “{category}”.",
        "Choose another in the mapping, or restore it in Xero.",
        "category",
    ),
    "tracking-option": _one(
        "Xero's tracking category “{category}” has no active option “{option}”.",
        "Choose another, or add it in Xero.",
        "category",
        "option",
    ),
    "tracking-twice": _one(
        "A line has a tracking category twice.", "Take one of the two out of the mapping."
    ),
    "tracking-many": _one(
        "A line has more than two tracking categories.", "Take one out of the mapping."
    ),
    # payments
    "payment-large": _one(
        "The payment is more than what is still owed in Xero.", "Correct its amount."
    ),
    "payment-draft": _one(
        "The document is still a draft in Xero.", "Approve it there, then retry."
    ),
    "payment-account": _one(
        "Xero doesn't know the payment's account.", "Choose another account in the mapping."
    ),
    # any record
    "too-long": _one(
        (
            "Xero takes {longest} characters in {field}; {label} has {length}.",
            "Xero takes {longest} characters in {field}.",
        ),
        "Cut it or choose another field.",
        "field",
    ),
    "required": _one(
        ("{field} is empty, and Xero needs it.", "A field that Xero needs is empty."),
        ("Fill in {source}, or choose another field in the mapping.", "Fill it in."),
        "field",
    ),
    "number-missing": _one("Line {line} has no {what}.", "Fill it in."),
    "total-missing": _one("The document has no total.", "Open it in the CRM and save it."),
    "amounts-unknown": _one(
        "Whether its amounts are with or without tax can't be told from “{word}”.",
        "Write exclusive, inclusive or no tax.",
    ),
    "tax-mode-unknown": _one(
        "How its tax is counted can't be told from “{word}”.", "Write group or individual."
    ),
    "discount-twice": _one(
        "Line {line} has a discount in percent and another one as an amount.",
        "Take one of the two out.",
    ),
    "taxes-unread": _one("{where} has taxes that can't be read.", "Correct them in the CRM."),
    "charges-unread": _one("Its charges can't be read.", "Correct them in the CRM."),
    "money-account-missing": _one(
        "No account is named for {what}.",
        "Name one in the mapping, under Amounts and taxes.",
        "what",
    ),
    "decimals-wrong": _one(
        "To how many places the CRM rounds can't be told from “{value}”.",
        "Write a whole number from 0 to 8.",
    ),
    "parent-missing": _one(
        "It needs {parent}, which isn't in Xero yet.", "Send that first.", "parent"
    ),
    "key-reused": _one("Xero saw the same key on another call.", "Retry: it gets a new key."),
    "call-refused": _one(
        ("{said} Nothing of it was stored.", "Xero refused the whole call."),
        "The log entry shows the call and Xero's answer; Retry sends it again.",
    ),
}

#: Xero's texts and the cause each names; {…} stands for what varies. The first is said first.
MESSAGES: tuple[tuple[str, str], ...] = (
    (
        "The contact name {name} is already assigned to another contact. The contact name must "
        "be unique across all active contacts.",
        "name-taken",
    ),
    (
        "Another contact has this contact number. Please enter a different contact number.",
        "contact-number-taken",
    ),
    (
        "The specified contact details matched an archived contact. Archived contacts cannot "
        "currently be edited via the API.",
        "contact-archived",
    ),
    ("Contact name cannot be empty", "name-missing"),
    ("The contact name cannot contain < or >", "name-characters"),
    ("Email address must be valid", "email"),
    ("The Country of an address may only hold letters", "country-letters"),
    ("An existing Contact with the specified ContactID could not be found", "contact-gone"),
    (
        "The Contact must contain at least 1 of the following elements to identify the contact: "
        "Name, ContactID, ContactNumber",
        "contact-missing",
    ),
    ("A Contact must be specified for this type of transaction", "contact-missing"),
    ("Price List Item with Code '{code}' already exists", "code-taken"),
    ("Price List Item Code must be specified", "code-missing"),
    ("Item code '{code}' is not valid", "item-unknown"),
    ("An existing Item with the specified ItemID could not be found", "item-gone"),
    ("Invoice # must be unique", "number-taken"),
    ("Order number must be unique", "number-taken"),
    ("One or more line items must be specified", "lines-missing"),
    ("A description must be specified for each line item", "description-missing"),
    ("The DueDate must be specified for an approved invoice", "due-date-missing"),
    ("The InvoiceNumber may only hold printable ASCII characters", "number-characters"),
    ("The Type of an invoice must be ACCREC or ACCPAY", "type-wrong"),
    ("The Type of an invoice cannot be changed", "type-fixed"),
    ("Invoice not of valid status for creation", "status-create"),
    (
        "This document cannot be edited as it has a payment or credit note allocated to it",
        "paid",
    ),
    (
        "The status {status} cannot be applied to the invoice because it has payments or credit "
        "notes allocated to it",
        "status-paid",
    ),
    ("Deleted PurchaseOrders cannot be updated", "status-change"),
    ("PurchaseOrder status change is invalid", "status-change"),
    ("Invoice not of valid status for modification", "status-change"),
    ("An existing Invoice with the specified InvoiceID could not be found", "document-gone"),
    (
        "An existing Credit Note with the specified CreditNoteID could not be found",
        "document-gone",
    ),
    ("The document with the supplied id was not found for this endpoint", "document-gone"),
    (
        "Account code '{code}' has been archived, or has been deleted. Each line item must "
        "reference a valid account",
        "account-archived",
    ),
    ("Account code '{code}' is not a valid code for this document", "account-unusable"),
    ("An account code must be specified for each line of an approved invoice", "account-missing"),
    ("The TaxType code '{tax}' cannot be used with account code '{code}'", "tax-account"),
    (
        "The TaxType code '{tax}' does not exist or cannot be used for this type of transaction",
        "tax-unknown",
    ),
    (
        "The TaxType code {tax} does not exist or cannot be used for this type of transaction",
        "tax-unknown",
    ),
    ("There is no ACTIVE tracking category with the name '{category}'", "tracking-category"),
    (
        "There is no ACTIVE tracking option '{option}' in the tracking category '{category}'",
        "tracking-option",
    ),
    ("A line item can have a tracking category only once", "tracking-twice"),
    ("A line item can have at most 2 tracking categories", "tracking-many"),
    (
        "The line total {given} does not match the expected line total {expected}",
        "line-total",
    ),
    ("Discounts can only be applied to ACCREC invoices", "discount"),
    ("The line amount must not exceed 9,999,999,999.99", "too-large"),
    ("The Url must be a valid absolute URL", "link-wrong"),
    ("The document date cannot be before the period lock date of {until}", "period-locked"),
    ("The document date cannot be before the period lock date", "period-locked"),
    ("Organisation is not subscribed to currency {currency}", "currency-missing"),
    ("Payments can only be made against Authorised documents", "payment-draft"),
    ("Payment amount exceeds the amount outstanding on this document", "payment-large"),
    ("Account could not be found", "payment-account"),
    ("The {field} must not exceed {longest} characters", "too-long"),
    ("Idempotency Key: {key} is used with a different request", "key-reused"),
    # our own words about a call that was refused as a whole, not Xero's about one record
    ("{said} Nothing of it was stored", "call-refused"),
)

#: A cause on the left already says what the one on the right would add.
_COVERS = {"payment-draft": frozenset({"payment-large"})}


def hint(code: str, /, **known: str) -> Hint:
    """The words for a cause of the table; `known` are the values that its sentences may name."""
    cause = CAUSES[code]
    values = {name: value[:_LONGEST_VALUE] for name, value in known.items() if value}
    said, fix = _said(cause.causes, values), _said(cause.fixes, values)
    key = [values[name] for name in cause.key if name in values]
    return Hint(":".join([code, *key]), said, fix, f"{said} {fix}".strip())


def fault(field: str, code: str, /, **known: str) -> Fault:
    """A cause of the table as a fault of one Xero field."""
    found = hint(code, **known)
    return Fault(field, found.sentence, found.fingerprint)


def explain(messages: Sequence[str], *, label: str = "", organisation: str = "") -> Hint:
    """Xero's messages about one element as one hint.

    1. Each message is matched with the table; the fingerprint is that of the cause which
       stands first there.
    2. Causes that another one covers are left out; the sentence says all the others.
    3. A message that isn't in the table is quoted.

    `label` is the record's own number or name, `organisation` the organisation's name.
    """
    texts = list(dict.fromkeys(" ".join(message.split()) for message in messages))
    texts = [text[:_LONGEST_MESSAGE] for text in texts if text] or ["(no words)"]
    known = {"label": label, "organisation": organisation}
    ranked = sorted((_matched(text, known) for text in texts), key=lambda pair: pair[0])
    hints = list(dict.fromkeys(each for _, each in ranked))
    codes = {each.fingerprint.partition(":")[0] for each in hints}
    covered = {name for code in codes for name in _COVERS.get(code, ())}
    kept = [each for each in hints if each.fingerprint.partition(":")[0] not in covered]
    first = kept[0]
    return Hint(first.fingerprint, first.cause, first.fix, " ".join(each.sentence for each in kept))


def _matched(text: str, known: Mapping[str, str]) -> tuple[int, Hint]:
    """One message's hint and the rank of its cause; which line it is about doesn't matter."""
    bare = _LINE.sub("", text)
    for rank, (pattern, code) in enumerate(_patterns()):
        found = pattern.fullmatch(bare)
        if found is not None:
            return rank, hint(code, **{**known, **found.groupdict()})
    quoted = f"Xero says: “{text}”"
    return len(MESSAGES), Hint(f"xero:{_own_fingerprint(text)}", quoted, "", quoted)


#: What `xero.answers` writes before a message of a line.
_LINE = re.compile(r"^Line \d{1,9}: ")


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((message_pattern(template), code) for template, code in MESSAGES)


def message_pattern(template: str) -> re.Pattern[str]:
    """A plain text with {name} places as a pattern for the whole message.

    Blanks and case don't count, nor does a final dot. Each place takes at least one and at
    most 300 characters, as few as will do, so matching time stays bounded.
    """
    parts: list[str] = []
    for literal, name, _, _ in Formatter().parse(template.rstrip(". ")):
        parts.append(r"\s+".join(re.escape(word) for word in re.split(r"\s+", literal)))
        if name:
            parts.append(f"(?P<{name}>.{{1,{_LONGEST_VALUE}}}?)")
    return re.compile("".join(parts) + r"\s*\.?", re.IGNORECASE)


def _said(sentences: tuple[str, ...], values: Mapping[str, str]) -> str:
    """The first sentence that can be said with what is known; the last one always can."""
    for sentence in sentences:
        try:
            return sentence.format_map(values)
        except KeyError:
            continue
    return sentences[-1].format_map(_Blank(values))


class _Blank(dict[str, str]):
    """Says “it” for what isn't known, so that a sentence always stands."""

    def __missing__(self, name: str) -> str:
        return "it"


_QUOTED = re.compile(r"(?<!\w)'[^']{0,300}'|\"[^\"]{0,300}\"|“[^”]{0,300}”|‘[^’]{0,300}’")
_ID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


def _own_fingerprint(text: str) -> str:
    """Equal for messages that differ only in numbers, ids or quoted parts."""
    plain = _ID.sub("#", _QUOTED.sub("#", text.casefold().rstrip(". ")))
    plain = re.sub(r"\d[\d.,:/-]*", "#", plain)
    return hashlib.sha256(plain.encode()).hexdigest()[:12]
