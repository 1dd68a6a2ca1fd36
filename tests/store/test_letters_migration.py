"""What was there before subscriptions: the addresses of the page, and the mails about runs."""

from __future__ import annotations

import pytest
from sqlalchemy import select, text

from tests.store.test_schema import _step
from xtiger.domain.exactjson import dumps
from xtiger.store import logs, profiles
from xtiger.store.models import Mail, Subscription
from xtiger.store.schema import Database

ORGANISATION = (
    "INSERT INTO xtiger_organisation (id, tenant_id, name, chosen, auto_sync, held_times,"
    " held_by_xero, fence, time_zone) VALUES (1, 't', 'Kauri', true, false, 0, false, 0,"
    " 'NEWZEALANDSTANDARDTIME')"
)
RUN = (
    "INSERT INTO xtiger_run (id, organisation_id, kind, requested_by, asked_at, due, succeeded,"
    " unchanged, failed, blocked, calls, trouble, reported) VALUES (:id, 1, 'instant', 'Ana',"
    " '2026-11-01 00:00:00', 0, 0, 0, 0, 0, 0, false, true)"
)
MAIL = (
    "INSERT INTO xtiger_mail (run_id, recipient, subject, text, html, message_id, state, tries,"
    " made_at) VALUES (:run, :to, 's', 't', 'h', '<1>', 'sent', 1, '2026-11-01 00:00:00')"
)
SETTING = (
    "INSERT INTO xtiger_setting (name, value, sealed, changed_by, changed_at)"
    " VALUES ('report_recipients', :value, false, 'Ana', '2026-11-01 00:00:00')"
)


@pytest.mark.parametrize(
    "addresses", [["Ana@example.com", "bo@example.com", "ana@example.com"], [], None]
)
def test_addresses_become_subscriptions_and_mails_keep_their_runs(
    database_url: str, addresses: list[str] | None
) -> None:
    database = Database(database_url)
    try:
        _step(database, "upgrade", "core0005")
        with database.write() as session:
            session.execute(text(ORGANISATION))
            session.execute(text(RUN), [{"id": 7}, {"id": 8}])
            session.execute(
                text(MAIL),
                [{"run": 7, "to": "Ana@example.com"}, {"run": None, "to": "bo@example.com"}],
            )
            if addresses is not None:
                session.execute(text(SETTING), {"value": dumps(addresses).decode()})
        _step(database, "upgrade", "core@head")
        with database.read() as session:
            rows = session.scalars(select(Subscription).order_by(Subscription.mailbox)).all()
            assert [row.mailbox for row in rows] == sorted({one.lower() for one in addresses or ()})
            for row in rows:
                assert (row.after_sync, row.daily, row.weekly, row.monthly, row.alerts) == (
                    *(True, False, False),
                    *(False, False),
                )
                assert (row.hour, row.zone, row.made_by) == (7, "Pacific/Auckland", "Ana")
                assert (row.organisation_id, row.next_at, row.modules) == (None, None, None)
            # An emptied list stays empty, whatever the environment says.
            chosen = profiles.has_setting(session, "report_recipients_chosen")
            assert chosen == (addresses is not None)
            assert not profiles.has_setting(session, "report_recipients")
            assert logs.mail_states(session, [7, 8]) == {7: "sent", 8: "not due"}
            assert {mail.kind for mail in session.scalars(select(Mail))} == {"after_sync"}
        _step(database, "downgrade", "core0005")
        with database.read() as session:
            assert session.scalar(text("SELECT count(*) FROM xtiger_mail")) == 2
        _step(database, "upgrade", "core@head")
        with database.read() as session:
            again = session.scalars(select(Subscription.mailbox).order_by(Subscription.mailbox))
            assert list(again) == sorted({one.lower() for one in addresses or ()})
            chosen = profiles.has_setting(session, "report_recipients_chosen")
            assert chosen == (addresses is not None)
    finally:
        database.close()
