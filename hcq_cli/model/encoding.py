"""A whole collection into a code file, a batch at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experts.base import State
from hcq_cli.codes.codefile import CodeHeader, CodeWriter
from hcq_cli.data.batches import collate, in_order
from hcq_cli.errors import HcqError
from hcq_cli.features.records import state_number
from hcq_cli.features.store import FeatureStore
from hcq_cli.model.checkpoint import Model

VIDEOS_AT_ONCE = 64
CAPTIONS_AT_ONCE = 256
TOKENS = state_number(State.TOKENS)

Done = Callable[[int], None]
"""Called with the number of videos or captions finished since the last call."""


@dataclass(frozen=True)
class Encoded:
    """What was written.

    Args:
        path: the code file.
        items: videos or captions in it.
        seconds: it took.
        without_features: videos left out because no expert of the model has tokens of them.
        warnings: what is doubtful, a sentence each.
    """

    path: Path
    items: int
    seconds: float
    without_features: int
    warnings: list[str]


def header(model: Model, kind: str) -> CodeHeader:
    """What the codes of `model` are codes of.

    Args:
        model: loaded from a folder.
        kind: "videos" or "texts".
    """
    config = model.config
    folder = str(model.folder.resolve()) if model.folder else ""
    quantizer = config.quantizer
    words, width = quantizer.codewords, config.embedding_width
    return CodeHeader(kind, model.hash, folder, config.levels + 1, quantizer.codebooks, words, width)


def encode_store(model: Model, store: FeatureStore, path: Path, done: Done = lambda count: None) -> Encoded:
    """Write the codes of every video of `store` that has any feature the model knows.

    Raises:
        HcqError: the store lacks every expert of the model, or has features of another width.
    """
    started = time.monotonic()
    experts = [name for name in model.config.experts if name in store.experts]
    if not experts:
        raise HcqError(
            f"the features hold none of the model's experts ({', '.join(model.config.experts)})",
            f"hcq extract VIDEOS --experts {','.join(model.config.experts)}",
        )
    warnings, left_out = [*store.warnings, *expert_warnings(model, store)], 0
    with CodeWriter(path, header(model, "videos"), model.codebooks, model.scale) as writer:
        for rows in in_order(len(store), VIDEOS_AT_ONCE):
            there = np.stack([store.latest(name).state[rows] == TOKENS for name in experts]).any(0)
            left_out += int((~there).sum())
            if there.any():
                batch = collate(store.read(rows[there], experts), model.config.video.max_tokens)
                records = [store.video(int(row)) for row in rows[there]]
                writer.append([r.id for r in records], [r.path for r in records], model.encode_codes(batch))
            done(len(rows))
        items = writer.videos
    if left_out:
        warnings.append(f"{left_out} videos have no tokens of any expert and cannot be found; they are left out")
    return Encoded(path, items, time.monotonic() - started, left_out, warnings)


def expert_warnings(model: Model, store: FeatureStore) -> list[str]:
    """What of the store does not fit what the model was trained on, a sentence each."""
    warnings: list[str] = []
    for name, expert in model.config.experts.items():
        if name not in store.experts:
            warnings.append(f"the features hold no {name}, which the model was trained with")
        elif expert.identity and store.experts[name].identity != expert.identity:
            warnings.append(f"the {name} features are of another version or sampling than the model was trained on")
    return warnings


def encode_texts(
    model: Model, ids: Sequence[str], sentences: Sequence[str], path: Path, done: Done = lambda count: None
) -> Encoded:
    """Write the codes of captions, for video-to-text search.

    Args:
        model: loaded from a folder.
        ids: of the captions, unique.
        sentences: the captions; they stand where a video has its path.
        path: of the code file.
        done: told of progress.
    """
    started = time.monotonic()
    with CodeWriter(path, header(model, "texts"), model.codebooks, model.scale) as writer:
        for at in in_order(len(sentences), CAPTIONS_AT_ONCE):
            part = [sentences[i] for i in at]
            writer.append([ids[i] for i in at], part, model.quantize(model.encode_texts(part)))
            done(len(part))
    return Encoded(path, len(sentences), time.monotonic() - started, 0, [])
