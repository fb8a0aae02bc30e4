"""What moves, where to and how: dense optical flow on windows of a second, the camera apart from the things.

Per pair of frames the flow (dense inverse search, Kroeger et al., ECCV 2016) is split into the motion of the
camera, a robust affine fit, and what the fit leaves over, the motion of things. A window gathers both over its
second: directions over a grid, the course of the velocity, its spectrum (circling, zigzag and bouncing have one
each), growth and spin, flashes of light.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from experts.base import Clip, Frames, Sampling, State, Tokens
from experts.classic.descriptor import Array, cell_means, compress, join, second_edges, soft_unit

FIELD = 32
"""Flow is described on a field of FIELD × FIELD points, whatever the shape of the frame."""
STILL = 0.03
"""Speeds below this many frame sides a second are taken for noise."""
FAST = 2.0
"""Speed (frame sides a second) at which the scale ends."""
DIRECTIONS = 8
BEATS = 5
"""A window's course is told in so many beats."""
SPECTRUM = 8


@dataclass(frozen=True)
class PairMotion:
    """What was measured between each frame and the next; P pairs, speeds in frame sides a second.

    Args:
        times: [P] middle of each pair, seconds.
        camera: [P, 6] affine camera motion: shift x, shift y, growth, spin, stretch, shear.
        thing: [P, FIELD, FIELD, 2] flow left over when the camera's motion is taken away.
        course: [P, COURSE] velocity, energy, growth, spin and place of the things, and change of light.
    """

    times: Array
    camera: Array
    thing: Array
    course: Array


COURSE = ("vx", "vy", "energy", "growth", "spin", "x", "y", "size", "light", "flicker")
VX, VY, ENERGY, GROWTH, SPIN, X, Y, SIZE, LIGHT, FLICKER = range(len(COURSE))


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

    def __init__(self) -> None:
        self._flow: Any = None
        self.dim = _width()

    def prepare(self, device: str) -> None:
        """Set up the flow; it runs on the processor, on one thread, so that the numbers are always the same."""
        cv2.setNumThreads(1)
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def extract(self, clip: Clip) -> Tokens:
        """One token for each second of the stretch in which at least two frames follow each other."""
        if self._flow is None:
            self.prepare("cpu")
        frames = clip.seen(self.sampling)
        if isinstance(frames, State):
            return Tokens.none(self.dim, frames)
        if len(frames) < 2:
            return Tokens.none(self.dim, State.NO_FRAMES)
        pairs = measure_pairs(frames, self._flow)
        edges = second_edges(clip.start_s, float(frames.times[-1]))
        window = np.clip(np.searchsorted(edges, pairs.times, "right") - 1, 0, len(edges) - 2)
        present = np.unique(window)
        features = [describe_window(pairs, window == k, edges[k], edges[k + 1]) for k in present]
        middles = (edges[present] + edges[present + 1]) / 2
        return Tokens(np.stack(features), middles.astype(np.float32))


def measure_pairs(frames: Frames, flow: Any) -> PairMotion:
    """Flow between successive frames, split into camera and things."""
    times = frames.times.astype(np.float64)
    step_s = np.maximum(np.diff(times), 1e-3)
    gray = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in frames.images]
    if min(gray[0].shape) < 32:  # the flow needs a few patches of 8 pixels at its coarsest scale
        gray = [cv2.resize(image, (64, 64), interpolation=cv2.INTER_LINEAR) for image in gray]
    side = max(gray[0].shape)
    fields = np.empty((len(step_s), FIELD, FIELD, 2), np.float32)
    light = np.empty((len(step_s), FIELD, FIELD), np.float32)
    small = [cv2.resize(image, (FIELD, FIELD), interpolation=cv2.INTER_AREA).astype(np.float32) for image in gray]
    for at, dt in enumerate(step_s):
        dense = flow.calc(gray[at], gray[at + 1], None)
        fields[at] = cv2.resize(dense, (FIELD, FIELD), interpolation=cv2.INTER_AREA) / (side * dt)
        light[at] = (small[at + 1] - small[at]) / 255
    x, y = _coordinates(*gray[0].shape)
    model, thing = split_camera(fields, x, y)
    course = _course(thing, light, x, y)
    middles = ((times[1:] + times[:-1]) / 2).astype(np.float32)
    return PairMotion(middles, _camera_terms(model), thing, course)


