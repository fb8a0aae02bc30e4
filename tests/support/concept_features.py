"""A feature store in which two tiny classifiers have looked at videos, and what its classes are called."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tiny_classifiers
import tiny_networks
from feature_samples import write_in_turn

from experts.base import State, Tokens
from experts.neural.onnx_network import onnx_identity
from hcq_cli.features.records import VideoFeatures
from hcq_cli.features.store import FeatureStore

CLIPS = {
    "dog.mp4": [[0.9, 0.05, 0.05], [0.7, 0.2, 0.1]],
    "ball.mp4": [[0.1, 0.8, 0.1]],
    "red.mkv": [[0.0, 0.1, 0.9], [0.1, 0.1, 0.8], [0.0, 0.0, 1.0]],
}
"""Probabilities of the classes of `NAMES` in each frame."""
NAMES = ["dog", "ball", "red, the red"]
HEARD = {"dog.mp4": [[0.1, 0.9]], "red.mkv": [[0.8, 0.2]]}
SOUNDS = ["over", "jumps"]


def classifiers(folder: Path) -> dict[str, Path]:
    """The two classifiers with their labels files, by expert."""
    paths = {
        "objects": tiny_classifiers.colour_classifier(folder),
        "sounds": tiny_classifiers.loudness_classifier(folder),
    }
    for path, names in zip(paths.values(), (NAMES, SOUNDS), strict=True):
        path.with_suffix(".labels.txt").write_text("\n".join(names), "utf-8")
    return paths


def write_store(
    folder: Path,
    paths: Mapping[str, Path],
    seen: Mapping[str, list[list[float]]] = CLIPS,
    heard: Mapping[str, list[list[float]]] = HEARD,
) -> FeatureStore:
    """Features as `hcq extract` would have written them."""
    for name in seen:
        tokens, identities = {}, {}
        for expert, found in (("objects", seen), ("sounds", heard)):
            rows = np.array(found.get(name, []), np.float32)
            times = np.arange(len(rows), dtype=np.float32)
            width = {"objects": 3, "sounds": 2}[expert]
            tokens[expert] = Tokens(rows, times) if len(rows) else Tokens.none(width, State.SILENT)
            identities[expert] = f"{expert}|1|{onnx_identity(paths[expert])}||"
        facts = (name, f"/videos/{name}", f"c-{name}", 100, 1, 2.5, "pyav", [])
        write_in_turn(folder, VideoFeatures(*facts, tokens, identities))
    return FeatureStore.open(folder)


def sentence_encoder(folder: Path) -> Path:
    """A tiny sentence encoder that knows the names."""
    return tiny_networks.save("bert", folder)
