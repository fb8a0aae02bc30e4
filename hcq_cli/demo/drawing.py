"""Draws the pictures of the demo's clips: objects, backgrounds, and the people who look on.

A Haar cascade, which the face expert finds faces with, looks for what light does to a face: bright forehead and
cheeks, dark eye sockets below darker brows, a bright bridge of the nose, a dark mouth. So those are drawn, shaded and
blurred, and a detector trained on photographs finds them; the rest of a face is decoration.

Every function draws its random numbers in a fixed order: another order, and every clip of the demo changes
(`RENDERER` in render.py). Colours are RGB in 0..255.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from hcq_cli.demo.clips import ATTRIBUTES

WIDTH, HEIGHT = 192, 144
"""Size of the clips, pixels."""
SPRITE = 128
"""Side of the square an object is drawn in, pixels."""
FACE_SIDE = 256
"""Side of the square a face is drawn in before it is shrunk into the frame, pixels."""

Image = NDArray[np.uint8]
Points = NDArray[np.int32]
Colour = tuple[int, int, int]
PAINT: dict[str, Colour] = {
    "red": (214, 30, 36),
    "orange": (246, 134, 20),
    "yellow": (248, 226, 40),
    "green": (34, 168, 60),
    "blue": (36, 84, 224),
    "purple": (136, 44, 180),
    "pink": (252, 140, 190),
    "white": (246, 246, 246),
}
SKIN: tuple[Colour, ...] = ((236, 198, 172), (224, 180, 150), (206, 160, 128), (190, 144, 112))
HAIR: dict[str, tuple[Colour, ...]] = {
    "bearded man": ((58, 40, 30), (40, 32, 28), (84, 52, 32)),
    "long-haired woman": ((206, 164, 92), (190, 142, 74), (216, 180, 120)),
    "man in glasses": ((120, 120, 124), (150, 150, 152), (96, 96, 100)),
}
"""Hair colours of each kind of person; a beard is of the same colour."""


def _arc(
    picture: NDArray[Any],
    centre: tuple[int, int],
    axes: tuple[int, int],
    colour: Colour | list[float],
    between_deg: tuple[int, int],
    tilt_deg: int = 0,
    thickness: int = -1,
) -> None:
    """Part of an ellipse from one angle to another, filled (a wedge) if no thickness is given, its edge smooth."""
    cv2.ellipse(
        picture,
        centre,
        axes,
        angle=tilt_deg,
        startAngle=between_deg[0],
        endAngle=between_deg[1],
        color=colour,
        thickness=thickness,
        lineType=cv2.LINE_AA,
    )


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
    # A darker wedge to the right, where every shape has something to show it on: a turning ball is seen to turn.
    wedge = [float(channel) for channel in paint * 0.62]
    _arc(picture, (64, 64), (90, 90), wedge, (-28, 28))
    inner = cv2.erode(mask, np.ones((7, 7), np.uint8))[..., None] > 127
    picture = np.where(inner, picture, np.float32(0.35) * paint.astype(np.float32))
    # Multiplied by alpha: a sprite that is turned and scaled would else get a dark fringe of its transparent pixels.
    alpha = mask.astype(np.float32)[..., None] / 255
    return np.concatenate([picture * alpha, alpha], axis=2)


def _fill_shape(mask: Image, name: str) -> None:
    """Fill an object's shape, 255 in 0, around the middle of `mask`, which is uint8 [SPRITE, SPRITE]."""
    if name == "ball":
        cv2.circle(mask, (64, 64), 52, 255, thickness=-1, lineType=cv2.LINE_AA)
    elif name == "ring":
        cv2.circle(mask, (64, 64), 46, 255, thickness=17, lineType=cv2.LINE_AA)
    elif name == "moon":
        cv2.circle(mask, (60, 64), 54, 255, thickness=-1, lineType=cv2.LINE_AA)
        cv2.circle(mask, (30, 52), 44, 0, thickness=-1, lineType=cv2.LINE_AA)  # a disc with a bite of another disc
    else:
        cv2.fillPoly(mask, [_OUTLINES[name]()], 255, cv2.LINE_AA)


def _polygon(radii: list[float], start_deg: float) -> Points:
    """Corners at these distances from the middle, evenly around it."""
    angles = np.radians(start_deg + np.arange(len(radii)) * 360 / len(radii))
    return np.stack([64 + np.cos(angles) * radii, 64 + np.sin(angles) * radii], axis=1).round().astype(np.int32)


