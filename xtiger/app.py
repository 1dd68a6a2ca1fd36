"""create_app(): the standalone server, XTiger's own host. It starts nothing."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import make_url
from sqlalchemy.orm import sessionmaker

from xtiger.accounts import AccountsAccess, init_accounts
from xtiger.crm.builtin import crm_of
from xtiger.extension import KEY_FILE, XTiger
from xtiger.settings import Settings, SettingsFault, instance_folder
from xtiger.store.crypto import kept
from xtiger.store.schema import BUSY_SECONDS, hide_values
from xtiger.web import errors

#: The folder of keys and files where XTIGER_INSTANCE names none.
INSTANCE = "instance"
#: For the pages that aren't the blueprint's own (sign-in): the same strictness.
CONTENT_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "script-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)


def existing_app() -> Flask:
    """create_app() for what only makes sense on an installation that is there.

    Raises SettingsFault where the folder holds none: a mistyped name would get keys of its own,
    which open nothing. A machine that is given the keys needs none there.
    """
    folder = Path(os.environ.get("XTIGER_INSTANCE", INSTANCE))
    settings = Settings.read(os.environ)
    if not (settings.keys or settings.fleet or (folder / KEY_FILE).exists()):
        raise SettingsFault(
            f"No instance of XTiger is in {folder.resolve()}. Name its folder in XTIGER_INSTANCE; "
            "a new one is made by: xtiger migrate"
        )
    return create_app()


def create_app(
    *,
    instance: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Flask:
    """The standalone server on an instance folder. Raises SettingsFault, which names each fault."""
    source = dict(os.environ if environment is None else environment)
    settings = Settings.read(source)
    if settings.fleet and (lacking := settings.lacking()):
        raise SettingsFault(
            f"XTIGER_FLEET is set. Set also {_all(lacking)}, to the same on all machines: one that "
            "makes its own can't read what the others sealed, signed or hashed."
        )
    folder = instance_folder(instance or source.get("XTIGER_INSTANCE", INSTANCE))
    app = Flask(
        "xtiger",
        instance_path=str(folder),
        static_folder=None,
        # Our sign-in page stands before Flask-Security's own of the same name.
        template_folder=str(files("xtiger.templates")),
    )
    host = urlsplit(settings.public_url).hostname or "localhost"
    secure = settings.public_url.startswith("https://")
    app.config.update(
        XTIGER_SETTINGS=settings,
        SECRET_KEY=settings.secret_key or _secret(folder / "secret_key"),
        SQLALCHEMY_DATABASE_URI=settings.database_url,
        SQLALCHEMY_ENGINE_OPTIONS=_engine_options(settings.database_url),
        TRUSTED_HOSTS=[host, "localhost", "127.0.0.1"],
        SESSION_COOKIE_SECURE=secure,
        REMEMBER_COOKIE_SECURE=secure,
        MAX_CONTENT_LENGTH=4 * 1024 * 1024,
    )
    db = SQLAlchemy(app)
    init_accounts(app, db, salt=settings.password_salt or _secret(folder / "password_salt"))
    with app.app_context():
        hide_values(db.engine)
        sessions = sessionmaker(db.engine, expire_on_commit=False)
    XTiger(
        app,
        db=db,
        crm=crm_of(sessions),
        access=AccountsAccess(db),
        url_prefix=None,
        small_crm=True,
    )

    errors.put_on(app)

    @app.get("/healthz")
    def healthz() -> str:
        return "ok"

    @app.after_request
    def strict(response: Response) -> Response:
        headers: Any = response.headers
        headers.setdefault("Content-Security-Policy", CONTENT_POLICY)
        headers.setdefault("X-Content-Type-Options", "nosniff")
        headers.setdefault("Referrer-Policy", "same-origin")
        if not request.path.startswith(("/static", "/assets")):
            headers.setdefault("Cache-Control", "no-store")
        return response

    return app


def _engine_options(url: str) -> dict[str, Any]:
    # What an error says goes to the log: never the names and sums of a statement.
    if make_url(url).get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": BUSY_SECONDS}, "hide_parameters": True}
    return {"pool_pre_ping": True, "hide_parameters": True}


def _all(names: Sequence[str]) -> str:
    """Names as a sentence lists them: A; A and B; A, B and C."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)


def _secret(file: Path) -> str:
    return kept(file, lambda: secrets.token_hex(32))
