"""Ids of videos and of their segments."""

from __future__ import annotations

from hcq_cli.codes.ids import find_segments, segment_id, segment_times, video_of
from hcq_cli.packed_strings import PackedStrings


def test_ids_of_segments() -> None:
    name = segment_id("a/b#t=1.mp4", 30, 61.25)
    assert name == "a/b#t=1.mp4#t=30,61.2"
    assert video_of(name) == "a/b#t=1.mp4" and segment_times(name) == (30.0, 61.2)
    assert segment_id("a", 123456.75, 1234567.5) == "a#t=123456.8,1234567.5"
    assert segment_times("plain.mp4") is None and video_of("plain.mp4") == "plain.mp4"


def test_the_segments_among_many_ids() -> None:
    ids = [
        "a.mp4#t=0,5",
        "",
        "b#t=",
        "b/a.mp4#t=0.5,5",
        "#t=1,2",
        "a.mp4",
        "x#t=1,",
        "2",
        "a.mp4#t=5,9#t=1,2",
        "\udcff#t=3,4",
    ]
    wanted = [(row, video_of(name)) for row, name in enumerate(ids) if segment_times(name) is not None]
    rows, videos, times = find_segments(PackedStrings.of(ids))
    assert (times / 1000).tolist() == [list(segment_times(ids[row])) for row in rows.tolist()]
    assert list(zip(rows.tolist(), videos, strict=True)) == wanted and len(wanted) == 5
    assert not len(find_segments(PackedStrings.of([]))[0]) and not len(find_segments(PackedStrings.of(["", "a"]))[0])
    part = PackedStrings.of(ids).part(3, 6)
    assert find_segments(part)[0].tolist() == [0, 1]
