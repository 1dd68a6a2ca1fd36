"""Users, roles and sign-in of the standalone server, by Flask-Security-Too's own pages."""

from __future__ import annotations

import math
import uuid
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Flask, current_app, request, url_for
from flask_limiter import Limiter, RequestLimit
from flask_limiter.util import get_remote_address
from flask_security import (
    EmailValidateException,
    RoleMixin,
    Security,
    SQLAlchemySessionUserDatastore,
    UserMixin,
    current_user,
    hash_password,
)
from sqlalchemy import Column, ForeignKey, String, Table, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from xtiger.domain.errors import XTigerError
from xtiger.engine.alerting import alerts
from xtiger.web.access import ROLES, Person
from xtiger.web.frame import clock_time, plain_page
from xtiger.web.words import say

#: Failed tries to sign in, and how long each counts.
TRIES = "5 per 15 minutes"


class AccountsBase(DeclarativeBase):
    """The standalone server's users, a migration branch of their own."""


roles_users = Table(
    "account_role_user",
    AccountsBase.metadata,
    Column("user_id", ForeignKey("account_user.id"), primary_key=True),
    Column("role_id", ForeignKey("account_role.id"), primary_key=True),
)


class Role(AccountsBase, RoleMixin):
    """User, manager or administrator."""

    __tablename__ = "account_role"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)
    description: Mapped[str | None] = mapped_column(String(255))


class User(AccountsBase, UserMixin):
    """Somebody who signs in."""

    __tablename__ = "account_user"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(255), unique=True)
    name: Mapped[str] = mapped_column(String(255), default="")
    password: Mapped[str | None] = mapped_column(String(255))
    active: Mapped[bool] = mapped_column(default=True)
    fs_uniquifier: Mapped[str] = mapped_column(
        String(64), unique=True, default=lambda: uuid.uuid4().hex
    )
    roles: Mapped[list[Role]] = relationship(secondary=roles_users)  # type: ignore[assignment]


class AccountsAccess:
    """Tells XTiger's pages who is signed in; a host brings its own."""

    def __init__(self, db: Any) -> None:
        self._db = db

    def person(self) -> Person:
        if not current_user.is_authenticated:
            return Person(name="", email="", role=None, capabilities=frozenset(), signed_in=False)
        names = [role.name for role in current_user.roles if role.name in ROLES]
        role = names[0] if names else None
        return Person(
            name=current_user.name or current_user.email,
            email=current_user.email,
            role=role,
            capabilities=ROLES[role] if role else frozenset(),
            signed_in=True,
        )

    def sign_in_url(self, next: str) -> str:
        return url_for("security.login", next=next)

    def sign_out_url(self) -> str:
        return url_for("security.logout")

    def administrators(self) -> list[str]:
        users = self._db.session.scalars(
            select(User)
            .join(User.roles)
            .where(Role.name == "administrator", User.active.is_(True))
            .order_by(User.id)
            .limit(3)
        )
        return [user.name or user.email for user in users]


def init_accounts(app: Flask, db: Any, *, salt: str) -> Security:
    """Sets sign-in up on the app; the stock pages, no registration, no passkeys."""
    app.config.update(
        SECURITY_PASSWORD_SALT=salt,
        SECURITY_PASSWORD_HASH="argon2",  # noqa: S106 - the method, not a password
        SECURITY_EMAIL_VALIDATOR_ARGS={"check_deliverability": False, "test_environment": True},
        SECURITY_LOGIN_URL="/sign-in",
        SECURITY_LOGOUT_URL="/sign-out",
        SECURITY_LOGOUT_METHODS=["POST"],
        SECURITY_POST_LOGIN_VIEW="/",
        SECURITY_POST_LOGOUT_VIEW="/sign-in",
        SECURITY_REGISTERABLE=False,
        SECURITY_SEND_REGISTER_EMAIL=False,
        SECURITY_UNAUTHORIZED_VIEW=None,
        SECURITY_WEBAUTHN=False,
        SECURITY_FLASH_MESSAGES=True,
        SECURITY_AUTO_LOGIN_AFTER_CONFIRM=False,
        # Pages and files that nothing of ours leads to.
        SECURITY_FRESHNESS=timedelta(seconds=-1),
        SECURITY_STATIC_FOLDER=None,
        SECURITY_MSG_GENERIC_AUTHN_FAILED=(say("sign_in.wrong"), "error"),
        SECURITY_RETURN_GENERIC_RESPONSES=True,
        SESSION_COOKIE_NAME="xtiger",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        REMEMBER_COOKIE_NAME="xtiger_remember",
        REMEMBER_COOKIE_DURATION=timedelta(days=14),
        REMEMBER_COOKIE_SAMESITE="Lax",
        REMEMBER_COOKIE_HTTPONLY=True,
    )
    datastore = SQLAlchemySessionUserDatastore(db.session, User, Role)
    security = Security(app, datastore, register_blueprint=True)
    _limit_tries(app)
    return security


def _limit_tries(app: Flask) -> None:
    """Lets sign-in rest after failed tries, counted in this process by e-mail and address."""
    limiter = Limiter(
        get_remote_address, app=app, storage_uri="memory://", strategy="moving-window"
    )
    limit = limiter.limit(
        TRIES,
        key_func=_who_tries,
        methods=["POST"],
        deduct_when=lambda _response: not current_user.is_authenticated,
        on_breach=_rests,
    )
    view: Any = app.view_functions["security.login"]
    app.view_functions["security.login"] = limit(view)


def _who_tries() -> str:
    """The e-mail as sign-in looks it up, however it was typed, and the address it came from."""
    email = request.form.get("email", "").strip()
    with suppress(EmailValidateException):
        email = current_app.extensions["security"]._mail_util.normalize(email)
    return f"{email.casefold()} {get_remote_address()}"


def _rests(limit: RequestLimit) -> Any:
    # Pages print minutes: the next full one, so that nobody comes too early.
    until = datetime.fromtimestamp(math.ceil(limit.reset_at / 60) * 60, UTC)
    sentence = say("sign_in.rests", time=clock_time(until))
    return plain_page("xtiger/error.html", status=429, title="Sign-in rests", sentence=sentence)


def add_user(app: Flask, db: Any, *, email: str, name: str, password: str, role: str) -> None:
    """Adds somebody, or gives the one with this e-mail a new name, password and role."""
    if role not in ROLES:
        raise ValueError(f"There is no role {role!r}. Roles: {', '.join(ROLES)}.")
    with app.app_context():
        store = app.extensions["security"].datastore
        wanted = store.find_or_create_role(role)
        user = store.find_user(email=email)
        if user is None:
            user = store.create_user(email=email, password=hash_password(password))
        else:
            user.password = hash_password(password)
        user.name = name
        user.roles = [wanted]
        db.session.commit()
        if role == "administrator":
            # Without the core's tables there is nothing to be alerted of yet.
            with suppress(XTigerError):
                alerts.welcome(app.extensions["xtiger"].services, email, person=name or None)
