"""Figure and ground: what stands out from the border of a frame, its colour, place, size and outline.

The border is taken for background. A pixel belongs to the figure as far as its colour lies from those of the
border (geodesic and boundary-contrast saliency rest on the same prior: Wei et al., ECCV 2012).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from experts.classic.descriptor import Array

BORDER_SAMPLES = 96
NEAREST = 3
"""A figure may touch the border: as many border samples as this must agree before a colour is background."""
CONTRAST = 16.0
"""Distance in Lab at which a pixel is as likely figure as ground."""
PATCH = 32
SMALLEST_AREA = 6
"""Pixels; what is smaller is a speck."""


@dataclass(frozen=True)
class Figure:
    """What stands out.

    Args:
        mask: [h, w] how surely each pixel is part of it, 0..1.
        patch: [PATCH, PATCH] the mask, moved to the middle and scaled to its own spread.
        place: [6] middle x and y (-0.5..0.5), width and height of its spread, √area, share of the saliency.
    """

    mask: Array
    patch: Array
    place: Array


def saliency_map(lab: Array) -> Array:
    """How far each pixel's colour lies from the border's: Lab [h, w, 3] -> [h, w] in 0..1."""
    height, width, _ = lab.shape
    ring = np.concatenate([lab[1, :], lab[-2, :], lab[:, 1], lab[:, -2]])
    samples = ring[np.linspace(0, len(ring) - 1, BORDER_SAMPLES).round().astype(int)]
    pixels = lab.reshape(-1, 3)
    squares = np.square(pixels).sum(1)[:, None] + np.square(samples).sum(1) - 2 * pixels @ samples.T
    nearest = np.partition(squares, NEAREST - 1, axis=1)[:, NEAREST - 1]
    nearest = np.maximum(nearest, 0).reshape(height, width)
    return cv2.GaussianBlur((nearest / (nearest + CONTRAST**2)).astype(np.float32), (0, 0), 0.8)


def find_figures(saliency: Array, most: int) -> list[Figure]:
    """The largest things that stand out, those that the frame's border cuts off last.

    Args:
        saliency: [h, w] in 0..1, see `saliency_map`.
        most: how many at most.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats((saliency > 0.5).astype(np.uint8), connectivity=4)
    ring = np.concatenate([labels[0], labels[-1], labels[1:-1, 0], labels[1:-1, -1]])
    cut = np.bincount(ring, minlength=count)[1:] / np.sqrt(stats[1:, cv2.CC_STAT_AREA])
    weight = stats[1:, cv2.CC_STAT_AREA] / (1 + 2 * cut)
    order = np.argsort(-weight, kind="stable")[:most]
    large = [int(at) + 1 for at in order if stats[at + 1, cv2.CC_STAT_AREA] >= SMALLEST_AREA]
    return [_figure(saliency, labels == label) for label in large]


def _figure(saliency: Array, inside: NDArray[np.bool_]) -> Figure:
    height, width = saliency.shape
    mask = (saliency * cv2.dilate(inside.astype(np.uint8), np.ones((3, 3), np.uint8))).astype(np.float32)
    x, y, spread_x, spread_y = _moments(mask)
    patch = _normalised(mask, x, y, max(spread_x, spread_y))
    side = max(height, width)
    place = [x / width - 0.5, y / height - 0.5, spread_x * 3 / side, spread_y * 3 / side]
    place += [np.sqrt(mask.mean()), mask.sum() / saliency.sum()]
    return Figure(mask, patch, np.array(place, np.float32))


def _moments(mask: Array) -> tuple[float, float, float, float]:
    """Middle x, y and standard deviations x, y of a mask, in pixels."""
    total = float(mask.sum())
    columns, rows = mask.sum(0) / total, mask.sum(1) / total
    at_x, at_y = np.arange(len(columns)), np.arange(len(rows))
    x, y = float(columns @ at_x), float(rows @ at_y)
    return x, y, float(np.sqrt(columns @ (at_x - x) ** 2 + 0.1)), float(np.sqrt(rows @ (at_y - y) ** 2 + 0.1))


def _normalised(mask: Array, x: float, y: float, spread: float) -> Array:
    """`mask` shifted and scaled so that PATCH pixels span 4.5 standard deviations around its middle."""
    scale = PATCH / (4.5 * spread)
    half = (PATCH - 1) / 2
    move = np.array([[scale, 0, half - scale * x], [0, scale, half - scale * y]], np.float32)
    return np.asarray(cv2.warpAffine(mask, move, (PATCH, PATCH), flags=cv2.INTER_LINEAR), np.float32)


def outline(patch: Array, rays: int = 64, harmonics: int = 10) -> Array:
    """Radius of a figure around its middle, as amplitudes of its first harmonics (3 a triangle, 4 a square…).

    The same however the figure is turned.

    Args:
        patch: [PATCH, PATCH].

    Returns:
        [harmonics], relative to the mean radius.
    """
    half = (PATCH - 1) / 2
    polar = cv2.warpPolar(patch, (PATCH // 2, rays), (half, half), PATCH / 2, cv2.WARP_POLAR_LINEAR)
    radius = np.minimum(polar, 1).sum(1)
    waves = np.abs(np.fft.rfft(radius)) / (radius.sum() + 1e-3)
    return waves[1 : harmonics + 1].astype(np.float32)
