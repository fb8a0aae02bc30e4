"""The video encoder of a dual encoder, which looks or listens: vectors in the space that its texts lie in.

A network of transformers whose class has `get_text_features` and one of `get_video_features`, `get_image_features`
and `get_audio_features`, whatever it is called: CLIP, SigLIP, SigLIP 2, MetaCLIP 2, ALIGN, BLIP see pictures, one
vector a frame; X-CLIP and VideoPrism see windows of frames; CLAP hears windows of at most 10 s. Or a folder of the
library sentence-transformers that takes pictures or sound (pipeline.py). Or `onnx:FOLDER`, which holds image.onnx or
audio.onnx with its sidecar (sidecar.py), and the text encoder (hcq_cli/fitting/dual_text.py).

Letters: n frames or windows, T frames of a window, dim the width of a vector.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from experts.neural.appearance import HubAppearance, OnnxAppearance, pooled, vector_width
from experts.neural.audio import AudioFormat, HubAudio, OnnxAudio, read_audio_embedding
from experts.neural.expert import HubExpert, NetworkExpert
from experts.neural.motion import HubMotion, VideoFormat
from experts.neural.network import Inputs, Network, read_config
from experts.neural.pipeline import Pipeline, PipelineNetwork, load_pipeline, locate_network
from experts.neural.preprocessing import image_processor, processor_settings
from experts.neural.weights import ONNX, Weights, WeightsError

if TYPE_CHECKING:
    from PIL.Image import Image

Sense = Literal["video", "image", "audio"]
SENSES: tuple[Sense, ...] = ("video", "image", "audio")
"""What a dual encoder may take beside texts; one that takes clips is given clips, not their frames alone."""
USUAL: dict[str, Sense] = {
    "clip": "image",
    "clap": "audio",
    "metaclip_2": "image",
    "siglip": "image",
    "siglip2": "image",
    "videoprism": "video",
    "xclip": "video",
}
"""What the commonest take, by `model_type`: whoever looks whether there are new videos need not wait seconds until
transformers is there to be asked. All others are asked by their class."""
TAKES = "CLIP, SigLIP, X-CLIP, CLAP and the like, a pipeline of sentence-transformers with one, or onnx:FOLDER"
WINDOW_S = 8.0
"""Longest window of frames, seconds. Such networks were trained on clips of a few seconds, their frames spread evenly
over them, whatever the rate; no configuration says more than how many frames there are."""
LONGEST_SOUND_S = 10.0
"""Longest window of sound, seconds: of a longer one CLAP's extractor takes a part by chance."""
IMAGE_FILE, AUDIO_FILE = "image.onnx", "audio.onnx"
"""The video encoder, in the folder of an `onnx:FOLDER`."""


def dual(source: str) -> NetworkExpert:
    """The expert for a dual encoder.

    Args:
        source: a folder, an id, or `onnx:FOLDER`.

    Raises:
        WeightsError: the weights are not there, or it is no dual encoder.
    """
    expert: NetworkExpert
    if folder := onnx_folder(source):
        sees = (folder / IMAGE_FILE).is_file()
        expert = OnnxAppearance(source, folder / IMAGE_FILE) if sees else OnnxAudio(source, folder / AUDIO_FILE)
    else:
        found = locate_network(source)
        kinds: dict[Sense, type[DualClips | HubAppearance | DualSound]]
        kinds = {"video": DualClips, "image": HubAppearance, "audio": DualSound}
        if isinstance(found, Pipeline):
            kinds |= {"image": PipelinePictures, "audio": PipelineSound}
        expert = kinds[sense_of(found)](source, found)
    expert.name = "dual"
    return expert


def onnx_folder(source: str) -> Path | None:
    """The folder of an `onnx:FOLDER` source; None for any other source.

    Raises:
        WeightsError: it is no folder with image.onnx or audio.onnx in it.
    """
    if not source.startswith(ONNX):
        return None
    folder = Path(source.removeprefix(ONNX)).expanduser()
    if not any((folder / name).is_file() for name in (IMAGE_FILE, AUDIO_FILE)):
        what = f"{folder}: is no folder with {IMAGE_FILE} or {AUDIO_FILE} in it"
        raise WeightsError(what, f"give onnx:FOLDER with {IMAGE_FILE}, text.onnx and tokenizer.json in it")
    return folder


def sense_of(found: Weights) -> Sense:
    """What a dual encoder takes beside texts; the network is not built.

    Raises:
        WeightsError: it is none, or transformers does not know it.
    """
    if isinstance(found, Pipeline):
        for sense in SENSES:
            if sense in found.takes:
                return sense
        what = f"{found.source}: is made of {found.model_type}, and takes texts alone, as far as its folder says"
        raise WeightsError(what, f"a dual encoder is wanted: {TAKES}")
    return USUAL.get(found.model_type) or sense_by_class(found)


