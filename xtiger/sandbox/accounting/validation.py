"""Xero's validation messages, word for word, and the checks that need no books."""

from __future__ import annotations

import re
from decimal import Decimal
from urllib.parse import urlsplit

from xtiger.sandbox.accounting import arithmetic

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
QUANTITY_LONG = "The Quantity must not exceed 13 characters"  # own words
AMOUNT_TOO_LARGE = "The line amount must not exceed 9,999,999,999.99"  # own words
URL_INVALID = "The Url must be a valid absolute URL"  # own words
COUNTRY_LETTERS = "The Country of an address may only hold letters"  # own words
NAME_CHARACTERS = "The contact name cannot contain < or >"  # own words

# payments, credit notes, allocations and bank transactions

PAYMENT_TOO_BIG = "Payment amount exceeds the amount outstanding on this document"
PAYMENT_NOT_AUTHORISED = "Payments can only be made against Authorised documents"
PAYMENT_ACCOUNT = "Account could not be found"
CREDIT_NOTE_UNKNOWN = "An existing Credit Note with the specified CreditNoteID could not be found"
DOCUMENT_SETTLED = (
    "This document cannot be edited as it has a payment or credit note allocated to it."
)
BANK_CONTACT = (
    "The Contact must contain at least 1 of the following elements to identify the contact:"
    " Name, ContactID, ContactNumber"
)
CREDIT_NOTE_TYPE = "The Type of a credit note must be ACCRECCREDIT or ACCPAYCREDIT"  # own words
CREDIT_NOTE_CREATE = "Credit Note not of valid status for creation"  # own words
CREDIT_NOTE_CHANGE = "Credit Note not of valid status for modification"  # own words
CREDIT_NOTE_NUMBER = "Credit Note # must be unique."  # own words
PAYMENT_DOCUMENT = (  # own words
    "A payment must name exactly one of Invoice, CreditNote, Prepayment and Overpayment"
)
PAYMENT_AMBIGUOUS = "More than one bill has this number; name it by its InvoiceID"  # own words
PREPAYMENT_UNKNOWN = (  # own words
    "An existing Prepayment with the specified PrepaymentID could not be found"
)
OVERPAYMENT_UNKNOWN = (  # own words
    "An existing Overpayment with the specified OverpaymentID could not be found"
)
PAYMENT_UNKNOWN = "An existing Payment with the specified PaymentID could not be found"  # own words
PAYMENT_FIXED = "A payment cannot be changed, only deleted"  # own words
PAYMENT_DELETED = "This payment has already been deleted"  # own words
PAYMENT_STATUS = "A payment cannot be created with that status"  # own words
PAYMENT_CURRENCY = "The account's currency is neither the document's nor the base currency"  # own
DATE_MISSING = "The Date must be specified"  # own words
AMOUNT_MISSING = "The Amount must be specified"  # own words
AMOUNT_POSITIVE = "The Amount must be greater than zero"  # own words
RATE_POSITIVE = "The CurrencyRate must be greater than zero"  # own words
ALLOCATION_INVOICE = "An allocation must name the Invoice by its InvoiceID"  # own words
ALLOCATION_STATUS = "Credit can only be allocated between Authorised documents"  # own words
ALLOCATION_CONTACT = "Credit can only be allocated to an invoice of the same contact"  # own words
ALLOCATION_CURRENCY = "Credit can only be allocated to an invoice in the same currency"  # own words
ALLOCATION_SIDE = "Credit can only be allocated to an invoice of its own side"  # own words
ALLOCATION_CREDIT = "The amount exceeds the remaining credit"  # own words
ALLOCATION_DUE = "The amount exceeds the amount outstanding on the invoice"  # own words
BANK_ACCOUNT = "The BankAccount must be an active account of type BANK"  # own words
BANK_TYPE = (  # own words
    "The Type of a bank transaction must be RECEIVE or SPEND, or one of their prepayments and"
    " overpayments"
)
BANK_CREATE = "Bank transaction not of valid status for creation"  # own words
BANK_CHANGE = "Bank transaction not of valid status for modification"  # own words
BANK_UNKNOWN = (  # own words
    "An existing Bank Transaction with the specified BankTransactionID could not be found"
)
BANK_CURRENCY = "The currency of a bank transaction is that of its bank account"  # own words
BANK_RECONCILED = "A reconciled bank transaction cannot be edited"  # own words
BANK_POSITIVE = "The total of a bank transaction must not be negative"  # own words
OVERPAYMENT_ACCOUNT = "An overpayment can only go to accounts receivable or payable"  # own words

# purchase orders, quotes, receipts, items with stock, and what lies below objects

