"""Harms video files in the ways that disks, networks and people do; from a seed, so that a find can be made again."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

SUFFIXES = (".mp4", ".mkv", ".avi", ".mpg", ".webm", ".mov", ".ts", ".flv")


def flips(data: bytes, rng: random.Random) -> bytes:
    """Single bits turned over: few or many, anywhere or in the head, where the description of the tracks is."""
    harmed = bytearray(data)
    reach = rng.choice([len(data), len(data), min(len(data), 4096)])
    for _ in range(rng.choice([1, 3, 10, 100, 1000])):
        harmed[rng.randrange(reach)] ^= 1 << rng.randrange(8)
    return bytes(harmed)


def truncation(data: bytes, rng: random.Random) -> bytes:
    """The end is missing (a download that broke off), or seldom the beginning."""
    at = rng.randrange(len(data))
    return data[at:] if rng.random() < 0.15 else data[:at]


def zeros(data: bytes, rng: random.Random) -> bytes:
    """A run of zeros in the middle, as a bad sector leaves; up to a tenth of the file."""
    harmed = bytearray(data)
    for _ in range(rng.choice([1, 1, 3])):
        length = rng.choice([16, 512, 4096, max(1, len(data) // 10)])
        at = rng.randrange(max(1, len(data) - length))
        harmed[at : at + length] = bytes(min(length, len(data) - at))
    return bytes(harmed)


def whole(data: bytes, rng: random.Random) -> bytes:
    """Only the name will be wrong; and zeros follow the end, so that it is another file than its source."""
    return data + bytes(rng.randrange(1, 500))


HARMS = {"flips": flips, "cut": truncation, "zeros": zeros, "name": whole}


def mutants(sources: Sequence[Path], folder: Path, count: int, seed: int) -> dict[str, tuple[str, Path]]:
    """Write `count` harmed copies of `sources` into `folder`, all kinds and all sources in turn.

    Returns:
        by the name of the file: the kind of harm, and what it was made from.
    """
    made = {}
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        source = sources[number % len(sources)]
        kind = list(HARMS)[number // len(sources) % len(HARMS)] if count >= 4 * len(sources) else rng.choice([*HARMS])
        others = [suffix for suffix in SUFFIXES if suffix != source.suffix]
        suffix = rng.choice(others) if kind == "name" else source.suffix
        name = f"{number:04d}-{kind}-{source.stem}{suffix}"
        (folder / name).write_bytes(HARMS[kind](source.read_bytes(), rng))
        made[name] = (kind, source)
    return made
