"""Draws the objects and the backgrounds of the demo's clips."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from hcq_cli.demo.clips import ATTRIBUTES

WIDTH, HEIGHT = 192, 144
"""Size of the clips, pixels."""
SPRITE = 128
"""Side of the square an object is drawn in, pixels."""

Image = NDArray[np.uint8]
Points = NDArray[np.int32]
PAINT: dict[str, tuple[int, int, int]] = {
    "red": (214, 30, 36),
    "orange": (246, 134, 20),
    "yellow": (248, 226, 40),
    "green": (34, 168, 60),
    "blue": (36, 84, 224),
    "purple": (136, 44, 180),
    "pink": (252, 140, 190),
    "white": (246, 246, 246),
}


def draw_object(name: str, colour: str, rng: Generator) -> NDArray[np.float32]:
    """Draw an object with a dark rim and a mark, so that even a ball is seen to turn.

    Args:
        name: a value of the attribute "object".
        colour: a value of the attribute "colour".
        rng: varies the shade.

    Returns:
        RGBA float32 [SPRITE, SPRITE, 4], colours in 0..255 and multiplied by alpha, alpha in 0..1.
    """
    mask = np.zeros((SPRITE, SPRITE), np.uint8)
    _fill_shape(mask, name)
    paint = np.clip(np.array(PAINT[colour]) * rng.uniform(0.94, 1.06), 0, 255)
    picture = np.full((SPRITE, SPRITE, 3), paint, np.float32)
    _mark(picture, paint * 0.62)
    inner = cv2.erode(mask, np.ones((7, 7), np.uint8))[..., None] > 127
    picture = np.where(inner, picture, np.float32(0.35) * paint.astype(np.float32))
    alpha = mask.astype(np.float32)[..., None] / 255
    return np.concatenate([picture * alpha, alpha], axis=2)


def _mark(picture: NDArray[np.float32], colour: NDArray[np.float64]) -> None:
    """A darker wedge to the right, where every shape has something to show it on."""
    cv2.ellipse(picture, (64, 64), (90, 90), 0, -28, 28, [float(channel) for channel in colour], -1, cv2.LINE_AA)


def _fill_shape(mask: Image, name: str) -> None:
    if name == "ball":
        cv2.circle(mask, (64, 64), 52, 255, -1, cv2.LINE_AA)
    elif name == "ring":
        cv2.circle(mask, (64, 64), 46, 255, 17, cv2.LINE_AA)
    elif name == "moon":
        cv2.circle(mask, (60, 64), 54, 255, -1, cv2.LINE_AA)
        cv2.circle(mask, (30, 52), 44, 0, -1, cv2.LINE_AA)
    else:
        cv2.fillPoly(mask, [_OUTLINES[name]()], 255, cv2.LINE_AA)


def _polygon(radii: list[float], start_deg: float) -> Points:
    angles = np.radians(start_deg + np.arange(len(radii)) * 360 / len(radii))
    return np.stack([64 + np.cos(angles) * radii, 64 + np.sin(angles) * radii], axis=1).round().astype(np.int32)


def _heart() -> Points:
    t = np.linspace(0, 2 * np.pi, 60)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([64 + 3.4 * 16 * np.sin(t) ** 3, 60 - 3.5 * y], axis=1).round().astype(np.int32)


def _cross() -> Points:
    a, b, c, d = 12, 46, 82, 116
    corners = [(b, a), (c, a), (c, b), (d, b), (d, c), (c, c), (c, d), (b, d), (b, c), (a, c), (a, b), (b, b)]
    return np.array(corners, np.int32)


_OUTLINES: dict[str, Callable[[], Points]] = {
    "box": lambda: np.array([(18, 18), (110, 18), (110, 110), (18, 110)], np.int32),
    "triangle": lambda: _polygon([62.0] * 3, -90),
    "star": lambda: _polygon([60.0, 25.0] * 5, -90),
    "heart": _heart,
    "cross": _cross,
}


def draw_background(name: str, rng: Generator) -> Image:
    """Draw a background, uint8 [HEIGHT, WIDTH, 3]; `rng` varies its details and brightness."""
    picture = _BACKGROUNDS[name](rng)
    grain = rng.normal(0, 3, (HEIGHT, WIDTH, 1))
    return np.clip(picture * rng.uniform(0.9, 1.05) + grain, 0, 255).astype(np.uint8)


def _blend(top: tuple[int, int, int], bottom: tuple[int, int, int], height: int = HEIGHT) -> Image:
    share = np.linspace(0, 1, height)[:, None, None]
    rows = np.array(top) * (1 - share) + np.array(bottom) * share
    return np.ascontiguousarray(np.broadcast_to(rows, (height, WIDTH, 3)).astype(np.uint8))


def _night(rng: Generator) -> Image:
    sky = _blend((10, 12, 34), (30, 30, 66))
    for x, y in rng.integers(0, (WIDTH, HEIGHT), (70, 2)):
        cv2.circle(sky, (int(x), int(y)), int(rng.integers(1, 3)), (220, 220, 200), -1, cv2.LINE_AA)
    return sky


def _meadow(rng: Generator) -> Image:
    field = _blend((150, 206, 240), (200, 226, 236))
    horizon = int(rng.integers(48, 62))
    field[horizon:] = _blend((112, 170, 74), (72, 132, 44), HEIGHT - horizon)
    for x, y in rng.integers((0, horizon + 4), (WIDTH, HEIGHT + 8), (170, 2)):
        cv2.line(field, (int(x), int(y)), (int(x + rng.integers(-3, 4)), int(y) - 8), (46, 100, 30), 1, cv2.LINE_AA)
    return field


def _sea(rng: Generator) -> Image:
    water = _blend((226, 236, 240), (206, 226, 236))
    horizon = int(rng.integers(34, 46))
    water[horizon:] = _blend((52, 140, 160), (14, 76, 112), HEIGHT - horizon)
    x, phase = np.arange(0, WIDTH + 1, 4), rng.uniform(0, 7)
    for y in range(horizon + 8, HEIGHT, 12):
        wave = np.stack([x, y + 3 * np.sin(x / 9 + phase + y)], axis=1).round().astype(np.int32)
        cv2.polylines(water, [wave], False, (150, 206, 214), 2, cv2.LINE_AA)
    return water


def _bricks(rng: Generator) -> Image:
    wall = np.full((HEIGHT, WIDTH, 3), (176, 164, 154), np.uint8)
    shift = int(rng.integers(0, 30))
    for row, y in enumerate(range(0, HEIGHT, 15)):
        for x in range(-60 + shift + row % 2 * 15, WIDTH, 30):
            brick = np.array((148, 78, 60)) + rng.integers(-14, 15)
            cv2.rectangle(wall, (x + 1, y + 1), (x + 27, y + 12), [int(v) for v in brick], -1)
    return wall


def _chessboard(rng: Generator) -> Image:
    cell, (shift_x, shift_y) = 24, rng.integers(0, 24, 2)
    rows, columns = np.arange(HEIGHT) + shift_y, np.arange(WIDTH) + shift_x
    dark = (rows[:, None] // cell + columns[None] // cell) % 2
    return np.where(dark[..., None] == 1, 70, 186).astype(np.uint8).repeat(3, axis=2)


def _desert(rng: Generator) -> Image:
    sand = _blend((250, 214, 160), (252, 232, 190))
    for y, shade in ((64, (222, 176, 112)), (88, (208, 158, 94)), (114, (194, 142, 80))):
        x, phase = np.arange(0, WIDTH + 8, 8), rng.uniform(0, 7)
        ridge = np.stack([x, y + 9 * np.sin(x / 38 + phase)], axis=1).round().astype(np.int32)
        cv2.fillPoly(sand, [np.vstack([ridge, [(WIDTH, HEIGHT), (0, HEIGHT)]]).astype(np.int32)], shade, cv2.LINE_AA)
    return sand


_BACKGROUNDS: dict[str, Callable[[Generator], Image]] = {
    "night": _night,
    "meadow": _meadow,
    "sea": _sea,
    "bricks": _bricks,
    "chessboard": _chessboard,
    "desert": _desert,
}
assert set(_BACKGROUNDS) == set(ATTRIBUTES["background"])
