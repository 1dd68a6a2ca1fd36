"""Secrets are sealed at rest: only the right key opens them, and nothing prints them."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from tests.store.conftest import NOW
from xtiger.domain.errors import PermanentError
from xtiger.ports import Access, TokenSet
from xtiger.store import profiles
from xtiger.store.crypto import KeyRing, keys_of
from xtiger.store.models import Setting
from xtiger.store.schema import Database

SECRET = "s3cr3t-of-the-app"


def ring(*keys: str) -> KeyRing:
    return KeyRing(keys or [Fernet.generate_key().decode()])


def test_what_is_sealed_opens_again_and_shows_nothing() -> None:
    keys = ring()
    sealed = keys.seal({"access": SECRET})
    assert SECRET.encode() not in sealed
    assert keys.open(sealed) == {"access": SECRET}


def test_an_old_key_behind_the_new_one_still_opens() -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    assert ring(new, old).open(ring(old).seal("x")) == "x"


def test_a_wrong_key_is_told_in_one_sentence_with_what_to_do() -> None:
    with pytest.raises(PermanentError, match="Put the old key behind the new one in XTIGER_KEYS"):
        ring().open(ring().seal(SECRET))


def test_nothing_that_holds_a_secret_prints_it() -> None:
    key = Fernet.generate_key().decode()
    tokens = TokenSet(access_token=SECRET, expires_at=NOW, scope="", refresh_token=SECRET)
    for thing in (KeyRing([key]), tokens, Access(SECRET, "tenant")):
        assert SECRET not in repr(thing)
        assert key not in repr(thing)


def test_the_key_file_is_made_once_and_readable_by_us_alone(tmp_path: Path) -> None:
    file = tmp_path / "instance" / "keys"
    first = keys_of(file)
    assert keys_of(file) == first
    assert len(first) == 1
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_processes_that_start_together_use_the_same_key(tmp_path: Path) -> None:
    file = tmp_path / "instance" / "keys"
    found: list[list[str]] = []
    barrier = threading.Barrier(8)

    def start() -> None:
        barrier.wait()
        found.append(keys_of(file))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert all(keys == found[0] and len(keys) == 1 for keys in found)


def test_a_sealed_setting_is_unreadable_in_the_table(database: Database) -> None:
    keys = ring()
    with database.write() as session:
        profiles.put_setting(session, "xero_client_secret", SECRET, who="Ana", now=NOW, ring=keys)
    with database.read() as session:
        row = session.get_one(Setting, "xero_client_secret")
        assert SECRET not in str(row.value)
        assert profiles.setting(session, "xero_client_secret") is None
        assert profiles.setting(session, "xero_client_secret", keys) == SECRET