def _coordinates(height: int, width: int) -> tuple[Array, Array]:
    """Places of the field's points in frame sides from the middle: x [FIELD²], y [FIELD²]."""
    ticks = (np.arange(FIELD, dtype=np.float32) + 0.5) / FIELD - 0.5
    y, x = np.meshgrid(ticks * height, ticks * width, indexing="ij")
    return (x / max(height, width)).ravel(), (y / max(height, width)).ravel()


def fit_affine(flow: Array, weight: Array, x: Array, y: Array) -> Array:
    """Weighted least squares of u = a·(1, x, y) for both components of the flow.

    Args:
        flow: [P, n, 2]; weight: [P, n]; x, y: [n] or [P, n].

    Returns:
        [P, 3, 2]: the coefficients of 1, x and y.
    """
    shape = weight.shape
    design = np.stack([np.ones(shape), np.broadcast_to(x, shape), np.broadcast_to(y, shape)], -1)
    weighted = design * weight[..., None]
    normal = np.einsum("pni,pnj->pij", weighted, design, optimize=True)
    normal += np.diag([1e-6, 1e-3, 1e-3]) * (1e-6 + weight.sum(1))[:, None, None]
    return np.linalg.solve(normal, np.matmul(weighted.transpose(0, 2, 1), flow)).astype(np.float32)


def split_camera(fields: Array, x: Array, y: Array, rounds: int = 6) -> tuple[Array, Array]:
    """Robust affine fit (iteratively reweighted, Geman-McClure): what most points do is the camera's motion.

    Args:
        fields: [P, FIELD, FIELD, 2] flow in frame sides a second.

    Returns:
        The model [P, 3, 2] and the flow it leaves over [P, FIELD, FIELD, 2].
    """
    flow = fields.reshape(len(fields), -1, 2)
    border = np.maximum(np.abs(x) / np.abs(x).max(), np.abs(y) / np.abs(y).max()) ** 2
    prior = np.broadcast_to(0.1 + border, flow.shape[:2])
    design = np.stack([np.ones_like(x), x, y], -1)
    middle = np.median(flow, axis=1, keepdims=True)
    left = flow - middle
    for _ in range(rounds):
        size = np.sqrt(np.square(left).sum(-1))
        scale = np.maximum(STILL, 1.5 * np.median(size, axis=1, keepdims=True))
        weight = prior / np.square(1 + np.square(size / scale))
        model = fit_affine(flow, weight, x, y)
        left = flow - design @ model
    return model, left.reshape(fields.shape).astype(np.float32)


def _camera_terms(model: Array) -> Array:
    """Shift x, shift y, growth, spin, stretch, shear of affine models: [P, 3, 2] -> [P, 6]."""
    shift, du, dv = model[:, 0], model[:, :, 0], model[:, :, 1]
    growth, spin = (du[:, 1] + dv[:, 2]) / 2, (dv[:, 1] - du[:, 2]) / 2
    stretch, shear = (du[:, 1] - dv[:, 2]) / 2, (dv[:, 1] + du[:, 2]) / 2
    return np.stack([shift[:, 0], shift[:, 1], growth, spin, stretch, shear], -1)


def _presence(thing: Array) -> Array:
    """How surely a point moves by itself, 0..1: [..., 2] -> [...]."""
    square = np.square(thing).sum(-1)
    return (square / (square + STILL**2)).astype(np.float32)


