"""A filter over columns: which of N rows pass. Logic is SQL's, of three values: what compares an unknown value is
neither true nor false, and passes neither with nor without a `not` before it."""

from __future__ import annotations

import operator
import re
from bisect import bisect_left
from collections.abc import Callable

import numpy as np

from hcq_cli.columns.column import Column
from hcq_cli.columns.grammar import Compare, IsNull, Joined, Match, Node, Not, Span

_BY_SIGN = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def passing(node: Node, column: Callable[[str], Column]) -> np.ndarray:
    """Which rows a filter is true of, bool [N].

    Args:
        node: the filter.
        column: gives a column by its name, N rows.
    """
    return _evaluate(node, column)[0]


def _evaluate(node: Node, column: Callable[[str], Column]) -> tuple[np.ndarray, np.ndarray]:
    """Of which rows it is true and of which it is false, bool [N] both; of others it is unknown."""
    if isinstance(node, Joined):
        # One part at a time: a list of a thousand values holds two arrays in memory, not two thousand.
        both, either = (np.logical_and, np.logical_or) if node.how == "and" else (np.logical_or, np.logical_and)
        true, false = _evaluate(node.parts[0], column)
        for part in node.parts[1:]:
            more_true, more_false = _evaluate(part, column)
            true, false = both(true, more_true), either(false, more_false)
        return true, false
    if isinstance(node, Not):
        true, false = _evaluate(node.of, column)
        return false, true
    values = column(node.column)
    known = values.known
    if isinstance(node, IsNull):
        return ~known, known
    if isinstance(node, Match):
        pattern = like_pattern(node.pattern) if node.kind == "like" else glob_pattern(node.pattern)
        matches = [pattern.fullmatch(word) is not None for word in values.words]
        true = np.array([*matches, False])[values.values]
    else:
        true = _compare(values, node)
    true &= known
    return true, known & ~true


def _compare(column: Column, node: Compare) -> np.ndarray:
    """The rows of which a comparison is true, bool [N], whatever it says of those that are unknown."""
    values, sign, value = column.values, node.comparison, node.value
    if isinstance(value, Span):
        # Equal is whatever lies inside; before and after are what lies outside.
        edges = {">=": values >= value.start, ">": values >= value.end, "<": values < value.start}
        edges["<="] = values < value.end
        inside = edges[">="] & edges["<="]
        return {**edges, "=": inside, "!=": ~inside}[sign]
    if isinstance(value, str):
        word = value.encode("utf-8", "surrogateescape")
        # Where it stands among the words, which are sorted, or would.
        at = bisect_left(column.words, word)
        there = at < len(column.words) and column.words[at] == word
        if sign in ("=", "!="):
            return (values == at) == (sign == "=") if there else np.full(len(values), sign == "!=")
        if sign in ("<", ">="):
            return (values < at) == (sign == "<")
        return (values < at + there) == (sign == "<=")
    return np.asarray(_BY_SIGN[sign](values, value))


def like_pattern(pattern: str) -> re.Pattern[bytes]:
    """SQL's LIKE: % for any signs, _ for one; capitals of ASCII are like small letters."""
    return _pattern(pattern, "%", "_", re.IGNORECASE)


def glob_pattern(pattern: str) -> re.Pattern[bytes]:
    """The shell's * and ?; capitals count."""
    return _pattern(pattern, "*", "?", 0)


def _pattern(pattern: str, any_signs: str, one_sign: str, flags: int) -> re.Pattern[bytes]:
    one = rb"(?:[\x00-\x7f]|[\xc0-\xff][\x80-\xbf]*|[\x80-\xbf])"  # a sign of UTF-8, or a byte that is part of none
    pieces = [
        b"".join(one if sign == one_sign else re.escape(sign.encode("utf-8", "surrogateescape")) for sign in piece)
        for piece in pattern.split(any_signs)
    ]
    # Each piece is taken where it first comes and never looked for again (an atomic group): that finds every match,
    # and no pattern takes longer than its length times the text's.
    first, *middle = pieces
    if not middle:
        return re.compile(first, re.DOTALL | flags)
    *middle, last = middle
    searched = b"".join(b"(?>.*?" + piece + b")" for piece in middle if piece)
    return re.compile(first + searched + b".*" + last, re.DOTALL | flags)
