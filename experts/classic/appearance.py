"""What a frame looks like: colour, texture, gradient structure over a grid, and what stands out in it.

`Appearance` is the expert; `describe_frame` is the descriptor, which the scene expert uses too.
Letters: H and W height and width in pixels, N colour names.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from experts.base import Clip, Sampling, State, Tokens
from experts.classic.descriptor import Array, cell_means, centred, compress, join, signed_sqrt, soft_unit
from experts.classic.image_descriptors import (
    FAMILIES,
    NAMES,
    PATTERNS,
    Figure,
    cell_histograms,
    colour_names,
    find_figures,
    local_binary_patterns,
    low_frequencies,
    oriented_gradients,
    outline_harmonics,
    pattern_families,
    saliency_map,
    to_lab,
)

SIDE = 128
"""Longer side at which a frame is described, pixels; its colours at half of it."""
GRID = 4
"""Cells along each side of the grid, but for colour names (NAMES_GRID) and the mask of a figure (THUMB)."""
NAMES_GRID = 3
THUMB = 6
ORIENTATIONS = 9
LUMA_TERMS, CHROMA_TERMS = 7, 4
"""Cosine terms along each side; the eye sees less detail in colour than in light."""
HARMONICS = 10
FIGURES = 2
"""How many things that stand out are described each by itself."""
FIGURE_WIDTHS = (len(NAMES), 6, 6, GRID * GRID * 8, THUMB * THUMB, HARMONICS)
"""Numbers in each block of a figure: names, tone and contrast, place, gradients, mask, outline."""


class Appearance:
    """Expert for still appearance; one token a frame, two frames a second."""

    name = "appearance"
    version = "1"
    weights = ""
    licence = ""
    about = "sees colours, textures, layout, and the colour and shape of what stands out"
    cost = "about 5 ms of a core for a second of video"
    sampling = Sampling(frames_per_second=2.0, max_side=256)
    dim = (
        (len(NAMES) * (1 + NAMES_GRID**2) + 6 * GRID * GRID)  # colour
        + (PATTERNS + 4 * FAMILIES + GRID * GRID * (ORIENTATIONS + 1))  # structure
        + (LUMA_TERMS**2 - 1 + 2 * (CHROMA_TERMS**2 - 1))  # layout
        + (2 * len(NAMES) + GRID * GRID)  # the ground behind the figures
        + FIGURES * sum(FIGURE_WIDTHS)
    )

    def prepare(self, device: str) -> None:
        """Set up the colour table; everything runs on the processor, on one thread."""
        cv2.setNumThreads(1)
        colour_names(np.zeros((1, 1, 3), np.uint8))

    def extract(self, clip: Clip) -> Tokens:
        """One token for each sampled frame: features float32 [frames, dim]."""
        frames = clip.seen(self.sampling)
        if isinstance(frames, State):
            return Tokens.none(self.dim, frames)
        features = np.stack([describe_frame(image) for image in frames.images])
        return Tokens(features, frames.times.astype(np.float32))


def fit_side(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """`image` with its longer side at `side` pixels and no side under 16: uint8 [H, W, 3] -> [H', W', 3]."""
    scale = side / max(image.shape[:2])
    size = [max(16, round(length * scale)) for length in image.shape[1::-1]]
    # Averaging over areas when it shrinks, or thin lines would come and go from frame to frame.
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=kind), np.uint8)


def describe_frame(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The descriptor of one RGB frame: uint8 [H, W, 3] -> float32 [dim]."""
    image = fit_side(image, SIDE)
    gray = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
    small = fit_side(image, SIDE // 2)
    lab, names = to_lab(small), colour_names(small)
    saliency = saliency_map(lab)
    blocks = _colour_blocks(lab, names) + _structure_blocks(gray, lab) + _ground_blocks(saliency, names)
    figures = [_figure_blocks(figure, lab, names) for figure in find_figures(saliency, FIGURES)]
    # A frame with fewer figures has zeros in their place: every number keeps its meaning.
    absent = [np.zeros(width, np.float32) for width in FIGURE_WIDTHS]
    for slot in range(FIGURES):
        blocks += figures[slot] if slot < len(figures) else absent
    return join(blocks)


def _colour_blocks(lab: Array, names: Array) -> list[Array]:
    """Colour names of the frame and of each cell; mean and spread of Lab in each cell.

    Args:
        lab: [H, W, 3].
        names: [H, W, N].
    """
    cells = cell_means(names, NAMES_GRID, NAMES_GRID)
    mean = cell_means(lab, GRID, GRID)
    # E[x²] - E[x]² may round to just below 0 in a flat cell.
    spread = np.sqrt(np.maximum(cell_means(np.square(lab), GRID, GRID) - np.square(mean), 0))
    mean = (mean - (50, 0, 0)) / 50  # L to -1..1 as a and b are about
    return [
        soft_unit(centred(names.mean((0, 1))), 0.1),
        soft_unit(centred(cells).ravel(), 0.5),
        soft_unit(mean.ravel(), 0.5),
        soft_unit(signed_sqrt(spread / 50).ravel(), 0.5),
    ]


def _structure_blocks(gray: NDArray[np.uint8], lab: Array) -> list[Array]:
    """Patterns of texture, gradient directions over the grid, and the coarse layout of light and colour."""
    patterns = local_binary_patterns(gray)
    whole = cell_histograms(patterns, PATTERNS, 1, 1).ravel()
    # Quarters have few pixels: they count families of patterns, which fill a histogram sooner than patterns do.
    quarters = cell_histograms(pattern_families()[patterns], FAMILIES, 2, 2)
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


def _ground_blocks(saliency: Array, names: Array) -> list[Array]:
    """Colour names of all that stands out and of the ground around it, and where things stand out."""
    # + 1 pixel: in a frame of one colour nothing stands out, and nothing is divided by.
    figure = saliency / (saliency.sum() + 1)
    ground = (1 - saliency) / ((1 - saliency).sum() + 1)
    cells = compress(cell_means(saliency[..., None], GRID, GRID).ravel(), 0.2, 1.0)
    return [
        soft_unit(np.sqrt(np.tensordot(figure, names, 2)), 0.3),
        soft_unit(np.sqrt(np.tensordot(ground, names, 2)), 0.3),
        soft_unit(cells, 0.5),
    ]


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
        soft_unit(signed_sqrt(outline_harmonics(figure.patch, harmonics=HARMONICS)), 0.1),
    ]
