"""Sample records: plain ones by the hundred, and awkward ones as real books have them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal

from sqlalchemy.orm import Session

from xtiger.crm.builtin import Contact, Invoice, InvoiceLine, Product, Service
from xtiger.domain.records import Module, RecordRef

_FIRST = ("Ana", "Bo", "Cai", "Dee", "Eru", "Fay", "Gus", "Hana", "Ivo", "Joy", "Kiri", "Leo")
_LAST = ("Lee", "Tan", "Moana", "Singh", "Weber", "Okoro", "Rossi", "Novak", "Smith", "Petit")
_TRADES = ("Joinery", "Orchards", "Print", "Roofing", "Cycles", "Bakery", "Motors", "Studio")
_WORK = ("Delivery", "Fitting", "Repair", "Advice")
_THINGS = ("Bracket", "Hinge", "Panel", "Lamp", "Cable", "Filter", "Valve", "Stool", "Shelf")


@dataclass(slots=True)
class Samples:
    """What was made: the documents to tick, and those left alone."""

    ticked: list[RecordRef] = field(default_factory=list)
    left: list[RecordRef] = field(default_factory=list)


def seed(
    session: Session, *, invoices: int, today: date, seed: int = 7, half_ticked: bool = True
) -> Samples:
    """Adds plain records: two contacts for five invoices, one product for five, eight services.

    One in five invoices is British (GBP, 20 % VAT): it belongs to the other organisation.
    The same seed makes the same books.
    """
    chance = random.Random(seed)
    contacts = [_contact(chance, number) for number in range(1, max(3, invoices * 2 // 5) + 1)]
    products = [_product(chance, number) for number in range(1, max(4, invoices // 5) + 1)]
    services = [_service(gbp, place) for gbp in (False, True) for place in range(len(_WORK))]
    session.add_all([*contacts, *products, *services])
    session.flush()
    made = Samples()
    british = [product for product in products if product.tax_rate == 20]
    others = [product for product in products if product.tax_rate != 20]
    for number in range(1, invoices + 1):
        gbp = number % 5 == 0
        invoice = _invoice(
            chance,
            f"INV-{number:04}",
            chance.choice(contacts),
            british if gbp else others,
            services[len(_WORK) :] if gbp else services[: len(_WORK)],
            currency="GBP" if gbp else "NZD",
            day=today - timedelta(days=chance.randrange(0, 40)),
        )
        session.add(invoice)
        session.flush()
        chosen = made.ticked if half_ticked and number % 2 == 0 else made.left
        chosen.append(RecordRef(Module.INVOICES, str(invoice.id)))
    return made


def _contact(chance: random.Random, number: int) -> Contact:
    first, last = chance.choice(_FIRST), chance.choice(_LAST)
    return Contact(
        name=f"{last} {chance.choice(_TRADES)} {number:03}",
        first_name=first,
        last_name=last,
        email=f"{first.lower()}.{last.lower()}{number}@example.com",
        phone=f"+64 4 {chance.randrange(100, 999)} {chance.randrange(1000, 9999)}",
        street=f"{chance.randrange(1, 200)} {chance.choice(_LAST)} Street",
        city="Wellington",
        postal_code=f"{chance.randrange(6000, 6999)}",
        country="New Zealand",
        account_number=f"A-{number:04}",
    )


def _product(chance: random.Random, number: int) -> Product:
    gbp = number % 4 == 0
    price = Decimal(chance.randrange(50, 50_000)) / 100
    return Product(
        code=f"{'GB' if gbp else 'P'}-{number:03}",
        name=f"{chance.choice(_THINGS)} {number:03}",
        description=f"{chance.choice(_THINGS)} for every day",
        price=price,
        cost=(price * Decimal("0.6")).quantize(Decimal("0.01")),
        tax_rate=Decimal(20 if gbp else 15),
    )


def _service(gbp: bool, place: int) -> Service:
    return Service(
        code=f"{'GBS' if gbp else 'S'}-{place + 1:03}",
        name=f"{_WORK[place]} by the hour",
        price=Decimal(60 + 15 * place),
        tax_rate=Decimal(20 if gbp else 15),
    )


def _names(thing: Product | Service | None) -> dict[str, int]:
    """What makes a line one of that product or service."""
    return {thing.line_column: thing.id} if thing else {}


def _invoice(
    chance: random.Random,
    number: str,
    contact: Contact,
    products: list[Product],
    services: list[Service],
    *,
    currency: str,
    day: date,
) -> Invoice:
    invoice = Invoice(
        number=number,
        contact_id=contact.id,
        date=day,
        due_date=day + timedelta(days=20),
        reference=f"PO {chance.randrange(1000, 9999)}",
        currency=currency,
        amounts=chance.choice(("exclusive", "exclusive", "exclusive", "inclusive")),
        status=chance.choice(("Approved", "Approved", "Sent", "Created")),
    )
    for place in range(chance.randrange(1, 9)):
        thing: Product | Service | None = None
        if chance.random() < 0.8:
            thing = chance.choice(products)
        elif place % 2 == 0:
            thing = services[place // 2]
        invoice.lines.append(
            InvoiceLine(
                place=place,
                **_names(thing),
                description=thing.name if thing else "Work by the hour",
                quantity=Decimal(chance.choice(("1", "2", "3", "7.5", "12", "0.25"))),
                unit_price=thing.price if thing else Decimal(chance.randrange(4000, 18000)) / 100,
                discount=Decimal(chance.choice(("0", "0", "0", "5", "10", "12.5"))),
                tax_rate=thing.tax_rate if thing else Decimal(20 if currency == "GBP" else 15),
            )
        )
    invoice.count()
    return invoice


def awkward(session: Session, *, today: date) -> Samples:
    """Adds some twenty records that ordinary tools stumble over, each telling what it shows."""
    made = Samples()
    people = {
        "plain": Contact(name="Aroha & Söhne <Ltd>", email="info@example.com"),
        "long": Contact(name="The Very Long Company Name " * 8 + "Ltd"),
        "mail": Contact(name="Broken E-mail Ltd", email="not-an-address"),
        "twin": Contact(name="Twin Traders", email="first@example.com"),
        "twin again": Contact(name="twin traders", email="second@example.com"),
        "blanks": Contact(name="  Double  Blank   Co ", phone="+64 21 000 000"),
        "script": Contact(name="<script>alert(1)</script> Co", email="x@example.com"),
        "formula": Contact(name="=1+1 Imports", account_number="=1+1"),
        "supplier": Contact(name="Harbour Supplies", is_supplier=True),
    }
    things: dict[str, Product | Service] = {
        "plain": Product(code="AWK-1", name="Odd thing", price=Decimal("25.06")),
        "fine": Product(code="AWK-2", name="Screw, one", price=Decimal("0.061171")),
        "uncoded": Product(code=None, name="Thing without a part number", price=Decimal("10.00")),
        "long code": Product(code="C" * 31, name="Thing with a long part number", price=Decimal(5)),
        "archived": Product(
            code="AWK-5", name="On an account that is gone", price=Decimal(9), sales_account="998"
        ),
        "fitting": Service(code="AWK-S1", name="Fitting", price=Decimal("72.50")),
        "same code": Service(code="AWK-1", name="Fitting of the odd thing", price=Decimal(40)),
    }
    for thing in things.values():
        thing.tax_rate = Decimal(15)
    session.add_all([*people.values(), *things.values()])
    session.flush()

    def document(
        number: str, who: str, *lines: tuple[str | None, str, str, str, str], **fields: str
    ) -> None:
        invoice = Invoice(
            number=number,
            contact_id=people[who].id,
            date=today,
            due_date=today + timedelta(days=20),
            currency=fields.get("currency", "NZD"),
            amounts=fields.get("amounts", "exclusive"),
            status="Approved",
        )
        for place, (thing, quantity, price, discount, tax) in enumerate(lines):
            sold = things[thing] if thing else None
            invoice.lines.append(
                InvoiceLine(
                    place=place,
                    **_names(sold),
                    description=fields.get("text") or (sold.name if sold else "Work"),
                    quantity=Decimal(quantity),
                    unit_price=Decimal(price),
                    discount=Decimal(discount),
                    tax_rate=Decimal(tax),
                )
            )
        invoice.count()
        session.add(invoice)
        session.flush()
        made.ticked.append(RecordRef(Module.INVOICES, str(invoice.id)))

    cents = [("plain", "1", price, "0", "15") for price in ("25.06", "25.61", "25.63")]
    document("AWK-CENT", "plain", *cents)
    document("AWK-FINE", "plain", ("fine", "1000", "0.061171", "0", "15"))
    document("AWK-THIRDS", "plain", (None, "3", "3.33333333", "0", "15"))
    document("AWK-DISCOUNT", "plain", (None, "1", "2120.44", "10", "15"))
    document("AWK-INCLUSIVE", "plain", *cents, amounts="inclusive")
    document("AWK-UNTAXED", "plain", (None, "2", "50.00", "0", "0"), amounts="no tax")
    document("AWK-MIXED", "plain", (None, "1", "10.01", "0", "15"), (None, "1", "9.99", "0", "0"))
    document(
        "AWK-MINUS", "plain", (None, "1", "10.00", "0", "15"), (None, "-2", "10.00", "0", "15")
    )
    document("AWK-ZERO", "plain", (None, "1", "0.00", "0", "15"))
    document("AWK-LONGNAME", "long", (None, "1", "10.00", "0", "15"))
    document("AWK-EMAIL", "mail", (None, "1", "10.00", "0", "15"))
    document("AWK-TWIN-1", "twin", (None, "1", "10.00", "0", "15"))
    document("AWK-TWIN-2", "twin again", (None, "1", "10.00", "0", "15"))
    document("AWK-BLANKS", "blanks", (None, "1", "10.00", "0", "15"))
    document("AWK-SCRIPT", "script", (None, "1", "10.00", "0", "15"), text="<b>bold</b> & more")
    document("AWK-FORMULA", "formula", (None, "1", "10.00", "0", "15"))
    document("AWK-UNCODED", "plain", ("uncoded", "1", "10.00", "0", "15"))
    document("AWK-LONGCODE", "plain", ("long code", "1", "5.00", "0", "15"))
    document(
        "AWK-SERVICE",
        "plain",
        ("plain", "1", "25.06", "0", "15"),
        ("fitting", "1.5", "72.50", "0", "15"),
    )
    document("AWK-SAMECODE", "plain", ("same code", "1", "40.00", "0", "15"))
    document("AWK-ARCHIVED", "plain", ("archived", "1", "9.00", "0", "15"))
    document("AWK-RATE", "plain", (None, "1", "10.00", "0", "12.5"))
    document("AWK-GBP", "plain", (None, "1", "10.00", "0", "20"), currency="GBP")
    document("AWK-ÜMLAUT", "plain", (None, "1", "10.00", "0", "15"))
    return made
