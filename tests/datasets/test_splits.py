"""Who trains, who validates, who tests."""

from __future__ import annotations

import random

import pytest

from hcq_cli.datasets.captions import CaptionedVideo
from hcq_cli.datasets.splits import split_videos


def videos(*parts: tuple[int, str | None]) -> list[CaptionedVideo]:
    named = [split for count, split in parts for _ in range(count)]
    return [CaptionedVideo(f"v{at}", ["x"], split, at + 1) for at, split in enumerate(named)]


@pytest.mark.parametrize(
    ("parts", "train", "val", "test"),
    [
        ([(56, None)], 56, 0, 0),
        ([(499, None)], 499, 0, 0),
        ([(500, None)], 475, 25, 0),
        ([(30_000, None)], 29_000, 1000, 0),
        ([(2000, "train"), (500, "test")], 1900, 100, 500),
        ([(300, "train"), (100, "test")], 300, 0, 100),
        ([(300, "train"), (47, "val"), (100, "test")], 300, 47, 100),
        ([(2000, "train"), (1, "val")], 2000, 1, 0),
        ([(10, "test"), (20, None)], 20, 0, 10),
        ([(10, "test")], 0, 0, 10),
        ([], 0, 0, 0),
    ],
)
def test_counts(parts: list[tuple[int, str | None]], train: int, val: int, test: int) -> None:
    given = videos(*parts)
    splits = split_videos(given)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (train, val, test)
    assert sorted(splits.train + splits.val + splits.test) == list(range(len(given)))
    assert all(given[at].split == "test" for at in splits.test)
    assert splits.explanation


def test_the_held_out_are_the_same_in_any_order_and_spread() -> None:
    given = videos((1000, None))
    held_out = {given[at].video for at in split_videos(given).val}
    shuffled = given[:]
    random.Random(0).shuffle(shuffled)
    assert {shuffled[at].video for at in split_videos(shuffled).val} == held_out
    positions = [int(name[1:]) for name in held_out]
    assert min(positions) < 100 and max(positions) > 900


def test_it_is_said_where_the_validation_videos_come_from() -> None:
    assert "last epoch" in split_videos(videos((56, None))).explanation
    assert "held out" in split_videos(videos((600, None))).explanation
