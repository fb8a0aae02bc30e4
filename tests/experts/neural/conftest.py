"""Tiny networks on disk, and first segments of real clips as experts get them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tiny_networks

from experts.base import Clip, Sampling
from hcq_cli.media.clips import ClipAssembler
from hcq_cli.media.decoder import decoders_for, open_media


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
