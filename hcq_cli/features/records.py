"""What goes into a feature store and what comes out of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experts.base import Expert, State, Tokens
from hcq_cli.errors import sizes

STATES = (State.TOKENS, State.NO_STREAM, State.SILENT, State.NOTHING_FOUND, State.NO_FRAMES, State.FAILED)
"""States in the order of their numbers in a file: the first is 1; 0 means that the row lacks the expert."""


def state_number(state: State) -> int:
    """The number that stands for `state` in a file."""
    return STATES.index(state) + 1


def text_key(text: str) -> int:
    """A 64-bit digest of an id, a path or a content hash, as the columns `…key` of a shard hold it.

    By these numbers a text is found among millions without a million Python strings. Equal texts have equal keys; the
    reverse is unlikely, and checked where a key is looked up.
    """
    data = text.encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def as_bytes(array: NDArray[Any]) -> memoryview:
    """The bytes of a contiguous array, shared with it."""
    return array.data.cast("B") if array.size else memoryview(b"")  # an empty array cannot be cast


def identity(expert: Expert, options: Mapping[str, Any] | None = None) -> str:
    """What a feature depends on besides the video itself; features of another identity are extracted anew.

    Args:
        expert: its name, version, weights and sampling count.
        options: further settings of the run that change what it sees (frames a second, a limit of seconds…).
    """
    # Compared with what stores hold already: another order or spelling would have every video extracted anew.
    sampling = [f"{part.name}={getattr(expert.sampling, part.name)}" for part in fields(expert.sampling)]
    extra = [f"{key}={value}" for key, value in sorted((options or {}).items()) if value is not None]
    return "|".join([expert.name, expert.version, expert.weights, ",".join(sampling), ",".join(extra)])


@dataclass(frozen=True)
class VideoFacts:
    """What is known of one video file.

    Args:
        id: unique name in the store; may hold undecodable bytes (surrogateescape).
        path: where the file lay when it was last seen, absolute.
        content_hash: SHA-256 of the file, as hex; empty until it has been read.
        size: bytes.
        mtime_ns: modification time, nanoseconds.
        duration_s: seconds; 0 until it has been decoded.
        decoder: which decoder read it; empty until then.
        warnings: what went not quite right, for people.
        width: pixels of a picture, upright; 0 if unknown.
        height: the same.
        taken_s: when it was taken, as its container says, seconds since 1970 (UTC); None if that does not.
    """

    id: str
    path: str
    content_hash: str = ""
    size: int = 0
    mtime_ns: int = 0
    duration_s: float = 0.0
    decoder: str = ""
    warnings: list[str] = field(default_factory=list)
    width: int = field(default=0, kw_only=True)
    height: int = field(default=0, kw_only=True)
    taken_s: float | None = field(default=None, kw_only=True)


DECODED_FACTS = ("duration_s", "decoder", "warnings", "width", "height", "taken_s")
"""What is known of a file by its bytes alone, and so of every copy of it."""


@dataclass(frozen=True)
class VideoFeatures(VideoFacts):
    """One finished video on its way into the store.

    Args:
        tokens: what each expert found, by the expert's name; experts left out keep what the store has of them.
        identities: `identity(expert)` of each of them.
    """

    tokens: dict[str, Tokens] = field(default_factory=dict)
    identities: dict[str, str] = field(default_factory=dict)


class ExpertKey(NamedTuple):
    """One expert at one width: features of two widths lie in columns of their own.

    Args:
        expert: its name.
        dim: width of its features.
    """

    expert: str
    dim: int

    @property
    def prefix(self) -> str:
        """What the names of its datasets begin with in a shard."""
        return f"experts/{self.expert}/{self.dim}/"


@dataclass(frozen=True)
class ExpertResult:
    """What one expert found in one video, wherever it lies now.

    Args:
        key: expert and width.
        n: how many tokens.
        state: what became of it.
        identity: what the features depend on.
        read: gives the bytes of its features [n, dim] by pieces, then those of its times [n], float32 both; a piece
            lasts until the next one is asked for.
    """

    key: ExpertKey
    n: int
    state: State
    identity: str
    read: Callable[[], Iterator[memoryview]]


@dataclass(frozen=True)
class VideoRecord:
    """One video as a store holds it, or is to hold it.

    Args:
        facts: what is known of its file.
        results: what each expert found, by the expert's name; without those that have not looked at it yet.
    """

    facts: VideoFacts
    results: dict[str, ExpertResult] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes of its features and times, float32 both."""
        return sum(result.n * 4 * (result.key.dim + 1) for result in self.results.values())

    @classmethod
    def of(cls, video: VideoFeatures) -> VideoRecord:
        """A finished video.

        Raises:
            ValueError: shapes or a state do not fit, or an identity is missing.
        """
        results = {}
        for expert, tokens in sorted(video.tokens.items()):
            features, times = (np.ascontiguousarray(found, "<f4") for found in (tokens.features, tokens.times))
            # A name is a part of the names of datasets in HDF5, which a slash would cut.
            if features.ndim != 2 or times.shape != features.shape[:1] or not expert or "/" in expert:
                raise ValueError(
                    f"tokens of {expert!r}: {sizes(features.shape)} features, {sizes(times.shape)} times do not fit"
                )
            if (len(times) > 0) != (tokens.state == State.TOKENS) or expert not in video.identities:
                raise ValueError(
                    f"tokens of {expert!r}: without an identity, or the state {tokens.state} does not fit"
                )
            key, identity = ExpertKey(expert, features.shape[1]), video.identities[expert]
            read = partial(map, as_bytes, (features, times))
            results[expert] = ExpertResult(key, len(times), tokens.state, identity, read)
        return cls(video, results)


@dataclass(frozen=True)
class ExpertInfo:
    """One expert of a store.

    Args:
        name: the expert's name.
        dim: width of its features.
        identity: what they depend on; all features a store hands out have this one.
        videos: how many videos have it (whatever the state).
        left_out: how many videos have only features of another identity, which are not handed out.
    """

    name: str
    dim: int
    identity: str
    videos: int
    left_out: int

    @property
    def version(self) -> str:
        """The expert's version, from its identity."""
        parts = self.identity.split("|")
        return parts[1] if len(parts) > 1 else ""


@dataclass(frozen=True)
class Ragged:
    """The tokens of B videos, one after another.

    Args:
        features: float32 [n, dim].
        times: float32 [n], seconds.
        offsets: int64 [B+1]; video b has tokens offsets[b]:offsets[b+1].
    """

    features: NDArray[np.float32]
    times: NDArray[np.float32]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        """B, videos; not tokens."""
        return len(self.offsets) - 1

    def of(self, video: int) -> Ragged:
        """The tokens of one of the videos alone."""
        part = slice(int(self.offsets[video]), int(self.offsets[video + 1]))
        return Ragged(self.features[part], self.times[part], self.offsets[video : video + 2] - part.start)
