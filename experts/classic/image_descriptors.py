"""Descriptors of an image: colour names, local binary patterns, HOG, low frequencies, and what stands out in it.

Appearance and faces are described with these. Letters: H and W height and width in pixels, N colour names.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from experts.classic.descriptor import Array, pooling_matrix

# --- Colour names: the eleven basic colour terms of English (Berlin and Kay, "Basic Color Terms", 1969) and cyan.
SHADES: dict[str, tuple[tuple[int, int, int], ...]] = {
    "black": ((0, 0, 0), (25, 25, 25)),
    "grey": ((75, 75, 75), (128, 128, 128), (180, 180, 180)),
    "white": ((255, 255, 255), (228, 228, 228)),
    "red": ((225, 30, 35), (150, 20, 25), (255, 80, 80)),
    "orange": ((245, 140, 20), (225, 110, 40)),
    "yellow": ((250, 225, 30), (205, 185, 50), (250, 240, 140)),
    "green": ((40, 165, 60), (20, 90, 30), (120, 215, 110), (110, 130, 50)),
    "cyan": ((40, 205, 205), (20, 130, 140), (160, 230, 235)),
    "blue": ((40, 75, 215), (20, 30, 110), (95, 155, 230)),
    "purple": ((130, 45, 170), (75, 25, 110), (180, 120, 215)),
    "pink": ((245, 150, 190), (230, 70, 150)),
    "brown": ((115, 70, 35), (70, 45, 25), (165, 115, 70)),
}
"""RGB examples of each name; a colour belongs to the names whose shades are near it in CIE Lab."""
NAMES = tuple(SHADES)
SOFTNESS = 14.0
"""Distance in Lab over which one name fades into the next."""

# --- Local binary patterns and histograms of oriented gradients.
PATTERNS = 59
"""58 uniform patterns (at most two changes around the circle) and one for all others."""
FAMILIES = 10
"""Patterns of 0 to 8 ones (9 families), told apart by that number alone, and one for all others."""
NEIGHBOURS = ((0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))
"""The eight neighbours of a pixel as (dy, dx), once around the circle."""
TOLERANCE = 3
"""Grey levels a neighbour must lie above the centre, so that coding noise on flat areas is no texture."""

# --- Figure and ground.
BORDER_SAMPLES = 96
NEAREST = 3
"""A figure may touch the border: as many border samples as this must agree before a colour is background."""
CONTRAST = 16.0
"""Distance in Lab at which a pixel is as likely figure as ground."""
PATCH = 32
"""Side of the square that a figure's mask is normalised to, pixels."""
SMALLEST_AREA = 6
"""Pixels; what is smaller is a speck."""


def to_lab(images: NDArray[np.uint8]) -> Array:
    """CIE Lab (L 0..100, a and b about -100..100) of an RGB image: uint8 [H, W, 3] -> float32 [H, W, 3]."""
    # As float: OpenCV squeezes the Lab of uint8 images into 0..255.
    return np.asarray(cv2.cvtColor(images.astype(np.float32) / 255, cv2.COLOR_RGB2Lab), np.float32)


@lru_cache(maxsize=1)
def _colour_name_table() -> Array:
    """Membership of 32 × 32 × 32 colours in the names: float32 [32768, N], rows sum to 1."""
    ticks = (np.arange(32) * 8 + 4).astype(np.uint8)
    cube = np.stack(np.meshgrid(ticks, ticks, ticks, indexing="ij"), -1).reshape(-1, 1, 3)
    shades = np.array([shade for group in SHADES.values() for shade in group], np.uint8)[:, None]
    owner = np.array([at for at, group in enumerate(SHADES.values()) for _ in group])
    distance = np.square(to_lab(cube)[:, 0, None] - to_lab(shades)[:, 0]).sum(-1)
    # Less the smallest distance, so that the nearest shade weighs 1: a colour far from all would have weights that
    # round to nothing, and no row to divide by.
    near = np.exp(-(distance - distance.min(1, keepdims=True)) / (2 * SOFTNESS**2))
    member = near @ np.eye(len(NAMES), dtype=np.float32)[owner]
    return (member / member.sum(1, keepdims=True)).astype(np.float32)


def colour_names(images: NDArray[np.uint8]) -> Array:
    """Soft colour names of every pixel: RGB uint8 [H, W, 3] -> float32 [H, W, N], summing to 1 over the names."""
    # A look-up by the upper five bits of each channel, because exponentials for every pixel take far longer.
    fine = images.astype(np.int32) >> 3
    return _colour_name_table()[(fine[..., 0] << 10) | (fine[..., 1] << 5) | fine[..., 2]]


@lru_cache(maxsize=1)
def uniform_patterns() -> NDArray[np.int64]:
    """Number of the uniform pattern of each of the 256 patterns: int64 [256]."""
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    uniform = (bits != np.roll(bits, 1, axis=1)).sum(1) <= 2
    numbers = np.full(256, PATTERNS - 1, np.int64)
    numbers[uniform] = np.arange(uniform.sum())
    return numbers


