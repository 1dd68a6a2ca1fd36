"""What a list is asked for: `where`, `order`, id lists, changed-since and pages, as SQL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from xtiger.sandbox.kept.state import fold
from xtiger.sandbox.wire import Malformed, day, flag, identifier

#: members of a page where nobody says (Xero: requests page)
PAGE = 100
#: beyond any list; a larger one is a mistake
_LAST_PAGE = 1_000_000_000

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>"(?:[^"\\]|\\.)*")
      | (?P<guid>[Gg][Uu][Ii][Dd]\(\s*"([^"]*)"\s*\))
      | (?P<moment>[Dd]ate[Tt]ime\(([\d\s,]+)\))
      | (?P<number>-?\d+(?:\.\d+)?)
      | (?P<sign>==|!=|>=|<=|=|>|<|&&|\|\||\(|\))
      | (?P<word>\.?[A-Za-z_][A-Za-z0-9_.]*)
    )""",
    re.VERBOSE,
)
_SIGNS = {"==": "=", "=": "=", "!=": "<>", ">": ">", ">=": ">=", "<": "<", "<=": "<="}
_METHODS = {"contains": "%{}%", "startswith": "{}%", "endswith": "%{}"}
#: columns kept folded, and columns kept as Xero's own upper-case words
_FOLDED = {"name", "number", "id", "contact"}
_UPPER = {"status", "type"}


class QueryParse(Exception):
    """A `where` or `order` that can't be read (Xero answers ErrorNumber 16)."""


@dataclass(slots=True)
class Query:
    """SQL for the rows wanted; `page` None means the whole list."""

    condition: str = "1"
    values: list[object] = field(default_factory=list)
    order: str = "position"
    page: int | None = None
    size: int = PAGE
    brief: bool = False  #: summaryOnly
    archived: bool = False  #: includeArchived

    def narrow(self, condition: str, *values: object) -> None:
        self.condition = f"{self.condition} AND ({condition})"
        self.values += values


def read(
    arguments: Mapping[str, str], since: str | None, fields: dict[str, str], kind: str, app: str
) -> Query:
    """The query of one GET. Parameter names count in any case. Raises QueryParse."""
    asked = {name.lower(): value for name, value in arguments.items()}
    query = Query()
    if where := asked.get("where", "").strip():
        _Where(where, fields).into(query)
    if order := asked.get("order", "").strip():
        query.order = _order(order, fields)
    if since:
        query.narrow("updated >= ?", _since(since))
    for name, column in (("ids", "id"), ("contactids", "contact")):
        if asked.get(name):
            _among(query, column, [identifier(one) or "" for one in asked[name].split(",")])
    if asked.get("invoicenumbers"):
        _among(query, "name", [fold(one) for one in asked["invoicenumbers"].split(",")])
    if asked.get("statuses"):
        _among(query, "status", [one.strip().upper() for one in asked["statuses"].split(",")])
        # Xero: invoices page; by status they always come in pages
        query.page = 1
    if term := asked.get("searchterm", "").strip():
        _search(query, term, kind)
    if flag(asked.get("createdbymyapp")):
        query.narrow("app = ?", app)
    if kind == "contact" and not flag(asked.get("includearchived")) and not asked.get("ids"):
        query.narrow("status = 'ACTIVE'")
    query.brief = bool(flag(asked.get("summaryonly")))
    query.archived = bool(flag(asked.get("includearchived")))
    _page(query, asked)
    return query


def unfiltered(arguments: Mapping[str, str]) -> dict[str, str]:
    """What counts where a list takes no filters but its own."""
    return {
        name: value
        for name, value in arguments.items()
        if name.lower() in ("order", "page", "pagesize")
    }


def between(query: Query, column: str, asked: Mapping[str, str], first: str, last: str) -> None:
    """Narrows to the days from one parameter to another, both included. Raises QueryParse."""
    for name, sign in ((first, ">="), (last, "<=")):
        try:
            found = day(asked.get(name), name)
        except Malformed as error:
            raise QueryParse(str(error)) from None
        if found:
            query.narrow(f"{column} {sign} ?", found.isoformat())


