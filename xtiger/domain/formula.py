"""The small formula language of mappings: its text becomes a closure, or one clear fault.

    or   and   not   = <> < <= > >=   &   + -   * /   -x   (from loosest to tightest)

Values are numbers, texts in single quotes ('' is a quote), yes/no and days; names that aren't
plain words go in braces. There is nothing whose result grows faster than its own text: no power,
no loop, no attribute, no index, no function of one's own. Python's evaluation isn't involved.

What a closure does never depends on the described kinds of fields: those only find faults on
saving. Whatever a CRM then really gives is read as the operator needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, DivisionByZero, InvalidOperation, Overflow
from functools import lru_cache
from typing import Any, NamedTuple

from xtiger.domain.operands import (
    ARITHMETIC,
    COMPARE,
    CONTEXT,
    FUNCTIONS,
    LINK,
    LONGEST_TEXT,
    NUMBER,
    READERS,
    TEXT,
    YES_NO,
    Run,
    as_read,
    numeric,
    textual,
)
from xtiger.domain.records import FieldKind
from xtiger.domain.tokens import FormulaFault as FormulaFault
from xtiger.domain.tokens import Token, tokens
from xtiger.domain.values import KIND_WORDS, Fields, ValueFault, as_text, did_you_mean

#: The most characters of a formula.
LONGEST = 500
#: Brackets and functions inside each other. Each level costs a dozen calls of the parser: that
#: stays far from Python's own limit.
DEEPEST = 20


class Parsed(NamedTuple):
    """A formula that was understood.

    `run` turns a record's values into a Decimal, text, bool or day, or None where it only passes
    on an empty field; it raises ValueFault. `kind` is what it makes as far as the fields' kinds
    are known; None: not at all.
    """

    run: Run
    kind: FieldKind | None
    reads: tuple[str, ...]


def parse(source: str, known: Fields | None = None, *, condition: bool = False) -> Parsed:
    """Understands a formula; with `known` its names and the kinds of its values are checked too.

    A condition's `run` gives True or False. Raises FormulaFault for the first fault.
    """
    if known is None:
        return _parse_blind(source, condition)
    return _Parser(source, known).formula(condition)


@lru_cache(maxsize=1024)
def _parse_blind(source: str, condition: bool) -> Parsed:
    return _Parser(source, None).formula(condition)


class _Node(NamedTuple):
    """A part of a formula.

    A `raw` one gives what the CRM has, as fields do and an if() that chooses between them: it
    may be empty or of another kind than described. Others give a value of their kind.
    """

    run: Run
    kind: FieldKind | None
    start: int
    end: int
    raw: bool = False
    #: The field's name.
    name: str = ""
    literal: Decimal | str | None = None
    #: A raw if()'s condition and its two results.
    branches: tuple[Run, _Node, _Node] | None = None


_RESERVED = ("and", "or", "not")


class _Parser:
    """Reads one formula by falling through the levels of precedence, loosest first."""

    def __init__(self, source: str, known: Fields | None) -> None:
        if len(source) > LONGEST:
            what = f"a formula has at most {LONGEST} characters, this one has {len(source)}"
            raise FormulaFault(what, LONGEST + 1)
        self.source = source
        self.known = known
        self.tokens = list(tokens(source))
        self.place = 0
        self.depth = 0
        #: Whether a number is worked out anywhere: it may get too large.
        self.computes = False
        self.names: dict[str, None] = {}

    # words

    @property
    def token(self) -> Token:
        return self.tokens[self.place]

    def take(self, *words: str) -> str | None:
        """The word that stands here, if it is one of those; then the next one stands here."""
        token = self.token
        word = token.text.lower() if token.kind == "name" else token.text
        if token.kind not in ("name", "sign") or word not in words:
            return None
        self.place += 1
        return word

    def close(self, start: int) -> None:
        """Takes the bracket that closes the one opened at `start`."""
        if self.token.kind == "end":
            raise FormulaFault("this bracket isn't closed: a ) is missing", start + 1)
        if not self.take(")"):
            raise self.stray()
        self.depth -= 1

    def stray(self) -> FormulaFault:
        """What is said of a word that can't follow."""
        word, at = self.token.text[:40], self.token.start + 1
        if word == ")":
            return FormulaFault("this bracket was never opened", at)
        if word == ",":
            return FormulaFault("a comma stands only between the values of a function", at)
        return FormulaFault(f"an operator or a comma is missing before {_quoted(word)}", at)

    # levels

    def formula(self, condition: bool) -> Parsed:
        if self.token.kind == "end":
            raise FormulaFault("the formula is empty", 1)
        node = self.any_of()
        if self.token.kind != "end":
            raise self.stray()
        if condition:
            node = node._replace(run=self.read_as(node, YES_NO, "a condition"), kind=YES_NO)
        run = _guarded(node.run) if self.computes else node.run
        return Parsed(run, node.kind, tuple(self.names))

    def any_of(self) -> _Node:
        parts = [self.all_of()]
        while self.take("or"):
            parts.append(self.all_of())
        return self.truths(parts, stop_at=True)

    def all_of(self) -> _Node:
        parts = [self.negated()]
        while self.take("and"):
            parts.append(self.negated())
        return self.truths(parts, stop_at=False)

    def truths(self, parts: Sequence[_Node], *, stop_at: bool) -> _Node:
        """`or` stops at the first yes, `and` at the first no."""
        if len(parts) == 1:
            return parts[0]
        runs = tuple(self.read_as(part, YES_NO, "or" if stop_at else "and") for part in parts)

        def decide(values: Mapping[str, Any]) -> bool:
            for run in runs:
                found: bool = run(values)
                if found is stop_at:
                    return found
            return not stop_at

        return _Node(decide, YES_NO, parts[0].start, parts[-1].end)

    def negated(self) -> _Node:
        start, times = self.token.start, 0
        while self.take("not"):
            times += 1
        node = self.compared()
        if not times:
            return node
        run, odd = self.read_as(node, YES_NO, "not"), bool(times % 2)
        return _Node(lambda values: run(values) is not odd, YES_NO, start, node.end)

    def compared(self) -> _Node:
        left = self.joined()
        sign = self.take(*COMPARE)
        if sign is None:
            return left
        right = self.joined()
        if self.token.text in COMPARE and self.token.kind == "sign":
            what = "only two values are compared at a time: use and"
            raise FormulaFault(what, self.token.start + 1)
        return self.comparison(left, sign, right)

    def comparison(self, left: _Node, sign: str, right: _Node) -> _Node:
        for node in (left, right):
            if node.kind is LINK:
                what = f"{_quoted(self.said(node))} is a link: use one of its fields"
                raise FormulaFault(what, node.start + 1)
            if node.kind is YES_NO and sign not in ("=", "<>"):
                what = f"yes or no has no order: '{sign}' can't compare it"
                raise FormulaFault(what, node.start + 1)
        if left.kind and right.kind and left.kind is not right.kind:
            kinds = f"{KIND_WORDS[left.kind]} with {KIND_WORDS[right.kind]}"
            raise FormulaFault(f"'{sign}' can't compare {kinds}", left.start + 1)
        holds = COMPARE[sign]
        if left.raw and right.raw:
            one, other = left.run, right.run
            names = self.said(left), self.said(right)

            def compare_raw(values: Mapping[str, Any]) -> bool:
                return holds(*as_read(one(values), other(values), names))

            return _Node(compare_raw, YES_NO, left.start, right.end)
        kind = (right if left.raw else left).kind or TEXT
        first, second = self.converted(left, kind), self.converted(right, kind)
        if (fixed := right.literal) is not None:
            return _Node(lambda values: holds(first(values), fixed), YES_NO, left.start, right.end)

        def compare(values: Mapping[str, Any]) -> bool:
            return holds(first(values), second(values))

        return _Node(compare, YES_NO, left.start, right.end)

    def joined(self) -> _Node:
        parts = [self.summed()]
        while self.take("&"):
            parts.append(self.summed())
        if len(parts) == 1:
            return parts[0]
        runs = tuple(self.written(part) for part in parts)

        def join(values: Mapping[str, Any]) -> str:
            return "".join([run(values)[:LONGEST_TEXT] for run in runs])[:LONGEST_TEXT]

        return _Node(join, TEXT, parts[0].start, parts[-1].end)

    def summed(self) -> _Node:
        return self.chain(self.multiplied, "+", "-")

    def multiplied(self) -> _Node:
        return self.chain(self.signed, "*", "/")

    def chain(self, tighter: Callable[[], _Node], *signs: str) -> _Node:
        """a * b / c, evaluated from the left without a call for each level."""
        first = tighter()
        start, end = first.start, first.end
        rest: list[tuple[Callable[[Decimal, Decimal], Decimal], Run, str]] = []
        number: Run | None = None
        while sign := self.take(*signs):
            number = number or self.read_as(first, NUMBER, f"'{sign}'")
            node = tighter()
            run = self.read_as(node, NUMBER, f"'{sign}'")
            rest.append((ARITHMETIC[sign], run, self.source[node.start : node.end]))
            end = node.end
        if number is None:
            return first
        begin, terms = number, tuple(rest)

        self.computes = True

        def work_out(values: Mapping[str, Any]) -> Decimal:
            total: Decimal = begin(values)
            what = ""
            try:
                for operate, term, what in terms:  # noqa: B007
                    total = operate(total, term(values))
            except (DivisionByZero, InvalidOperation):
                raise ValueFault(f"The formula divides by zero{_by(what)}.") from None
            return total

        return _Node(work_out, NUMBER, start, end)

    def signed(self) -> _Node:
        start, negative, signs = self.token.start, False, 0
        while sign := self.take("-", "+"):
            signs += 1
            negative ^= sign == "-"
        node = self.primary()
        if not signs:
            return node
        run = self.read_as(node, NUMBER, f"'{self.source[start]}'")
        self.computes = True
        if not negative:
            return _Node(run, NUMBER, start, node.end)
        return _Node(lambda values: CONTEXT.minus(run(values)), NUMBER, start, node.end)

    def primary(self) -> _Node:
        token = self.token
        start, end, text = token.start, token.end, token.text
        if token.kind == "number":
            self.place += 1
            number = Decimal(text)
            return _Node(lambda values: number, NUMBER, start, end, literal=number)
        if token.kind == "text":
            self.place += 1
            literal = text[1:-1].replace("''", "'")
            return _Node(lambda values: literal, TEXT, start, end, literal=literal)
        if token.kind == "braced":
            self.place += 1
            return self.field(text[1:-1], start, end)
        if token.kind == "name" and text.lower() not in _RESERVED:
            self.place += 1
            opens = self.token.text == "(" and self.token.kind == "sign"
            return self.function(text, start) if opens else self.field(text, start, end)
        if self.take("("):
            self.deeper(start)
            node = self.any_of()
            self.close(start)
            return node._replace(start=start, end=self.tokens[self.place - 1].end)
        where = f"before {_quoted(text[:40])}" if text else "at the end"
        hint = ": a field of that name goes in braces" if token.kind == "name" else ""
        raise FormulaFault(f"a value is missing {where}{hint}", start + 1)

    def deeper(self, start: int) -> None:
        self.depth += 1
        if self.depth > DEEPEST:
            what = f"brackets and functions go at most {DEEPEST} deep"
            raise FormulaFault(what, start + 1)

    def field(self, name: str, start: int, end: int) -> _Node:
        if not name.strip():
            raise FormulaFault("a field's name is missing between the braces", start + 1)
        kind = None
        if self.known is not None:
            if fault := self.known.fault(name):
                what = fault[0].lower() + fault[1:].removesuffix(".")
                raise FormulaFault(what, start + 1)
            kind = self.known.kind(name)
        self.names[name] = None
        return _Node(lambda values: values.get(name), kind, start, end, raw=True, name=name)

    # functions

    def function(self, word: str, start: int) -> _Node:
        opened = self.token.start
        self.take("(")
        self.deeper(start)
        name = word.lower()
        if name != "if" and name not in FUNCTIONS:
            guess = did_you_mean(name, ("if", *FUNCTIONS)).removesuffix(".")
            raise FormulaFault(f"there is no function '{word}'{guess}", start + 1)
        values: list[_Node] = []
        if self.token.text != ")":
            values.append(self.any_of())
            while self.take(","):
                values.append(self.any_of())
        self.close(opened)
        end = self.tokens[self.place - 1].end
        if name == "if":
            self.count(name, values, 3, 3, start)
            return self.choice(values[0], values[1], values[2], start, end)
        function = FUNCTIONS[name]
        self.computes |= function.gives is NUMBER
        most = len(values) if function.many else len(function.takes)
        self.count(name, values, function.least or len(function.takes), most, start)
        given = [
            self.argument(name, node, function.takes[min(place, len(function.takes) - 1)])
            for place, node in enumerate(values)
        ]
        return _Node(function.make(*given), function.gives, start, end)

    def count(self, name: str, values: Sequence[_Node], least: int, most: int, start: int) -> None:
        if least <= len(values) <= most:
            return
        wanted = str(least) if least == most else f"{least} or {most}"
        if len(values) < least and most == len(values):
            wanted = f"at least {least}"
        some = "value" if wanted == "1" else "values"
        raise FormulaFault(f"{name} takes {wanted} {some}, not {len(values)}", start + 1)

    def argument(self, name: str, node: _Node, takes: FieldKind | range | None) -> Any:
        """A function's argument: a closure, or a whole number that stands there as such."""
        if takes is None:
            return node.run if name == "empty" else self.written(node)
        if isinstance(takes, FieldKind):
            return self.read_as(node, takes, name)
        word = self.source[node.start : node.end]
        if not (word.isascii() and word.isdigit() and int(word) in takes):
            what = f"{name} takes a whole number from {takes.start} to {takes.stop - 1} here"
            raise FormulaFault(what, node.start + 1)
        return int(word)

    def choice(self, condition: _Node, yes: _Node, no: _Node, start: int, end: int) -> _Node:
        if yes.kind and no.kind and yes.kind is not no.kind:
            kinds = f"{KIND_WORDS[yes.kind]} or {KIND_WORDS[no.kind]}"
            raise FormulaFault(f"if gives {kinds} here: both must be alike", start + 1)
        test = self.read_as(condition, YES_NO, "if")
        one, other = yes.run, no.run

        def choose(values: Mapping[str, Any]) -> Any:
            return one(values) if test(values) else other(values)

        kind, raw = yes.kind or no.kind, yes.raw or no.raw
        branches = (test, yes, no) if raw else None
        return _Node(choose, kind, start, end, raw, branches=branches)

    # kinds

    def said(self, node: _Node) -> str:
        """The part as the formula has it, for people."""
        return self.source[node.start : node.end].strip("{}")

    def read_as(self, node: _Node, kind: FieldKind, by: str) -> Run:
        """The closure of a part as an operator needs it. Raises FormulaFault."""
        if node.kind is not None and node.kind is not kind:
            what = f"{by} needs {KIND_WORDS[kind]}, and {_quoted(self.said(node)[:60])} is"
            raise FormulaFault(f"{what} {KIND_WORDS[node.kind]}", node.start + 1)
        return self.converted(node, kind)

    def written(self, node: _Node) -> Run:
        """The closure of a part as text, which everything but a link has."""
        if node.kind is LINK:
            what = f"{_quoted(self.said(node))} is a link: use one of its fields"
            raise FormulaFault(what, node.start + 1)
        return self.converted(node, TEXT)

    def converted(self, node: _Node, kind: FieldKind) -> Run:
        """The closure that reads the part as that kind, whatever the CRM gives."""
        run = node.run
        if node.branches:  # into the results, so that a fault names the field
            test, yes, no = node.branches
            one, other = self.converted(yes, kind), self.converted(no, kind)
            return lambda values: one(values) if test(values) else other(values)
        if not node.raw:
            return run if node.kind is kind else lambda values: as_text(run(values))
        name = node.name
        return _QUICK[kind](name) if kind in _QUICK else _reader(READERS[kind], name)


