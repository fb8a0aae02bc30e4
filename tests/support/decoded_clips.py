"""Decodes a file into the clips that experts get, as the extraction does, without any expert."""

from __future__ import annotations

from pathlib import Path

import pytest

from experts.base import Clip, Sampling
from hcq_cli.media.clips import ClipAssembler
from hcq_cli.media.decoder import Decoder, decoders_for, open_media


def decoder(name: str) -> list[Decoder]:
    """The decoder of this name alone; skips the test where it is not installed."""
    found = [one for one in decoders_for(name) if one.name == name]
    if not found:
        pytest.skip(f"{name} is not installed here")
    return found


def clips_of(path: Path, *samplings: Sampling, by: str = "pyav", max_seconds: float | None = None) -> list[Clip]:
    """The clips of a file in their order, with what these samplings ask for."""
    hear_hz = [s.audio_hz for s in samplings if s.audio_hz]
    _, media = open_media(decoder(by), str(path), True, hear_hz)
    cutter = ClipAssembler(samplings, media.has_picture, media.has_sound, max_seconds)
    clips = []
    for piece in media:
        clips += cutter.add(piece)
        if cutter.enough:
            break
    clips += cutter.finish()
    media.close()
    return clips
