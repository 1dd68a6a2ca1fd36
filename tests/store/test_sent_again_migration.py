"""Mails that were there before it was kept which of them repeats which."""

from __future__ import annotations

from sqlalchemy import select, text

from tests.store.test_letters_migration import MAIL
from tests.store.test_schema import _step
from xtiger.store.models import Mail
from xtiger.store.schema import Database


def test_mails_stay_and_repeat_none(database_url: str) -> None:
    database = Database(database_url)
    try:
        _step(database, "upgrade", "core0006")
        with database.write() as session:
            session.execute(text(MAIL), {"run": None, "to": "ana@example.com"})
        _step(database, "upgrade", "core@head")
        with database.write() as session:
            [mail] = session.scalars(select(Mail))
            assert (mail.recipient, mail.again_of, mail.again_by) == ("ana@example.com", None, None)
            mail.again_of, mail.again_by = 1, "Ana"
        _step(database, "downgrade", "core0006")
        with database.read() as session:
            assert session.scalar(text("SELECT count(*) FROM xtiger_mail")) == 1
        _step(database, "upgrade", "core@head")
        with database.read() as session:
            assert session.scalars(select(Mail.again_of)).all() == [None]
    finally:
        database.close()
