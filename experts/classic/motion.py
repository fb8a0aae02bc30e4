"""What moves, where to and how: optical flow gathered over windows of a second, the camera apart from the things.

`Motion` is the expert. optical_flow.py measures every pair of frames; here a window gathers them over its second:
directions over a grid, the course of the velocity, its spectrum (circling, zigzag and bouncing have one each), growth
and spin, flashes of light.

Letters: P pairs of frames in a window, F the side of the grid of flow. Speeds in frame sides a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from experts.base import Clip, Sampling, State, Tokens
from experts.classic.descriptor import Array, cell_means, compress, join, second_edges, soft_unit
from experts.classic.optical_flow import (
    ENERGY,
    FIELD,
    FLICKER,
    GROWTH,
    LIGHT,
    SIZE,
    SPIN,
    VX,
    VY,
    PairMotion,
    X,
    Y,
    measure_pairs,
    motion_share,
)

FAST = 2.0
"""Speed at which the scale ends."""
DIRECTIONS = 8
"""Bins of a histogram of directions."""
BEATS = 5
"""A window's course is told in so many beats."""
SPECTRUM = 8
"""Moments of a window that its spectra are taken over."""
THIRD = np.arange(FIELD) * 3 // FIELD
CELL_OF_POINT = THIRD[:, None] * 3 + THIRD
"""Number 0..8 of the cell of a 3 × 3 grid that each point lies in: int64 [F, F]."""