def _heart() -> Points:
    # The well-known curve x = 16 sin³t, y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t.
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
    # Grain, as a camera has: without it flat areas would be told apart by bands that only drawings have.
    grain = rng.normal(0, 3, (HEIGHT, WIDTH, 1))
    return np.clip(picture * rng.uniform(0.9, 1.05) + grain, 0, 255).astype(np.uint8)


def _gradient(top: Colour, bottom: Colour, height: int = HEIGHT) -> Image:
    """Rows that go from one colour to another: uint8 [height, WIDTH, 3]."""
    share = np.linspace(0, 1, height)[:, None, None]
    rows = np.array(top) * (1 - share) + np.array(bottom) * share
    return np.ascontiguousarray(np.broadcast_to(rows, (height, WIDTH, 3)).astype(np.uint8))


def _night(rng: Generator) -> Image:
    sky = _gradient((10, 12, 34), (30, 30, 66))
    for x, y in rng.integers(0, (WIDTH, HEIGHT), (70, 2)):
        radius = int(rng.integers(1, 3))
        cv2.circle(sky, (int(x), int(y)), radius, (220, 220, 200), thickness=-1, lineType=cv2.LINE_AA)
    return sky


def _meadow(rng: Generator) -> Image:
    field = _gradient((150, 206, 240), (200, 226, 236))
    horizon = int(rng.integers(48, 62))
    field[horizon:] = _gradient((112, 170, 74), (72, 132, 44), HEIGHT - horizon)
    for x, y in rng.integers((0, horizon + 4), (WIDTH, HEIGHT + 8), (170, 2)):
        tip = (int(x + rng.integers(-3, 4)), int(y) - 8)
        cv2.line(field, (int(x), int(y)), tip, (46, 100, 30), thickness=1, lineType=cv2.LINE_AA)
    return field


def _sea(rng: Generator) -> Image:
    water = _gradient((226, 236, 240), (206, 226, 236))
    horizon = int(rng.integers(34, 46))
    water[horizon:] = _gradient((52, 140, 160), (14, 76, 112), HEIGHT - horizon)
    x, phase = np.arange(0, WIDTH + 1, 4), rng.uniform(0, 7)
    for y in range(horizon + 8, HEIGHT, 12):
        wave = np.stack([x, y + 3 * np.sin(x / 9 + phase + y)], axis=1).round().astype(np.int32)
        cv2.polylines(water, [wave], False, (150, 206, 214), thickness=2, lineType=cv2.LINE_AA)
    return water


def _bricks(rng: Generator) -> Image:
    wall = np.full((HEIGHT, WIDTH, 3), (176, 164, 154), np.uint8)
    shift = int(rng.integers(0, 30))
    # Every other row is shifted by half a brick, as masons lay them.
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
    sand = _gradient((250, 214, 160), (252, 232, 190))
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


