"""Tiny networks on disk, and first segments of real clips as experts get them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tiny_networks

from experts.base import Clip, Sampling
from hcq_cli.media.clips import ClipAssembler
from hcq_cli.media.decoder import decoders_for, open_media

RFB = {"scale": 1, "mean": 127, "std": 128, "least_score": 0.9}
"""How the face detector in the shared data wants its pictures."""


@pytest.fixture(scope="session")
def networks(tmp_path_factory) -> Callable[[str], Path]:
    """The folder of a tiny network by its kind; made when first asked for."""
    root = tmp_path_factory.mktemp("networks")
    return lambda kind: tiny_networks.save(kind, root)


def _decoded(path: Path, sampling: Sampling) -> Iterator[Clip]:
    hear = [sampling.audio_hz] if sampling.audio_hz else []
    _, media = open_media(decoders_for("pyav"), str(path), bool(sampling.frames_per_second), hear)
    cutter = ClipAssembler([sampling], media.has_picture, media.has_sound)
    for piece in media:
        yield from cutter.add(piece)
    yield from cutter.finish()
    media.close()


@pytest.fixture(scope="session")
def first_segment() -> Callable[[Path, Sampling], Clip]:
    """The first segment of a video, decoded as extraction does it."""
    return lambda path, sampling: next(_decoded(path, sampling))


@pytest.fixture
def squeezenet(shared, tmp_path):
    """SqueezeNet in a folder where a sidecar can lie beside it."""
    return shutil.copy(shared / "weights" / "squeezenet_imagenet.onnx", tmp_path / "squeezenet.onnx")


@pytest.fixture
def detector(shared, tmp_path):
    path = shutil.copy(shared / "weights" / "ulfg_version-RFB-320.onnx", tmp_path / "rfb.onnx")
    path.with_suffix(".json").write_text(json.dumps(RFB))
    return path
