"""The motion expert: directions by a plain loop, its states, and on which second tokens lie."""

from __future__ import annotations

import numpy as np
import pytest
import toys

from experts import registry
from experts.base import Clip, Frames, State
from experts.classic.motion import DIRECTIONS, direction_counts


@pytest.fixture(scope="module")
def motion():
    return registry.load(["motion"])[0]


def _watch(expert, frames, start_s=0.0):
    return expert.extract(Clip(start_s, start_s + 30, True, False, {expert.sampling: frames}))


def test_directions_by_a_plain_loop():
    rng = np.random.default_rng(4)
    vectors, weight, places = rng.normal(size=(50, 2)), rng.random(50), rng.integers(0, 3, 50)
    plain = np.zeros((3, DIRECTIONS))
    for vector, value, place in zip(vectors, weight, places, strict=True):
        turn = np.arctan2(vector[1], vector[0]) / (2 * np.pi) * DIRECTIONS % DIRECTIONS
        low = int(turn)
        plain[place, low] += value * (1 - (turn - low))
        plain[place, (low + 1) % DIRECTIONS] += value * (turn - low)
    assert np.allclose(direction_counts(vectors, [weight], places, 3)[0], plain, atol=1e-4)


def test_one_token_a_second_of_motion(motion):
    frames = toys.moving("right", np.random.default_rng(0), seconds=3.3)
    tokens = _watch(motion, frames)
    assert tokens.times[:2].tolist() == [0.5, 1.5]
    assert len(tokens) == 3


def test_a_small_video_leaves_no_trace_in_those_that_follow():
    usual = toys.moving("right", np.random.default_rng(0), seconds=2.3)
    small = Frames(np.ascontiguousarray(usual.images[:, :40, :40]), usual.times)
    expert = registry.load(["motion"])[0]
    alone = _watch(expert, usual).features
    _watch(expert, small)
    assert np.array_equal(_watch(expert, usual).features, alone)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_motion_needs_two_frames(motion, count):
    frames = toys.moving("right", np.random.default_rng(0))
    tokens = _watch(motion, Frames(frames.images[:count], frames.times[:count]))
    assert tokens.state is (State.TOKENS if count == 2 else State.NO_FRAMES)


def test_motion_of_a_slow_rate_is_the_motion(motion):
    """Five frames a second of the same course say nearly the same as ten: speeds count, not pixels a frame."""
    fine = toys.moving("left", np.random.default_rng(2))
    coarse = Frames(fine.images[::2], fine.times[::2])
    a, b = _watch(motion, fine).features[0], _watch(motion, coarse).features[0]
    other = _watch(motion, toys.moving("up", np.random.default_rng(2))).features[0]
    assert a @ b > a @ other + 0.1


def test_two_stills_an_hour_apart_in_time_are_borne(motion):
    frames = toys.moving("still", np.random.default_rng(3))
    times = np.array([0.0, 29.9], np.float32)
    assert np.isfinite(_watch(motion, Frames(frames.images[:2], times)).features).all()


def test_a_stuck_clock_is_borne(motion):
    frames = toys.moving("left", np.random.default_rng(3))
    tokens = _watch(motion, Frames(frames.images, np.zeros(len(frames), np.float32)))
    assert np.isfinite(tokens.features).all()
