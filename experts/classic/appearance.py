"""What a frame looks like: colour, texture, gradient structure over a grid, and what stands out in it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from experts.base import Clip, Sampling, State, Tokens
from experts.classic.colours import NAMES, colour_names, to_lab
from experts.classic.descriptor import Array, cell_means, centred, compress, join, signed_sqrt, soft_unit
from experts.classic.figure import Figure, find_figures, outline, saliency_map
from experts.classic.gradients import (
    FAMILIES,
    PATTERNS,
    cell_counts,
    low_frequencies,
    oriented_gradients,
    pattern_families,
    pattern_map,
)

SIDE = 128
"""Longer side at which a frame is described, pixels."""
GRID = 4
NAMES_GRID = 3
THUMB = 6
ORIENTATIONS = 9
LUMA_TERMS, CHROMA_TERMS = 7, 4
HARMONICS = 10
FIGURES = 2
"""How many things that stand out are described each by itself."""


class Appearance:
    """Expert for still appearance; one token a frame, two frames a second."""

    name = "appearance"
    version = "1"
    weights = ""
    licence = ""
    about = "sees colours, textures, layout, and the colour and shape of what stands out"
    cost = "about 5 ms of a core for a second of video"
    sampling = Sampling(frames_per_second=2.0, max_side=256)

    def __init__(self) -> None:
        self.dim = _width()

    def prepare(self, device: str) -> None:
        """Set up the colour table; everything runs on the processor, on one thread."""
        cv2.setNumThreads(1)
        colour_names(np.zeros((1, 1, 3), np.uint8))

    def extract(self, clip: Clip) -> Tokens:
        """One token for each sampled frame."""
        frames = clip.seen(self.sampling)
        if isinstance(frames, State):
            return Tokens.none(self.dim, frames)
        features = np.stack([describe_frame(image) for image in frames.images])
        return Tokens(features, frames.times.astype(np.float32))


def fit_side(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """`image` with its longer side at `side` pixels and no side under 16: [h, w, 3] -> [h', w', 3]."""
    scale = side / max(image.shape[:2])
    size = [max(16, round(length * scale)) for length in image.shape[1::-1]]
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=kind), np.uint8)


def describe_frame(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The descriptor of one RGB frame: uint8 [h, w, 3] -> float32 [dim]."""
    image = fit_side(image, SIDE)
    gray = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
    small = fit_side(image, SIDE // 2)
    lab, names = to_lab(small), colour_names(small)
    saliency = saliency_map(lab)
    blocks = _colour_blocks(lab, names) + _structure_blocks(gray, lab) + _ground_blocks(saliency, lab, names)
    figures = [_figure_blocks(figure, lab, names) for figure in find_figures(saliency, FIGURES)]
    absent = [np.zeros(width, np.float32) for width in FIGURE_WIDTHS]
    for slot in range(FIGURES):
        blocks += figures[slot] if slot < len(figures) else absent
    return join(blocks)


def _colour_blocks(lab: Array, names: Array) -> list[Array]:
    """Colour names of the frame and of each cell; mean and spread of Lab in each cell."""
    whole = names.mean((0, 1))
    cells = cell_means(names, NAMES_GRID, NAMES_GRID)
    mean = cell_means(lab, GRID, GRID)
    spread = np.sqrt(np.maximum(cell_means(np.square(lab), GRID, GRID) - np.square(mean), 0))
    mean = (mean - (50, 0, 0)) / 50
    return [
        soft_unit(centred(whole), 0.1),
        soft_unit(centred(cells).ravel(), 0.5),
        soft_unit(mean.ravel(), 0.5),
        soft_unit(signed_sqrt(spread / 50).ravel(), 0.5),
    ]


def _structure_blocks(gray: NDArray[np.uint8], lab: Array) -> list[Array]:
    """Patterns of texture, gradient directions over the grid, and the coarse layout of light and colour."""
    patterns = pattern_map(gray)
    whole = cell_counts(patterns, PATTERNS, 1, 1).ravel()
    quarters = cell_counts(pattern_families()[patterns], FAMILIES, 2, 2)
    gradients = oriented_gradients(gray.astype(np.float32) / 255, GRID, GRID, ORIENTATIONS)
    strength = compress(gradients.sum(-1), 0.01, 0.3)
    luma = low_frequencies(lab[..., 0] / 100, LUMA_TERMS)
    chroma = np.concatenate([low_frequencies(lab[..., at] / 100, CHROMA_TERMS) for at in (1, 2)])
    return [
        soft_unit(np.sqrt(whole) - np.sqrt(1 / PATTERNS), 0.2),
        soft_unit(centred(quarters).ravel(), 0.5),
        soft_unit(np.sqrt(gradients).ravel(), 0.3),
        soft_unit(strength.ravel(), 0.5),
        soft_unit(signed_sqrt(luma), 0.2),
        soft_unit(signed_sqrt(chroma), 0.2),
    ]


def _ground_blocks(saliency: Array, lab: Array, names: Array) -> list[Array]:
    """Colour names of all that stands out and of the ground around it, and where things stand out."""
    figure = saliency / (saliency.sum() + 1)
    ground = (1 - saliency) / ((1 - saliency).sum() + 1)
    cells = compress(cell_means(saliency[..., None], GRID, GRID).ravel(), 0.2, 1.0)
    return [
        soft_unit(np.sqrt(np.tensordot(figure, names, 2)), 0.3),
        soft_unit(np.sqrt(np.tensordot(ground, names, 2)), 0.3),
        soft_unit(cells, 0.5),
    ]


FIGURE_WIDTHS = (len(NAMES), 6, 6, GRID * GRID * 8, THUMB * THUMB, HARMONICS)


def _figure_blocks(figure: Figure, lab: Array, names: Array) -> list[Array]:
    """Colour, tone, place and outline of one thing that stands out; as wide as FIGURE_WIDTHS say."""
    inside = figure.mask / (figure.mask.sum() + 1)
    tone = np.tensordot(inside, lab, 2) - np.array((50 * inside.sum(), 0, 0))
    contrast = np.tensordot(inside, lab, 2) - inside.sum() * lab.mean((0, 1))
    shape = oriented_gradients(figure.patch, GRID, GRID, 8, signed=True)
    thumb = cell_means(figure.patch[..., None], THUMB, THUMB).ravel()
    return [
        soft_unit(np.sqrt(np.tensordot(inside, names, 2)), 0.3),
        soft_unit(np.concatenate([tone, contrast]) / 50, 0.5),
        soft_unit(figure.place, 0.3),
        soft_unit(np.sqrt(shape).ravel(), 0.3),
        soft_unit(thumb - thumb.mean(), 0.3),
        soft_unit(signed_sqrt(outline(figure.patch, harmonics=HARMONICS)), 0.1),
    ]


def _width() -> int:
    colour = len(NAMES) * (1 + NAMES_GRID**2) + 6 * GRID * GRID
    structure = PATTERNS + 4 * FAMILIES + GRID * GRID * (ORIENTATIONS + 1)
    layout = LUMA_TERMS**2 - 1 + 2 * (CHROMA_TERMS**2 - 1)
    return colour + structure + layout + 2 * len(NAMES) + GRID * GRID + FIGURES * sum(FIGURE_WIDTHS)
