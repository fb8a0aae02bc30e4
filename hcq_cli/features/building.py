"""Writing a shard: the sizes of all columns are known before the first byte is written, so tokens stream through."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from errno import EACCES, EDQUOT, EFBIG, ENOSPC, EPERM, EROFS
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experts.base import State
from hcq_cli import files
from hcq_cli.errors import HcqError
from hcq_cli.features.columns import key_of, keys_of, pack, raw
from hcq_cli.features.frame import FORMAT, VERSION, Extent, Header, make_frame, write_at, write_header
from hcq_cli.features.records import STATES, VideoFacts, VideoFeatures, state_number
from hcq_cli.features.strip import Part

TokenArrays = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class Piece:
    """What one expert found in one video, wherever it lies now.

    Args:
        part: expert and width.
        n: how many tokens.
        state: number of the state, from 1.
        identity: what the features depend on.
        read: gives features [n, dim] and times [n].
    """

    part: Part
    n: int
    state: int
    identity: str
    read: Callable[[], TokenArrays]


@dataclass(frozen=True)
class Row:
    """One video to be written.

    Args:
        facts: what is known of its file.
        pieces: what each expert found; at most one an expert.
    """

    facts: VideoFacts
    pieces: tuple[Piece, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of its features and times, float32 both."""
        return sum(piece.n * 4 * (piece.part.dim + 1) for piece in self.pieces)


def _given(*arrays: NDArray[np.float32]) -> TokenArrays:
    return arrays[0], arrays[1]


def row_of(video: VideoFeatures) -> Row:
    """A finished video as a row.

    Raises:
        ValueError: shapes do not fit, or an identity is missing.
    """
    pieces = []
    for expert, tokens in sorted(video.tokens.items()):
        features = np.ascontiguousarray(tokens.features, "<f4")
        times = np.ascontiguousarray(tokens.times, "<f4")
        if features.ndim != 2 or times.shape != features.shape[:1] or not expert or "/" in expert:
            raise ValueError(f"tokens of {expert!r}: features {features.shape} and times {times.shape} do not fit")
        if (len(times) > 0) != (tokens.state == State.TOKENS) or expert not in video.identities:
            raise ValueError(f"tokens of {expert!r}: the state {tokens.state} or the identity does not fit")
        part = Part(expert, features.shape[1])
        state = state_number(tokens.state)
        pieces.append(Piece(part, len(times), state, video.identities[expert], partial(_given, features, times)))
    return Row(video, tuple(pieces))


def _video_columns(rows: Sequence[Row]) -> dict[str, NDArray[Any]]:
    facts = [row.facts for row in rows]
    columns: dict[str, NDArray[Any]] = {
        "videos/key": keys_of([f.id for f in facts]),
        "videos/path_key": keys_of([f.path for f in facts]),
        "videos/content_key": keys_of([f.content_hash for f in facts]),
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
        columns[f"videos/{name}.bytes"], columns[f"videos/{name}.offsets"] = pack(column)
    return columns


class _PartColumns:
    """The small columns of one expert, filled while its tokens stream through."""

    def __init__(self, part: Part, videos: int) -> None:
        self.part = part
        self.counts = np.zeros(videos, np.int64)
        self.state = np.zeros(videos, np.uint8)
        self.identity = np.zeros(videos, "<u2")
        self.crc = np.zeros(videos, "<u4")
        self.identities: dict[str, int] = {}

    def plan(self, at: int, piece: Piece) -> None:
        self.counts[at], self.state[at] = piece.n, piece.state
        self.identity[at] = self.identities.setdefault(piece.identity, len(self.identities))

    @property
    def offsets(self) -> NDArray[np.int64]:
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(self.counts)])

    def columns(self) -> dict[str, NDArray[Any]]:
        blob, ends = pack(list(self.identities))
        named: dict[str, NDArray[Any]] = {"offsets": self.offsets, "state": self.state}
        named |= {"identity": self.identity, "crc": self.crc, "identities.bytes": blob, "identities.offsets": ends}
        return {self.part.prefix + name: values for name, values in named.items()}


