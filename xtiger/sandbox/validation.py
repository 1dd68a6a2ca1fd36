"""Xero's validation messages, word for word, and the checks that need no books."""

from __future__ import annotations

import re
from decimal import Decimal
from urllib.parse import urlsplit

# Texts marked (own words) have no public source; nobody should compare them.

INVALID_DOCUMENT_STATUS = "Invoice not of valid status for modification"
INVALID_CREATE_STATUS = "Invoice not of valid status for creation"
NUMBER_TAKEN = "Invoice # must be unique."
INVOICE_UNKNOWN = "An existing Invoice with the specified InvoiceID could not be found"
NO_CONTACT = "A Contact must be specified for this type of transaction"
NO_LINES = "One or more line items must be specified"
LOCKED = "The document date cannot be before the period lock date"
CONTACT_NUMBER_TAKEN = (
    "Another contact has this contact number. Please enter a different contact number."
)
CONTACT_ARCHIVED = (
    "The specified contact details matched an archived contact."
    " Archived contacts cannot currently be edited via the API."
)
CONTACT_NAMELESS = "Contact name cannot be empty"
EMAIL_INVALID = "Email address must be valid."
CONTACT_UNKNOWN = "An existing Contact with the specified ContactID could not be found"  # own words
ITEM_UNKNOWN = "An existing Item with the specified ItemID could not be found"  # own words
ITEM_CODELESS = "Price List Item Code must be specified"  # own words
TYPE_INVALID = "The Type of an invoice must be ACCREC or ACCPAY"  # own words
TYPE_FIXED = "The Type of an invoice cannot be changed"  # own words
DUE_DATE_MISSING = "The DueDate must be specified for an approved invoice"  # own words
ACCOUNT_MISSING = "An account code must be specified for each line of an approved invoice"  # own
DESCRIPTION_MISSING = "A description must be specified for each line item"  # own words
NUMBER_NOT_PRINTABLE = "The InvoiceNumber may only hold printable ASCII characters"  # own words
DISCOUNT_NOT_ALLOWED = "Discounts can only be applied to ACCREC invoices"  # own words
DISCOUNT_RANGE = "The DiscountRate must be between 0 and 100"  # own words
AMOUNT_TOO_LARGE = "The line amount must not exceed 9,999,999,999.99"  # own words
URL_INVALID = "The Url must be a valid absolute URL"  # own words
COUNTRY_LETTERS = "The Country of an address may only hold letters"  # own words
NAME_CHARACTERS = "The contact name cannot contain < or >"  # own words

_LARGEST = Decimal("9999999999.99")
_EMAIL = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z0-9-]{2,}"
)


def contact_name_taken(name: str) -> str:
    """Measured on live Xero."""
    return (
        f"The contact name {name} is already assigned to another contact."
        " The contact name must be unique across all active contacts."
    )


def item_code_taken(code: str) -> str:
    """Xero OpenAPI, example of a refused PUT /Items."""
    return f"Price List Item with Code '{code}' already exists"


def account_invalid(code: str) -> str:
    return f"Account code '{code}' is not a valid code for this document."


def account_archived(code: str) -> str:
    return (
        f"Account code '{code}' has been archived, or has been deleted."
        " Each line item must reference a valid account."
    )


def tax_type_unknown(code: str) -> str:
    return (
        f"The TaxType code '{code}' does not exist or cannot be used for this type of transaction."
    )


def tax_type_unfit(code: str, account: str) -> str:
    return f"The TaxType code '{code}' cannot be used with account code '{account}'."


def line_total_wrong(given: Decimal, expected: Decimal) -> str:
    return f"The line total {given} does not match the expected line total {expected}"


def currency_not_subscribed(code: str) -> str:
    """Xero: purchase orders page."""
    return f"Organisation is not subscribed to currency {code}"


def item_invalid(code: str) -> str:  # own words
    return f"Item code '{code}' is not valid"


def too_long(field: str, limit: int) -> str:  # own words
    return f"The {field} must not exceed {limit} characters"


def lengths(body: dict[str, object], limits: dict[str, int], prefix: str = "") -> list[str]:
    """One message for each text field longer than Xero's OpenAPI schema allows."""
    return [
        too_long(prefix + field, limit)
        for field, limit in limits.items()
        if len(str(body.get(field) or "")) > limit
    ]


def email(address: str) -> list[str]:
    """E-mail addresses are plain ASCII in Xero (Xero OpenAPI Contact.EmailAddress)."""
    return [] if not address or _EMAIL.fullmatch(address) else [EMAIL_INVALID]


def url(address: str) -> list[str]:
    try:
        parts = urlsplit(address)
    except ValueError:
        return [URL_INVALID]
    fine = parts.scheme in {"http", "https"} and parts.netloc and not re.search(r"\s", address)
    return [] if fine else [URL_INVALID]


def printable(number: str) -> list[str]:
    """Invoice numbers are printable ASCII (Xero: invoices page)."""
    return [] if re.fullmatch(r"[ -~]*", number) else [NUMBER_NOT_PRINTABLE]


def largest(amount: Decimal) -> list[str]:
    return [AMOUNT_TOO_LARGE] if abs(amount) > _LARGEST else []
