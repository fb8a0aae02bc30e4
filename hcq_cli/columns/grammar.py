"""The language of filters, a small part of SQL: text -> a tree. Nothing of it is ever run as code.

    filter   = all ("or" all)*
    all      = factor ("and" factor)*
    factor   = "not" factor | "(" filter ")" | test
    test     = column [comparison value | ["not"] ("in" "(" value ("," value)* ")" | "like" text | "glob" text
               | "between" value "and" value) | "is" ["not"] "null"]
    value    = number | 'text' | true | false

A column alone stands for a flag that is true. Names of columns with other signs than letters, digits and _ stand in
"quotes". Words of the language and names of columns may be in capitals or not. A date is the beginning of one in
ISO 8601, UTC, and stands for all of that year, month, day or minute: '2025', '2025-05', '2025-05-03T14:30'.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import isfinite

from hcq_cli.columns.column import Kind, no_column
from hcq_cli.errors import UsageError

LONGEST = 10_000
"""Characters of a filter."""
DEEPEST = 100
"""Brackets and nots inside each other."""
SHOWN = 60
"""Characters that an error shows on either side of the place."""
COMPARISONS = {"=": "=", "==": "=", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
WORDS = ("and", "or", "not", "in", "like", "glob", "between", "is", "null", "true", "false")
ARTICLES = {"number": "a number", "date": "a date", "flag": "true or false", "text": "a text"}
_TOKEN = re.compile(
    r"""\s*(?:(?P<number>-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![\w.]))
    |(?P<text>'(?:[^']|'')*')|(?P<quoted>"(?:[^"]|"")*")|(?P<word>[^\W\d]\w*)|(?P<sign><=|>=|<>|!=|==|[=<>(),]))""",
    re.VERBOSE,
)
_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d))?Z?)?)?)?", re.ASCII)


@dataclass(frozen=True)
class Span:
    """A date: all instants from `start` to before `end`, seconds since 1970."""

    start: float
    end: float


Value = float | bool | str | Span


@dataclass(frozen=True)
class Compare:
    """A column compared with a value of its kind, by one of = != < <= > >=."""

    column: str
    comparison: str
    value: Value


@dataclass(frozen=True)
class Match:
    """A text that matches a pattern: `like` has % and _ and knows no capitals, `glob` has * and ? and does."""

    column: str
    kind: str
    pattern: str


@dataclass(frozen=True)
class IsNull:
    """A value that is unknown."""

    column: str


@dataclass(frozen=True)
class Not:
    """What is false."""

    of: Node


@dataclass(frozen=True)
class Joined:
    """Several of which all are true ("and"), or one ("or")."""

    how: str
    parts: tuple[Node, ...]


Node = Compare | Match | IsNull | Not | Joined


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


def parse(text: str, columns: Mapping[str, Kind]) -> Node:
    """The tree of a filter.

    Args:
        text: the filter.
        columns: that it may name, with their kinds.

    Raises:
        UsageError: it is no filter, or does not fit the columns; says where.
    """
    return _Parser(text, columns).whole()