def _plan(rows: Sequence[Row]) -> dict[Part, _PartColumns]:
    parts: dict[Part, _PartColumns] = {}
    for at, row in enumerate(rows):
        for piece in row.pieces:
            parts.setdefault(piece.part, _PartColumns(piece.part, len(rows))).plan(at, piece)
    return dict(sorted(parts.items()))


def _extents(parts: dict[Part, _PartColumns], columns: dict[str, NDArray[Any]]) -> dict[str, Extent]:
    extents = {name: Extent(0, values.dtype.str.replace("|", "<"), values.shape) for name, values in columns.items()}
    for part, own in parts.items():
        rows = int(own.counts.sum())
        extents[f"{part.prefix}features"] = Extent(0, "<f4", (rows, part.dim))
        extents[f"{part.prefix}times"] = Extent(0, "<f4", (rows,))
    return extents


def _pour_tokens(
    handle: int, rows: Sequence[Row], parts: dict[Part, _PartColumns], placed: dict[str, Extent]
) -> None:
    offsets = {part: own.offsets for part, own in parts.items()}
    for at, row in enumerate(rows):
        for piece in row.pieces:
            if not piece.n:
                continue
            features, times = map(raw, piece.read())
            begin, prefix = int(offsets[piece.part][at]), piece.part.prefix
            write_at(handle, features, placed[f"{prefix}features"].offset + begin * 4 * piece.part.dim)
            write_at(handle, times, placed[f"{prefix}times"].offset + begin * 4)
            parts[piece.part].crc[at] = zlib.crc32(times, zlib.crc32(features))


def _fill(temporary: Path, rows: Sequence[Row]) -> None:
    parts, columns = _plan(rows), _video_columns(rows)
    for own in parts.values():
        columns |= own.columns()
    states = ",".join(f"{number}={state}" for number, state in enumerate(STATES, 1))
    about = {"format": FORMAT, "version": VERSION, "states": f"0=not extracted,{states}"}
    handle = os.open(temporary, os.O_RDWR)
    try:
        placed = make_frame(handle, _extents(parts, columns), about)
        _pour_tokens(handle, rows, parts, placed)
        for own in parts.values():
            columns |= own.columns()  # once more: the checksums are known now
        for name, values in columns.items():
            data = raw(values)
            write_at(handle, data, placed[name].offset)
            placed[name] = replace(placed[name], crc=zlib.crc32(data))
        write_header(handle, Header(len(rows), os.fstat(handle).st_size, placed))
    finally:
        os.close(handle)


@contextmanager
def storing(path: Path, needed_bytes: int) -> Iterator[None]:
    """Turn a full disk or a missing right to write into an error that says so.

    Args:
        path: what is being written.
        needed_bytes: how much space it needs.

    Raises:
        HcqError: naming the path and what is needed.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (ENOSPC, EDQUOT, EFBIG):
            needed = f"{max(needed_bytes, 1 << 20) / 2**20:.0f} MB"
            raise HcqError(
                f"{path}: the disk is full, {needed} are needed", "make room, then run the same command again"
            ) from error
        if error.errno in (EACCES, EPERM, EROFS):
            raise HcqError(
                f"{path}: cannot be written ({error.strerror})", "choose a folder you may write to"
            ) from error
        raise


def write_shard(path: Path, rows: Sequence[Row], *, durable: bool = True) -> None:
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
        other = seen.setdefault(key_of(row.facts.id), row.facts.id)
        if other != row.facts.id:
            raise HcqError(f"the ids {other!r} and {row.facts.id!r} have the same 64-bit key", "rename one of them")
    needed = sum(row.nbytes for row in rows) + 4096 * (1 + len(rows) // 8)
    with storing(path, needed), files.atomic_path(path, durable=durable) as temporary:
        _fill(temporary, rows)
