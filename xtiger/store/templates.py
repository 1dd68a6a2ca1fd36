"""Mapping templates as they are kept: every version for good, and the tests kept with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from xtiger.domain.records import DocumentType, Module
from xtiger.store import leases
from xtiger.store.models import Binding, Template, TemplateTest

#: The most tests that one mapping keeps: all of them run on each save.
MOST_TESTS = 50


@dataclass(frozen=True, slots=True)
class Place:
    """Where a mapping belongs: one organisation, module and, for documents, document type."""

    organisation_id: int
    module: Module
    document_type: DocumentType | None = None

    @property
    def kind(self) -> str:
        """The document type as it is stored: empty where there is none."""
        return self.document_type.value if self.document_type else ""


class Stale(Exception):
    """Somebody saved another version meanwhile: `latest` is theirs."""

    def __init__(self, latest: Template) -> None:
        super().__init__(f"version {latest.version} by {latest.author}")
        self.latest = latest


class TooManyTests(Exception):
    """No further test fits."""


def newest(
    session: Session, organisation_id: int, module: Module, document_type: DocumentType | None
) -> Template | None:
    """The version of a mapping template that is in use, None where there is none."""
    return session.scalar(_versions(Place(organisation_id, module, document_type)).limit(1))


def version(session: Session, place: Place, number: int) -> Template | None:
    """One version by its number."""
    return session.scalar(_versions(place).where(Template.version == number))


def versions(
    session: Session, place: Place, *, before: int | None = None, limit: int = 50
) -> Sequence[Template]:
    """Versions, the newest first; those below `before`, if given."""
    statement = _versions(place).limit(limit)
    if before is not None:
        statement = statement.where(Template.version < before)
    return session.scalars(statement).all()


def _versions(place: Place) -> Select[Template]:
    return (
        select(Template)
        .where(
            Template.organisation_id == place.organisation_id,
            Template.module == place.module.value,
            Template.document_type == place.kind,
        )
        .order_by(Template.version.desc())
    )


def add(
    session: Session, place: Place, body: Any, *, seen: int, who: str, now: datetime
) -> Template:
    """Adds a version behind `seen`, the one it was made from (0: there was none).

    Raises Stale where that isn't the newest any more. Earlier versions stay as they are: what
    was sent names the version it was built with.
    """
    leases.lock(session, [place.organisation_id])
    latest = newest(session, place.organisation_id, place.module, place.document_type)
    if latest is not None and latest.version != seen:
        # It is read once this transaction was rolled back, which empties what it still holds.
        session.expunge(latest)
        raise Stale(latest)
    number = latest.version + 1 if latest is not None else 1
    row = Template(
        organisation_id=place.organisation_id,
        module=place.module.value,
        document_type=place.kind,
        version=number,
        body={**body, "version": number},
        author=who,
        made_at=now,
    )
    session.add(row)
    session.flush()
    return row


# -- kept tests -------------------------------------------------------------------------------


def tests(session: Session, place: Place) -> Sequence[TemplateTest]:
    """The tests kept with a mapping, by name."""
    return session.scalars(
        select(TemplateTest)
        .where(
            TemplateTest.organisation_id == place.organisation_id,
            TemplateTest.module == place.module.value,
            TemplateTest.document_type == place.kind,
        )
        .order_by(TemplateTest.name)
    ).all()


def keep_test(
    session: Session,
    place: Place,
    name: str,
    *,
    sample: Any,
    expected: Any,
    who: str,
    now: datetime,
) -> TemplateTest:
    """Keeps a test under a name; one of that name is replaced. Raises TooManyTests."""
    leases.lock(session, [place.organisation_id])
    kept = tests(session, place)
    row = next((each for each in kept if each.name == name), None)
    if row is None:
        if len(kept) >= MOST_TESTS:
            raise TooManyTests
        row = TemplateTest(
            organisation_id=place.organisation_id,
            module=place.module.value,
            document_type=place.kind,
            name=name,
        )
        session.add(row)
    row.sample, row.expected, row.author, row.made_at = sample, expected, who, now
    session.flush()
    return row


def drop_test(session: Session, place: Place, test_id: int) -> str | None:
    """Takes a test out and answers with its name; one that isn't there is fine."""
    row = next((each for each in tests(session, place) if each.id == test_id), None)
    if row is None:
        return None
    session.delete(row)
    return row.name


# -- what is in Xero by a mapping -------------------------------------------------------------


def bound(
    session: Session, place: Place, *, after: str | None = None, limit: int
) -> Sequence[Binding]:
    """Records in Xero that a mapping builds, by the CRM's id; those behind one, if given."""
    statement = _bound(place).order_by(Binding.record_id).limit(limit)
    if after is not None:
        statement = statement.where(Binding.record_id > after)
    return session.scalars(statement).all()


def _bound(place: Place) -> Select[Binding]:
    statement = select(Binding).where(
        Binding.organisation_id == place.organisation_id, Binding.module == place.module.value
    )
    if place.document_type is not None:
        statement = statement.where(Binding.document_type == place.document_type.value)
    return statement