def _reader(read: Callable[[Any, str], Any], name: str) -> Run:
    return lambda values: read(values.get(name), name)


def _number_reader(name: str) -> Run:
    """Reads a number; what is one already needs no call."""

    def number(values: Mapping[str, Any]) -> Any:
        value = values.get(name)
        if type(value) is Decimal and value.is_finite():
            return value
        return numeric(value, name)

    return number


def _text_reader(name: str) -> Run:
    def text(values: Mapping[str, Any]) -> Any:
        value = values.get(name)
        return value if type(value) is str else textual(value, name)

    return text


_QUICK = {NUMBER: _number_reader, TEXT: _text_reader}


def _by(what: str) -> str:
    """The divisor's text, where it says more than the number it is."""
    bare = what[1:-1] if what[0] in "({" else what
    return "" if bare.replace(".", "").isdigit() else f": {bare} is 0"


def _quoted(word: str) -> str:
    return word if word.startswith("'") else f"'{word}'"


def _guarded(run: Run) -> Run:
    """The whole formula: too large a number is a fault, one too small for anybody is 0."""

    def guarded(values: Mapping[str, Any]) -> Any:
        try:
            value = run(values)
        except Overflow:
            raise ValueFault("The formula's number is too large.") from None
        if type(value) is Decimal:
            if not value or value.adjusted() <= -30:
                return _ZERO
            if value.adjusted() >= 18:
                raise ValueFault("The formula's number is too large.")
        return value

    return guarded


_ZERO = Decimal(0)
