"""Classifiers of transformers as experts: what is seen in a frame or heard in a window, a number a class.

Any network that `AutoModelForImageClassification` or `AutoModelForAudioClassification` loads, of a kind that
`foreign.py` lets in; what its classes are called is in its configuration (`id2label`). The tokens are its logits.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from experts.neural.appearance import HubAppearance
from experts.neural.audio import HubAudio
from experts.neural.expert import HubExpert, NetworkExpert
from experts.neural.network import Network, TorchNetwork, read_config
from experts.neural.weights import Weights, WeightsError, locate

if TYPE_CHECKING:
    import torch

HEADS = {"objects": "AutoModelForImageClassification", "sounds": "AutoModelForAudioClassification"}
"""What transformers calls networks that classify what the two experts look at."""
UNNAMED = re.compile(r"LABEL_\d+")
"""What transformers calls a class that nobody has named."""


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
    if expert_of_hub(found) != expert:
        what = f"{source}: is a classifier for {expert_of_hub(found)}, not for {expert}"
        raise WeightsError(what, f"--experts {expert_of_hub(found)}={source}")
    return HubObjects(source, found) if expert == "objects" else HubSounds(source, found)


def expert_of_hub(found: Weights) -> str:
    """Which of the two experts a network is for.

    Raises:
        WeightsError: it is no classifier of pictures or sound.
    """
    architectures = found.config.get("architectures") or []
    for expert, head in HEADS.items():
        if any(str(name).endswith(head.removeprefix("AutoModel")) for name in architectures):
            return expert
    what = f"{found.source}: is no classifier of pictures or of sound ({', '.join(map(str, architectures)) or '?'})"
    raise WeightsError(what, "give a network …ForImageClassification or …ForAudioClassification, or onnx:FILE")


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
    """What a network of transformers gives with its head; a subclass looks or listens."""

    def width(self, config: Any) -> int:
        """How many classes."""
        return int(config.num_labels)

    def load_network(self, device: str) -> Network:
        """The network with its head. Raises WeightsError."""
        return TorchNetwork(self._found, device, read_logits, self._rows_at_once, HEADS[self.name])


class HubObjects(_HubClassifier, HubAppearance):
    """What is seen in a frame, a number a class.

    Args:
        source: as a person gave it.
        found: its weights.
    """

    name = "objects"


class HubSounds(_HubClassifier, HubAudio):
    """What is heard in a window, a number a class.

    Args:
        source: as a person gave it.
        found: its weights.
    """

    name = "sounds"