def _course(thing: Array, light: Array, x: Array, y: Array) -> Array:
    """The numbers named in COURSE for each pair: [P, len(COURSE)]."""
    flow = thing.reshape(len(thing), -1, 2)
    there = _presence(flow)
    mass = there.sum(1)
    speed = np.sqrt(np.square(flow).sum(-1))
    share = there / (mass + 2)[:, None]  # two points' worth of nothing: a lone point does not count as a thing
    velocity = np.einsum("pn,pnc->pc", share, flow)
    place_x, place_y = share @ x, share @ y
    model = fit_affine(flow, there + 1e-4, x[None] - place_x[:, None], y[None] - place_y[:, None])
    local = _camera_terms(model)
    sure = mass / (mass + 8)
    changes = light.reshape(len(light), -1)
    columns = [velocity[:, 0], velocity[:, 1], (there * speed).mean(1), local[:, 2] * sure, local[:, 3] * sure]
    columns += [place_x, place_y, np.sqrt(mass) / FIELD, changes.mean(1), np.abs(changes).mean(1)]
    return np.stack(columns, -1).astype(np.float32)


def direction_counts(vectors: Array, weights: Sequence[Array], places: NDArray[np.int64], count: int) -> list[Array]:
    """Soft histograms of directions at each of `count` places, one for each kind of weight.

    Args:
        vectors: [..., 2].
        weights: each [...].
        places: [...] in 0..count-1.

    Returns:
        For each weight [count, DIRECTIONS], sums of weight.
    """
    turn = np.arctan2(vectors[..., 1], vectors[..., 0]).ravel() * np.float32(DIRECTIONS / (2 * np.pi)) + DIRECTIONS
    low = np.floor(turn)
    part, low = turn - low, low.astype(np.int64)
    base, size = places.ravel() * DIRECTIONS, count * DIRECTIONS
    first, second = base + low % DIRECTIONS, base + (low + 1) % DIRECTIONS
    sums = []
    for weight in weights:
        flat = weight.ravel()
        counts = np.bincount(first, flat * (1 - part), size) + np.bincount(second, flat * part, size)
        sums.append(counts.reshape(count, DIRECTIONS).astype(np.float32))
    return sums


def describe_window(pairs: PairMotion, chosen: np.ndarray, start_s: float, end_s: float) -> NDArray[np.float32]:
    """The descriptor of one window: float32 [dim]."""
    thing, course, camera = pairs.thing[chosen], pairs.course[chosen], pairs.camera[chosen]
    times = pairs.times[chosen].astype(np.float64)
    blocks = [*_thing_blocks(thing), *_course_blocks(course, times, start_s, end_s)]
    blocks += _spectrum_blocks(course, times, start_s, end_s)
    blocks += _camera_blocks(camera, times, start_s, end_s)
    return join([*blocks, _stillness(course, camera)])


def _thing_blocks(thing: Array) -> list[Array]:
    """Directions over a 3 × 3 grid, directions by speed over the whole frame, and a 4 × 4 map of energy."""
    speed = np.sqrt(np.square(thing).sum(-1))
    there = _presence(thing)
    level = compress(speed, 0.1, FAST) * 2
    slow, fast = np.clip(1 - level, 0, 1), np.clip(level - 1, 0, 1)
    parts = [there * slow, there * (1 - slow - fast), there * fast]
    cells = np.broadcast_to(_thirds(), speed.shape)
    counts = np.stack(direction_counts(thing, parts, cells, 9)) / speed.size
    grid = np.sqrt(counts.sum(0) * 9).ravel()  # relative to the size of a cell
    by_speed = np.sqrt(counts.sum(1)).ravel()
    energy = compress(cell_means((there * speed).mean(0)[..., None], 4, 4), 0.05, FAST).ravel()
    return [soft_unit(grid, 0.2), soft_unit(by_speed, 0.1), soft_unit(energy, 0.2)]


@lru_cache(maxsize=1)
def _thirds() -> NDArray[np.int64]:
    """Number 0..8 of the cell of a 3 × 3 grid that each point of the field lies in: [FIELD, FIELD]."""
    third = np.arange(FIELD) * 3 // FIELD
    return third[:, None] * 3 + third


def _sampled(series: Array, times: np.ndarray, start_s: float, end_s: float, count: int) -> Array:
    """Series [p, c] read off at `count` evenly spaced moments of the window: [count, c]."""
    moments = start_s + (np.arange(count) + 0.5) / count * (end_s - start_s)
    return np.stack([np.interp(moments, times, column) for column in series.T], -1).astype(np.float32)