def _page(query: Query, asked: dict[str, str]) -> None:
    try:
        if asked.get("page") or query.page or query.brief:
            query.page = max(1, int(asked.get("page") or 1))
        if asked.get("pagesize"):
            query.size = min(1000, max(1, int(asked["pagesize"])))
        if (query.page or 1) > _LAST_PAGE:
            raise ValueError
    except ValueError:
        raise QueryParse("page and pageSize must be whole numbers") from None


def account_code(field: str) -> str:
    """SQL for the folded code of the account whose id the body holds in a field."""
    return (
        "(SELECT a.name FROM objects a WHERE a.tenant = objects.tenant"  # noqa: S608
        f" AND a.kind = 'account' AND a.id = json_extract(objects.body, '$.{field}'))"
    )


def _among(query: Query, column: str, wanted: list[str]) -> None:
    query.narrow(f"{column} IN ({', '.join('?' * len(wanted))})", *wanted)


def _search(query: Query, term: str, kind: str) -> None:
    like = f"%{literal(fold(term))}%"
    if kind == "contact":
        columns = ["name", "number"] + [
            f"fold(json_extract(body, '$.{part}'))"
            for part in ("FirstName", "LastName", "EmailAddress")
        ]
    else:
        columns = ["name", "fold(json_extract(body, '$.Reference'))"]
    tests = " OR ".join(f"{column} LIKE ? ESCAPE '\\'" for column in columns)
    query.narrow(tests, *[like] * len(columns))


def literal(value: str) -> str:
    """Text that LIKE ... ESCAPE '\\\\' takes as it is."""
    return re.sub(r"([\\%_])", r"\\\1", value)


def _since(value: str) -> int:
    """ISO (`2026-11-01T02:03:04`) or RFC 1123; UTC, second precision. Milliseconds."""
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except (TypeError, ValueError):
            raise QueryParse("If-Modified-Since is not a date") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1000


def _order(order: str, fields: dict[str, str]) -> str:
    parts = []
    for part in order.split(","):
        words = part.split()
        column = _column(words[0], fields) if words else None
        if column is None or len(words) > 2 or (words[1:] or ["ASC"])[0].upper() not in _WAYS:
            raise QueryParse(f"'{part.strip()}' is not an order")
        parts.append(f"{column} {(words[1:] or ['ASC'])[0].upper()}")
    return ", ".join([*parts, "position"])


_WAYS = ("ASC", "DESC")


def _column(name: str, fields: dict[str, str]) -> str | None:
    return next((sql for known, sql in fields.items() if known.lower() == name.lower()), None)


