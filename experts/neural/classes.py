"""Classifiers whose classes have names: `objects` are seen in frames, `sounds` are heard.

Such an expert is the appearance or audio expert of the same network, under a name of its own: its tokens are what the
network gives for each class, so that a store can hold them beside the vectors of another network. What a class is
called stands in a labels file beside `onnx:FILE`, a class a line, synonyms with commas between them; networks of
transformers say it themselves (hub_classes.py).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experts.neural.appearance import OnnxAppearance
from experts.neural.audio import OnnxAudio
from experts.neural.expert import NetworkExpert
from experts.neural.hub_classes import hub_classifier, synonyms
from experts.neural.onnx_network import open_session, shown_inputs
from experts.neural.preprocessing import squares
from experts.neural.sidecar import read_sidecar, sidecar_path
from experts.neural.weights import WeightsError, onnx_file

LARGEST_LABELS_BYTES = 16 << 20
MIDDLE = 7 / 8
"""Of a square, by length: what classifiers are tried on (torchvision: 224 of 256 pixels)."""
NAMES = {4: "objects", 2: "sounds"}
"""The expert of a graph, by the axes of its input: pictures [n, 3, H, W] or windows of sound [n, samples]."""


class OnnxObjects(OnnxAppearance):
    """What is seen in a frame, a number a class: that of the square of it that shows the class best."""

    name, version = "objects", "2"

    def looked_at(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int]:
        """See `OnnxAppearance.looked_at`; a network that takes whole frames, stretched, gets them."""
        return squares(images, MIDDLE) if self._on_processor.sidecar.fit == "crop" else (images, 1)


class OnnxSounds(OnnxAudio):
    """What is heard in a window, a number a class."""

    name = "sounds"


def objects(source: str = "") -> NetworkExpert:
    """The expert for `onnx:FILE`, a folder or an id: a classifier of pictures. Raises WeightsError."""
    path = _classifier(source, "objects")
    return hub_classifier(source, "objects") if path is None else OnnxObjects(source, path)


def sounds(source: str = "") -> NetworkExpert:
    """The expert for `onnx:FILE`, a folder or an id: a classifier of sound. Raises WeightsError."""
    path = _classifier(source, "sounds")
    return hub_classifier(source, "sounds") if path is None else OnnxSounds(source, path)


def _classifier(source: str, expert: str) -> Path | None:
    """The file of `onnx:FILE`; None for a folder or id."""
    if not source:
        raise WeightsError(
            f"{expert} takes a classifier as onnx:FILE, a folder or an id", f"--experts {expert}=onnx:FILE"
        )
    return onnx_file(source)


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
