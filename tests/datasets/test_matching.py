"""A caption's video name finds the row it means, or is reported; it is never guessed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from hcq_cli.datasets.captions import CaptionedVideo, Captions
from hcq_cli.datasets.matching import MatchResult, match


class Ids:
    """A store, as far as matching sees one."""

    def __init__(self, ids: Sequence[str]) -> None:
        self.ids = ids
        self._rows = {video_id: row for row, video_id in enumerate(ids)}

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, video_id: str) -> int | None:
        return self._rows.get(video_id)

    def rows_with(self, column: str, text: str) -> list[int]:
        row = self._rows.get(text.removeprefix("/videos/")) if column == "path" else None
        return [] if row is None else [row]


def found(names: Sequence[str], ids: Sequence[str], splits: Sequence[str | None] = ()) -> MatchResult:
    videos = [
        CaptionedVideo(name, [f"caption {at}"], splits[at] if splits else None, at + 1)
        for at, name in enumerate(names)
    ]
    return match(Captions(Path("captions.jsonl"), "jsonl", videos), Ids(ids))


@pytest.mark.parametrize(
    ("name", "ids", "row"),
    [
        ("a.mp4", ["b.mp4", "a.mp4", "sub/a.mp4"], 1),
        ("a.mp4", ["b.mp4", "sub/a.mp4"], 1),
        ("/data/sub/a.mp4", ["a.mp4", "b.mp4"], 0),
        ("x/one/a.mp4", ["one/a.mp4", "two/a.mp4"], 0),
        ("./a.mp4", ["b.mp4", "a.mp4"], 1),
        ("./a.mp4", ["sub/a.mp4", "a.mp4"], 1),
        ("./sub/a.mp4", ["a.mp4", "sub/a.mp4"], 1),
        ("/videos/sub/a.mp4", ["a.mp4", "sub/a.mp4"], 1),
        ("/videos/a.mp4", ["sub/a.mp4", "a.mp4"], 1),
        ("Sub\\a.mp4", ["a.mp4", "Sub/a.mp4", "x/Sub/a.mp4"], 1),
        ("Sub%2Fa.mp4", ["a.mp4", "Sub/a.mp4"], 1),
        (" a.mp4", ["b.mp4", "a.mp4"], 1),
        ("video0", ["video01.mp4", "video0.mp4"], 1),
        ("sub/video0", ["other/video0.mp4", "deep/sub/video0.mp4"], 1),
        ("a.avi", ["a.mp4"], 0),
        ("v1.5", ["v1.5.mp4", "v1.mp4"], 0),
        ("here/a.mp4", ["there/a.mp4"], 0),
        ("a.mp4", ["a.mkv", "a.mp4"], 1),
        ("caf\udce9 'x'\n.mp4", ["b", "in/caf\udce9 'x'\n.mp4"], 1),
        ("\u00e9tude.mp4", ["b", "in/e\u0301tude.mp4"], 1),  # an accent in one with its letter, or apart (macOS)
        ("Clips\\A.MP4", ["b.mp4", "clips/a.mp4"], 1),
        ("https://host/my%20clip.mp4", ["b.mp4", "in/My Clip.mp4"], 1),
        ("100%.mp4", ["100%25.mp4", "100%.mp4"], 1),
        ("\u00e9t\u00e9/e\u0301tude", ["b", "e\u0301te\u0301/\u00e9tude.mp4"], 1),
    ],
)
def test_a_name_finds_the_row_it_means(name: str, ids: list[str], row: int) -> None:
    got = found([name], ids)
    assert got.rows.tolist() == [row]
    assert got.problems() == []
    assert got.uncaptioned.tolist() == [at for at in range(len(ids)) if at != row]


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("c.mp4", ["a.mp4", "b.mp4"]),
        ("a", ["ba.mp4"]),
        ("ub/a.mp4", []),
        ("", ["a.mp4"]),
        ("..", ["a.mp4"]),
        ("/", ["a.mp4"]),
    ],
)
def test_a_name_that_fits_nothing_is_absent(name: str, ids: list[str]) -> None:
    got = found([name], ids)
    assert [video.video for video in got.absent] == [name]
    assert "1 video of the caption file without features" in got.problems()[0]


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("a.mp4", ["x/a.mp4", "y/a.mp4"]),
        ("/data/sub/a.mp4", ["sub/a.mp4", "a.mp4"]),
        ("B.mp4", ["b.MP4", "b.mp4"]),
        ("a", ["a.mp4", "a.mkv"]),
        ("a.avi", ["x/a.mp4", "y/a.mp4"]),
    ],
)
def test_a_name_that_fits_two_is_reported_with_both(name: str, ids: list[str]) -> None:
    got = found([name], ids)
    assert got.ambiguous[0][1] == ids and len(got.rows) == 0
    assert "fit several ids" in got.problems()[0] and ids[1] in got.problems()[0]


def test_numbered_clips_in_folders_do_not_find_those_of_another_folder() -> None:
    got = found(["cooking/1.mp4", "running/1.mp4"], ["running/1.mp4"])
    assert [video.video for video in got.absent] == ["cooking/1.mp4"]
    assert [video.video for video in got.captioned] == ["running/1.mp4"]


def test_of_names_that_differ_by_capitals_alone_none_takes_the_file_of_another() -> None:
    got = found(["clips/A.mp4", "clips/a.mp4", "B.mp4"], ["clips/a.mp4", "b.mp4"])
    assert [(video.video, video.captions) for video in got.captioned] == [
        ("clips/a.mp4", ["caption 1"]),
        ("B.mp4", ["caption 2"]),
    ]
    assert [video.video for video in got.absent] == ["clips/A.mp4"]


def test_two_names_of_one_video_are_put_together_unless_their_splits_differ() -> None:
    got = found(["a", "a.mp4"], ["a.mp4"])
    assert got.rows.tolist() == [0]
    assert got.captioned[0].captions == ["caption 0", "caption 1"]
    got = found(["a", "a.mp4"], ["a.mp4"], ["train", "test"])
    assert [video.video for video in got.contradictory] == ["a.mp4"]
    assert "two splits" in got.problems()[0]


def test_many_files_of_one_name_in_folders_of_their_own() -> None:
    """Looking each up among all of that name would take hours."""
    ids = [f"clips/{at}/video.mp4" for at in range(30_000)]
    names = [f"/data/clips/{at}/video" for at in range(30_000)]
    assert found(names, ids).rows.tolist() == list(range(30_000))


def test_problems_count_all_and_name_a_few() -> None:
    got = found([f"{at:05}.mp4" for at in range(1234)], ["x.mp4"])
    assert "1,234 videos" in got.problems()[0]
    assert "'00002.mp4' and 1,231 more" in got.problems()[0]
    assert got.uncaptioned.tolist() == [0]
