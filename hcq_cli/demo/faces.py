"""Draws faces good enough that a detector trained on photographs finds them.

A Haar cascade looks for what light does to a face: bright forehead and cheeks, dark eye sockets below darker
brows, a bright bridge of the nose, a dark mouth. So those are drawn, shaded and blurred; the rest is decoration.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

SIDE = 256
"""Side of the square a face is drawn in before it is shrunk into the frame, pixels."""

Colour = tuple[int, int, int]
SKIN: tuple[Colour, ...] = ((236, 198, 172), (224, 180, 150), (206, 160, 128), (190, 144, 112))
HAIR: dict[str, tuple[Colour, ...]] = {
    "bearded man": ((58, 40, 30), (40, 32, 28), (84, 52, 32)),
    "long-haired woman": ((206, 164, 92), (190, 142, 74), (216, 180, 120)),
    "man in glasses": ((120, 120, 124), (150, 150, 152), (96, 96, 100)),
}
"""Hair colours of each kind of person; a beard is of the same colour."""


def draw_face(person: str, rng: Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Draw the head and shoulders of one person, looking at the viewer.

    Args:
        person: "bearded man", "long-haired woman" or "man in glasses".
        rng: varies skin, hair, and the shape of the head and mouth.

    Returns:
        RGB float32 [SIDE, SIDE, 3] in 0..255, and the mask float32 [SIDE, SIDE, 1] in 0..1.
    """
    skin, hair = SKIN[rng.integers(len(SKIN))], HAIR[person][rng.integers(len(HAIR[person]))]
    picture, mask = np.zeros((SIDE, SIDE, 3), np.uint8), np.zeros((SIDE, SIDE), np.uint8)
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
    soft = cv2.GaussianBlur(picture, (0, 0), 1.6)
    return soft.astype(np.float32), (cv2.GaussianBlur(mask, (0, 0), 1.2)[..., None] / 255).astype(np.float32)


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (int(min(255, channel * factor)) for channel in colour)
    return red, green, blue


def _ellipse(
    layers: tuple[NDArray[np.uint8], ...], centre: tuple[int, int], axes: tuple[int, int], colour: Colour
) -> None:
    for layer in layers:
        cv2.ellipse(layer, centre, axes, 0, 0, 360, colour if layer.ndim == 3 else 255, -1, cv2.LINE_AA)


def _shoulders(picture: NDArray[np.uint8], mask: NDArray[np.uint8], skin: Colour, shirt: Colour) -> None:
    _ellipse((picture, mask), (128, 262), (104, 54), shirt)
    for layer, colour in ((picture, _shade(skin, 0.78)), (mask, (255,))):
        cv2.rectangle(layer, (100, 170), (156, 226), colour, -1, cv2.LINE_AA)


def _head(picture: NDArray[np.uint8], mask: NDArray[np.uint8], skin: Colour, width: int) -> None:
    """The oval of the face, lit from the front: bright in the middle, darker towards its edge."""
    _ellipse((mask,), (128, 120), (width, 86), skin)
    for ear in (-1, 1):
        _ellipse((picture, mask), (128 + ear * (width + 1), 122), (9, 18), _shade(skin, 0.8))
    for step in range(8):
        shrink = 1 - 0.09 * step
        axes = (int(width * shrink), int(86 * shrink))
        _ellipse((picture,), (128, 120), axes, _shade(skin, 0.78 + 0.04 * step))
    for cheek in (-1, 1):
        _ellipse((picture,), (128 + cheek * 34, 142), (18, 16), _shade(skin, 1.08))
    _ellipse((picture,), (128, 72), (40, 22), _shade(skin, 1.1))


def _beard(picture: NDArray[np.uint8], hair: Colour, width: int) -> None:
    shadow = picture.copy()
    cv2.ellipse(shadow, (128, 146), (width - 3, 60), 0, 12, 168, hair, -1, cv2.LINE_AA)
    _ellipse((shadow,), (128, 150), (34, 12), hair)
    cv2.addWeighted(shadow, 0.82, picture, 0.18, 0, dst=picture)


def _eyes(picture: NDArray[np.uint8], hair: Colour, glasses: bool) -> None:
    for side in (-1, 1):
        x = 128 + side * 29
        socket = picture.copy()
        _ellipse((socket,), (x, 106), (22, 15), (90, 62, 50))
        cv2.addWeighted(socket, 0.55, picture, 0.45, 0, dst=picture)
        _ellipse((picture,), (x, 109), (14, 7), (226, 220, 214))
        _ellipse((picture,), (x, 109), (7, 7), (44, 30, 24))
        cv2.ellipse(picture, (x, 108), (16, 9), 0, 180, 360, (40, 26, 22), 3, cv2.LINE_AA)
        cv2.ellipse(picture, (x, 98), (23, 10), side * 4, 195, 345, _shade(hair, 0.55), 7, cv2.LINE_AA)
        if glasses:
            cv2.circle(picture, (x, 110), 22, (26, 26, 30), 4, cv2.LINE_AA)
    if glasses:
        cv2.line(picture, (121, 108), (135, 108), (26, 26, 30), 4, cv2.LINE_AA)


def _nose_and_mouth(picture: NDArray[np.uint8], skin: Colour, person: str, smile: int) -> None:
    cv2.line(picture, (128, 96), (128, 138), _shade(skin, 1.14), 11, cv2.LINE_AA)
    _ellipse((picture,), (128, 140), (12, 8), _shade(skin, 1.1))
    for side in (-1, 1):
        _ellipse((picture,), (128 + side * 7, 147), (4, 3), _shade(skin, 0.5))
    lips = (176, 60, 66) if person == "long-haired woman" else (140, 74, 66)
    cv2.ellipse(picture, (128, 168 - smile), (25, smile + 3), 0, 0, 180, lips, -1, cv2.LINE_AA)
    cv2.ellipse(picture, (128, 167 - smile), (26, smile), 0, 0, 180, (70, 26, 28), 4, cv2.LINE_AA)
    _ellipse((picture,), (128, 184), (14, 4), _shade(skin, 0.82))
