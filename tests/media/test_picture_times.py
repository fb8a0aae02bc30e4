"""Times of pictures by what a file says of them, without a file."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest

from hcq_cli.media.picture_times import PictureTimes, TimesByOrder

VIDEO = SimpleNamespace(time_base=Fraction(1, 1000), average_rate=25)


def frame(pts: int | None, dts: int | None = None, duration: int = 40) -> Any:
    return SimpleNamespace(pts=pts, dts=dts, duration=duration, time_base=None)


def shown(times: PictureTimes, frames: list[Any]) -> list[float]:
    """When each is shown, milliseconds."""
    return [round(1000 * times.place(each, times.said_s(each))[0], 3) for each in frames]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([0, 40, 80], [0, 40, 80]),
        ([0, 40, None, 120], [0, 40, 80, 120]),
        ([0, 40, 20, 80], [0, 40, 40, 80]),  # parts that overlap a little
        ([1000, 1040, 0, 40], [1000, 1040, 1080, 1120]),  # far back is a clock that is wrong
        ([0, 0, 0, 0, 0], [0, 0, 80, 120, 160]),  # no clock at all: as far apart as each is said to be shown
    ],
)
def test_the_times_of_pictures_never_go_back(said: list[int | None], expected: list[float]) -> None:
    told: list[str] = []
    assert shown(PictureTimes(VIDEO, 0.0, told.append), [*map(frame, said)]) == expected
    assert len(told) == (said.count(0) > 2)


def test_times_in_whole_seconds_are_spread_and_told_once() -> None:
    told: list[str] = []
    times = PictureTimes(VIDEO, 0.0, told.append)
    found = shown(times, [frame(1000 * (number // 25), duration=0) for number in range(100)])
    assert found[50:] == [*range(2000, 4000, 40)]
    assert told == ["pictures from 0.0 s on have one time: they follow one another"]
    assert times.reached_s == pytest.approx(4.0)


def test_where_a_file_says_no_times_what_the_decoder_holds_back_is_taken_off() -> None:
    times = TimesByOrder(VIDEO, 0.0, pytest.fail)
    for dts in (0, 40, 80):
        times.feed(SimpleNamespace(dts=dts, is_keyframe=dts == 0))
    assert shown(times, [frame(None, dts) for dts in (80, 120, 160)]) == [0, 40, 80]


def test_after_a_packet_that_is_lost_the_first_picture_is_another_one() -> None:
    times = TimesByOrder(VIDEO, 0.0, pytest.fail)
    times.feed(SimpleNamespace(dts=0, is_keyframe=True))
    times.lose()
    times.feed(SimpleNamespace(dts=40, is_keyframe=False))  # of the picture that is lost
    times.feed(SimpleNamespace(dts=80, is_keyframe=True))
    times.feed(SimpleNamespace(dts=120, is_keyframe=False))
    assert shown(times, [frame(None, 120)]) == [80]
