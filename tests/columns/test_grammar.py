"""Filters as text: what they mean, and that whatever is none is refused at its place."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime

import pytest

from hcq_cli.columns.column import Kind
from hcq_cli.columns.grammar import Compare, IsNull, Joined, Match, Not, Span, parse
from hcq_cli.errors import UsageError

KINDS: dict[str, Kind] = {
    "duration": "number",
    "folder": "text",
    "taken": "date",
    "has_sound": "flag",
    "My rating": "number",
}


def seconds(*date: int) -> float:
    return datetime(*date, tzinfo=UTC).timestamp()  # type: ignore[misc,arg-type]


def test_a_filter_becomes_a_tree() -> None:
    short = Compare("duration", "<", 60.0)
    holiday = Compare("folder", "=", "holi'day")
    may = Compare("taken", ">=", Span(seconds(2025, 5, 1), seconds(2025, 6, 1)))
    text = "duration < 60 and folder = 'holi''day' and taken >= '2025-05'"
    assert parse(text, KINDS) == Joined("and", (short, holiday, may))
    assert parse("DURATION<60 OR Not(Has_Sound)", KINDS) == Joined(
        "or", (short, Not(Compare("has_sound", "=", True)))
    )
    assert parse('"my RATING" in (1, -2.5)', KINDS) == Joined(
        "or", (Compare("My rating", "=", 1.0), Compare("My rating", "=", -2.5))
    )
    assert parse("folder not like 'a%' and taken is not null", KINDS) == Joined(
        "and", (Not(Match("folder", "like", "a%")), Not(IsNull("taken")))
    )
    both = Joined("and", (Compare("duration", ">=", 1.0), Compare("duration", "<=", 2.0)))
    assert parse("duration between 1 and 2 and has_sound = false", KINDS) == Joined(
        "and", (both, Compare("has_sound", "=", False))
    )


def test_and_binds_before_or() -> None:
    a, b, c = (Compare("duration", "=", float(n)) for n in (1, 2, 3))
    text = "duration = 1 or duration = 2 and duration = 3"
    assert parse(text, KINDS) == Joined("or", (a, Joined("and", (b, c))))
    assert parse(f"({text[:28]}) and duration = 3", KINDS) == Joined("and", (Joined("or", (a, b)), c))


@pytest.mark.parametrize(
    "date, start, end",
    [
        ("2025", (2025, 1, 1), (2026, 1, 1)),
        ("2025-12", (2025, 12, 1), (2026, 1, 1)),
        ("2024-02-29", (2024, 2, 29), (2024, 3, 1)),
        ("2025-05-03T14:30", (2025, 5, 3, 14, 30), (2025, 5, 3, 14, 31)),
        ("2025-05-03 14:30:59Z", (2025, 5, 3, 14, 30, 59), (2025, 5, 3, 14, 31, 0)),
    ],
)
def test_a_date_stands_for_all_of_its_time(date: str, start: tuple[int, ...], end: tuple[int, ...]) -> None:
    assert parse(f"taken = '{date}'", KINDS) == Compare("taken", "=", Span(seconds(*start), seconds(*end)))


WRONG = [
    ("", 0, "empty"),
    ("   ", 3, "empty"),
    ("duration", 8, "what about it"),
    ("duration <", 10, "compared with a number"),
    ("duration < 'abc'", 11, "compared with a number"),
    ("folder = holiday", 9, "a text in 'quotes'"),
    ('folder = "holiday"', 9, "single quotes"),
    ("folder = 'holiday", 9, "does not"),
    ("duraton < 3", 0, "no column 'duraton'"),
    ("taken > '2025-13'", 8, "a date is"),
    ("taken > '9999-12'", 8, "a date is"),
    ("(duration < 3", 13, ") is expected"),
    ("duration < 3)", 12, "the end is expected"),
    ("duration in ()", 13, "compared with a number"),
    ("duration like '3%'", 9, "like is for texts"),
    ("duration < 3 and", 16, "the name of a column"),
    ("and", 0, "the name of a column"),
    ("has_sound = 2", 12, "true or false"),
    ("duration < 3; drop table videos", 12, "';' means nothing"),
    ("__import__('os').system('id')", 0, "no column '__import__'"),
    ("duration < 1e5x", 11, "means nothing"),
]


@pytest.mark.parametrize("text, at, reason", WRONG)
def test_an_error_points_at_the_place(text: str, at: int, reason: str) -> None:
    with pytest.raises(UsageError, match="--where") as caught:
        parse(text, KINDS)
    assert reason in caught.value.message
    shown, mark = caught.value.excerpt
    assert shown == text and mark == " " * at + "^"


def test_a_misspelt_column_is_guessed_and_all_are_named() -> None:
    with pytest.raises(UsageError) as caught:
        parse("Duratoin < 3", KINDS)
    assert "did you mean duration?" in caught.value.hint
    assert "My rating" in caught.value.hint


def test_the_place_in_a_long_filter_is_shown_with_what_is_around_it() -> None:
    text = " or ".join(["duration < 3"] * 400) + " or duratin < 3 or \x1b[31m duration < 3"
    with pytest.raises(UsageError) as caught:
        parse(text, KINDS)
    shown, mark = caught.value.excerpt
    assert len(shown) <= 120 and shown[len(mark) - 1 :].startswith("duratin") and "\x1b" not in shown


def hostile(number: int) -> str:
    """A filter that is none: the bricks of the language and of others, put together by chance."""
    rng = random.Random(number)
    bricks = [
        *("(", ")", "not", "and", "or", "in", "'", '"', "=", "<", "duration", "folder", "taken", "''", "1e999", "%"),
        *("__class__", "os.system('touch here')", "{}", "${IFS}", "`id`", ";--", "\x00", "\x1b[2J", "\u202e", "ﬁ"),
        *("lambda: 0", "import os", "eval(", "9" * 400, "[" * 50, "\n", "\\", "🎬", "NaN", "0x10", "\udcff", "/**/"),
    ]
    made = " ".join(rng.choice(bricks) for _ in range(rng.randint(1, 40)))
    deep = [
        "(" * 5000,
        "not " * 2000 + "has_sound",
        "duration < " + "9" * 9000,
        "'" * 9999,
        "folder like '" + "%a" * 3000,
    ]
    return deep[number] if number < len(deep) else made + " )("


@pytest.mark.parametrize("part", range(3))
def test_hostile_filters_are_usage_errors_at_once(part: int) -> None:
    started = time.process_time()
    for number in range(100 * part, 100 * part + 100):
        with pytest.raises(UsageError) as caught:
            parse(hostile(number), KINDS)
        assert caught.value.exit_code == 2
        assert len(caught.value.message) < 1000
    assert time.process_time() - started < 5


def test_a_filter_that_is_too_long_is_refused_unread() -> None:
    with pytest.raises(UsageError, match="10,000"):
        parse("duration < 1 or " * 10_000, KINDS)
