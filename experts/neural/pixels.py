"""Frames on their way into a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from experts.neural.foreign import from_folder
from experts.neural.network import quiet_transformers
from experts.neural.weights import Weights, WeightsError, read_json

if TYPE_CHECKING:
    from PIL.Image import Image

SMALLEST = 16
SLIMMEST = 8
"""A frame is at most so many times as long as it is wide when a network sees it."""
USUAL_SIDE = 512
"""Longer side at which frames are asked for, pixels: enough for a centre crop of 224 to 288 out of a wide frame."""


def presentable(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The frame itself, but for the oddest: no side under `SMALLEST`, none over `SLIMMEST` times the other."""
    height, width = image.shape[:2]
    least = max(SMALLEST, -(-max(height, width) // SLIMMEST))
    if min(height, width) >= least:
        return image
    size = (max(width, least), max(height, least))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def as_images(frames: NDArray[np.uint8]) -> list[Image]:
    """Frames [n, h, w, 3] as what image processors take without guessing."""
    from PIL import Image

    return [Image.fromarray(presentable(frame)) for frame in frames]


def side_for(settings: dict[str, Any]) -> int:
    """The longer side at which frames must be asked for, so that a processor with these settings need not enlarge."""
    sides = [side for key in ("size", "crop_size") for side in _sides(settings.get(key))]
    return max(USUAL_SIDE, 2 * max(sides, default=0))


def _sides(size: Any) -> Sequence[int]:
    values = size.values() if isinstance(size, dict) else size if isinstance(size, list) else [size]
    return [value for value in values if isinstance(value, int)]


def image_processor(weights: Weights, **settings: Any) -> Any:
    """The image processor that comes with a network, on Pillow whatever else is installed: the same numbers anywhere.

    Raises:
        WeightsError: there is none that transformers knows.
    """
    import transformers

    newer = int(transformers.__version__.split(".")[0]) >= 5
    by_pillow: dict[str, Any] = {"backend": "pil"} if newer else {"use_fast": False}
    try:
        with quiet_transformers():
            return from_folder(transformers.AutoImageProcessor, weights.folder, **by_pillow, **settings)
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        raise WeightsError(f"{weights.source}: has no usable image processor: {reason}", "hcq models list") from error


def processor_settings(weights: Weights) -> dict[str, Any]:
    """What the folder says of how pictures are prepared; empty if it says nothing."""
    for name in ("preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json"):
        if (weights.folder / name).is_file():
            settings = read_json(weights.folder / name, weights.source)
            for part in ("image_processor", "video_processor", "feature_extractor"):
                settings = settings.get(part, settings)
            return settings
    return {}
