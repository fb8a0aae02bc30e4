"""Dense optical flow between successive frames, split into the motion of the camera and the motion of things.

The flow is that of dense inverse search (DIS; Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV
2016). A robust affine fit to it is the camera; what the fit leaves over is the things.

Letters: P pairs of successive frames, F the side of the grid that flow is described on. Speeds are in frame sides a
second, so that neither the size nor the rate of the frames changes them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from experts.base import Frames
from experts.classic.descriptor import Array

FIELD = 32
"""F: flow is described on FIELD × FIELD points, whatever the shape of the frame."""
STILL = 0.03
"""Speeds below this many frame sides a second are taken for noise."""
COURSE = ("vx", "vy", "energy", "growth", "spin", "x", "y", "size", "light", "flicker")
"""What is measured of the things (and the light) in each pair, in this order."""
VX, VY, ENERGY, GROWTH, SPIN, X, Y, SIZE, LIGHT, FLICKER = range(len(COURSE))


@dataclass(frozen=True)
class PairMotion:
    """What was measured between each frame and the next.

    Args:
        times: float32 [P] middle of each pair, seconds.
        camera: float32 [P, 6] affine camera motion: shift x, shift y, growth, spin, stretch, shear.
        thing: float32 [P, F, F, 2] flow left over when the camera's motion is taken away.
        course: float32 [P, len(COURSE)], see `COURSE`.
    """

    times: Array
    camera: Array
    thing: Array
    course: Array


def measure_pairs(frames: Frames) -> PairMotion:
    """Flow between successive frames, split into camera and things.

    Args:
        frames: at least two, all of one size.
    """
    # One for each piece: a small frame has it choose a finer scale, and it keeps to that for all that follow, so that
    # what is measured in a video would depend on the videos before it.
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    times = frames.times.astype(np.float64)
    step_s = np.maximum(np.diff(times), 1e-3)  # the clock of a damaged file may stand still
    gray = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in frames.images]
    if min(gray[0].shape) < 32:  # the flow needs a few patches of 8 pixels at its coarsest scale
        gray = [cv2.resize(image, (64, 64), interpolation=cv2.INTER_LINEAR) for image in gray]
    side = max(gray[0].shape)
    fields = np.empty((len(step_s), FIELD, FIELD, 2), np.float32)
    light = np.empty((len(step_s), FIELD, FIELD), np.float32)
    small = [cv2.resize(image, (FIELD, FIELD), interpolation=cv2.INTER_AREA).astype(np.float32) for image in gray]
    for at, dt in enumerate(step_s):
        # No flow is handed on as a start for the next pair: a token must not depend on where a piece begins.
        dense = flow.calc(gray[at], gray[at + 1], None)
        fields[at] = cv2.resize(dense, (FIELD, FIELD), interpolation=cv2.INTER_AREA) / (side * dt)
        light[at] = (small[at + 1] - small[at]) / 255
    x, y = point_coordinates(*gray[0].shape)
    model, thing = split_camera(fields, x, y)
    middles = ((times[1:] + times[:-1]) / 2).astype(np.float32)
    return PairMotion(middles, _affine_terms(model), thing, _measure_course(thing, light, x, y))


def point_coordinates(height: int, width: int) -> tuple[Array, Array]:
    """Places of the points of the grid in frame sides from the middle: x [F²], y [F²]."""
    ticks = (np.arange(FIELD, dtype=np.float32) + 0.5) / FIELD - 0.5
    y, x = np.meshgrid(ticks * height, ticks * width, indexing="ij")
    return (x / max(height, width)).ravel(), (y / max(height, width)).ravel()


def fit_affine(flow: Array, weight: Array, x: Array, y: Array) -> Array:
    """Weighted least squares of u = a·(1, x, y) for both components of the flow.

    Args:
        flow: [P, n, 2].
        weight: [P, n].
        x: [n] or [P, n].
        y: like x.

    Returns:
        float32 [P, 3, 2]: the coefficients of 1, x and y.
    """
    shape = weight.shape
    design = np.stack([np.ones(shape), np.broadcast_to(x, shape), np.broadcast_to(y, shape)], -1)
    weighted = design * weight[..., None]
    normal = np.einsum("pni,pnj->pij", weighted, design, optimize=True)
    # A little ridge, more on growth and turning than on the shift: where hardly a point has weight the equations are
    # singular, and the answer shall be no motion.
    normal += np.diag([1e-6, 1e-3, 1e-3]) * (1e-6 + weight.sum(1))[:, None, None]
    return np.linalg.solve(normal, np.matmul(weighted.transpose(0, 2, 1), flow)).astype(np.float32)


def split_camera(fields: Array, x: Array, y: Array, rounds: int = 6) -> tuple[Array, Array]:
    """Robust affine fit (iteratively reweighted, Geman-McClure): what most points do is the camera's motion.

    Args:
        fields: [P, F, F, 2] flow in frame sides a second.
        x: [F²], see `point_coordinates`.
        y: [F²].
        rounds: of reweighting.

    Returns:
        The affine model float32 [P, 3, 2] and the flow it leaves over float32 [P, F, F, 2].
    """
    flow = fields.reshape(len(fields), -1, 2)
    # Things are mostly in the middle, background mostly at the border: points there weigh up to eleven times as much.
    border = np.maximum(np.abs(x) / np.abs(x).max(), np.abs(y) / np.abs(y).max()) ** 2
    prior = np.broadcast_to(0.1 + border, flow.shape[:2])
    design = np.stack([np.ones_like(x), x, y], -1)
    # The median shift is a start that a thing over less than half of the frame cannot pull away.
    left = flow - np.median(flow, axis=1, keepdims=True)
    for _ in range(rounds):
        size = np.sqrt(np.square(left).sum(-1))
        # Scaled to what is left over now, but never below noise: a perfect fit would leave nothing to divide by.
        scale = np.maximum(STILL, 1.5 * np.median(size, axis=1, keepdims=True))
        weight = prior / np.square(1 + np.square(size / scale))
        model = fit_affine(flow, weight, x, y)
        left = flow - design @ model
    return model, left.reshape(fields.shape).astype(np.float32)


def _affine_terms(model: Array) -> Array:
    """Shift x, shift y, growth, spin, stretch, shear of affine models: [P, 3, 2] -> [P, 6]."""
    shift, du, dv = model[:, 0], model[:, :, 0], model[:, :, 1]
    growth, spin = (du[:, 1] + dv[:, 2]) / 2, (dv[:, 1] - du[:, 2]) / 2
    stretch, shear = (du[:, 1] - dv[:, 2]) / 2, (dv[:, 1] + du[:, 2]) / 2
    return np.stack([shift[:, 0], shift[:, 1], growth, spin, stretch, shear], -1)


def motion_share(thing: Array) -> Array:
    """How surely a point moves by itself, 0..1; one half at the speed STILL: [..., 2] -> float32 [...]."""
    square = np.square(thing).sum(-1)
    return (square / (square + STILL**2)).astype(np.float32)


def _measure_course(thing: Array, light: Array, x: Array, y: Array) -> Array:
    """The numbers named in COURSE for each pair: float32 [P, len(COURSE)].

    Args:
        thing: [P, F, F, 2].
        light: [P, F, F] change of brightness, -1..1.
        x: [F²], see `point_coordinates`.
        y: [F²].
    """
    flow = thing.reshape(len(thing), -1, 2)
    moving = motion_share(flow)
    mass = moving.sum(1)
    speed = np.sqrt(np.square(flow).sum(-1))
    share = moving / (mass + 2)[:, None]  # two points' worth of nothing: a lone point does not count as a thing
    velocity = np.einsum("pn,pnc->pc", share, flow)
    place_x, place_y = share @ x, share @ y
    # Around the middle of the things, so that growing and spinning are told from moving.
    model = fit_affine(flow, moving + 1e-4, x[None] - place_x[:, None], y[None] - place_y[:, None])
    local = _affine_terms(model)
    sure = mass / (mass + 8)  # growth and spin of a few points are chance
    changes = light.reshape(len(light), -1)
    columns = [velocity[:, 0], velocity[:, 1], (moving * speed).mean(1), local[:, 2] * sure, local[:, 3] * sure]
    columns += [place_x, place_y, np.sqrt(mass) / FIELD, changes.mean(1), np.abs(changes).mean(1)]
    return np.stack(columns, -1).astype(np.float32)
