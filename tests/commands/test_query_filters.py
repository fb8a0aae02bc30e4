"""hcq query --where, --sort, --offset, --columns, and the table of one's own that an index keeps."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
QUERY = "a red ball"


@pytest.fixture(scope="module")
def filled(kept: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kept workspace with its index made anew, with a table: rating n of clip n, in each second line a place."""
    workspace = Path(shutil.copytree(kept, tmp_path_factory.mktemp("filters") / "w"))
    lines = [f"clip-{n:04d}.mp4,{n},{'sea' if n % 2 else ''}" for n in range(14)]
    (workspace.parent / "own.csv").write_text("video,rating,place\n" + "\n".join([*lines, "gone.mp4,3,"]))
    return workspace


@pytest.fixture
def ask(hcq: Run, filled: Path) -> Run:
    if not list((filled / "index").glob("columns-*")):
        done = hcq("-w", filled, "index", "build", "--columns", filled.parent / "own.csv")
        assert "1 line of 15 name no video of these codes: 'gone.mp4'" in done.err
    return lambda *arguments, **named: hcq("query", "-w", filled, *arguments, **named)


def ids(document: Any) -> list[str]:
    return [hit["id"] for hit in document["hits"]]


def test_only_what_passes_is_found_and_in_the_same_order(ask: Run) -> None:
    everything = ask(QUERY, "-k", "99", "--json").json
    where = "rating in (1, 3, 5, 8) and duration < 100 and place = 'sea'"
    found = ask(QUERY, "-k", "99", "--json", "--where", where, "--columns", "rating,PLACE").json
    expected = [hit for hit in everything["hits"] if hit["id"][5:9] in ("0001", "0003", "0005")]
    assert expected and ids(found) == [hit["id"] for hit in expected]
    assert [hit["score"] for hit in found["hits"]] == [hit["score"] for hit in expected]
    assert all(hit["columns"]["place"] == "sea" for hit in found["hits"])
    assert found["videos_searched"] == 3


def test_pages_and_orders(ask: Run) -> None:
    best = ask(QUERY, "-k", "6", "--json").json["hits"]
    page = ask(QUERY, "-k", "3", "--offset", "2", "--json").json["hits"]
    assert page == best[2:5]
    by_path = ask(QUERY, "-k", "6", "--sort", "path", "--json").json["hits"]
    assert by_path == sorted(best, key=lambda hit: hit["path"])
    by_date = ask(QUERY, "-k", "6", "--sort", "date", "--columns", "taken", "--json").json["hits"]
    assert sorted(ids({"hits": by_date})) == sorted(ids({"hits": best}))
    dates = [hit["columns"]["taken"] for hit in by_date]
    assert dates == sorted(dates, reverse=True) and dates[0].endswith("Z")
    shortest = ask(QUERY, "-k", "6", "--sort", "duration", "--columns", "duration", "--json").json["hits"]
    lengths = [hit["columns"]["duration"] for hit in shortest]
    assert lengths == sorted(lengths)


def test_like_a_video_that_does_not_pass_itself(ask: Run) -> None:
    found = ask("--like", "clip-0001.mp4", "--where", "rating > 5", "--json").json
    assert found["hits"] and all(hit["id"][5:9] > "0005" for hit in found["hits"])


def test_people_see_the_columns(ask: Run) -> None:
    shown = ask(QUERY, "-k", "2", "--where", "place is null", "--columns", "rating,has_sound").out
    assert "rating" in shown and "has_sound" in shown and "yes" in shown


def test_nothing_passes(ask: Run) -> None:
    answer = ask(QUERY, "--where", "duration > 1e9", "--json").json
    assert (answer["hits"], answer["note"]) == ([], "no video passes the filter")


def test_errors_point_at_the_place(ask: Run, filled: Path) -> None:
    error = ask(QUERY, "--where", "ratng > 3", code=2).err
    assert "no column 'ratng'" in error and "did you mean rating?" in error
    lines = error.splitlines()
    at = next(number for number, line in enumerate(lines) if line.strip() == "ratng > 3")
    assert lines[at + 1].index("^") == lines[at].index("ratng")
    assert "score, date, path, duration" in ask(QUERY, "--sort", "size", code=2).err
    assert "did you mean duration?" in ask(QUERY, "--columns", "durations", code=2).err
    assert "code file" in ask(QUERY, "--codes", filled / "codes.hcq", "--where", "duration < 3", code=2).err


def test_the_index_says_what_columns_it_has(ask: Run, hcq: Run, filled: Path) -> None:
    columns = hcq("-w", filled, "index", "info", "--json").json["columns"]
    assert "duration (number)" in columns and "rating (number)" in columns and "place (text)" in columns
    assert hcq("-w", filled, "index", "verify", "--json").json["ok"]


def test_the_table_is_remembered_and_read_anew_when_it_changes(ask: Run, hcq: Run, filled: Path) -> None:
    table = filled.parent / "own.csv"
    table.write_text(table.read_text().replace("clip-0001.mp4,1,", "clip-0001.mp4,77,"))
    hcq("-w", filled, "index", "build")
    where = ("--where", "rating = 77", "--json")
    assert {id[:13] for id in ids(ask(QUERY, *where).json)} == {"clip-0001.mp4"}
    # Without the file the copy in the index serves.
    table.rename(table.with_name("away.csv"))
    assert "is not there" in hcq("-w", filled, "index", "build").err
    assert {id[:13] for id in ids(ask(QUERY, *where).json)} == {"clip-0001.mp4"}
    hcq("-w", filled, "index", "build", "--columns", "none")
    assert "no column 'rating'" in ask(QUERY, *where, code=2).err
    table.with_name("away.csv").rename(table)
    hcq("-w", filled, "index", "build", "--columns", table)
