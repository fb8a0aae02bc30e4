"""Frames on their way into a network, and where the windows lie that a network of fixed length looks at.

Letters: n frames or windows, H and W height and width of a frame in pixels.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from experts.neural.network import load_pretrained
from experts.neural.weights import Weights, WeightsError, first_line, read_json

if TYPE_CHECKING:
    from PIL.Image import Image

SMALLEST = 16
"""No side of a frame is shorter when a network sees it, pixels."""
SLIMMEST = 8
"""A frame is at most so many times as long as it is wide when a network sees it."""
NEARLY_SQUARE = 1.15
"""A frame at most so many times as long as it is wide is seen whole in one square."""
USUAL_SIDE = 512
"""Longer side at which frames are asked for, pixels: enough for a centre crop of 224 to 288 out of a wide frame."""


def presentable(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The frame itself, but for the oddest: no side under `SMALLEST`, none over `SLIMMEST` times the other.

    Args:
        image: uint8 [H, W, 3].
    """
    # An image processor scales the shorter side to its size: a frame one pixel high would become one of gigabytes.
    height, width = image.shape[:2]
    least = max(SMALLEST, -(-max(height, width) // SLIMMEST))
    if min(height, width) >= least:
        return image
    size = (max(width, least), max(height, least))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def squares(images: NDArray[np.uint8], share: float = 1.0) -> tuple[NDArray[np.uint8], int]:
    """Squares that cover frames from end to end: a classifier cuts out the middle, and never sees what is beside it.

    Args:
        images: uint8 [n, H, W, 3].
        share: of each square its middle, by length, that is left.

    Returns:
        uint8 [n · V, side, side, 3], the V squares of a frame one behind another; and V, at most `SLIMMEST`.
    """
    height, width = images.shape[1:3]
    short, long = min(height, width), max(height, width)
    count = min(max(1, math.ceil(long / short - (NEARLY_SQUARE - 1))), SLIMMEST)
    side = max(1, round(short * share))
    along = np.linspace(0, long - short, count) if count > 1 else np.array([(long - short) / 2])
    starts, margin = (along + (short - side) / 2).round().astype(int).tolist(), (short - side) // 2
    places = [(margin, at) if width >= height else (at, margin) for at in starts]
    cut = [images[:, top : top + side, left : left + side] for top, left in places]
    return np.stack(cut, 1).reshape(-1, side, side, 3), count


def as_images(frames: NDArray[np.uint8]) -> list[Image]:
    """Frames [n, H, W, 3] as images of Pillow."""
    # Of an array a processor guesses which axis the colours are on, and gets it wrong for a frame 3 pixels high.
    from PIL import Image

    return [Image.fromarray(presentable(frame)) for frame in frames]


def side_for(settings: dict[str, Any]) -> int:
    """The longer side at which frames must be asked for, so that a processor with these settings need not enlarge.

    Args:
        settings: see `processor_settings`.
    """
    sides: list[int] = []
    for size in (settings.get("size"), settings.get("crop_size")):
        # {"height": 224, "width": 224}, {"shortest_edge": 224}, [224, 224] or 224: processors of all ages.
        values = size.values() if isinstance(size, dict) else size if isinstance(size, list) else [size]
        sides += [value for value in values if isinstance(value, int)]
    return max(USUAL_SIDE, 2 * max(sides, default=0))


def image_processor(weights: Weights, **settings: Any) -> Any:
    """The image processor that comes with a network, on Pillow whatever else is installed: the same numbers anywhere.

    Raises:
        WeightsError: there is none that transformers knows.
    """
    import transformers

    # transformers 5 chooses by `backend`, 4 by `use_fast`; torchvision's pixels would differ in the last digit.
    newer = int(transformers.__version__.split(".")[0]) >= 5
    by_pillow: dict[str, Any] = {"backend": "pil"} if newer else {"use_fast": False}
    try:
        return load_pretrained(transformers.AutoImageProcessor, weights.folder, **by_pillow, **settings)
    except (OSError, ValueError, KeyError, ImportError) as error:
        what = f"{weights.source}: has no usable image processor: {first_line(error)}"
        raise WeightsError(what, "hcq models list") from error


def processor_settings(weights: Weights) -> dict[str, Any]:
    """What the folder says of how pictures are prepared; empty if it says nothing."""
    for name in ("preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json"):
        if (weights.folder / name).is_file():
            settings = read_json(weights.folder / name, weights.source)
            for part in ("image_processor", "video_processor", "feature_extractor"):
                settings = settings.get(part, settings)
            return settings
    return {}


def even_windows(length_s: float, window_s: float, step_s: float) -> NDArray[np.float64]:
    """Starts of windows spread evenly over a piece: as many as fit best, overlapping or apart by a little.

    Args:
        length_s: of the piece, seconds.
        window_s: of a window, seconds.
        step_s: starts are whole multiples of this, so that windows lie on the grid of the frames.

    Returns:
        float64 [n], n at least 1, seconds from the start of the piece. The first is 0; the last ends with the
        piece if that is as long as a window.
    """
    # Rounded, not cut off: no part of the piece goes unseen, and windows overlap rather than leave gaps.
    count = max(1, math.floor(length_s / window_s + 0.5))
    last = max(0.0, length_s - window_s)
    starts = np.linspace(0.0, last, count) if count > 1 else np.zeros(1)
    return np.floor(starts / step_s + 1e-6) * step_s  # 1e-6: a start of 2.9999999 steps is the third


def window_middles(starts: NDArray[np.float64], window_s: float, start_s: float, end_s: float) -> NDArray[np.float32]:
    """The middle of what each window shows, seconds of the video; a window longer than the piece ends with it.

    Args:
        starts: [n], seconds from the start of the piece.
        window_s: seconds.
        start_s: of the piece, seconds of the video.
        end_s: of the piece.
    """
    ends = np.minimum(starts + window_s, max(end_s - start_s, 0.0))
    return (start_s + (starts + np.maximum(ends, starts)) / 2).astype(np.float32)
