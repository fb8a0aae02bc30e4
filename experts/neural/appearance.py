"""What a frame looks like, by a pretrained image network: one token a frame, one frame a second.

Any network that `AutoModel` and `AutoImageProcessor` load: DINOv2, CLIP, SigLIP 2, ViT, ConvNeXt… Its vector is

- the image embedding of a dual encoder (CLIP, SigLIP), as `get_image_features` gives it: comparable with its texts;
- else what its trained pooler gives (DINOv2, ConvNeXt, ResNet…);
- else its class token, or the mean over all tokens or places if it has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from experts.base import Clip, Sampling, State
from experts.neural.expert import Gathered, HubExpert, NetworkExpert
from experts.neural.foreign import from_folder
from experts.neural.network import Inputs, Network, TorchNetwork, quiet_transformers
from experts.neural.pixels import as_images, image_processor, processor_settings, side_for
from experts.neural.weights import Weights, WeightsError, locate, onnx_file

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

FRAMES_PER_SECOND = 1.0
ROWS_AT_ONCE = 8


def appearance(source: str) -> NetworkExpert:
    """The expert for a source: a folder or id, or `onnx:FILE`.

    Raises:
        WeightsError: the weights are not there or cannot be used.
    """
    if (path := onnx_file(source)) is not None:
        from experts.neural.onnx_appearance import OnnxAppearance

        return OnnxAppearance(source, path)
    return HubAppearance(source, locate(source))


class HubAppearance(HubExpert):
    """Expert for still appearance, by a network of transformers.

    Args:
        source: as a person gave it.
        found: its weights.
    """

    name = "appearance"

    def __init__(self, source: str, found: Weights) -> None:
        super().__init__(source, found)
        self.sampling = Sampling(FRAMES_PER_SECOND, max_side=side_for(processor_settings(found)))
        self.about = f"sees frames as {found.model_type or 'a network'} does"
        self._processor: Any = None

    def measure_width(self) -> int:
        """Width of a vector, from the network's configuration."""
        return vector_width(read_config(self._found))

    @property
    def cost(self) -> str:
        """How large it is and how often it runs, as `hcq experts` shows it."""
        return f"{self._found.parameters / 1e6:.0f} M parameters a frame"

    def prepare_gathering(self) -> None:
        """Load the image processor."""
        self._processor = image_processor(self._found)

    def load_network(self, device: str) -> Network:
        """The network of transformers, ROWS_AT_ONCE frames a pass on a processor. Raises WeightsError."""
        return TorchNetwork(self._found, device, read_image_vectors, ROWS_AT_ONCE)

    def gather(self, clip: Clip) -> Gathered | State:
        """A row a frame, in the frame's time; NO_STREAM or NO_FRAMES where there is nothing to see."""
        frames = clip.seen(self.sampling)
        if isinstance(frames, State):
            return frames
        return Gathered(self._prepared(frames.images), frames.times)

    def _prepared(self, frames: NDArray[Any]) -> Inputs:
        rows = dict(self._processor(images=as_images(frames), return_tensors="np"))
        if any(len(array) != len(frames) for array in rows.values()):
            raise WeightsError(f"{self.source}: its image processor does not give one row a frame", "hcq models list")
        return rows


def read_config(found: Weights) -> Any:
    """The configuration with all its defaults, as transformers knows it.

    Raises:
        WeightsError: transformers does not know this kind of network.
    """
    from transformers import AutoConfig

    try:
        with quiet_transformers():
            return from_folder(AutoConfig, found.folder)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise WeightsError(f"{found.source}: transformers does not know it: {reason}", "hcq models list") from error


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
    sizes = getattr(config, "hidden_sizes", None)
    if sizes:
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
    has_class_token = any(name.endswith("cls_token") for name, _ in model.named_parameters())
    return states[:, 0] if has_class_token else states.mean(1)


def pooled(outputs: Any) -> torch.Tensor:
    """The vectors of a dual encoder: transformers 4 gives them as they are, 5 inside an output."""
    vectors: torch.Tensor = getattr(outputs, "pooler_output", outputs)
    return vectors
