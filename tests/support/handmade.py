"""Codes made by hand: random unit codebooks and random codes, written as real files. No model needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hcq_cli.codes.codefile import CodeHeader, CodeWriter
from hcq_cli.codes.ids import video_of
from hcq_cli.columns.own_columns import Join, read_own_columns
from hcq_cli.search.segment_columns import ColumnsSource
from hcq_cli.words.gathering import CollectionWords

HEADER = CodeHeader("videos", "a" * 64, "/nowhere/model", levels=2, M=4, K=16, D=32)
FOUR_LEVELS = replace(HEADER, levels=4)


def quantizer(header: CodeHeader = HEADER, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Codebooks [S, K, d] of unit codewords, and the scale [S] of equally weighted levels."""
    rng = np.random.default_rng(seed)
    codebooks = rng.normal(size=(header.S, header.K, header.d)).astype(np.float32)
    codebooks /= np.linalg.norm(codebooks, axis=2, keepdims=True)
    return codebooks, np.full(header.S, 1 / (header.levels * np.sqrt(header.M)), np.float32)


def random_codes(videos: int, header: CodeHeader = HEADER, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, header.K, (videos, header.S), dtype=np.uint8)


def random_levels(queries: int, header: CodeHeader = HEADER, seed: int = 2) -> np.ndarray:
    levels = np.random.default_rng(seed).normal(size=(queries, header.levels, header.D)).astype(np.float32)
    return levels / np.linalg.norm(levels, axis=2, keepdims=True)


def clustered_codes(videos: int, header: CodeHeader, seed: int = 0) -> np.ndarray:
    """Codes of videos around 40 themes: each code is its theme's, three times in four."""
    rng = np.random.default_rng(seed)
    themes = rng.integers(0, header.K, (40, header.S), np.uint8)
    own = rng.integers(0, header.K, (videos, header.S), np.uint8)
    return np.where(rng.random((videos, header.S)) < 0.75, themes[rng.integers(0, 40, videos)], own)


def names(videos: int, prefix: str = "v") -> list[str]:
    return [f"{prefix}{number}.mp4" for number in range(videos)]


def write_codes(
    path: Path,
    ids: Sequence[str],
    codes: np.ndarray,
    header: CodeHeader = HEADER,
    batch: int = 100,
    folder: str = "/videos",
) -> Path:
    codebooks, scale = quantizer(header)
    with CodeWriter(path, header, codebooks, scale) as writer:
        for at in range(0, len(ids), batch):
            part = list(ids[at : at + batch])
            writer.append(part, [f"{folder}/{video_of(item_id)}" for item_id in part], codes[at : at + batch])
    return path


def other_model(header: CodeHeader = HEADER) -> CodeHeader:
    return replace(header, model_hash="b" * 64)


def plain_scan(codes: np.ndarray, table: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The canonical scan in three lines: float64, sub-quantizer after sub-quantizer, ties by lowest row."""
    scores = np.zeros(len(codes))
    for s in range(codes.shape[1]):
        scores += table[s].astype(np.float64)[codes[:, s]]
    rows = np.lexsort((np.arange(len(codes)), -scores))[:k]
    return scores[rows], rows


def hybrid_scores(levels: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """The paper's score from float vectors: w_0·cos_coarse + (1-w_0)·mean_l cos_l of query and codewords."""
    codebooks, _ = quantizer()
    videos = np.stack([np.concatenate([codebooks[s, c] for s, c in enumerate(row)]) for row in codes])
    videos = videos.reshape(len(codes), HEADER.levels, HEADER.D)
    cosines = np.einsum("qld,nld->qnl", levels, videos / np.linalg.norm(videos, axis=2, keepdims=True))
    coarse = 1 / HEADER.levels
    return coarse * cosines[:, :, 0] + (1 - coarse) * cosines[:, :, 1:].mean(axis=2)


def told(folder: Path, ids: Sequence[str]) -> dict[str, Any]:
    """What an index is told of videos: the words of their files' names, and a column, their `number` in `ids`.

    The table is written into `folder` once.
    """
    if not (table := folder / "own.csv").exists():
        table.write_text("video,number\n" + "".join(f"{id},{number}\n" for number, id in enumerate(ids)))
    own = read_own_columns(table)
    return {"words": CollectionWords(None), "columns": ColumnsSource(None, own, Join(own, lambda: iter([ids])))}
