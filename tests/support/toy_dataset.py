"""A small collection made by hand: videos of a colour and an animal, two experts, captions that name both."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from feature_samples import write_in_turn

from experts.base import State, Tokens
from hcq_cli.features.records import VideoFeatures
from hcq_cli.features.writer import FeatureWriter

COLOURS = ("red", "blue", "green", "yellow")
ANIMALS = ("dog", "cat", "horse", "bird")
DIMS = {"appearance": 12, "audio": 8}
SMALL = [
    "model.width=32",
    "model.levels=2",
    "text.width=32",
    "text.ffn=64",
    "text.layers=1",
    "video.ffn=64",
    "video.layers=1",
    "quantizer.codebooks=4",
    "quantizer.codewords=16",
    "training.batch_size=16",
]


def tokens(video: int, expert: str, n: int | None = None) -> Tokens:
    """Noisy tokens around the direction of the video's colour (appearance) or animal (audio)."""
    rng = np.random.default_rng((video, len(expert)))
    label = video % 4 if expert == "appearance" else video // 4 % 4
    direction = np.random.default_rng((9, label, len(expert))).normal(size=DIMS[expert]) * 3
    count = int(rng.integers(1, 5)) if n is None else n
    features = direction + rng.normal(size=(count, DIMS[expert]))
    return Tokens(features.astype(np.float32), np.arange(count, dtype=np.float32))


def video(
    number: int, name: str | None = None, absent: tuple[str, ...] = (), content: str | None = None
) -> VideoFeatures:
    found = {e: Tokens.none(DIMS[e], State.SILENT) if e in absent else tokens(number, e) for e in DIMS}
    facts = dict(size=1, mtime_ns=1, duration_s=3.0, decoder="pyav", warnings=[])
    name = name or f"v{number:03d}.mp4"
    identities = {e: f"{e}|1||" for e in DIMS}
    hashed = content or f"{number:064x}"
    return VideoFeatures(name, f"/videos/{name}", hashed, **facts, tokens=found, identities=identities)


def write_store(folder: Path, videos: list[VideoFeatures]) -> Path:
    for each in videos:
        write_in_turn(folder, each)
    with FeatureWriter(folder) as writer:
        writer.compact()
    return folder


def caption(number: int) -> str:
    return f"a {COLOURS[number % 4]} {ANIMALS[number // 4 % 4]} runs past house {number}"


def write_captions(path: Path, numbers: range, split: str | None = None, **extra: str) -> Path:
    lines = [{"video": f"v{n:03d}.mp4", "captions": [caption(n), f"look, {caption(n)}"]} for n in numbers]
    for line in lines:
        line |= {"split": split} if split else {}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return path