class _Parser:
    """Recursive descent, one token ahead."""

    def __init__(self, text: str, columns: Mapping[str, Kind]) -> None:
        self.text, self.columns = text, columns
        if len(text) > LONGEST:
            raise UsageError(f"--where: the filter has {len(text):,} characters, at most {LONGEST:,} are read")
        self._folded = {name.lower(): name for name in columns}
        self._depth = 0
        self._token = self._read(0)

    def whole(self) -> Node:
        if self._token.kind == "end":
            raise self._error("the filter is empty", self._token)
        node = self._joined("or")
        if self._token.kind != "end":
            raise self._error("and, or, or the end is expected here", self._token)
        return node

    # Tokens

    def _read(self, at: int) -> _Token:
        found = _TOKEN.match(self.text, at)
        if found is not None:
            kind = found.lastgroup or ""
            self._next = found.end()
            return _Token(kind, found[kind], found.start(kind))
        at += len(self.text[at:]) - len(self.text[at:].lstrip())
        self._next = at
        if at == len(self.text):
            return _Token("end", "", at)
        sign = self.text[at]
        quotes = {"'": "a text ends with ', and this one does not", '"': 'a name ends with ", and this one does not'}
        raise self._error(quotes.get(sign, f"{sign!r} means nothing here"), _Token("", sign, at))

    def _advance(self) -> _Token:
        token = self._token
        self._token = self._read(self._next)
        return token

    def _is(self, *words: str) -> bool:
        return self._token.kind in ("word", "sign") and self._token.text.lower() in words

    def _take(self, *words: str) -> bool:
        return self._is(*words) and bool(self._advance())

    def _expect(self, sign: str, where: str) -> None:
        if not self._take(sign):
            raise self._error(f"{sign} is expected {where}", self._token)

    # The tree

    def _joined(self, how: str) -> Node:
        parts = [self._factor() if how == "and" else self._joined("and")]
        while self._take(how):
            parts.append(self._factor() if how == "and" else self._joined("and"))
        return parts[0] if len(parts) == 1 else Joined(how, tuple(parts))

    def _factor(self) -> Node:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._error("the filter is nested too deep", self._token)
        if self._take("not"):
            node: Node = Not(self._factor())
        elif self._take("("):
            node = self._joined("or")
            self._expect(")", "here")
        else:
            node = self._test()
        self._depth -= 1
        return node

    def _test(self) -> Node:
        token = self._token
        column = self._column()
        kind = self.columns[column]
        if self._token.text in COMPARISONS and self._token.kind == "sign":
            comparison = COMPARISONS[self._advance().text]
            return Compare(column, comparison, self._value(column))
        if self._take("is"):
            negated = self._take("not")
            self._expect("null", "after is")
            return Not(IsNull(column)) if negated else IsNull(column)
        if self._is("not", "in", "like", "glob", "between"):
            return self._several(column)
        if kind != "flag":
            raise self._error(f"{column} is {ARTICLES[kind]}: what about it? (=, <, in, like, is null…)", self._token)
        if self._token.kind in ("number", "text", "quoted"):
            raise self._error(f"a comparison is expected after {token.text}", self._token)
        return Compare(column, "=", True)

    def _several(self, column: str) -> Node:
        negated = self._take("not")
        node: Node
        if self._take("in"):
            self._expect("(", "after in")
            values = [Compare(column, "=", self._value(column))]
            while self._take(","):
                values.append(Compare(column, "=", self._value(column)))
            self._expect(")", "after the values")
            node = Joined("or", tuple(values))
        elif self._take("between"):
            low = Compare(column, ">=", self._value(column))
            self._expect("and", "between the two values")
            node = Joined("and", (low, Compare(column, "<=", self._value(column))))
        elif self._is("like", "glob"):
            word = self._advance()
            if self.columns[column] != "text":
                raise self._error(f"{column} is {ARTICLES[self.columns[column]]}, {word.text} is for texts", word)
            if self._token.kind != "text":
                raise self._error(f"a pattern in 'quotes' is expected after {word.text}", self._token)
            node = Match(column, word.text.lower(), _unquoted(self._advance().text))
        else:
            raise self._error("in, like, glob or between is expected after not", self._token)
        return Not(node) if negated else node

    def _column(self) -> str:
        token = self._token
        if token.kind not in ("word", "quoted") or (token.kind == "word" and token.text.lower() in WORDS):
            raise self._error("the name of a column is expected here", token)
        name = _unquoted(token.text) if token.kind == "quoted" else token.text
        if name.lower() not in self._folded:
            reason, hint = no_column(name, self.columns)
            raise self._error(reason, token, hint)
        self._advance()
        return self._folded[name.lower()]

    def _value(self, column: str) -> Value:
        token, kind = self._token, self.columns[column]
        found: Value | None = None
        if token.kind == "number" and kind == "number":
            found = float(token.text) if isfinite(float(token.text)) else None
        elif token.kind == "text" and kind == "text":
            found = _unquoted(token.text)
        elif token.kind == "text" and kind == "date":
            found = date_span(_unquoted(token.text))
            if found is None:
                raise self._error("a date is '2025', '2025-05', '2025-05-03' or '2025-05-03T14:30'", token)
        elif token.text.lower() in ("true", "false") and token.kind == "word" and kind == "flag":
            found = token.text.lower() == "true"
        elif token.text in ("0", "1") and kind == "flag":
            found = token.text == "1"
        if found is None:
            shown = {"quoted": ": texts stand in 'single quotes'", "end": ""}.get(token.kind, "")
            needs = {"text": "a text in 'quotes'", "date": "a date in 'quotes'"}.get(kind, ARTICLES[kind])
            raise self._error(f"{column} is compared with {needs}{shown}", token)
        self._advance()
        return found

    def _error(self, reason: str, token: _Token, hint: str = "") -> UsageError:
        first = max(0, token.at - SHOWN)
        shown = "".join(sign if sign.isprintable() else "·" for sign in self.text[first : token.at + SHOWN])
        error = UsageError(f"--where: {reason}", hint or f"columns are {', '.join(self.columns)}")
        error.excerpt = (shown, f"{' ' * (token.at - first)}^")
        return error


def _unquoted(text: str) -> str:
    return text[1:-1].replace(text[0] * 2, text[0])


def date_span(text: str) -> Span | None:
    """The time that the beginning of a date stands for; None where it is none."""
    found = _DATE.fullmatch(text.strip())
    if found is None:
        return None
    year, month, day, hour, minute, second = (None if part is None else int(part) for part in found.groups())
    try:
        start = datetime(year or 0, month or 1, day or 1, hour or 0, minute or 0, second or 0, tzinfo=UTC)
        if month is None:
            end = start.replace(year=start.year + 1)
        elif day is None:
            end = start.replace(year=start.year + (month == 12), month=month % 12 + 1)
        else:
            step = {"days": 1} if hour is None else {"minutes": 1} if second is None else {"seconds": 1}
            end = start + timedelta(**step)
    except (ValueError, OverflowError):
        return None
    return Span(start.timestamp(), end.timestamp())
