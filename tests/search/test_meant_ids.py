"""What was perhaps meant by an id that is not there."""

from __future__ import annotations

import time

import pytest
from handmade import names

from hcq_cli.codes.ids import video_of
from hcq_cli.packed_strings import PackedStrings
from hcq_cli.search.meant_ids import MOST_OFFERED, ids_beginning, ids_called, several_meant, similar_ids


@pytest.mark.parametrize(
    ("wanted", "near"),
    [
        ("beach.mp4", "holiday/Beach.MP4"),
        ("/videos/holiday/beach.mp4", "holiday/Beach.MP4"),
        ("holyday/baech.mp4", "holiday/Beach.MP4"),
        ("cooking.mp4#t=7,9", "cooking.mp4"),
        ("a man.mp4", "a man.mp4#1"),
        ("nothing like it at all", None),
        ("", None),
    ],
)
def test_ids_that_were_perhaps_meant(wanted: str, near: str | None) -> None:
    ids = [
        *names(300, "some/video "),
        "holiday/Beach.MP4",
        "cooking.mp4#t=0,5",
        "cooking.mp4#t=5,9",
        "a man.mp4#1",
    ]
    parts = [PackedStrings.of(ids[:100]), PackedStrings.of([]), PackedStrings.of(ids[100:])]
    found = similar_ids(parts, wanted)
    assert found[:1] == ([near] if near else []) and len(found) <= 3


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("beach.mp4", ["a/beach.mp4"]),
        ("beach", ["a/beach.mp4"]),
        ("a/beach", ["a/beach.mp4"]),
        ("./a/beach.mp4", ["a/beach.mp4"]),
        ("x", ["x.mp4", "a/x.mkv", "b/x.mp4", "c/x"]),
        ("cut", ["cut.mp4"]),
        ("each.mp4", []),
        ("a", []),
        ("", []),
        ("odd\udcff", ["odd\udcff.mp4"]),
    ],
)
def test_short_names(name: str, meant: list[str]) -> None:
    ids = [
        "a/beach.mp4",
        "x.mp4",
        "a/x.mkv",
        "b/x.mp4",
        "c/x",
        "d/x.mp4",
        "cut.mp4#t=0,5",
        "cut.mp4#t=5,9",
        "odd\udcff.mp4",
    ]
    assert ids_called([PackedStrings.of(ids[:3]), PackedStrings.of(ids[3:])], name) == meant
    # "11" stands across the two, too, and that must not hide it in the second one.
    assert ids_called([PackedStrings.of(["clip1", "11.mp4"])], "11") == ["11.mp4"]
    assert similar_ids([PackedStrings.of(["clip1", "11.mp4"])], "11") == ["11.mp4"]
    assert several_meant("x", ["1", "2"]) == "'x' may be any of 2 videos: '1', '2'"
    assert several_meant("x", list("1234")).endswith("any of several videos: '1', '2', '3', …")


def test_a_name_that_every_id_holds_is_looked_for_in_time_that_grows_with_them() -> None:
    ids = [PackedStrings.of([f"folder/clip-{number}.mp4" for number in range(100_000)])]
    started = time.process_time()
    assert ids_called(ids, "clip") == [] and ids_called(ids, "clip-99999") == ["folder/clip-99999.mp4"]
    assert time.process_time() - started < 2.0


def test_ids_that_begin_so_are_found_among_a_hundred_thousand() -> None:
    every = ["", "é", "a/b.mp4#t=0,1", *(f"a/{at % 7}/{at}.mp4" for at in range(100_000))]
    ids, spent = PackedStrings.of(every), 0.0
    for begun in ("", "a", "a/3/", "a/3/99", "é", "nothing", "a/b.mp4#t=0,1 and more"):
        meant = [each for each in every if each.startswith(begun)]
        before = time.process_time()
        offered, rows = ids_beginning([ids], begun), ids.rows_beginning(begun.encode())
        spent += time.process_time() - before
        assert offered == [video_of(each) for each in meant[:MOST_OFFERED]] and len(rows) == len(meant)
    assert spent < 1
