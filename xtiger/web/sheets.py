"""Sends a CSV file as it is written, row by row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from flask import Response

from xtiger.domain.sheets import disarm as disarm
from xtiger.domain.sheets import lines as lines


def download(name: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Response:
    """Streams a CSV file; `rows` must not need the request."""
    answer = Response(lines(header, rows), mimetype="text/csv")
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    answer.headers["Cache-Control"] = "no-store"
    return answer
