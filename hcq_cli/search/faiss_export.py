"""An index as another program reads it: an IndexPQ of Faiss, written by Faiss itself.

Faiss's quantizer is ours: M = S sub-quantizers of d dimensions, 8 bits each. The weights of the levels go into its
codewords, so a query's vector is its L+1 level vectors one after another, as they are, and Faiss's inner product is
our score.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hcq_cli.errors import HcqError, needing
from hcq_cli.files import atomic_open, atomic_path, write_json
from hcq_cli.search.index import Index

BITS = 8
"""Of a code; Faiss then wants 256 codewords a sub-quantizer."""
ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class FaissExport:
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


def export_faiss(index: Index, path: Path, progress: Callable[[int], None] = lambda _: None) -> FaissExport:
    """Write the living videos of an index as an IndexPQ, in the order of their rows, with their ids beside it.

    All codes are in memory meanwhile, as they are in every program that reads the file.

    Args:
        path: of the file for Faiss; `PATH.ids.jsonl` and `PATH.json` come beside it.

    Raises:
        NotFoundError: Faiss is not installed.
        HcqError: it cannot write the file.
    """
    header = index.header
    ids, about = path.with_name(path.name + ".ids.jsonl"), path.with_name(path.name + ".json")
    faiss, pq = empty_index(index.codebooks, index.scale)
    pq.codes.resize(index.rows * header.S)
    # Faiss's own memory, seen as an array: the codes are never there twice.
    codes = faiss.rev_swig_ptr(pq.codes.data(), index.rows * header.S).reshape(index.rows, header.S)
    with atomic_path(path) as out, atomic_open(ids) as names:
        for part, lines in _living_rows(index):
            codes[pq.ntotal : pq.ntotal + len(part)] = part
            pq.ntotal += len(part)
            names.writelines(lines)  # in the order of Faiss's row numbers, which are all that its answers say
            progress(len(part))
        try:
            faiss.write_index(pq, str(out))
        except RuntimeError as error:
            raise HcqError(f"{path}: Faiss cannot write it ({error})", "df -h: is the disk full?") from error
    document = {
        "index": path.name,
        "ids": ids.name,
        "videos": index.rows,
        "metric": "inner product",
        "dimensions": pq.d,
        "levels": header.levels,
        "width": header.D,
        "model": header.model_hash,
        "checkpoint": header.checkpoint,
        "query": "float32: the coarse vector, then the fine ones, one after another, as the text tower gives them",
    }
    write_json(about, document)
    return FaissExport(path, ids, about, videos=index.rows, dimensions=pq.d, levels=header.levels)


def empty_index(codebooks: np.ndarray, scale: np.ndarray) -> tuple[Any, Any]:
    """The module faiss, and an IndexPQ without videos by our codebooks float32 [S, K, d] and scale float32 [S].

    Raises:
        NotFoundError: Faiss is not installed.
    """
    with needing("faiss, which writes the file, is not installed", "faiss"):
        import faiss
    subquantizers, known, width = codebooks.shape
    pq = faiss.IndexPQ(subquantizers * width, subquantizers, BITS, faiss.METRIC_INNER_PRODUCT)
    codewords = codebooks * scale[:, None, None]
    # Faiss has all 256; ours that are not there are never named by a code.
    codewords = np.concatenate([codewords, np.repeat(codewords[:, -1:], 2**BITS - known, axis=1)], axis=1)
    faiss.copy_array_to_vector(np.ascontiguousarray(codewords, np.float32).ravel(), pq.pq.centroids)
    pq.is_trained = True
    return faiss, pq


def _living_rows(index: Index) -> Iterator[tuple[np.ndarray, list[bytes]]]:
    """Codes uint8 [n, S] of living videos in the order of rows, and a line of JSON for each."""
    for segment in index.segments:
        alive = segment.alive
        for start in range(0, segment.videos, ROWS_AT_ONCE):
            rows = start + np.flatnonzero(alive[start : start + ROWS_AT_ONCE])
            lines = [json.dumps(segment.name(row)).encode() + b"\n" for row in rows.tolist()]
            # Faiss does not check codes: one of K or more would read beyond a sub-quantizer's table.
            yield np.minimum(segment.codes_of(rows), index.header.K - 1), lines