class Motion:
    """Expert for motion; one token a second.

    Raises:
        cv2.error: OpenCV could not compute the flow (out of memory).
    """

    name = "motion"
    version = "1"
    weights = ""
    licence = ""
    about = "sees how things and the camera move: directions, rhythm, growth, spin, flashes"
    cost = "about 9 ms of a core for a second of video"
    sampling = Sampling(frames_per_second=10.0, max_side=160)
    dim = (
        (9 * DIRECTIONS + 3 * DIRECTIONS + 16)  # the things
        + (5 * 2 * BEATS + 8)  # their course
        + (SPECTRUM + 4 * (SPECTRUM // 2))
        + (12 + 4 * BEATS + DIRECTIONS + SPECTRUM)  # the camera
        + 3  # how still things, camera and light are
    )
    _prepared = False

    def prepare(self, device: str) -> None:
        """Let OpenCV run on one thread of the processor, so that the numbers are always the same."""
        cv2.setNumThreads(1)
        self._prepared = True

    def extract(self, clip: Clip) -> Tokens:
        """One token for each second of the piece in which at least two frames follow each other."""
        if not self._prepared:
            self.prepare("cpu")
        frames = clip.seen(self.sampling)
        if isinstance(frames, State):
            return Tokens.none(self.dim, frames)
        if len(frames) < 2:
            return Tokens.none(self.dim, State.NO_FRAMES)
        pairs = measure_pairs(frames)
        edges = second_edges(clip.start_s, float(frames.times[-1]))
        window = np.clip(np.searchsorted(edges, pairs.times, "right") - 1, 0, len(edges) - 2)
        present = np.unique(window)
        features = [describe_window(pairs, window == k, edges[k], edges[k + 1]) for k in present]
        middles = (edges[present] + edges[present + 1]) / 2
        return Tokens(np.stack(features), middles.astype(np.float32))


def direction_counts(vectors: Array, weights: Sequence[Array], places: NDArray[np.int64], count: int) -> list[Array]:
    """Soft histograms of directions at each of `count` places, one for each kind of weight.

    Args:
        vectors: [..., 2].
        weights: each [...].
        places: [...] in 0..count-1.
        count: of places.

    Returns:
        For each weight float32 [count, DIRECTIONS], sums of weight.
    """
    # + DIRECTIONS makes every angle positive; `% DIRECTIONS` below takes it off again.
    turn = np.arctan2(vectors[..., 1], vectors[..., 0]).ravel() * np.float32(DIRECTIONS / (2 * np.pi)) + DIRECTIONS
    low = np.floor(turn)
    part, low = turn - low, low.astype(np.int64)
    base, size = places.ravel() * DIRECTIONS, count * DIRECTIONS
    # Shared between the two nearest directions. The bins are worked out once for all kinds of weight.
    first, second = base + low % DIRECTIONS, base + (low + 1) % DIRECTIONS
    sums = []
    for weight in weights:
        flat = weight.ravel()
        counts = np.bincount(first, flat * (1 - part), size) + np.bincount(second, flat * part, size)
        sums.append(counts.reshape(count, DIRECTIONS).astype(np.float32))
    return sums


@dataclass(frozen=True)
class _Window:
    """When the pairs of one window were: times [P] and the window's own edges, seconds."""

    times: NDArray[np.float64]
    start_s: float
    end_s: float

    def resample(self, series: Array, count: int) -> Array:
        """Series [P, c] read off at `count` evenly spaced moments of the window: float32 [count, c]."""
        moments = self.start_s + (np.arange(count) + 0.5) / count * (self.end_s - self.start_s)
        return np.stack([np.interp(moments, self.times, column) for column in series.T], -1).astype(np.float32)


def describe_window(
    pairs: PairMotion, chosen: NDArray[np.bool_], start_s: float, end_s: float
) -> NDArray[np.float32]:
    """The descriptor of one window: float32 [dim].

    Args:
        pairs: of the whole piece.
        chosen: which of them lie in the window.
        start_s: of the window, seconds.
        end_s: of the window, seconds.
    """
    course, camera = pairs.course[chosen], pairs.camera[chosen]
    window = _Window(pairs.times[chosen].astype(np.float64), start_s, end_s)
    # How still things, camera and light are, 1 for not moving at all, so that rest has something to show.
    moves = [course[:, ENERGY] / 0.02, np.abs(camera[:, :2]).sum(-1) / 0.1, course[:, FLICKER] / 0.01]
    stillness = soft_unit(np.exp(-np.stack(moves, -1)).mean(0), 0.5)
    blocks = [*_thing_blocks(pairs.thing[chosen]), *_course_blocks(course, window)]
    return join([*blocks, *_spectrum_blocks(course, window), *_camera_blocks(camera, window), stillness])


def _thing_blocks(thing: Array) -> list[Array]:
    """Directions over a 3 × 3 grid, directions by speed over the whole frame, and a 4 × 4 map of energy.

    Args:
        thing: [P, F, F, 2].
    """
    speed = np.sqrt(np.square(thing).sum(-1))
    moving = motion_share(thing)
    # Slow, middling and fast overlap as triangles, so that a little more speed does not change the kind at once.
    level = compress(speed, 0.1, FAST) * 2
    slow, fast = np.clip(1 - level, 0, 1), np.clip(level - 1, 0, 1)
    parts = [moving * slow, moving * (1 - slow - fast), moving * fast]
    cells = np.broadcast_to(CELL_OF_POINT, speed.shape)
    counts = np.stack(direction_counts(thing, parts, cells, 9)) / speed.size
    grid = np.sqrt(counts.sum(0) * 9).ravel()  # relative to the size of a cell
    by_speed = np.sqrt(counts.sum(1)).ravel()
    energy = compress(cell_means((moving * speed).mean(0)[..., None], 4, 4), 0.05, FAST).ravel()
    return [soft_unit(grid, 0.2), soft_unit(by_speed, 0.1), soft_unit(energy, 0.2)]


def _course_blocks(course: Array, window: _Window) -> list[Array]:
    """How velocity, growth, spin, place and light go over the window, beat by beat, and on average."""
    beats = window.resample(course, BEATS)
    velocity = compress(beats[:, [VX, VY]], 0.1, FAST)
    turning = compress(beats[:, [GROWTH, SPIN]], 0.3, 8.0)
    place = beats[:, [X, Y]] * 2
    light = compress(beats[:, [LIGHT, FLICKER]], 0.01, 0.5)
    amount = np.concatenate([compress(beats[:, [ENERGY]], 0.02, 1.0), beats[:, [SIZE]]], -1)
    mean = np.concatenate([velocity.mean(0), turning.mean(0), np.abs(turning).mean(0), np.abs(velocity).mean(0)])
    parts = ((velocity, 0.3), (turning, 0.3), (place, 0.3), (light, 0.3), (amount, 0.3), (mean, 0.2))
    return [soft_unit(part.ravel(), floor) for part, floor in parts]


def _spectrum_blocks(course: Array, window: _Window) -> list[Array]:
    """Spectra over the window: of the velocity, and of energy, light, growth and spin."""
    series = window.resample(course, SPECTRUM)
    # Of a complex velocity: its positive and negative frequencies tell which way round a thing circles.
    circling = np.abs(np.fft.fft(series[:, VX] + 1j * series[:, VY])) / SPECTRUM
    others = np.abs(np.fft.rfft(series[:, [ENERGY, LIGHT, GROWTH, SPIN]], axis=0))[1:] / SPECTRUM
    scaled = [compress(others[:, 0], 0.02, 1), compress(others[:, 1], 0.01, 0.5), compress(others[:, 2:], 0.3, 8)]
    return [
        soft_unit(compress(circling, 0.05, FAST), 0.3),
        soft_unit(np.concatenate([part.ravel() for part in scaled]), 0.3),
    ]


def _camera_blocks(camera: Array, window: _Window) -> list[Array]:
    """The camera: mean and mean size of its six terms, its course, its directions and its spectrum (shaking)."""
    scaled = np.concatenate([compress(camera[:, :2], 0.05, FAST), compress(camera[:, 2:], 0.1, 4.0)], -1)
    beats = window.resample(scaled[:, :4], BEATS)
    speed = np.sqrt(np.square(camera[:, :2]).sum(-1))
    one_place = np.zeros(len(speed), np.int64)
    directions = direction_counts(camera[:, :2], [compress(speed, 0.05, FAST)], one_place, 1)[0][0] / len(speed)
    summary = np.concatenate([scaled.mean(0), np.abs(scaled).mean(0)])
    shift = window.resample(camera[:, :2], SPECTRUM)
    shaking = np.abs(np.fft.fft(shift[:, 0] + 1j * shift[:, 1])) / SPECTRUM
    return [
        soft_unit(summary, 0.2),
        soft_unit(beats.ravel(), 0.3),
        soft_unit(np.sqrt(directions), 0.3),
        soft_unit(compress(shaking, 0.05, FAST), 0.3),
    ]
