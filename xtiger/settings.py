"""Typed settings from the environment or a host's configuration; names every fault at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

PREFIX = "XTIGER_"


#: Variables of the same prefix that the command line, the local Xero and the test suite read.
_READ_ELSEWHERE = frozenset(
    {
        "instance",
        "sandbox_client_id",
        "sandbox_client_secret",
        "sandbox_webhook_key",
        "sandbox_record",
        "prove",
        "pictures",
        "docs",
        "learn_shapes",
        "xero_openapi",
    }
)


class SettingsFault(ValueError):
    """One or more settings don't fit; its text is a sentence for each."""


def _text(value: str) -> str:
    return value.strip()


def _url(value: str) -> str:
    parts = urlsplit(value.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("isn't a web address; write it like https://crm.example.com")
    if parts.query or parts.fragment:
        raise ValueError("may not carry ? or #")
    return value.strip().rstrip("/")


def _xero_url(value: str) -> str:
    url = _url(value)
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname not in {"localhost", "127.0.0.1", "::1"}:
        raise ValueError("must begin with https:// (http is for this machine only)")
    return url


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            raise ValueError("isn't a whole number") from None
        if not least <= number <= most:
            raise ValueError(f"must lie between {least} and {most}")
        return number

    return read


def _factor(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        raise ValueError("isn't a number") from None
    if not 0.001 <= number <= 10:
        raise ValueError("must lie between 0.001 and 10")
    return number


def _yes_no(value: str) -> bool:
    word = value.strip().lower()
    if word in {"1", "yes", "true", "on"}:
        return True
    if word in {"0", "no", "false", "off", ""}:
        return False
    raise ValueError("is neither yes nor no")


def _one_of(*words: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        word = value.strip().lower()
        if word not in words:
            raise ValueError(f"is neither {' nor '.join(words)}")
        return word

    return read


def _list(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _addresses(value: str) -> tuple[str, ...]:
    addresses = _list(value)
    for address in addresses:
        if address.count("@") != 1 or any(sign in address for sign in "\r\n <>"):
            raise ValueError(f"holds {address!r}, which isn't an e-mail address")
    return addresses


def _database(value: str) -> str:
    try:
        url = make_url(value.strip())
    except (ArgumentError, ValueError):  # ValueError: a port that isn't a number
        raise ValueError(
            "isn't a database's address; write it like postgresql+psycopg://name:pass@host/data"
        ) from None
    if url.get_backend_name() not in {"sqlite", "postgresql"}:
        raise ValueError("is neither SQLite nor PostgreSQL")
    try:
        url.get_dialect().import_dbapi()
    except (ArgumentError, ImportError):
        raise ValueError(
            "needs a driver that isn't installed; write postgresql+psycopg:// and run: "
            "pip install 'xtiger[postgres]'"
        ) from None
    return value.strip()


def _keys(value: str) -> tuple[str, ...]:
    keys = _list(value)
    for place, key in enumerate(keys, 1):
        try:
            Fernet(key)
        except ValueError:
            raise ValueError(f"holds what isn't a Fernet key (number {place})") from None
    return keys


def _setting(read: Callable[[str], Any], default: Any, *, secret: bool = False) -> Any:
    return field(default=default, repr=not secret, metadata={"read": read, "secret": secret})


@dataclass(frozen=True, slots=True)
class Settings:
    """Each is `XTIGER_` and the name in capitals. Times are seconds."""

    #: Where XTiger's tables are; in a host by default the host's own database.
    database_url: str = _setting(_database, "sqlite:///xtiger.sqlite", secret=True)
    #: The address people reach XTiger under; links, mails and the redirect URL start with it.
    public_url: str = _setting(_url, "http://localhost:5000")
    #: Fernet keys, newest first, by commas; without any the key file in the instance folder.
    keys: tuple[str, ...] = _setting(_keys, (), secret=True)
    #: Signs sessions; without one a file in the instance folder.
    secret_key: str = _setting(_text, "", secret=True)
    #: Goes into the standalone server's password hashes; without one a file in the instance folder.
    password_salt: str = _setting(_text, "", secret=True)
    #: Xero's addresses; the local Xero has one for all four.
    xero_login_url: str = _setting(_xero_url, "https://login.xero.com")
    xero_identity_url: str = _setting(_xero_url, "https://identity.xero.com")
    xero_api_url: str = _setting(_xero_url, "https://api.xero.com")
    #: Where a person sees an object in Xero.
    xero_app_url: str = _setting(_xero_url, "https://go.xero.com")
    #: Set here, the app's id and secret can't be changed on the page.
    xero_client_id: str = _setting(_text, "")
    xero_client_secret: str = _setting(_text, "", secret=True)
    #: web (people give consent) or custom (Xero's custom connection); empty: as on the page.
    xero_app_kind: str = _setting(_one_of("web", "custom"), "")
    #: broad is for Xero apps made before March 2026, which may not know the granular scopes.
    xero_scopes: str = _setting(_one_of("granular", "broad"), "granular")
    #: Where the app's secret stands in calls for tokens; Xero takes both.
    xero_secret_in: str = _setting(_one_of("header", "body"), "header")
    #: What Xero signs its webhooks with.
    xero_webhook_key: str = _setting(_text, "", secret=True)
    #: How often the schedule looks for what is due: what goes at once goes within this time.
    sync_interval: int = _setting(_whole(1, 86_400), 60)
    #: Of a day's calls so many in a hundred are kept for invoices and payments.
    day_reserve: int = _setting(_whole(0, 90), 10)
    #: How many organisations one process works on at once; more of them take turns.
    organisations_at_once: int = _setting(_whole(1, 64), 16)
    #: Workers are elsewhere (`xtiger worker --fleet`): this process only wakes them.
    fleet: bool = _setting(_yes_no, False)
    #: Who reads /metrics from another machine must send it; without one only this machine may.
    metrics_token: str = _setting(_text, "", secret=True)
    #: Scales all of Xero's time-outs and windows; only tests and the local Xero set it.
    time_factor: float = _setting(_factor, 1.0)
    mail_server: str = _setting(_text, "")
    mail_port: int = _setting(_whole(1, 65_535), 25)
    mail_tls: bool = _setting(_yes_no, False)
    mail_username: str = _setting(_text, "")
    mail_password: str = _setting(_text, "", secret=True)
    mail_sender: str = _setting(_text, "xtiger@localhost")
    #: Who gets the mail after each run, until somebody changes the list on the page.
    report_recipients: tuple[str, ...] = _setting(_addresses, ())
    #: Days for which the exact bytes of calls, ended queue items, and log, calls, runs and their
    #: mails are kept; 0 keeps them for ever.
    keep_bytes_days: int = _setting(_whole(0, 36_500), 130)
    keep_queue_days: int = _setting(_whole(0, 36_500), 400)
    keep_log_days: int = _setting(_whole(0, 36_500), 2922)
    #: Bounds a SQLite file, in pages of 4 kB; 0 is unbounded.
    max_pages: int = _setting(_whole(0, 2**31), 0)

    @classmethod
    def read(
        cls, environment: Mapping[str, str] | None = None, host: Mapping[str, Any] | None = None
    ) -> Settings:
        """From the environment, which wins, and a host's `app.config`.

        Raises SettingsFault that names every setting that doesn't fit, and unknown ones.
        """
        source = dict(os.environ if environment is None else environment)
        given = {
            name.removeprefix(PREFIX).lower(): str(value)
            for name, value in [*(host or {}).items(), *source.items()]
            if name.startswith(PREFIX)
        }
        known = {each.name: each for each in fields(cls)}
        faults = [
            f"{PREFIX}{name.upper()} isn't a setting of XTiger."
            for name in given
            if name not in known and name not in _READ_ELSEWHERE
        ]
        values: dict[str, Any] = {}
        for name, value in given.items():
            if name not in known:
                continue
            try:
                values[name] = known[name].metadata["read"](value)
            except ValueError as fault:
                shown = "" if known[name].metadata["secret"] else f" ({value!r})"
                faults.append(f"{PREFIX}{name.upper()}{shown} {fault}.")
        if faults:
            raise SettingsFault(" ".join(faults))
        return cls(**values)

    def lacking(self) -> list[str]:
        """Names of what every machine of a fleet must be given, and this one isn't."""
        shared = ("keys", "secret_key", "password_salt")
        return [f"{PREFIX}{name.upper()}" for name in shared if not getattr(self, name)]

    def locked(self) -> frozenset[str]:
        """Names of the settings that the environment fixes for the API details page."""
        lockable = ("xero_client_id", "xero_client_secret", "xero_app_kind", "xero_webhook_key")
        return frozenset(name for name in lockable if getattr(self, name))


def instance_folder(path: str | Path) -> Path:
    """The folder for keys and files of one instance, made for us alone (0700).

    Raises SettingsFault where it can't be made or written.
    """
    folder = Path(path).resolve()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsFault(
            f"The instance folder {folder} can't be made: {error.strerror}. "
            "Name another in XTIGER_INSTANCE."
        ) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SettingsFault(
            f"The instance folder {folder} can't be written. Name another in XTIGER_INSTANCE."
        )
    return folder
