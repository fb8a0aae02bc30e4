"""Writes a shard: the sizes of all columns are known before the first byte is written, so tokens stream through."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from experts.base import State, Tokens
from hcq_cli import files
from hcq_cli.errors import HcqError
from hcq_cli.features.hdf5_layout import (
    FORMAT,
    VERSION,
    Dtype,
    ExpertKey,
    Extent,
    as_bytes,
    create_layout,
    encode_header,
    write_at,
)
from hcq_cli.features.records import STATES, VideoFacts, VideoFeatures, state_number, text_key
from hcq_cli.features.shard import Shard
from hcq_cli.packed_strings import PackedStrings

TokenArrays = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Features [n, dim] and times [n] of one video."""


@dataclass(frozen=True)
class ExpertResult:
    """What one expert found in one video, wherever it lies now.

    Args:
        key: expert and width.
        n: how many tokens.
        state: number of the state, from 1.
        identity: what the features depend on.
        read: gives features [n, dim] and times [n].
    """

    key: ExpertKey
    n: int
    state: int
    identity: str
    read: Callable[[], TokenArrays]

    @classmethod
    def of_tokens(cls, expert: str, tokens: Tokens, identity: str) -> ExpertResult:
        """What an expert has just found.

        Raises:
            ValueError: its shapes or its state do not fit.
        """
        features, times = np.ascontiguousarray(tokens.features, "<f4"), np.ascontiguousarray(tokens.times, "<f4")
        # A name is a part of the names of datasets in HDF5, which a slash would cut.
        if features.ndim != 2 or times.shape != features.shape[:1] or not expert or "/" in expert:
            raise ValueError(f"tokens of {expert!r}: features {features.shape} and times {times.shape} do not fit")
        if (len(times) > 0) != (tokens.state == State.TOKENS):
            raise ValueError(f"tokens of {expert!r}: the state {tokens.state} does not fit")
        key = ExpertKey(expert, features.shape[1])
        return cls(key, len(times), state_number(tokens.state), identity, read=lambda: (features, times))

    @classmethod
    def in_shard(cls, shard: Shard, key: ExpertKey, at: int) -> ExpertResult:
        """What an expert found in video `at` of a shard; its tokens are read when they are written."""
        offsets = shard.column(f"{key.prefix}offsets")
        identities = shard.text(f"{key.prefix}identities")
        return cls(
            key,
            n=int(offsets[at + 1] - offsets[at]),
            state=int(shard.column(f"{key.prefix}state")[at]),
            identity=identities[int(shard.column(f"{key.prefix}identity")[at])],
            read=lambda: shard.tokens(key, at),
        )


