"""The key ring: seals tokens and secrets at rest, opens what any of its keys sealed."""

from __future__ import annotations

import hmac
import os
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from xtiger.domain import exactjson
from xtiger.domain.errors import PermanentError


class KeyRing:
    """The first key seals; the others only open, until everything is sealed anew."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._ring = MultiFernet([Fernet(key) for key in keys])
        self._newest = Fernet(keys[0])
        self._keys = tuple(key.encode() for key in keys)
        # The tokens of a few consents are opened for every call.
        self._opened = lru_cache(maxsize=16)(self._ring.decrypt)

    def __repr__(self) -> str:
        return "KeyRing(…)"

    def seal(self, value: Any) -> bytes:
        """A JSON-able value as sealed bytes."""
        return self._ring.encrypt(exactjson.dumps(value))

    def sign(self, text: str) -> str:
        """What only a holder of the keys could write below a text: 22 signs that fit a link."""
        return _signature(self._keys[0], text)

    def signed(self, text: str, signature: str) -> bool:
        """Whether one of the keys made this signature of the text."""
        given = signature.encode()
        return any(hmac.compare_digest(_signature(key, text).encode(), given) for key in self._keys)

    def by_older(self, sealed: bytes) -> bool:
        """Whether a key of the ring sealed it, but not the newest one."""
        try:
            self._ring.decrypt(sealed)
        except InvalidToken:
            return False
        try:
            self._newest.decrypt(sealed)
        except InvalidToken:
            return True
        return False

    def open(self, sealed: bytes) -> Any:
        """The value. Raises PermanentError where no key of the ring fits."""
        try:
            return exactjson.loads(self._opened(sealed))
        except InvalidToken:
            raise PermanentError(
                "What is stored can't be opened with the keys in use. Put the old key behind "
                "the new one in XTIGER_KEYS, or connect again."
            ) from None


def _signature(key: bytes, text: str) -> str:
    digest = hmac.digest(key, b"xtiger link\0" + text.encode(), "sha256")
    return urlsafe_b64encode(digest[:16]).decode().rstrip("=")


def keys_of(file: Path) -> list[str]:
    """The keys in a file, one a line, newest first; made on first use, readable by us alone."""
    return kept(file, lambda: Fernet.generate_key().decode()).split()


def kept(file: Path, make: Callable[[], str]) -> str:
    """A secret of this instance from its file; made on first use, readable by us alone."""
    if not file.exists():
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Whole at once, and never over another's: processes may start together.
        made = file.with_name(f".{file.name}.{uuid4().hex}")
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as handle:
            handle.write(make() + "\n")
        with suppress(FileExistsError):
            os.link(made, file)
        made.unlink()
    return file.read_text().strip()
