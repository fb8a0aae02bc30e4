"""Which rows pass: the same that SQLite finds with the same words."""

from __future__ import annotations

import random
import sqlite3
import time

import numpy as np
import pytest

from hcq_cli.columns.column import Column, Kind, text_column
from hcq_cli.columns.grammar import parse
from hcq_cli.columns.predicate import glob_pattern, like_pattern, passing

KINDS: dict[str, Kind] = {"duration": "number", "height": "number", "folder": "text", "title": "text", "flag": "flag"}
FOLDERS = ["holiday", "holiday/2025", "Work", "", "a%b", "täler", None]
ROWS = 400


def table(seed: int) -> dict[str, list[object]]:
    rng = random.Random(seed)
    return {
        "duration": [rng.choice([None, rng.randint(0, 9), rng.random() * 10]) for _ in range(ROWS)],
        "height": [rng.choice([None, 480, 720, 1080]) for _ in range(ROWS)],
        "folder": [rng.choice(FOLDERS) for _ in range(ROWS)],
        "title": ["".join(rng.choice("aAbB%_*?ä ") for _ in range(rng.randint(0, 4))) for _ in range(ROWS)],
        "flag": [rng.choice([None, True, False]) for _ in range(ROWS)],
    }


def columns(rows: dict[str, list[object]]) -> dict[str, Column]:
    found = {}
    for name, kind in KINDS.items():
        values = rows[name]
        if kind == "text":
            column = text_column(values)  # type: ignore[arg-type]
            # Those of a file are sorted.
            words = sorted(column.words)
            rank = np.array([words.index(word) for word in column.words] + [len(words)], np.uint32)
            found[name] = Column("text", rank[column.values], words)
        elif kind == "flag":
            found[name] = Column("flag", np.array([2 if v is None else int(bool(v)) for v in values], np.uint8))
        else:
            numbers = [np.nan if v is None else float(v) for v in values]  # type: ignore[arg-type]
            found[name] = Column("number", np.array(numbers))
    return found


def random_filter(rng: random.Random, depth: int = 0) -> str:
    if depth < 3 and rng.random() < 0.6:
        one, other = random_filter(rng, depth + 1), random_filter(rng, depth + 1)
        return rng.choice([f"({one} and {other})", f"({one} or {other})", f"not ({one})", f"{one} and not ({other})"])
    number = rng.choice(["3", "5.5", "720", "-1", "1e1", ".5"])
    numeric, textual = rng.choice(["duration", "height"]), rng.choice(["folder", "title"])
    text = rng.choice(["holiday", "Work", "", "a%b", "täler", "ab", "zz"])
    like = rng.choice(["%", "h%", "%A%", "a_b", "_%", "%2025", "t_ler", "%b%a%", ""])
    glob = rng.choice(["*", "h*", "*[2]*", "?", "a*b", "t?ler"]).replace("[2]", "2")
    sign = rng.choice(["=", "==", "!=", "<>", "<", "<=", ">", ">="])
    return rng.choice(
        [
            f"{numeric} {sign} {number}",
            f"{textual} {sign} '{text}'",
            f"{numeric} {rng.choice(['', 'not '])}in ({number}, 720, 5)",
            f"{textual} {rng.choice(['', 'not '])}in ('{text}', 'holiday/2025')",
            f"{textual} {rng.choice(['', 'not '])}like '{like}'",
            f"{textual} glob '{glob}'",
            f"{numeric} {rng.choice(['', 'not '])}between 2 and {number}",
            f"{rng.choice(list(KINDS))} is {rng.choice(['', 'not '])}null",
            "flag",
            f"flag = {rng.choice(['true', 'false', '1', '0'])}",
        ]
    )


def test_a_thousand_filters_pass_what_sqlite_finds() -> None:
    rows = table(0)
    held, database = columns(rows), sqlite3.connect(":memory:")
    database.execute(f"create table videos ({', '.join(KINDS)})")
    database.executemany("insert into videos values (?, ?, ?, ?, ?)", list(zip(*rows.values(), strict=True)))
    shares = []
    for seed in range(1000):
        text = random_filter(random.Random(seed))
        expected = [row - 1 for (row,) in database.execute(f"select rowid from videos where {text} order by rowid")]
        found = np.flatnonzero(passing(parse(text, KINDS), held.__getitem__)).tolist()
        assert found == expected, text
        shares.append(len(found) / ROWS)
    # Filters that pass nothing or everything would prove nothing.
    assert sum(0.01 < share < 0.99 for share in shares) > 500


def test_dates_are_compared_as_times_of_some_length() -> None:
    year = Column("date", np.array([1735689600.0, 1746057600.0, 1748735999.0, 1748736000.0, np.nan]))

    def rows(text: str) -> list[int]:
        return np.flatnonzero(passing(parse(text, {"taken": "date"}), lambda _: year)).tolist()

    # The first of January; the first and the last second of May; the first of June.
    assert rows("taken = '2025-05'") == [1, 2]
    assert rows("taken != '2025-05'") == [0, 3]
    assert rows("taken > '2025-05'") == [3]
    assert rows("taken >= '2025-05'") == [1, 2, 3]
    assert rows("taken < '2025-05'") == [0]
    assert rows("taken <= '2025-05'") == [0, 1, 2]
    assert rows("taken in ('2025-01', '2025-06')") == [0, 3]
    assert rows("taken between '2025-02' and '2025-05-31'") == [1, 2]
    assert rows("taken is null") == [4]


@pytest.mark.parametrize("make, any_sign", [(like_pattern, "%"), (glob_pattern, "*")])
def test_no_pattern_takes_long(make: object, any_sign: str) -> None:
    pattern = make((any_sign + "a") * 500 + "b")  # type: ignore[operator]
    started = time.process_time()
    assert pattern.fullmatch(b"a" * 5000) is None
    assert time.process_time() - started < 1


def test_one_sign_is_one_letter_or_one_byte_that_is_none() -> None:
    assert like_pattern("t_ler").fullmatch("täler".encode())
    assert like_pattern("_").fullmatch("🎬".encode())
    assert like_pattern("_").fullmatch(b"\xff")
    assert not like_pattern("_").fullmatch("ää".encode())