def _course_blocks(course: Array, times: np.ndarray, start_s: float, end_s: float) -> list[Array]:
    """How velocity, growth, spin, place and light go over the window, beat by beat, and on average."""
    beats = _sampled(course, times, start_s, end_s, BEATS)
    velocity = compress(beats[:, [VX, VY]], 0.1, FAST)
    turning = compress(beats[:, [GROWTH, SPIN]], 0.3, 8.0)
    place = beats[:, [X, Y]] * 2
    light = compress(beats[:, [LIGHT, FLICKER]], 0.01, 0.5)
    amount = np.concatenate([compress(beats[:, [ENERGY]], 0.02, 1.0), beats[:, [SIZE]]], -1)
    mean = np.concatenate([velocity.mean(0), turning.mean(0), np.abs(turning).mean(0), np.abs(velocity).mean(0)])
    parts = ((velocity, 0.3), (turning, 0.3), (place, 0.3), (light, 0.3), (amount, 0.3), (mean, 0.2))
    return [soft_unit(part.ravel(), floor) for part, floor in parts]


def _spectrum_blocks(course: Array, times: np.ndarray, start_s: float, end_s: float) -> list[Array]:
    """Spectra over the window: of the complex velocity (its sign tells which way a thing circles), energy, light."""
    series = _sampled(course, times, start_s, end_s, SPECTRUM)
    velocity = series[:, VX] + 1j * series[:, VY]
    circling = np.abs(np.fft.fft(velocity)) / SPECTRUM
    others = np.abs(np.fft.rfft(series[:, [ENERGY, LIGHT, GROWTH, SPIN]], axis=0))[1:] / SPECTRUM
    scaled = [compress(others[:, 0], 0.02, 1), compress(others[:, 1], 0.01, 0.5), compress(others[:, 2:], 0.3, 8)]
    return [
        soft_unit(compress(circling, 0.05, FAST), 0.3),
        soft_unit(np.concatenate([part.ravel() for part in scaled]), 0.3),
    ]


def _camera_blocks(camera: Array, times: np.ndarray, start_s: float, end_s: float) -> list[Array]:
    """The camera: mean and mean size of its six terms, its course, its directions and its spectrum (shaking)."""
    scaled = np.concatenate([compress(camera[:, :2], 0.05, FAST), compress(camera[:, 2:], 0.1, 4.0)], -1)
    beats = _sampled(scaled[:, :4], times, start_s, end_s, BEATS)
    speed = np.sqrt(np.square(camera[:, :2]).sum(-1))
    nowhere = np.zeros(len(speed), np.int64)
    directions = direction_counts(camera[:, :2], [compress(speed, 0.05, FAST)], nowhere, 1)[0][0] / len(speed)
    summary = np.concatenate([scaled.mean(0), np.abs(scaled).mean(0)])
    shift = _sampled(camera[:, :2], times, start_s, end_s, SPECTRUM)
    shaking = np.abs(np.fft.fft(shift[:, 0] + 1j * shift[:, 1])) / SPECTRUM
    return [
        soft_unit(summary, 0.2),
        soft_unit(beats.ravel(), 0.3),
        soft_unit(np.sqrt(directions), 0.3),
        soft_unit(compress(shaking, 0.05, FAST), 0.3),
    ]


def _stillness(course: Array, camera: Array) -> Array:
    """How still things, camera and light are, 1 for not moving at all, so that rest has a token to show: [3]."""
    moves = np.stack([course[:, ENERGY] / 0.02, np.abs(camera[:, :2]).sum(-1) / 0.1, course[:, FLICKER] / 0.01], -1)
    return soft_unit(np.exp(-moves).mean(0), 0.5)


def _width() -> int:
    things = 9 * DIRECTIONS + 3 * DIRECTIONS + 16
    course = 5 * 2 * BEATS + 8
    spectrum = SPECTRUM + 4 * (SPECTRUM // 2)
    camera = 12 + 4 * BEATS + DIRECTIONS + SPECTRUM
    return things + course + spectrum + camera + 3
