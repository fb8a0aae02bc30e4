"""Faces: where, how large, and what each looks like. One token a face, one frame a second.

Found by a Haar cascade (Viola and Jones, "Rapid Object Detection using a Boosted Cascade", CVPR 2001), the one that
OpenCV calls `frontalface_alt2`. Described without a network, so this tells a bearded man in black from a blond woman
in red rather than one person from another. Letters: H and W height and width of a frame in pixels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from experts.base import Clip, Sampling, State, Tokens
from experts.classic.appearance import fit_side
from experts.classic.descriptor import Array, cell_means, centred, join, signed_sqrt, soft_unit
from experts.classic.image_descriptors import (
    FAMILIES,
    NAMES,
    cell_histograms,
    colour_names,
    local_binary_patterns,
    oriented_gradients,
    pattern_families,
    to_lab,
)

CASCADE = "haarcascade_frontalface_alt2.xml"
SCALE_STEP, NEIGHBOURS = 1.2, 4
"""From one searched size to the next, and how many overlapping finds make a face (fewer: more false alarms)."""
SEARCH_SIDE = 320
"""Faces are looked for in a frame of this longer side (pixels), and described from the larger one."""
SMALLEST = 24
"""Smallest face in the searched frame, pixels; the cascade was trained on 20."""
MOST_FACES = 4
"""Most tokens from one frame, the largest faces first."""
FACE_SIDE = 64
"""A face is described at this size, pixels."""
ORIENTATIONS = 8
REGIONS = {
    "forehead": (0.25, 0.05, 0.75, 0.25),
    "cheeks": (0.2, 0.45, 0.8, 0.7),
    "chin": (0.3, 0.8, 0.7, 1.0),
    "hair": (0.1, -0.3, 0.9, 0.0),
    "sides": (-0.4, 0.1, 1.4, 0.6),
    "clothes": (-0.4, 1.3, 1.4, 2.0),
}
"""Parts of a person around a face box: left, top, right, bottom, in box sides from its left upper corner."""


class Face:
    """Expert for faces; one token for each face in one frame a second.

    Raises:
        FileNotFoundError: this OpenCV carries no Haar cascades (5.x has none).
    """

    name = "face"
    version = "1"
    weights = CASCADE.removesuffix(".xml")
    licence = "Intel, BSD-like"
    about = "sees faces: where, how large, and the look of each"
    cost = "about 14 ms of a core for a second of video"
    sampling = Sampling(frames_per_second=1.0, max_side=640)
    # The box, the look, the parts of a person around it.
    dim = 15 + (16 * FAMILIES + 36 * ORIENTATIONS + 64) + len(REGIONS) * (len(NAMES) + 6)
    _cascade: Any = None

    def prepare(self, device: str) -> None:
        """Load the cascade that comes with OpenCV."""
        cv2.setNumThreads(1)
        self._cascade = load_cascade()

    def extract(self, clip: Clip) -> Tokens:
        """One token for each face found, in the order of the frames, larger faces first."""
        if self._cascade is None:
            self.prepare("cpu")
        frames = clip.seen(self.sampling)
        if isinstance(frames, State):
            return Tokens.none(self.dim, frames)
        features: list[NDArray[np.float32]] = []
        times: list[float] = []
        for image, time_s in zip(frames.images, frames.times, strict=True):
            boxes = find_faces(image, self._cascade)
            features += [describe_face(image, box, len(boxes)) for box in boxes]
            times += [float(time_s)] * len(boxes)
        if not features:
            return Tokens.none(self.dim, State.NOTHING_FOUND)
        return Tokens(np.stack(features), np.array(times, np.float32))


def load_cascade() -> Any:
    """The frontal face cascade of the installed OpenCV.

    Raises:
        FileNotFoundError: it is not there.
    """
    # OpenCV 5 has neither the class nor the files, and builds by Linux distributions may lack `cv2.data`.
    folder = getattr(getattr(cv2, "data", None), "haarcascades", "")
    path = Path(folder) / CASCADE
    cascade = cv2.CascadeClassifier() if path.is_file() and hasattr(cv2, "CascadeClassifier") else None
    if cascade is None or not cascade.load(str(path)):
        raise FileNotFoundError(
            f"OpenCV {cv2.__version__} carries no {CASCADE}: pip install 'opencv-python-headless>=4.10,<5'"
        )
    return cascade


def find_faces(image: NDArray[np.uint8], cascade: Any) -> Array:
    """Boxes of the largest faces in an RGB frame: float32 [faces, 4], left, top, width, height in its pixels."""
    scale = min(1.0, SEARCH_SIDE / max(image.shape[:2]))
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if scale < 1:
        gray = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    if min(gray.shape) < SMALLEST:
        return np.zeros((0, 4), np.float32)
    found = cascade.detectMultiScale(gray, SCALE_STEP, NEIGHBOURS, minSize=(SMALLEST, SMALLEST))
    boxes = np.array(found, np.float32).reshape(-1, 4)
    # Sorted through and through (size, then place): the cascade's own order depends on its threads.
    order = np.lexsort((boxes[:, 1], boxes[:, 0], -boxes[:, 2]))
    return (boxes[order[:MOST_FACES]] / scale).astype(np.float32)


def describe_face(image: NDArray[np.uint8], box: Array, faces: int) -> NDArray[np.float32]:
    """The descriptor of one face: float32 [dim].

    Args:
        image: uint8 [H, W, 3] RGB.
        box: [4] left, top, width, height, pixels.
        faces: how many there are in the frame.
    """
    return join([_place(image, box, faces), *_look_blocks(image, box), *_colour_blocks(image, box)])


def _place(image: NDArray[np.uint8], box: Array, faces: int) -> Array:
    """Middle, size and number: coarse soft cells for the place, and plain numbers. float32 [15]."""
    height, width = image.shape[:2]
    # Soft cells: a face between two cells counts in both by its nearness, so that a step aside changes little.
    x, y = (box[0] + box[2] / 2) / width, (box[1] + box[3] / 2) / height
    size = np.log2(max(float(box[2]) / max(height, width), 0.02) / 0.02) / np.log2(50)
    near_x = np.maximum(0, 1 - np.abs(x * 4 - 0.5 - np.arange(4)))
    near_y = np.maximum(0, 1 - np.abs(y * 4 - 0.5 - np.arange(4)))
    near_size = np.maximum(0, 1 - np.abs(size * 3 - np.arange(4)))
    numbers = [x - 0.5, y - 0.5, faces / MOST_FACES]
    return soft_unit(np.concatenate([near_x, near_y, near_size, numbers]), 0.3)


def _crop(image: NDArray[np.uint8], box: Array, region: tuple[float, float, float, float]) -> NDArray[np.uint8]:
    """The part of the frame that `region` names around a face; may be empty."""
    left, top, side, tall = (float(value) for value in box)
    height, width = image.shape[:2]
    x0, x1 = (int(np.clip(round(left + part * side), 0, width)) for part in (region[0], region[2]))
    y0, y1 = (int(np.clip(round(top + part * tall), 0, height)) for part in (region[1], region[3]))
    return image[y0:y1, x0:x1]


def _look_blocks(image: NDArray[np.uint8], box: Array) -> list[Array]:
    """Texture, gradients and light of the face, its contrast made even: left and right kept apart."""
    face = cv2.resize(_crop(image, box, (0, 0, 1, 1)), (FACE_SIDE, FACE_SIDE), interpolation=cv2.INTER_AREA)
    gray = np.asarray(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY))
    wide = gray.astype(np.float32)
    # About -1..1 whatever the light; 8 grey levels more, or the grain of a face in the dark would be its texture.
    even = (wide - wide.mean()) / (wide.std() * 4 + 8)
    patterns = pattern_families()[local_binary_patterns(gray)]
    texture = cell_histograms(patterns, FAMILIES, 4, 4)
    gradients = oriented_gradients(even, 6, 6, ORIENTATIONS)
    return [
        soft_unit(centred(texture).ravel(), 0.5),
        soft_unit(np.sqrt(gradients).ravel(), 0.3),
        soft_unit(cell_means(even[..., None], 8, 8).ravel(), 0.5),
    ]


def _colour_blocks(image: NDArray[np.uint8], box: Array) -> list[Array]:
    """Colour names and Lab of forehead, cheeks, chin, hair, what is beside and the clothes; zero out of frame."""
    names = np.zeros((len(REGIONS), len(NAMES)), np.float32)
    tones = np.zeros((len(REGIONS), 6), np.float32)
    for at, region in enumerate(REGIONS.values()):
        part = _crop(image, box, region)
        if part.shape[0] < 2 or part.shape[1] < 2:  # cut off by the edge of the frame
            continue
        part = fit_side(part, 16)
        lab = to_lab(part)
        names[at] = colour_names(part).mean((0, 1))
        tones[at] = np.concatenate([(lab.mean((0, 1)) - (50, 0, 0)) / 50, lab.std((0, 1)) / 50])
    return [soft_unit(np.sqrt(names).ravel(), 0.3), soft_unit(signed_sqrt(tones).ravel(), 0.5)]
