"""What a host Flask app uses: XTiger(app, db=…, crm=…, access=…)."""

from __future__ import annotations

import os
import secrets
import socket
from typing import Any

from flask import Flask

from xtiger import fleet
from xtiger.domain.errors import PermanentError
from xtiger.engine.services import NoDispatcher, Services, SystemClock
from xtiger.mail import FlaskMail
from xtiger.ports import Clock, CrmPort, Dispatcher
from xtiger.settings import Settings, SettingsFault, instance_folder
from xtiger.store.crypto import KeyRing, keys_of
from xtiger.store.schema import Database
from xtiger.web import create_blueprint, create_crm_blueprint
from xtiger.web.access import Access
from xtiger.xero import webhooks
from xtiger.xero.client import XeroClient

#: Where in the instance folder the keys are that seal tokens, unless the environment has them.
KEY_FILE = "keys"


class XTiger:
    """XTiger inside a Flask app.

    `db` is the host's Flask-SQLAlchemy, `crm` the CrmPort on its models, `access` tells who
    is signed in and what they may do. Nothing starts here: `serve` and `worker` start threads.
    """

    services: Services
    access: Access

    def __init__(
        self,
        app: Flask | None = None,
        *,
        db: Any = None,
        crm: CrmPort | None = None,
        access: Access | None = None,
        url_prefix: str | None = "/xtiger",
        small_crm: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._db = db
        self._crm = crm
        self._access = access
        self._prefix = url_prefix
        self._clock = clock
        #: The pages of XTiger's own small CRM come along.
        self.small_crm = small_crm
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Builds the services for an app and mounts the pages. Raises SettingsFault."""
        if self._db is None or self._crm is None or self._access is None:
            raise TypeError("XTiger needs db, crm and access.")
        settings = app.config.get("XTIGER_SETTINGS") or Settings.read(host=app.config)
        with app.app_context():
            url = self._db.engine.url
        clock = self._clock or SystemClock()
        database = Database(url, max_pages=settings.max_pages or None)
        self.access = self._access
        self.services = Services(
            database=database,
            settings=settings,
            ring=_ring(app, settings),
            crm=self._crm,
            xero=XeroClient(
                login_url=settings.xero_login_url,
                identity_url=settings.xero_identity_url,
                api_url=settings.xero_api_url,
                clock=clock,
                time_factor=settings.time_factor,
                secret_in_body=settings.xero_secret_in == "body",  # noqa: S105 - a place, no secret
            ),
            mail=FlaskMail(app, settings),
            # Containers share host names and numbers of processes; no two may share this one.
            worker=f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(2)}",
            clock=clock,
            dispatcher=_dispatcher(database, settings),
            read_delivery=webhooks.read,
        )
        watch = getattr(self._crm, "watch", None)
        if watch is not None:
            watch(self._db.session, clock.now)
        app.extensions["xtiger"] = self
        app.register_blueprint(create_blueprint(), url_prefix=self._prefix)
        if self.small_crm:
            app.register_blueprint(create_crm_blueprint(), url_prefix=self._prefix)


def _dispatcher(database: Database, settings: Settings) -> Dispatcher:
    """Who is woken: nobody here, or the fleet. Raises SettingsFault."""
    if not settings.fleet:
        return NoDispatcher()
    try:
        return fleet.Tokens(database)
    except PermanentError as refusal:
        raise SettingsFault(f"XTIGER_FLEET is set. {refusal.sentence}") from None


def _ring(app: Flask, settings: Settings) -> KeyRing:
    """From the settings, else from the instance's own file. Raises SettingsFault."""
    if settings.keys:
        return KeyRing(settings.keys)
    file = instance_folder(app.instance_path) / KEY_FILE
    try:
        return KeyRing(keys_of(file))
    except ValueError:
        raise SettingsFault(
            f"{file} holds what isn't a Fernet key. Put back the keys that were in it."
        ) from None