@lru_cache(maxsize=1)
def pattern_families() -> NDArray[np.int64]:
    """Family 0..9 of each of the 59 patterns: its number of ones, the same however the texture is turned."""
    ones = np.array([code.bit_count() for code in range(256)])
    families = np.full(PATTERNS, FAMILIES - 1, np.int64)
    inside = uniform_patterns() < PATTERNS - 1
    families[uniform_patterns()[inside]] = ones[inside]
    return families


def local_binary_patterns(gray: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Uniform local binary pattern of every inner pixel: uint8 [H, W] -> int64 [H - 2, W - 2] in 0..58.

    Source: Ojala, Pietikäinen and Mäenpää, "Multiresolution Gray-Scale and Rotation Invariant Texture
    Classification with Local Binary Patterns", PAMI 2002.
    """
    wide = gray.astype(np.int16)  # centre + TOLERANCE goes beyond 255
    height, width = wide.shape
    centre = wide[1:-1, 1:-1] + TOLERANCE
    code = np.zeros(centre.shape, np.uint8)
    for bit, (dy, dx) in enumerate(NEIGHBOURS):
        code |= (wide[1 + dy : height - 1 + dy, 1 + dx : width - 1 + dx] >= centre).astype(np.uint8) << bit
    return uniform_patterns()[code]


def cell_histograms(
    numbers: NDArray[np.int64], bins: int, rows: int, columns: int, weight: Array | None = None
) -> Array:
    """Histogram of `numbers` in each cell of a grid, as shares of the cell's pixels.

    Args:
        numbers: [H, W] in 0..bins-1.
        bins: of a histogram.
        rows: of the grid.
        columns: of the grid.
        weight: [H, W] what each pixel counts; 1 if left out.

    Returns:
        float32 [rows, columns, bins].
    """
    height, width = numbers.shape
    row = np.arange(height) * rows // height
    column = np.arange(width) * columns // width
    # One bincount over (cell, number) pairs does all cells at once.
    cell = (row[:, None] * columns + column) * bins + numbers
    counts = np.bincount(cell.ravel(), None if weight is None else weight.ravel(), minlength=rows * columns * bins)
    return (counts.reshape(rows, columns, bins) * (rows * columns / numbers.size)).astype(np.float32)


def oriented_gradients(gray: Array, rows: int, columns: int, bins: int, signed: bool = False) -> Array:
    """Histogram of oriented gradients (HOG) in each cell, weighted by strength.

    Source: Dalal and Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005.

    Args:
        gray: [H, W], about 0..1.
        rows: of the grid.
        columns: of the grid.
        bins: directions over half a turn, or over a whole one if `signed`.
        signed: whether dark-to-light differs from light-to-dark.

    Returns:
        float32 [rows, columns, bins], mean strength; not normalised over blocks of cells as in the paper.
    """
    dx = cv2.Sobel(gray, cv2.CV_32F, 1, 0, ksize=3, scale=0.125)
    dy = cv2.Sobel(gray, cv2.CV_32F, 0, 1, ksize=3, scale=0.125)
    strength, angle = cv2.cartToPolar(dx, dy)
    turn = angle * (bins / (2 * np.pi if signed else np.pi))
    low = np.floor(turn)
    part = turn - low
    # Each gradient is shared between the two nearest directions, so that a slight turn does not jump to another bin.
    first = low.astype(np.int64) % bins
    below = cell_histograms(first, bins, rows, columns, weight=strength * (1 - part))
    return below + cell_histograms((first + 1) % bins, bins, rows, columns, weight=strength * part)


def low_frequencies(plane: Array, count: int) -> Array:
    """The lowest `count` × `count` cosine terms without the mean: [H, W] -> float32 [count² - 1]; `count` ≤ 16."""
    # Pooled to 16 × 16 first: only low terms are kept, and so every size of image has them.
    small = pooling_matrix(plane.shape[0], 16) @ plane @ pooling_matrix(plane.shape[1], 16).T
    return np.asarray(cv2.dct(np.ascontiguousarray(small))[:count, :count].ravel()[1:] / 16, np.float32)


@dataclass(frozen=True)
class Figure:
    """One thing that stands out from its ground.

    Args:
        mask: [H, W] how surely each pixel is part of it, 0..1.
        patch: [PATCH, PATCH] the mask, moved to the middle and scaled to its own spread.
        place: [6] middle x and y (-0.5..0.5), width and height of its spread, √area, share of the saliency.
    """

    mask: Array
    patch: Array
    place: Array


def saliency_map(lab: Array) -> Array:
    """How far each pixel's colour lies from those of the image's border, which is taken for background.

    The prior is that of geodesic saliency (Wei et al., "Geodesic Saliency Using Background Priors", ECCV 2012).

    Args:
        lab: [H, W, 3], see `to_lab`.

    Returns:
        float32 [H, W] in 0..1.
    """
    height, width, _ = lab.shape
    # The second row and column from the edge: coding and scaling leave marks on the outermost one.
    ring = np.concatenate([lab[1, :], lab[-2, :], lab[:, 1], lab[:, -2]])
    samples = ring[np.linspace(0, len(ring) - 1, BORDER_SAMPLES).round().astype(int)]
    pixels = lab.reshape(-1, 3)
    # |p - s|² as |p|² + |s|² - 2 p·s: one matrix product instead of an array [H·W, BORDER_SAMPLES, 3].
    squares = np.square(pixels).sum(1)[:, None] + np.square(samples).sum(1) - 2 * pixels @ samples.T
    nearest = np.partition(squares, NEAREST - 1, axis=1)[:, NEAREST - 1]
    nearest = np.maximum(nearest, 0).reshape(height, width)  # that sum may round to just below 0
    return cv2.GaussianBlur((nearest / (nearest + CONTRAST**2)).astype(np.float32), (0, 0), 0.8)


def find_figures(saliency: Array, most: int) -> list[Figure]:
    """The largest things that stand out, those that the image's border cuts off last.

    Args:
        saliency: [H, W] in 0..1, see `saliency_map`.
        most: how many at most.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats((saliency > 0.5).astype(np.uint8), connectivity=4)
    ring = np.concatenate([labels[0], labels[-1], labels[1:-1, 0], labels[1:-1, -1]])
    # Label 0 is the ground. What lies on the border is probably ground of another colour: it counts for less by the
    # length it shares with the border, relative to its own size.
    on_border = np.bincount(ring, minlength=count)[1:] / np.sqrt(stats[1:, cv2.CC_STAT_AREA])
    weight = stats[1:, cv2.CC_STAT_AREA] / (1 + 2 * on_border)
    order = np.argsort(-weight, kind="stable")[:most]
    large = [int(at) + 1 for at in order if stats[at + 1, cv2.CC_STAT_AREA] >= SMALLEST_AREA]
    return [_figure(saliency, labels == label) for label in large]


def _figure(saliency: Array, inside: NDArray[np.bool_]) -> Figure:
    height, width = saliency.shape
    # A pixel wider than the component: the soft edge of the saliency belongs to the figure.
    mask = (saliency * cv2.dilate(inside.astype(np.uint8), np.ones((3, 3), np.uint8))).astype(np.float32)
    total = float(mask.sum())
    columns, rows = mask.sum(0) / total, mask.sum(1) / total
    at_x, at_y = np.arange(len(columns)), np.arange(len(rows))
    x, y = float(columns @ at_x), float(rows @ at_y)
    # 0.1 keeps the spread of a figure one pixel wide above zero.
    spread_x = float(np.sqrt(columns @ (at_x - x) ** 2 + 0.1))
    spread_y = float(np.sqrt(rows @ (at_y - y) ** 2 + 0.1))
    side = max(height, width)
    place = [x / width - 0.5, y / height - 0.5, spread_x * 3 / side, spread_y * 3 / side]
    place += [np.sqrt(mask.mean()), mask.sum() / saliency.sum()]
    return Figure(mask, _normalised(mask, x, y, max(spread_x, spread_y)), np.array(place, np.float32))


def _normalised(mask: Array, x: float, y: float, spread: float) -> Array:
    """`mask` shifted and scaled so that PATCH pixels span 4.5 standard deviations around its middle."""
    scale = PATCH / (4.5 * spread)
    half = (PATCH - 1) / 2
    move = np.array([[scale, 0, half - scale * x], [0, scale, half - scale * y]], np.float32)
    return np.asarray(cv2.warpAffine(mask, move, (PATCH, PATCH), flags=cv2.INTER_LINEAR), np.float32)


def outline_harmonics(patch: Array, rays: int = 64, harmonics: int = 10) -> Array:
    """Radius of a figure around its middle, as amplitudes of its first harmonics (3 a triangle, 4 a square…).

    Args:
        patch: [PATCH, PATCH], see `Figure`.
        rays: directions in which the radius is measured.
        harmonics: how many amplitudes.

    Returns:
        float32 [harmonics], relative to the mean radius; the same however the figure is turned.
    """
    half = (PATCH - 1) / 2
    polar = cv2.warpPolar(patch, (PATCH // 2, rays), (half, half), PATCH / 2, cv2.WARP_POLAR_LINEAR)
    # The mask summed along a ray is its length, even where the outline crosses the ray several times.
    radius = np.minimum(polar, 1).sum(1)
    # Amplitudes alone: a turn of the figure changes the phases.
    waves = np.abs(np.fft.rfft(radius)) / (radius.sum() + 1e-3)
    return waves[1 : harmonics + 1].astype(np.float32)