ORDER_NUMBER_TAKEN = "Order number must be unique"
ORDER_STATUS = "PurchaseOrder status change is invalid"
ORDER_DELETED = "Deleted PurchaseOrders cannot be updated"
ORDER_SENT = "Only AUTHORISED and BILLED purchase orders may have SentToContact updated."
ORDER_UNKNOWN = (  # own words
    "An existing PurchaseOrder with the specified PurchaseOrderID could not be found"
)
ORDER_DISCOUNT_AMOUNT = "Purchase orders only support a DiscountRate"  # own words
QUOTE_NUMBER_TAKEN = "Quote number must be unique"  # own words
QUOTE_STATUS = "Quote status change is invalid"  # own words
QUOTE_UNKNOWN = "An existing Quote with the specified QuoteID could not be found"  # own words
QUOTE_DATELESS = "The Date of a quote must be specified"  # own words
QUOTE_EXPIRED = "The ExpiryDate cannot be before the Date of the quote"  # own words
RECEIPT_USER = "A valid user should be identified using the UserID."
RECEIPT_STATUS = "Receipt not of valid status for creation or modification"  # own words
RECEIPT_UNKNOWN = "An existing Receipt with the specified ReceiptID could not be found"  # own words
RECEIPT_DATELESS = "The Date of a receipt must be specified"  # own words
HISTORY_UNKNOWN = "The document with the supplied id was not found for this endpoint."
HISTORY_EMPTY = "The Details of a history record must be specified"  # own words
ATTACHMENTS_MANY = "A document can have no more than 10 attachments"  # own words
ATTACHMENT_EMPTY = "The attached file is empty"  # own words
ATTACHMENT_LARGE = "An attachment can be no larger than 25 MB"  # own words
ATTACHMENT_NAME = "The file name holds characters that are not allowed"  # own words
EMAIL_NOT_APPROVED = "Only approved sales invoices can be sent by email"  # own words
EMAIL_NO_ADDRESS = "The contact of the invoice has no email address"  # own words
ONLINE_INVOICE_MISSING = "There is no online invoice for a bill or a draft"  # own words
ITEM_ASSET_ACCOUNT = (  # own words
    "The InventoryAssetAccountCode must be an account of type INVENTORY"
)
ITEM_COGS_MISSING = "A tracked item needs a COGSAccountCode in its PurchaseDetails"  # own words
ITEM_COGS_UNTRACKED = "A COGSAccountCode can only be given for a tracked item"  # own words
ITEM_STAYS_TRACKED = "An item with stock or transactions cannot change its tracking"  # own words

# accounts, tax rates, tracking, currencies, contact groups