def sense_by_class(found: Weights) -> Sense:
    """What a dual encoder takes beside texts, by the methods of its class. Raises WeightsError."""
    network = network_class(read_config(found))
    if hasattr(network, "get_text_features"):
        for sense in SENSES:
            if hasattr(network, f"get_{sense}_features"):
                return sense
    what = f"{found.source}: is of the kind {found.model_type!r}, which compares nothing with texts"
    raise WeightsError(what, f"a dual encoder is wanted: {TAKES}")


def network_class(config: Any) -> Any:
    """The class that `AutoModel` builds for a configuration; None if there is none."""
    from transformers import MODEL_MAPPING

    known = MODEL_MAPPING.get(type(config), None)
    return known[0] if isinstance(known, tuple) else known


class DualSound(HubAudio):
    """One vector a window of sound, as `get_audio_features` gives it.

    Args:
        source: as a person gave it.
        found: its weights.
    """

    def __init__(self, source: str, found: Weights) -> None:
        settings = processor_settings(found)
        longest_s = min(float(settings.get("max_length_s", LONGEST_SOUND_S)), LONGEST_SOUND_S)
        rate = int(settings.get("sampling_rate", 48_000))
        how = AudioFormat(rate, longest_s, 1, reader=read_audio_embedding, width="projection_dim")
        super().__init__(source, found, how)


class DualClips(HubMotion):
    """One vector a window of frames, as `get_video_features` gives it.

    Args:
        source: as a person gave it.
        found: its weights.
    """

    def __init__(self, source: str, found: Weights) -> None:
        told = found.config.get("vision_config") or {}
        if not {"num_frames", "image_size"} <= set(told):  # what is usual is left out; transformers knows it
            told = read_config(found).vision_config.to_dict()
        length, size = int(told["num_frames"]), told["image_size"]
        side = size if isinstance(size, int) else max(size)
        how = VideoFormat(
            length / WINDOW_S,
            "num_frames",
            length,
            reader=lambda model, inputs: pooled(model.get_video_features(**inputs)),
            usual_side=side,
            spread=True,
        )
        super().__init__(source, found, how)

    def width(self, config: Any) -> int:
        """See `HubExpert.width`."""
        return vector_width(config)

    def load_preprocessor(self) -> None:
        """Load the image processor; where there is one for videos alone, which wants torchvision, its settings do."""
        # The argument behind self: X-CLIP and VideoPrism call their pixels differently.
        method = network_class(read_config(self._found)).get_video_features
        self._format = replace(self._format, argument=list(inspect.signature(method).parameters)[1])
        try:
            self._processor = image_processor(self._found)
        except WeightsError:
            super().load_preprocessor()


class _InPipeline(HubExpert):
    """What runs in the library, which prepares pictures and sound itself; a subclass looks or listens."""

    _found: Pipeline

    @cached_property
    def dim(self) -> int:
        """Width of a vector, of which only running it tells."""
        return int(load_pipeline(self._found, "cpu").encode(["a dog"]).shape[-1])

    def load_preprocessor(self) -> None:
        """Nothing: the library does it where the network runs."""

    def load_network(self, device: str) -> Network:
        """The pipeline on `device`. Raises WeightsError."""
        return PipelineNetwork(self._found, device, self.sampling.audio_hz or 0)


class PipelinePictures(_InPipeline, HubAppearance):
    """One vector a frame, as a pipeline of sentence-transformers gives it."""

    def prepared(self, images: list[Image]) -> Inputs:
        """See `HubAppearance.prepared`."""
        return {"frames": np.stack([np.asarray(image) for image in images])}


class PipelineSound(_InPipeline, DualSound):
    """One vector a window of sound, as a pipeline of sentence-transformers gives it.

    Args:
        source: as a person gave it.
        found: its weights.

    Raises:
        WeightsError: it does not say what sound it takes.
    """

    def __init__(self, source: str, found: Pipeline) -> None:
        prepared = [each for each in found.networks if processor_settings(each)]
        if not prepared:
            raise WeightsError(f"{source}: does not say what sound it takes", "fetch or copy it again")
        super().__init__(source, prepared[0])
        self._found = found

    def rows(self, pieces: Sequence[NDArray[np.float32]]) -> Inputs:
        """See `WindowedAudio.rows`."""
        sound = np.full((len(pieces), max(map(len, pieces))), np.nan, np.float32)
        for row, piece in zip(sound, pieces, strict=True):
            row[: len(piece)] = piece
        return {"sound": sound}
