"""FILE.json beside FILE: what an ONNX network wants its pictures to be, and which output to take.

    {
      "size": [227, 227],           width, height in pixels; default: the graph's own, 224 where it leaves them open
      "layout": "NCHW",             or "NHWC"; default NHWC where the graph's last axis is 3, else NCHW
      "colour": "RGB",              or "BGR"; default RGB
      "scale": 0.00392156862745098, what a value of 0..255 is multiplied with first; default 1/255
      "mean": 0,                    is then taken off; a number or one a colour, in the order of "colour"; default 0
      "std": 1,                     divides last; like mean; default 1
      "fit": "crop",                the middle, without changing the aspect; or "stretch": all of it; default crop
                                    (a face detector always sees all of it)
      "output": "features",         name of the output with the vectors; default: the first
      "hz": 16000,                  sound: samples a second; default 16000
      "window_s": 10,               sound: seconds of a window where the graph leaves it open; default 10
      "labels": "labels.txt",       a classifier: file beside it with the names of its classes (classes.py)
      "activation": "softmax",      a classifier: or "sigmoid", what makes probabilities of its output; or "none"
      "scores": "scores",           face detection: the output [1, n, 2] of which the last column counts
      "boxes": "boxes",             face detection: the output [1, n, 4], left, top, right, bottom in 0..1
      "least_score": 0.9            face detection: what is less sure is no face; default 0.9
    }

Every line may be left out, and so may the file. A graph that takes bytes (uint8) gets the pixels as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from experts.neural.foreign import read_settings
from experts.neural.weights import WeightsError

CHOICES = {
    "layout": ("NCHW", "NHWC"),
    "colour": ("RGB", "BGR"),
    "fit": ("stretch", "crop"),
    "activation": ("softmax", "sigmoid", "none"),
}
HIGHEST_HZ, LONGEST_WINDOW_S = 192_000, 30.0
HINT = "experts/neural/sidecar.py lists what the file may say"


@dataclass(frozen=True)
class Sidecar:
    """How pictures are prepared for an ONNX network; see the top of this file."""

    size: tuple[int, int] | None = None
    layout: Literal["NCHW", "NHWC"] | None = None
    colour: Literal["RGB", "BGR"] = "RGB"
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    fit: Literal["stretch", "crop"] = "crop"
    output: str | None = None
    scores: str | None = None
    boxes: str | None = None
    least_score: float = 0.9
    hz: int = 16_000
    window_s: float = 10.0
    labels: str | None = None
    activation: Literal["softmax", "sigmoid", "none"] | None = None

    def prepare(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """An RGB frame as the network wants it: uint8 [h, w, 3] -> float32 [3, height, width] or [height, width, 3].

        The size must be known: what runs the network fills it in from the graph where the file has none.
        """
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        colours = (-1, 1, 1) if self.layout != "NHWC" else (-1,)
        # In this order, because that is how torchvision and most exports state their figures.
        values = self.pixels(image).astype(np.float32) * np.float32(self.scale) - mean.reshape(colours)
        return values / std.reshape(colours)

    def pixels(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The pixels that `prepare` makes its values of: uint8, of the same shape."""
        assert self.size is not None
        small = fitted(image, self.size, self.fit)
        ordered = small[..., ::-1] if self.colour == "BGR" else small
        return np.ascontiguousarray(ordered.transpose(2, 0, 1) if self.layout != "NHWC" else ordered)


def sidecar_path(network: Path) -> Path:
    """Where the sidecar of a network lies: FILE.json beside FILE.onnx, or FILE.onnx.json."""
    whole = network.with_name(network.name + ".json")
    return whole if whole.is_file() else network.with_suffix(".json")


def read_sidecar(network: Path) -> Sidecar:
    """What the file beside a network says; defaults where there is none.

    Raises:
        WeightsError: it says something that makes no sense.
    """
    path = sidecar_path(network)
    if not path.exists():
        return Sidecar()
    document = read_settings(path, WeightsError, HINT)
    unknown = sorted(set(document) - {field.name for field in fields(Sidecar)})
    if unknown:
        raise WeightsError(f"{path}: {unknown[0]!r} means nothing", HINT)
    try:
        return Sidecar(**{key: _checked_value(key, value) for key, value in document.items()})
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{path}: {error}", HINT) from error


def _checked_value(key: str, value: Any) -> Any:
    """The value of a field as `Sidecar` takes it. Raises ValueError or TypeError if it makes no sense."""
    if key in CHOICES:
        if value not in CHOICES[key]:
            raise ValueError(f"{key!r} is {value!r}, not one of {', '.join(CHOICES[key])}")
        return value
    if key == "size":
        sides = [value, value] if isinstance(value, int) else value
        if (
            not isinstance(sides, list)
            or len(sides) != 2
            or not all(isinstance(side, int) and 0 < side <= 4096 for side in sides)
        ):
            raise ValueError(f"'size' is {value!r}, not [width, height] in pixels")
        return tuple(sides)
    if key in ("mean", "std"):
        return _per_colour(key, value)
    if key in ("scale", "least_score"):
        return float(value)
    if key in ("hz", "window_s"):
        number, most = float(value), HIGHEST_HZ if key == "hz" else LONGEST_WINDOW_S
        if not 0 < number <= most:
            raise ValueError(f"{key!r} is {value!r}, not between 0 and {most:g}")
        return int(number) if key == "hz" else number
    if not isinstance(value, str):
        raise ValueError(f"{key!r} is {value!r}, not the name of {'a file' if key == 'labels' else 'an output'}")
    return value


def _per_colour(key: str, value: Any) -> tuple[float, ...]:
    values: Sequence[Any] = value if isinstance(value, list) else [value]
    numbers = tuple(float(each) for each in values)
    if len(numbers) not in (1, 3):
        raise ValueError(f"{key!r} has {len(numbers)} numbers, not 1 or 3")
    if key == "std" and not all(numbers):
        raise ValueError("'std' holds a 0, by which nothing can be divided")
    return numbers


def fitted(image: NDArray[np.uint8], size: tuple[int, int], fit: str) -> NDArray[np.uint8]:
    """A frame at `size` (width, height): stretched, or its middle cut out.

    Args:
        image: uint8 [h, w, 3].
    """
    if fit == "crop":
        height, width = image.shape[:2]
        scale = min(width / size[0], height / size[1])
        wide, high = (max(1, round(side * scale)) for side in size)
        left, top = (width - wide) // 2, (height - high) // 2
        image = image[top : top + high, left : left + wide]
    # Averaging over areas when it shrinks, interpolating when it grows, as most networks were trained with.
    smaller = image.shape[0] > size[1] or image.shape[1] > size[0]
    kind = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=kind), np.uint8)