ACCOUNT_NAME_TAKEN = "Please enter a unique Name."
ACCOUNT_CODE_TAKEN = "Please enter a unique Code."  # begins so in clients' code
ACCOUNT_CODE_LONG = "Account Code is too long. Maximum of 10 characters allowed"  # Xero-Net
ACCOUNT_MIXED = "Cannot update account details and STATUS on the same request"  # xeroizer 324
# these four as clients' code quotes them
ACCOUNT_STATUS_ONLY = "Can only update STATUS on Archived accounts"
ACCOUNT_SYSTEM_ARCHIVE = "Cannot archive System accounts"
ACCOUNT_BANK_FIXED = "Cannot update Bank Accounts"
ACCOUNT_TO_INVENTORY = "Account cannot be updated to Inventory"
ACCOUNT_CODELESS = "The Code of an account must be specified"  # own words
ACCOUNT_NAMELESS = "The Name of an account must be specified"  # own words
ACCOUNT_TYPELESS = "The Type of an account must be specified"  # own words
ACCOUNT_TYPE_FIXED = "The Type of this account cannot be changed"  # own words
ACCOUNT_STATUS = "The Status of an account must be ACTIVE or ARCHIVED"  # own words
ACCOUNT_ARCHIVED_AGAIN = "The account is already archived"  # own words
ACCOUNT_SYSTEM_DELETE = "Cannot delete System accounts"  # own words
ACCOUNT_USED = "The account cannot be deleted because it is in use; it can be archived"  # own words
ACCOUNT_BANK_NUMBER = "The BankAccountNumber must be specified for accounts of type BANK"  # own
ACCOUNT_BANK_TYPE = "The BankAccountType must be BANK, CREDITCARD or PAYPAL"  # own words
ACCOUNT_BANK_DESCRIPTION = "Accounts of type BANK cannot have a Description"  # own words
TAX_RATE_NAMELESS = "The Name of a tax rate must be specified"  # own words
TAX_RATE_EMPTY = "A tax rate must have at least one TaxComponent"  # own words
TAX_RATE_SYSTEM = "System tax rates cannot be changed"  # own words
TAX_RATE_DELETED = "Deleted tax rates cannot be changed"  # own words
TAX_RATE_STATUS = "A tax rate can only become DELETED, once it exists"  # own words
TAX_RATE_USED = "The tax rate is the default of an account, item or contact"  # own words
TAX_RATE_REPORT_MISSING = "The ReportTaxType must be specified"  # own words
TAX_COMPONENT_NAMELESS = "The Name of a TaxComponent must be specified"  # own words
TAX_COMPONENT_RATE = "The Rate of a TaxComponent must be 0 to 100 with 4 decimals"  # own words
TAX_COMPONENT_TWICE = "The TaxComponents of a tax rate must have different names"  # own words
TAX_COMPONENT_COMPOUND = "One TaxComponent may be compound, beside others that aren't"  # own words
TAX_COMPONENT_RECOVERABLE = "Non-recoverable TaxComponents are for Canada only"  # own words
TRACKING_OPTION_TAKEN = "For each specified tracking option the name must be unique."  # xero-php
TRACKING_NAME_TAKEN = "The name of a tracking category must be unique."  # own words
TRACKING_NAMELESS = "The Name must be specified for tracking categories and options"  # own words
TRACKING_STATUS = "The Status must be ACTIVE or ARCHIVED"  # own words
TRACKING_DELETED = "Deleted tracking categories and options cannot be changed"  # own words
TRACKING_ACTIVE_LIMIT = "An organisation can have at most 2 active tracking categories"  # own words
TRACKING_LIMIT = "An organisation can have at most 4 tracking categories"  # own words
TRACKING_USED = "The tracking category is in use; it can be archived"  # own words
TRACKING_OPTION_USED = "The tracking option is in use; it can be archived"  # own words
TRACKING_PER_LINE = "A line item can have at most 2 tracking categories"  # own words
TRACKING_TWICE = "A line item can have a tracking category only once"  # own words
GROUP_LIMIT = "You\u2019ve reached the limit of 100 contact groups."
GROUP_NAME_TAKEN = "A Contact Group already exists with this name"  # xero-php 16
GROUP_NAMELESS = "The Name of a contact group must be specified"  # own words
GROUP_STATUS = "A contact group can only become DELETED, once it exists"  # own words
GROUP_STRANGER = "The contact is not in this contact group"  # own words
THEME_UNKNOWN = "A BrandingTheme with the specified BrandingThemeID could not be found"  # own

_LARGEST = Decimal("9999999999.99")
_LONGEST_QUANTITY = 13
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


def status_blocked(status: str) -> str:
    return (
        f"The status {status} cannot be applied to the invoice because it has payments or credit"
        " notes allocated to it."
    )


def currency_not_subscribed(code: str) -> str:
    """Xero: purchase orders page."""
    return f"Organisation is not subscribed to currency {code}"


def account_type_unknown(sent: str) -> str:  # own words
    return f"'{sent}' is not a Type of account"


def tax_rate_unknown(code: str) -> str:  # own words
    return f"A tax rate with the TaxType '{code}' could not be found"


def tax_rate_name_taken(name: str) -> str:  # own words
    return f"There is already a tax rate with the name '{name}'"


def tax_rate_report_unknown(sent: str) -> str:  # own words
    return f"The ReportTaxType '{sent}' cannot be used in this organisation"


def tracking_category_unknown(name: str) -> str:
    """As xero-php 386 quotes it for contacts."""
    return f"There is no ACTIVE tracking category with the name '{name}'"


def tracking_option_unknown(option: str, category: str) -> str:  # own words
    return f"There is no ACTIVE tracking option '{option}' in the tracking category '{category}'"


def currency_unknown(code: str) -> str:  # own words
    return f"'{code}' is not a currency code"


def currency_subscribed(code: str) -> str:  # own words
    return f"Organisation is already subscribed to currency {code}"


def item_invalid(code: str) -> str:  # own words
    return f"Item code '{code}' is not valid"


def out_of_stock(code: str, quantity: Decimal) -> str:  # own words
    return f"Item '{code}' is tracked and has only {quantity} on hand"


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


def quantity(sent: Decimal) -> list[str]:
    """At most 13 characters, 4 decimals among them (Xero: invoices page)."""
    told = format(arithmetic.four(sent), "f")
    return [QUANTITY_LONG] if len(told.rstrip("0").rstrip(".")) > _LONGEST_QUANTITY else []


def largest(amount: Decimal) -> list[str]:
    return [AMOUNT_TOO_LARGE] if abs(amount) > _LARGEST else []