def draw_face(person: str, rng: Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Draw the head and shoulders of one person, looking at the viewer.

    Args:
        person: "bearded man", "long-haired woman" or "man in glasses".
        rng: varies skin, hair, and the shape of the head and mouth.

    Returns:
        RGB float32 [FACE_SIDE, FACE_SIDE, 3] in 0..255, and the mask float32 [FACE_SIDE, FACE_SIDE, 1] in 0..1.
    """
    skin, hair = SKIN[rng.integers(len(SKIN))], HAIR[person][rng.integers(len(HAIR[person]))]
    picture, mask = np.zeros((FACE_SIDE, FACE_SIDE, 3), np.uint8), np.zeros((FACE_SIDE, FACE_SIDE), np.uint8)
    width = int(rng.integers(62, 69))
    red, green, blue = (int(channel) for channel in rng.integers(40, 200, 3))
    _shoulders(picture, mask, skin, (red, green, blue))
    if person == "long-haired woman":
        _ellipse((picture, mask), (128, 136), (width + 24, 110), hair)
    _ellipse((picture, mask), (128, 88), (width + 8, 74), hair)
    _head(picture, mask, skin, width)
    if person == "bearded man":
        _beard(picture, hair, width)
    _eyes(picture, hair, glasses=person == "man in glasses")
    _nose_and_mouth(picture, skin, person, smile=int(rng.integers(2, 9)))
    # Blurred as a lens does: the sharp edges of a drawing are features that no photograph has.
    soft = cv2.GaussianBlur(picture, (0, 0), 1.6)
    return soft.astype(np.float32), (cv2.GaussianBlur(mask, (0, 0), 1.2)[..., None] / 255).astype(np.float32)


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (int(min(255, channel * factor)) for channel in colour)
    return red, green, blue


def _ellipse(
    layers: tuple[NDArray[np.uint8], ...], centre: tuple[int, int], axes: tuple[int, int], colour: Colour
) -> None:
    for layer in layers:
        _arc(layer, centre, axes, colour if layer.ndim == 3 else (255, 255, 255), (0, 360))


def _shoulders(picture: NDArray[np.uint8], mask: NDArray[np.uint8], skin: Colour, shirt: Colour) -> None:
    _ellipse((picture, mask), (128, 262), (104, 54), shirt)
    for layer, colour in ((picture, _shade(skin, 0.78)), (mask, (255,))):
        cv2.rectangle(layer, (100, 170), (156, 226), colour, thickness=-1, lineType=cv2.LINE_AA)


def _head(picture: NDArray[np.uint8], mask: NDArray[np.uint8], skin: Colour, width: int) -> None:
    """The oval of the face, lit from the front: bright in the middle, darker towards its edge."""
    _ellipse((mask,), (128, 120), (width, 86), skin)
    for ear in (-1, 1):
        _ellipse((picture, mask), (128 + ear * (width + 1), 122), (9, 18), _shade(skin, 0.8))
    # Eight ovals, each smaller and lighter: a gradient from the edge to the middle, as from a light in front.
    for step in range(8):
        shrink = 1 - 0.09 * step
        axes = (int(width * shrink), int(86 * shrink))
        _ellipse((picture,), (128, 120), axes, _shade(skin, 0.78 + 0.04 * step))
    for cheek in (-1, 1):
        _ellipse((picture,), (128 + cheek * 34, 142), (18, 16), _shade(skin, 1.08))
    _ellipse((picture,), (128, 72), (40, 22), _shade(skin, 1.1))


def _beard(picture: NDArray[np.uint8], hair: Colour, width: int) -> None:
    shadow = picture.copy()
    _arc(shadow, (128, 146), (width - 3, 60), hair, (12, 168))
    _ellipse((shadow,), (128, 150), (34, 12), hair)
    cv2.addWeighted(shadow, 0.82, picture, 0.18, 0, dst=picture)


def _eyes(picture: NDArray[np.uint8], hair: Colour, glasses: bool) -> None:
    for side in (-1, 1):
        x = 128 + side * 29
        # Half transparent, so that the skin's own shade shows: a socket is dark, not painted.
        socket = picture.copy()
        _ellipse((socket,), (x, 106), (22, 15), (90, 62, 50))
        cv2.addWeighted(socket, 0.55, picture, 0.45, 0, dst=picture)
        _ellipse((picture,), (x, 109), (14, 7), (226, 220, 214))
        _ellipse((picture,), (x, 109), (7, 7), (44, 30, 24))
        _arc(picture, (x, 108), (16, 9), (40, 26, 22), (180, 360), thickness=3)
        _arc(picture, (x, 98), (23, 10), _shade(hair, 0.55), (195, 345), tilt_deg=side * 4, thickness=7)
        if glasses:
            cv2.circle(picture, (x, 110), 22, (26, 26, 30), thickness=4, lineType=cv2.LINE_AA)
    if glasses:
        cv2.line(picture, (121, 108), (135, 108), (26, 26, 30), thickness=4, lineType=cv2.LINE_AA)


def _nose_and_mouth(picture: NDArray[np.uint8], skin: Colour, person: str, smile: int) -> None:
    cv2.line(picture, (128, 96), (128, 138), _shade(skin, 1.14), thickness=11, lineType=cv2.LINE_AA)
    _ellipse((picture,), (128, 140), (12, 8), _shade(skin, 1.1))
    for side in (-1, 1):
        _ellipse((picture,), (128 + side * 7, 147), (4, 3), _shade(skin, 0.5))
    lips = (176, 60, 66) if person == "long-haired woman" else (140, 74, 66)
    _arc(picture, (128, 168 - smile), (25, smile + 3), lips, (0, 180))
    _arc(picture, (128, 167 - smile), (26, smile), (70, 26, 28), (0, 180), thickness=4)
    _ellipse((picture,), (128, 184), (14, 4), _shade(skin, 0.82))
