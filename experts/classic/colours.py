"""Colours as people name them: soft membership of every colour in twelve basic names, by a table.

The names are the eleven basic colour terms of English (Berlin and Kay, 1969) and cyan; each is given by a few
shades, and a colour belongs to the names of the shades near it in CIE Lab.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from experts.classic.descriptor import Array

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
NAMES = tuple(SHADES)
SOFTNESS = 14.0
"""Distance in Lab over which one name fades into the next."""


def to_lab(images: NDArray[np.uint8]) -> Array:
    """CIE Lab (L 0..100, a and b about -100..100) of RGB images: [h, w, 3] -> float32 [h, w, 3]."""
    return np.asarray(cv2.cvtColor(images.astype(np.float32) / 255, cv2.COLOR_RGB2Lab), np.float32)


@lru_cache(maxsize=1)
def _membership() -> Array:
    """Membership of 32 × 32 × 32 colours in the names: [32768, names], rows sum to 1."""
    ticks = (np.arange(32) * 8 + 4).astype(np.uint8)
    cube = np.stack(np.meshgrid(ticks, ticks, ticks, indexing="ij"), -1).reshape(-1, 1, 3)
    shades = np.array([shade for group in SHADES.values() for shade in group], np.uint8)[:, None]
    owner = np.array([at for at, group in enumerate(SHADES.values()) for _ in group])
    apart = np.square(to_lab(cube)[:, 0, None] - to_lab(shades)[:, 0]).sum(-1)
    near = np.exp(-(apart - apart.min(1, keepdims=True)) / (2 * SOFTNESS**2))
    member = near @ np.eye(len(NAMES), dtype=np.float32)[owner]
    return (member / member.sum(1, keepdims=True)).astype(np.float32)


def colour_names(images: NDArray[np.uint8]) -> Array:
    """Soft colour names of every pixel: RGB [h, w, 3] -> float32 [h, w, names], summing to 1."""
    fine = images.astype(np.int32) >> 3
    return _membership()[(fine[..., 0] << 10) | (fine[..., 1] << 5) | fine[..., 2]]
