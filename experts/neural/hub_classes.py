"""Classifiers of transformers as experts: what is seen in a frame or a clip, or heard in a window, a number a class.

Any network that `AutoModelForImageClassification`, `AutoModelForVideoClassification` or
`AutoModelForAudioClassification` loads, of a kind that `foreign.py` lets in; what its classes are called is in its
configuration (`id2label`). The tokens are its logits.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from experts.neural.appearance import HubAppearance
from experts.neural.audio import AUDIO_FORMATS, AudioFormat, HubAudio
from experts.neural.expert import HubExpert, NetworkExpert
from experts.neural.motion import VIDEO_FORMATS, HubMotion, VideoFormat
from experts.neural.network import Network, TorchNetwork, read_config
from experts.neural.preprocessing import squares
from experts.neural.weights import Weights, WeightsError, locate

if TYPE_CHECKING:
    import torch

HEADS = {
    "AutoModelForImageClassification": "objects",
    "AutoModelForVideoClassification": "objects",
    "AutoModelForAudioClassification": "sounds",
}
"""What transformers calls networks that classify, and the expert that each is."""
WAVES = frozenset(("hubert", "unispeech", "unispeech-sat", "wav2vec2", "wavlm"))
"""Kinds that hear the wave itself, at 16 kHz and of any length."""
UNNAMED = re.compile(r"LABEL_\d+")
"""What transformers calls a class that nobody has named."""


CLIPS = {
    # ViViT (Arnab et al., ICCV 2021): 32 frames, every second of 30 a second.
    "vivit": VideoFormat(30 / 2, "num_frames", 32, lambda model, inputs: read_logits(model, inputs)),
}
"""How kinds of network take clips that are classifiers alone; others as the expert `motion` gives them."""


def read_logits(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Rows -> [n, classes]."""
    logits: torch.Tensor = model(**inputs).logits
    return logits


def hub_classifier(source: str, expert: str) -> NetworkExpert:
    """The expert `objects` or `sounds` for a folder or id.

    Raises:
        WeightsError: the weights are not there, or are no such classifier.
    """
    found = locate(source)
    head = head_of(found)
    if HEADS[head] != expert:
        what = f"{source}: is a classifier for {HEADS[head]}, not for {expert}"
        raise WeightsError(what, f"--experts {HEADS[head]}={source}")
    if head == "AutoModelForVideoClassification":
        return HubActions(source, found)
    return HubObjects(source, found) if expert == "objects" else HubSounds(source, found)


def expert_of_hub(found: Weights) -> str:
    """Which of the two experts a network is for.

    Raises:
        WeightsError: it is no classifier of pictures, clips or sound.
    """
    return HEADS[head_of(found)]


def head_of(found: Weights) -> str:
    """What transformers calls networks of the kind of a classifier (`HEADS`).

    Raises:
        WeightsError: it is no classifier of pictures, clips or sound, or of a kind that nothing is known of.
    """
    architectures = [str(name) for name in found.config.get("architectures") or []]
    known = {
        "AutoModelForVideoClassification": {*VIDEO_FORMATS, *CLIPS},
        "AutoModelForAudioClassification": {*AUDIO_FORMATS, *WAVES},
    }
    for head in HEADS:
        if any(_is_called(name, head) for name in architectures):
            if found.model_type in known.get(head, {found.model_type}):
                return head
            takes = ", ".join(sorted(known[head]))
            raise WeightsError(f"{found.source}: is of the kind {found.model_type!r}", f"known are {takes}")
    what = f"{found.source}: is no classifier of pictures, clips or sound ({', '.join(architectures) or '?'})"
    raise WeightsError(
        what,
        "give a network …ForImageClassification, …ForVideoClassification or …ForAudioClassification, or onnx:FILE",
    )


def _is_called(architecture: str, head: str) -> bool:
    of_waves = head == "AutoModelForAudioClassification" and architecture.endswith("ForSequenceClassification")
    return architecture.endswith(head.removeprefix("AutoModel")) or of_waves


def hub_class_names(found: Weights) -> list[list[str]]:
    """What the classes of a network are called, synonyms apart.

    Raises:
        WeightsError: nobody has named them.
    """
    labels = read_config(found).id2label
    names = [str(labels[at]) for at in range(len(labels))]
    if all(UNNAMED.fullmatch(name) for name in names):
        what = f"{found.source}: its {len(names)} classes have no names (id2label in config.json)"
        raise WeightsError(what, "give a classifier whose classes have names")
    return [synonyms(name) for name in names]


def synonyms(name: str) -> list[str]:
    """The names of one class, which stand with commas between them."""
    return [part.strip() for part in name.split(",") if part.strip()]


def probabilities_of_hub(found: Weights) -> str:
    """What makes probabilities of the logits: "softmax", or "sigmoid" where several classes are there at once."""
    told = read_config(found).problem_type
    # AST is published for AudioSet, whose clips have several labels, and its configuration says nothing of it.
    several = told == "multi_label_classification" or found.model_type == "audio-spectrogram-transformer"
    return "sigmoid" if several else "softmax"


class _HubClassifier(HubExpert):
    """What a network of transformers gives with its head; a subclass looks or listens.

    Args:
        source: as a person gave it.
        found: its weights.
    """

    def width(self, config: Any) -> int:
        """How many classes."""
        return int(config.num_labels)

    def load_network(self, device: str) -> Network:
        """The network with its head. Raises WeightsError."""
        return TorchNetwork(self._found, device, read_logits, self._rows_at_once, head_of(self._found))


class HubObjects(_HubClassifier, HubAppearance):
    """What is seen in a frame, a number a class: that of the square of it that shows the class best."""

    name, version = "objects", "2"

    def looked_at(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int]:
        """See `HubAppearance.looked_at`; what of a square is cut out its image processor says."""
        return squares(images)


class HubActions(_HubClassifier, HubMotion):
    """What is seen in a clip of frames, a number a class."""

    name = "objects"

    def __init__(self, source: str, found: Weights) -> None:
        super().__init__(source, found, CLIPS.get(found.model_type))


class HubSounds(_HubClassifier, HubAudio):
    """What is heard in a window, a number a class."""

    name = "sounds"

    def __init__(self, source: str, found: Weights) -> None:
        # One token a window, whatever the network gives without its head.
        how = AUDIO_FORMATS.get(found.model_type, AudioFormat(16_000, 10.0))
        super().__init__(source, found, replace(how, per_window=1))
