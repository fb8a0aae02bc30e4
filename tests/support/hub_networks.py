"""Tiny random networks under the ids of the presets, and of what else is fetched by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import tiny_duals
import tiny_faces
import tiny_networks

from experts.neural.hub import PRESET


def save(folder: Path) -> dict[str, Path]:
    """The folder of each network, by its id."""
    own = dict(
        zip(PRESET.values(), (tiny_networks.save(kind, folder) for kind in ("dinov2", "vjepa2", "ast")), strict=True)
    )
    duals = {kind: tiny_duals.save(kind, folder / "duals") for kind in ("siglip2", "clap", "videoprism")}
    return {
        **own,
        **_faces(folder),
        "microsoft/resnet-18": _resnet(folder / "resnet"),
        "google/siglip2-base-patch16-224": duals["siglip2"],
        "google/siglip2-so400m-patch14-384": duals["siglip2"],
        "google/videoprism-lvt-base-f16r288": duals["videoprism"],
        "laion/clap-htsat-unfused": duals["clap"],
        "openai/whisper-base": tiny_networks.save("speech", folder),
        "google-bert/bert-base-cased": tiny_networks.save("bert", folder),
    }


def _resnet(folder: Path) -> Path:
    """The kind of network that the preset `light` is."""
    import transformers as t

    names = {"id2label": {0: "dog, hound", 1: "red ball"}, "label2id": {"dog, hound": 0, "red ball": 1}}
    config = t.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", **names)
    t.ResNetForImageClassification(config).eval().save_pretrained(folder)
    t.ConvNextImageProcessor(size={"shortest_edge": 32}).save_pretrained(folder)
    return folder


def _faces(folder: Path) -> dict[str, Path]:
    """Detector and embedder of faces, each in a folder of its own."""
    both, found = tiny_faces.save(folder / "faces"), {}
    for id, file in (
        ("opencv/face_detection_yunet", "face_detection_yunet_2023mar.onnx"),
        ("opencv/face_recognition_sface", "face_recognition_sface_2021dec.onnx"),
    ):
        found[id] = folder / id
        found[id].mkdir(parents=True)
        shutil.copy(both / file, found[id])
    return found
