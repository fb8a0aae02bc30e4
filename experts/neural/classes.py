"""Classifiers whose classes have names: `objects` are seen in frames or clips, `sounds` are heard in windows.

Such an expert is the appearance, motion or audio expert of the same network, under a name of its own: its tokens are
what the network gives for each class, so that a store can hold them beside the vectors of another network. It is

- `onnx:FILE`; what its classes are called stands in a labels file beside it, a class a line, synonyms with commas
  between them;
- or any network that `AutoModelForImageClassification`, `AutoModelForVideoClassification` or
  `AutoModelForAudioClassification` loads, of a kind that `foreign.py` lets in. Its configuration says what its
  classes are called (`id2label`), and its tokens are its logits.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from experts.neural.appearance import HubAppearance, OnnxAppearance
from experts.neural.audio import AUDIO_FORMATS, AudioFormat, HubAudio, OnnxAudio
from experts.neural.expert import HubExpert, NetworkExpert
from experts.neural.motion import VIDEO_FORMATS, HubMotion, VideoFormat
from experts.neural.network import Network, TorchNetwork, read_config
from experts.neural.onnx_network import open_session, shown_inputs
from experts.neural.preprocessing import squares
from experts.neural.sidecar import read_sidecar, sidecar_path
from experts.neural.weights import Weights, WeightsError, locate, onnx_file

if TYPE_CHECKING:
    import torch

LARGEST_LABELS_BYTES = 16 << 20
MIDDLE = 7 / 8
"""Of a square, by length: what classifiers are tried on (torchvision: 224 of 256 pixels)."""
NAMES = {4: "objects", 2: "sounds"}
"""The expert of a graph, by the axes of its input: pictures [n, 3, H, W] or windows of sound [n, samples]."""
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


class OnnxObjects(OnnxAppearance):
    """What is seen in a frame, a number a class: that of the square of it that shows the class best."""

    name, version = "objects", "2"

    def looked_at(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int]:
        """See `FrameExpert.looked_at`; a network that takes whole frames, stretched, gets them."""
        return squares(images, MIDDLE) if self._on_processor.sidecar.fit == "crop" else (images, 1)


class OnnxSounds(OnnxAudio):
    """What is heard in a window, a number a class."""

    name = "sounds"


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
        """See `FrameExpert.looked_at`; what of a square is cut out its image processor says."""
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


def objects(source: str = "") -> NetworkExpert:
    """The expert for `onnx:FILE`, a folder or an id: a classifier of pictures. Raises WeightsError."""
    return _classifier(source, "objects")


def sounds(source: str = "") -> NetworkExpert:
    """The expert for `onnx:FILE`, a folder or an id: a classifier of sound. Raises WeightsError."""
    return _classifier(source, "sounds")


def _classifier(source: str, expert: str) -> NetworkExpert:
    if not source:
        raise WeightsError(
            f"{expert} takes a classifier as onnx:FILE, a folder or an id", f"--experts {expert}=onnx:FILE"
        )
    path = onnx_file(source)
    if path is not None:
        return OnnxObjects(source, path) if expert == "objects" else OnnxSounds(source, path)
    found = locate(source)
    head = head_of(found)
    if HEADS[head] != expert:
        what = f"{source}: is a classifier for {HEADS[head]}, not for {expert}"
        raise WeightsError(what, f"--experts {HEADS[head]}={source}")
    if head == "AutoModelForVideoClassification":
        return HubActions(source, found)
    return HubObjects(source, found) if expert == "objects" else HubSounds(source, found)


def expert_of(path: Path) -> str:
    """Which of the two experts an ONNX classifier is for: `objects` or `sounds`.

    Raises:
        WeightsError: it takes neither pictures nor windows of sound.
    """
    inputs = open_session(path, "cpu").get_inputs()
    axes = len(inputs[0].shape) if len(inputs) == 1 else 0
    if axes not in NAMES:
        takes = shown_inputs(inputs)
        what = f"{path}: takes {takes}, neither one batch of pictures nor one of windows of sound [n, samples]"
        raise WeightsError(what, "export it with one such input")
    return NAMES[axes]


def class_names(path: Path, count: int) -> list[list[str]]:
    """What the classes of an ONNX classifier are called.

    The file that its sidecar names, else FILE.labels.txt, FILE.txt or labels.txt beside it, else the one *labels*.txt
    there that has as many lines. A file with one line more whose first is "background" is of a network without it.

    Args:
        path: of the network.
        count: how many classes it has.

    Returns:
        The names of each class, of synonyms all.

    Raises:
        WeightsError: there is no such file, or it names another number of classes.
    """
    named = read_sidecar(path).labels
    if named is not None:
        if Path(named).name != named:
            raise WeightsError(f"{sidecar_path(path)}: 'labels' is {named!r}, not a file beside it", "name one there")
        places = [path.with_name(named)]
    else:
        places = [path.with_suffix(".labels.txt"), path.with_suffix(".txt"), path.with_name("labels.txt")]
    place = next((place for place in places if place.is_file()), None)
    if place is not None:
        return _fitting(_lines(place), place, path, count)
    beside = [] if named is not None else sorted(path.parent.glob("*labels*.txt"))
    fits = [(lines, other) for other in beside if _names(lines := _lines(other), count) is not None]
    if len(fits) == 1:
        return _fitting(*fits[0], path, count)
    several = f" ({', '.join(other.name for _, other in fits)} would all fit)" if fits else ""
    hint = f"write the names of its {count} classes, a line each, into {places[0]}"
    raise WeightsError(f"{path}: its classes have no names: there is no {places[0].name} beside it{several}", hint)


def _lines(path: Path) -> list[str]:
    if path.stat().st_size > LARGEST_LABELS_BYTES:
        raise WeightsError(f"{path}: is far too large for names of classes", "give a file with a line a class")
    return path.read_text("utf-8", "replace").strip("\r\n").splitlines()


def _names(lines: list[str], count: int) -> list[list[str]] | None:
    """The names of `count` classes; None where the lines are of another number of them."""
    if len(lines) == count + 1 and lines[0].strip().lower() == "background":
        lines = lines[1:]
    if len(lines) != count:
        return None
    return [synonyms(line) for line in lines]


def _fitting(lines: list[str], place: Path, path: Path, count: int) -> list[list[str]]:
    names = _names(lines, count)
    if names is None:
        what = f"{place}: names {len(lines)} classes, {path.name} has {count}"
        raise WeightsError(what, "give the labels file that belongs to the network")
    if not any(names):
        raise WeightsError(f"{place}: holds no name", "give the labels file that belongs to the network")
    return names


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
        endings = [head.removeprefix("AutoModel")]
        if head == "AutoModelForAudioClassification":  # of networks that hear the wave itself
            endings.append("ForSequenceClassification")
        if any(name.endswith(tuple(endings)) for name in architectures):
            if found.model_type in known.get(head, {found.model_type}):
                return head
            takes = ", ".join(sorted(known[head]))
            raise WeightsError(f"{found.source}: is of the kind {found.model_type!r}", f"known are {takes}")
    what = f"{found.source}: is no classifier of pictures, clips or sound ({', '.join(architectures) or '?'})"
    raise WeightsError(
        what,
        "give a network …ForImageClassification, …ForVideoClassification or …ForAudioClassification, or onnx:FILE",
    )


def hub_class_names(found: Weights) -> list[list[str]]:
    """What the classes of a network are called, synonyms apart.

    Raises:
        WeightsError: nobody has named them, or by other numbers.
    """
    labels = read_config(found).id2label
    if set(labels) != set(range(len(labels))):
        what = f"{found.source}: does not number its {len(labels)} classes from 0 on (id2label in config.json)"
        raise WeightsError(what, "give a classifier whose classes have names")
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
