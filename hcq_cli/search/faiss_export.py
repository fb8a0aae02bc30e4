"""An index as another program reads it: Faiss's IndexPQ, written without Faiss and in bounded memory.

Faiss's quantizer is ours: M = S sub-quantizers of d dimensions, 8 bits each. The weights of the levels go into its
codewords, so a query's vector is its L+1 level vectors one after another, as they are, and Faiss's inner product is
our score. The layout is that of `faiss.write_index` for "IxPq" (faiss/impl/index_write.cpp).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from hcq_cli.files import atomic_open, write_json
from hcq_cli.search.index import Index

BITS = 8
INNER_PRODUCT = 0
TABLE_SEARCH = 0
POLYSEMOUS_THRESHOLD = 0
ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Exported:
    """What was written.

    Args:
        path: the index, for `faiss.read_index`.
        ids: a line of JSON [id, path] for each of its rows.
        about: JSON: how to make a query.
        videos: in it.
        dimensions: of a query's vector, (L+1)·D.
        levels: L+1.
    """

    path: Path
    ids: Path
    about: Path
    videos: int
    dimensions: int
    levels: int


def export_faiss(index: Index, path: Path, progress: Callable[[int], None] = lambda _: None) -> Exported:
    """Write the living videos of an index as an IndexPQ, in the order of their rows, with their ids beside it.

    Args:
        index: to be exported.
        path: of the file for Faiss; `PATH.ids.jsonl` and `PATH.json` come beside it.
        progress: told the videos written.
    """
    header = index.header
    ids, about = path.with_name(path.name + ".ids.jsonl"), path.with_name(path.name + ".json")
    dimensions = header.levels * header.D
    with atomic_open(path) as out, atomic_open(ids) as names:
        _write_head(out, index, dimensions)
        for codes, lines in _rows(index):
            out.write(codes.data)
            names.writelines(lines)
            progress(len(codes))
        out.write(struct.pack("<i?i", TABLE_SEARCH, False, POLYSEMOUS_THRESHOLD))
    document = {
        "index": path.name,
        "ids": ids.name,
        "videos": index.videos,
        "metric": "inner product",
        "dimensions": dimensions,
        "levels": header.levels,
        "width": header.D,
        "model": header.model_hash,
        "checkpoint": header.checkpoint,
        "query": "float32: the coarse vector, then the fine ones, one after another, as the text tower gives them",
    }
    write_json(about, document)
    return Exported(path, ids, about, index.videos, dimensions, header.levels)


def _write_head(out: IO[bytes], index: Index, dimensions: int) -> None:
    """Everything that stands before the codes."""
    header, unused = index.header, 1 << 20
    out.write(b"IxPq")
    out.write(struct.pack("<iqqq?i", dimensions, index.videos, unused, unused, True, INNER_PRODUCT))
    codewords = index.codebooks * index.scale[:, None, None]
    missing = 2**BITS - header.K  # Faiss has all 256; ours that are not there are never named by a code
    codewords = np.concatenate([codewords, np.repeat(codewords[:, -1:], missing, axis=1)], axis=1)
    out.write(struct.pack("<QQQQ", dimensions, header.S, BITS, codewords.size))
    out.write(np.ascontiguousarray(codewords, "<f4").data)
    out.write(struct.pack("<Q", index.videos * header.S))


def _rows(index: Index) -> Iterator[tuple[np.ndarray, list[bytes]]]:
    """Codes uint8 [n, S] of living videos in the order of rows, and a line for each."""
    for segment, dead in index.segments:
        for start in range(0, segment.videos, ROWS_AT_ONCE):
            rows = np.arange(start, min(start + ROWS_AT_ONCE, segment.videos))
            rows = rows if dead is None else rows[~dead[rows]]
            lines = [json.dumps(segment.name(row)).encode() + b"\n" for row in rows.tolist()]
            yield np.ascontiguousarray(np.minimum(segment.codes_of(rows), index.header.K - 1)), lines