class _Where:
    """A recursive-descent reader: or < and < comparison."""

    def __init__(self, source: str, fields: dict[str, str]) -> None:
        self._fields = fields
        self._tokens: list[tuple[str, str]] = []
        at = 0
        source = source.strip()
        while at < len(source):
            found = _TOKEN.match(source, at)
            if found is None or found.lastgroup is None:
                raise QueryParse(f"'{source[at : at + 20]}' was not expected")
            kind = next(name for name, value in found.groupdict().items() if value)
            self._tokens.append((kind, found[kind]))
            at = found.end()
        self._at = 0
        self._values: list[object] = []

    def into(self, query: Query) -> None:
        condition = self._either(0)
        if self._at < len(self._tokens):
            raise QueryParse(f"'{self._tokens[self._at][1]}' was not expected")
        query.narrow(condition, *self._values)

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "")

    def _next(self) -> tuple[str, str]:
        token = self._peek()
        if token[0] == "end":
            raise QueryParse("the expression ends too early")
        self._at += 1
        return token

    def _expect(self, sign: str) -> None:
        if self._next()[1] != sign:
            raise QueryParse(f"'{sign}' is missing")

    def _either(self, depth: int) -> str:
        if depth > 50:
            raise QueryParse("too many parentheses")
        parts = [self._both(depth)]
        while self._peek()[1].lower() in ("or", "||"):
            self._at += 1
            parts.append(self._both(depth))
        return " OR ".join(parts) if len(parts) == 1 else f"({' OR '.join(parts)})"

    def _both(self, depth: int) -> str:
        parts = [self._comparison(depth)]
        while self._peek()[1].lower() in ("and", "&&"):
            self._at += 1
            parts.append(self._comparison(depth))
        return " AND ".join(parts)

    def _comparison(self, depth: int) -> str:
        kind, word = self._next()
        if word == "(":
            inner = self._either(depth + 1)
            self._expect(")")
            return f"({inner})"
        if kind != "word":
            raise QueryParse(f"'{word}' is not a field")
        path, _, last = word.rpartition(".")
        method = last.lower() if path else ""
        if method in ("tolower", "toupper"):
            self._expect("(")
            self._expect(")")
            word = path
            if self._peek()[1].startswith("."):  # Name.ToLower().Contains("x")
                method = self._next()[1][1:].lower()
                if method not in _METHODS:
                    raise QueryParse(f"'{method}' is no method")
                return self._matching(path, method)
        elif method in _METHODS:
            return self._matching(path, method)
        column = _column(word, self._fields)
        if column is None:
            raise QueryParse(f"No property or field '{word}' exists")
        sign = self._peek()[1]
        if sign not in _SIGNS:  # a bare yes/no field
            self._values.append(1)
            return f"{column} = ?"
        self._at += 1
        return self._compared(column, _SIGNS[sign])

    def _matching(self, path: str, method: str) -> str:
        column = _column(path, self._fields)
        self._expect("(")
        kind, value = self._next()
        self._expect(")")
        if column is None or kind != "text":
            raise QueryParse(f"'{path}' cannot be searched")
        self._values.append(_METHODS[method].format(literal(fold(value[1:-1]))))
        matches = f"coalesce(fold({column}), '') LIKE ? ESCAPE '\\'"
        sign = self._peek()[1]
        if sign not in ("==", "=", "!="):
            return matches
        self._at += 1  # .Contains("x") == true
        wanted = self._next()[1].lower()
        if wanted not in ("true", "false"):
            raise QueryParse(f"'{wanted}' is neither true nor false")
        return matches if (wanted == "true") == (sign != "!=") else f"NOT ({matches})"

    def _compared(self, column: str, sign: str) -> str:
        kind, raw = self._next()
        if kind == "word" and raw.lower() == "null":
            empty = f"coalesce({column}, '') = ''"
            return empty if sign == "=" else f"NOT ({empty})"
        if kind == "word" and raw.lower() in ("true", "false"):
            self._values.append(int(raw.lower() == "true"))
        elif kind == "number":
            self._values.append(float(raw))
        elif kind == "guid":
            self._values.append(identifier(raw.split('"')[1]) or "")
        elif kind == "moment":
            self._values.append(self._moment(column, raw))
        elif kind == "text":
            value = raw[1:-1].replace('\\"', '"')
            if column in _UPPER:
                self._values.append(value.upper())
            else:
                self._values.append(fold(value))
                column = column if column in _FOLDED else f"fold({column})"
        else:
            raise QueryParse(f"'{raw}' is not a value")
        if sign == "<>":  # what isn't there differs from every value
            return f"({column} IS NULL OR {column} <> ?)"
        return f"{column} {sign} ?"

    def _moment(self, column: str, raw: str) -> object:
        try:
            parts = [int(part) for part in raw[raw.index("(") + 1 : -1].split(",")]
            moment = datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type,misc]
        except (ValueError, TypeError):
            raise QueryParse(f"'{raw}' is not a date") from None
        if column == "updated":
            return int(moment.timestamp() * 1000)
        return moment.date().isoformat()
