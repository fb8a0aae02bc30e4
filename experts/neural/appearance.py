"""What a frame looks like, by a pretrained image network: one token a frame, one frame a second.

`onnx:FILE` is any ONNX network a person brings (sidecar.py). Otherwise any network that `AutoModel` and
`AutoImageProcessor` load: DINOv2, CLIP, SigLIP 2, ViT, ConvNeXt… Its vector is

- the image embedding of a dual encoder (CLIP, SigLIP), as `get_image_features` gives it: comparable with its texts;
- else what its trained pooler gives (DINOv2, ConvNeXt, ResNet…);
- else its class token, or the mean over all tokens or places if it has none.

Letters: n frames, dim the width of a vector.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from experts.base import Clip, Sampling, State
from experts.neural.expert import HubExpert, NetworkExpert, OnnxExpert, PreparedInputs
from experts.neural.network import Inputs
from experts.neural.onnx_network import OnnxNetwork
from experts.neural.preprocessing import USUAL_SIDE, as_images, image_processor, processor_settings, side_for
from experts.neural.sidecar import read_sidecar
from experts.neural.weights import Weights, WeightsError, locate, onnx_file

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

FRAMES_PER_SECOND = 1.0
ROWS_AT_ONCE = 8


def appearance(source: str) -> NetworkExpert:
    """The expert for a source: a folder or id, or `onnx:FILE`.

    Raises:
        WeightsError: the weights are not there or cannot be used.
    """
    path = onnx_file(source)
    return HubAppearance(source, locate(source)) if path is None else OnnxAppearance(source, path)


class FrameExpert(NetworkExpert):
    """An expert that looks at each frame, or at several cuts of it."""

    name = "appearance"

    @abstractmethod
    def rows(self, images: NDArray[np.uint8]) -> Inputs:
        """Pictures [n, H, W, 3] as the network wants them, a row each."""

    def preprocess(self, clip: Clip) -> PreparedInputs | State:
        """A row a picture, in the frame's time; NO_STREAM or NO_FRAMES where there is nothing to see."""
        frames = clip.seen(self.sampling)
        if isinstance(frames, State):
            return frames
        images, views = self.looked_at(frames.images)
        return PreparedInputs(self.rows(images), frames.times, views=views)

    def looked_at(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int]:
        """The pictures that stand for frames [n, H, W, 3], and how many stand for each."""
        return images, 1


class HubAppearance(HubExpert, FrameExpert):
    """Expert for still appearance, by a network of transformers.

    Args:
        source: as a person gave it.
        found: its weights.
    """

    def __init__(self, source: str, found: Weights) -> None:
        super().__init__(source, found, reader=read_image_vectors, rows_at_once=ROWS_AT_ONCE, runs=" a frame")
        self.sampling = Sampling(FRAMES_PER_SECOND, max_side=side_for(processor_settings(found)))
        self.about = f"sees frames as {found.model_type or 'a network'} does"
        self._processor: Any = None

    def width(self, config: Any) -> int:
        """See `HubExpert.width`."""
        return vector_width(config)

    def load_preprocessor(self) -> None:
        """Load the image processor."""
        self._processor = image_processor(self._found)

    def rows(self, images: NDArray[np.uint8]) -> Inputs:
        """See `FrameExpert.rows`. Raises WeightsError."""
        rows = self.prepared(as_images(images))
        # A processor that cuts frames into tiles gives several rows a frame, which no time would belong to.
        if any(len(array) != len(images) for array in rows.values()):
            raise WeightsError(f"{self.source}: its image processor does not give one row a frame", "hcq models list")
        return rows

    def prepared(self, images: list[Image]) -> Inputs:
        """Pictures as the network wants them, a row each."""
        return dict(self._processor(images=images, return_tensors="np"))


class OnnxAppearance(OnnxExpert[OnnxNetwork], FrameExpert):
    """Expert for still appearance, by an ONNX file.

    Args:
        source: as a person gave it.
        path: the file.

    Raises:
        WeightsError: its sidecar makes no sense.
    """

    graph = OnnxNetwork

    def __init__(self, source: str, path: Path) -> None:
        super().__init__(source, path)
        size = read_sidecar(path).size or (0, 0)
        self.sampling = Sampling(FRAMES_PER_SECOND, max_side=max(USUAL_SIDE, 2 * max(size)))
        self.about = f"sees frames as {path.name} does"

    @property
    def cost(self) -> str:
        """How large it is and how often it runs, as `hcq experts` shows it."""
        return f"{self._path.stat().st_size / 1e6:.1f} MB a frame"

    def rows(self, images: NDArray[np.uint8]) -> Inputs:
        """See `FrameExpert.rows`."""
        return self._on_processor.prepare(images)


def vector_width(config: Any) -> int:
    """Width of the vector of an image network.

    Raises:
        ValueError: the configuration does not tell.
    """
    vision = getattr(config, "vision_config", None)
    if vision is not None:  # a dual encoder
        return int(getattr(config, "projection_dim", None) or vision.hidden_size)
    for field in ("hidden_size", "d_model", "num_features"):
        if isinstance(width := getattr(config, field, None), int):
            return width
    if sizes := getattr(config, "hidden_sizes", None):  # of a network in stages, the last of which is pooled
        return int(sizes[-1])
    raise ValueError(f"the configuration of {config.model_type!r} does not say how wide its vectors are")


def read_image_vectors(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Rows of prepared frames -> [n, dim]."""
    if hasattr(model, "get_image_features"):
        return pooled(model.get_image_features(**inputs))
    outputs = model(**inputs)
    pooler = None if model.lacks_pooler else getattr(outputs, "pooler_output", None)
    if pooler is not None:
        return pooler.flatten(1)
    states: torch.Tensor = outputs.last_hidden_state
    if states.ndim == 4:  # a map [n, channels, height, width]
        return states.mean((2, 3))
    # By the parameter's name: no field of a configuration says whether the first token is a class token.
    has_class_token = any(name.endswith("cls_token") for name, _ in model.named_parameters())
    return states[:, 0] if has_class_token else states.mean(1)


def pooled(outputs: Any) -> torch.Tensor:
    """The vectors of a dual encoder [n, dim]: transformers 4 gives them as they are, 5 inside an output."""
    vectors: torch.Tensor = getattr(outputs, "pooler_output", outputs)
    return vectors
