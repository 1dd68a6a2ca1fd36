"""Reading a list that goes on changing meanwhile, page by page, without missing a row."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

Row = Mapping[str, Any]
#: One page of rows and the number of all pages, None where Xero doesn't count them. Asked for
#: with a moment (seconds since 1970 UTC, None for all) and the page's number from 1.
Fetch = Callable[[int | None, int], tuple[Sequence[Row], int | None]]

#: Fewer rows than this on a page that isn't counted end the list (FACTS section 3).
_LEAST_PAGE = 100
_NET_DATE = re.compile(r"/Date\((-?\d+)")


def changed(fetch: Fetch, id_field: str, since: int | None) -> Iterator[Row]:
    """Every row changed since a moment, the oldest change first; one may come twice.

    Page numbers over a list that changes skip what moves to an earlier page. So not the page
    moves on, but the moment:

    1. Ask for what changed since the moment, in the order of the changes. The asking begins a
       second earlier: nothing says whether Xero counts the second itself.
    2. Give each row that wasn't given as it is now, nor changed before `since`.
    3. After the last page all is given.
    4. Else the moment becomes that of the page's last row, and 1 follows. What changes meanwhile
       goes to the end and comes again; nothing else moves.
    5. Where that moves nothing, because a whole page changed within these seconds or the list
       keeps no order, the next page is asked for, and so on until the moment moves or the list
       ends.
    6. Those pages are then read once more, backwards. A row that changed meanwhile left for the
       end and all behind it moved to the front, perhaps onto a page already read. Against that
       movement none slips by.

    So every row that stays as it was comes, and one that changes meanwhile comes now or in the
    next reading, from the moment this one began. Memory holds one page, and the ids of the last
    two seconds.
    """
    given: set[tuple[str, int | None]] = set()

    def version(row: Row) -> tuple[str, int | None]:
        return str(row.get(id_field)), moment(row)

    def fresh(rows: Sequence[Row]) -> Iterator[Row]:
        for row in rows:
            one = version(row)
            old = since is not None and one[1] is not None and one[1] < since * 1000
            if one not in given and not old:
                given.add(one)
                yield row

    at = since
    while True:
        asked = None if at is None else at - 1
        page = 0
        before: Sequence[tuple[str, int | None]] = [("", None)]
        while True:
            page += 1
            rows, pages = fetch(asked, page)
            yield from fresh(rows)
            versions = [version(row) for row in rows]
            # The same page twice comes from a list that ignores page numbers.
            ended = is_last(rows, page, pages) or versions == before
            later = _last_second(versions, at)
            before, rows = versions, ()
            if ended or later is not None:
                break
        for earlier in range(page - 1, 0, -1):
            yield from fresh(fetch(asked, earlier)[0])
        if ended or later is None:
            return
        at = later
        given = {key for key in given if key[1] is None or key[1] >= (at - 1) * 1000}


def is_last(rows: Sequence[Row], page: int, pages: int | None) -> bool:
    """Whether a list ends with this page."""
    return len(rows) < _LEAST_PAGE if pages is None else page >= pages


def moment(row: Row) -> int | None:
    """When a row was last changed, in milliseconds since 1970; None if it doesn't say."""
    said = str(row.get("UpdatedDateUTC") or "")
    if found := _NET_DATE.match(said):
        return int(found[1])
    try:
        parsed = datetime.fromisoformat(said)
    except ValueError:
        return None
    return int(parsed.replace(tzinfo=parsed.tzinfo or UTC).timestamp() * 1000)


def _last_second(versions: Sequence[tuple[str, int | None]], at: int | None) -> int | None:
    """The second of the last row; None if it isn't later than `at` or the rows keep no order."""
    moments = [changed_at for _, changed_at in versions if changed_at is not None]
    if len(moments) < len(versions) or not moments or moments != sorted(moments):
        return None
    second = moments[-1] // 1000
    return second if at is None or second > at else None