@dataclass(frozen=True)
class ShardRow:
    """One video to be written.

    Args:
        facts: what is known of its file.
        results: what each expert found; at most one an expert.
    """

    facts: VideoFacts
    results: tuple[ExpertResult, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of its features and times, float32 both."""
        return sum(result.n * 4 * (result.key.dim + 1) for result in self.results)

    @classmethod
    def of(cls, video: VideoFeatures) -> ShardRow:
        """A finished video as a row.

        Raises:
            ValueError: shapes do not fit, or an identity is missing.
        """
        missing = [expert for expert in video.tokens if expert not in video.identities]
        if missing:
            raise ValueError(f"tokens of {missing[0]!r}: without an identity")
        found = sorted(video.tokens.items())
        return cls(video, tuple(ExpertResult.of_tokens(e, tokens, video.identities[e]) for e, tokens in found))


def write_shard(path: Path, rows: Sequence[ShardRow], *, durable: bool = True) -> None:
    """Write `rows` to a shard of its own: complete and synced, or not there at all.

    Args:
        path: where it shall be.
        rows: V videos, each id once; their tokens are read one at a time.
        durable: whether to wait for the disk.

    Raises:
        HcqError: two ids cannot be told apart by their keys, the disk is full, the folder cannot be written.
        DamagedError: tokens that were to be copied are damaged.
    """
    seen: dict[int, str] = {}
    for row in rows:
        other = seen.setdefault(text_key(row.facts.id), row.facts.id)
        if other != row.facts.id:
            raise HcqError(f"the ids {other!r} and {row.facts.id!r} have the same 64-bit key", "rename one of them")
    # An estimate, for the message: some 512 bytes a video of ids, paths and numbers, and the header.
    needed = sum(row.nbytes for row in rows) + 4096 * (1 + len(rows) // 8)
    with files.atomic_path(path, durable=durable, needed_bytes=needed) as temporary:
        handle = os.open(temporary, os.O_RDWR)
        try:
            _write(handle, rows)
        finally:
            os.close(handle)


def _write(handle: int, rows: Sequence[ShardRow]) -> None:
    experts, columns = _expert_columns(rows), _video_columns(rows)
    for own in experts.values():
        columns |= own.columns()
    states = ",".join(f"{number}={state}" for number, state in enumerate(STATES, 1))
    about = {"format": FORMAT, "version": VERSION, "states": f"0=not extracted,{states}"}
    # Single bytes have no order, and NumPy calls them "|u1".
    extents = {
        name: Extent(0, cast(Dtype, values.dtype.str.replace("|", "<")), values.shape)
        for name, values in columns.items()
    }
    for key, own in experts.items():
        tokens = int(own.counts.sum())
        extents[f"{key.prefix}features"] = Extent(0, "<f4", (tokens, key.dim))
        extents[f"{key.prefix}times"] = Extent(0, "<f4", (tokens,))
    placed = create_layout(handle, extents, about)
    _write_tokens(handle, rows, experts, placed)
    for own in experts.values():
        columns |= own.columns()  # once more: the checksums are known now
    for name, values in columns.items():
        data = as_bytes(values)
        write_at(handle, data, placed[name].offset)
        placed[name] = placed[name]._replace(crc=zlib.crc32(data))
    # The header last: a file without it is no shard, whatever else of it is there.
    write_at(handle, memoryview(encode_header(len(rows), os.fstat(handle).st_size, placed)), 0)


def _video_columns(rows: Sequence[ShardRow]) -> dict[str, NDArray[Any]]:
    facts = [row.facts for row in rows]
    columns: dict[str, NDArray[Any]] = {
        "videos/key": np.array([text_key(f.id) for f in facts], "<u8"),
        "videos/path_key": np.array([text_key(f.path) for f in facts], "<u8"),
        "videos/content_key": np.array([text_key(f.content_hash) for f in facts], "<u8"),
        "videos/size": np.array([f.size for f in facts], "<i8"),
        "videos/mtime_ns": np.array([f.mtime_ns for f in facts], "<i8"),
        "videos/duration_s": np.array([f.duration_s for f in facts], "<f8"),
    }
    texts = {
        "id": [f.id for f in facts],
        "path": [f.path for f in facts],
        "content": [f.content_hash for f in facts],
        "decoder": [f.decoder for f in facts],
        "warnings": [json.dumps(f.warnings) for f in facts],
    }
    for name, column in texts.items():
        columns |= _text_column(f"videos/{name}", column)
    return columns


def _text_column(name: str, texts: Sequence[str]) -> dict[str, NDArray[Any]]:
    packed = PackedStrings.of(texts)
    return {f"{name}.bytes": packed.blob, f"{name}.offsets": packed.offsets.astype("<i8")}


class _ExpertColumns:
    """The small columns of one expert, filled while its tokens stream through."""

    def __init__(self, key: ExpertKey, videos: int) -> None:
        self.key = key
        self.counts = np.zeros(videos, np.int64)
        self.state = np.zeros(videos, np.uint8)
        self.identity = np.zeros(videos, "<u2")
        self.crc = np.zeros(videos, "<u4")
        self.identities: dict[str, int] = {}

    def add(self, at: int, result: ExpertResult) -> None:
        self.counts[at], self.state[at] = result.n, result.state
        self.identity[at] = self.identities.setdefault(result.identity, len(self.identities))

    @property
    def offsets(self) -> NDArray[np.int64]:
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(self.counts)])

    def columns(self) -> dict[str, NDArray[Any]]:
        named: dict[str, NDArray[Any]] = {"offsets": self.offsets, "state": self.state}
        named |= {"identity": self.identity, "crc": self.crc, **_text_column("identities", list(self.identities))}
        return {self.key.prefix + name: values for name, values in named.items()}


def _expert_columns(rows: Sequence[ShardRow]) -> dict[ExpertKey, _ExpertColumns]:
    experts: dict[ExpertKey, _ExpertColumns] = {}
    for at, row in enumerate(rows):
        for result in row.results:
            experts.setdefault(result.key, _ExpertColumns(result.key, len(rows))).add(at, result)
    return dict(sorted(experts.items()))


def _write_tokens(
    handle: int, rows: Sequence[ShardRow], experts: dict[ExpertKey, _ExpertColumns], placed: dict[str, Extent]
) -> None:
    offsets = {key: own.offsets for key, own in experts.items()}
    for at, row in enumerate(rows):
        for result in row.results:
            if not result.n:
                continue
            # Tokens of one video at a time are in memory, whether they come from an expert or from another shard.
            features, times = map(as_bytes, result.read())
            begin, key = int(offsets[result.key][at]), result.key
            write_at(handle, features, placed[f"{key.prefix}features"].offset + begin * 4 * key.dim)
            write_at(handle, times, placed[f"{key.prefix}times"].offset + begin * 4)
            experts[key].crc[at] = zlib.crc32(times, zlib.crc32(features))
