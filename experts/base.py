"""The expert contract: the only file that the author of an expert must read.

A video is decoded once, in pieces of at most `SEGMENT_S` seconds so that a two-hour film needs no more memory
than a short video. Each piece reaches every expert as a `Clip`; the expert answers with `Tokens`: feature vectors
and the second of the video that each one speaks of. Tokens of successive pieces are concatenated.

A minimal expert:

    class Brightness:
        name, dim, version, weights = "brightness", 1, "1", ""
        sampling = Sampling(frames_per_second=1.0, max_side=160)

        def prepare(self, device: str) -> None: ...

        def extract(self, clip: Clip) -> Tokens:
            frames = clip.frames(self.sampling)
            features = frames.images.mean((1, 2, 3), dtype=np.float32)[:, None] / 255
            return Tokens(features, frames.times)

Announce it to hcq with an entry point in the group `hcq.experts` whose value is the class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

SEGMENT_S = 30
"""Longest piece of a video handed to an expert at once, in whole seconds (windows of whole seconds align)."""
STRETCH_S = SEGMENT_S  # its former name; experts in other packages may import it


class State(StrEnum):
    """What became of one expert on one video. All but TOKENS mean that the expert has no tokens."""

    TOKENS = "tokens"
    NO_STREAM = "no_stream"
    """The file has no track of the kind the expert needs (no sound, or no picture)."""
    SILENT = "silent"
    """There is a sound track and nothing can be heard on it."""
    NOTHING_FOUND = "nothing_found"
    """The expert looked and found nothing (no face)."""
    NO_FRAMES = "no_frames"
    """There is a track, and too little of it could be decoded to say anything."""
    FAILED = "failed"
    """The expert itself broke on this video; it is tried again with --retry-failed."""


@dataclass(frozen=True)
class Sampling:
    """What an expert asks of the decoder; every expert is served from one decoding pass.

    Args:
        frames_per_second: how many frames a second; None for an expert that only hears.
        max_side: frames are shrunk, aspect kept, until their longer side is at most this (pixels); never enlarged.
        audio_hz: sample rate of the mono sound; None for an expert that only sees.
    """

    frames_per_second: float | None = None
    max_side: int = 320
    audio_hz: int | None = None


@dataclass(frozen=True)
class Frames:
    """Sampled frames of a piece, upright (rotation applied) and with square pixels.

    Args:
        images: uint8 [n, height, width, 3], RGB.
        times: float32 [n], presentation time of each frame in seconds from the start of the video.
    """

    images: NDArray[np.uint8]
    times: NDArray[np.float32]

    def __len__(self) -> int:
        """How many frames."""
        return len(self.times)


@dataclass(frozen=True)
class Waveform:
    """The mono sound of a piece.

    Args:
        samples: float32 [n] in -1..1.
        hz: samples a second.
        start_s: time of the first sample in seconds, on the clock of the frames.
    """

    samples: NDArray[np.float32]
    hz: int
    start_s: float


@dataclass(frozen=True)
class Clip:
    """A piece of one video, decoded once for all experts.

    Args:
        start_s: where the piece begins in the video, seconds.
        end_s: where it ends, seconds.
        has_picture: whether the file has a video track at all.
        has_sound: whether the file has a sound track at all.
        frames_by_sampling: what was sampled for each distinct `Sampling` asked for.
        sound_by_hz: the mono sound at each rate asked for; empty if nothing was decoded.
    """

    start_s: float
    end_s: float
    has_picture: bool
    has_sound: bool
    frames_by_sampling: Mapping[Sampling, Frames] = field(default_factory=dict)
    sound_by_hz: Mapping[int, Waveform] = field(default_factory=dict)

    def frames(self, sampling: Sampling) -> Frames:
        """The frames sampled for `sampling`; empty [0, 0, 0, 3] if none could be decoded."""
        # Empty and not None: its shape and type are those of any frames, so most code needs no special case.
        empty = Frames(np.zeros((0, 0, 0, 3), np.uint8), np.zeros(0, np.float32))
        return self.frames_by_sampling.get(sampling, empty)

    def seen(self, sampling: Sampling) -> Frames | State:
        """`frames`, at least one; or why there is none to look at: NO_STREAM or NO_FRAMES."""
        if not self.has_picture:
            return State.NO_STREAM
        frames = self.frames(sampling)
        return frames if len(frames) else State.NO_FRAMES

    def sound(self, hz: int) -> Waveform:
        """The mono sound at `hz` samples a second; empty if there is none."""
        return self.sound_by_hz.get(hz, Waveform(np.zeros(0, np.float32), hz, self.start_s))


@dataclass(frozen=True)
class Tokens:
    """What one expert found.

    Args:
        features: float32 [n, dim].
        times: float32 [n], seconds from the start of the video (the middle of what a token speaks of).
        state: why there are no tokens; TOKENS exactly if n > 0.
        words: of an expert that reads or listens, what each token says, n of them; kept to be read and searched. Else
            empty.
        spans: when each of the words begins and ends, seconds, n of them; empty where that is not known.
    """

    features: NDArray[np.float32]
    times: NDArray[np.float32]
    state: State = State.TOKENS
    words: tuple[str, ...] = ()
    spans: tuple[tuple[float, float], ...] = ()

    def __len__(self) -> int:
        """How many tokens."""
        return len(self.times)

    @staticmethod
    def none(dim: int, state: State) -> Tokens:
        """No tokens, and the reason."""
        return Tokens(np.zeros((0, dim), np.float32), np.zeros(0, np.float32), state)


@runtime_checkable
class Expert(Protocol):
    """What hcq needs of an expert. Equal input must give equal output, whatever was seen before.

    Attributes:
        name: lower-case word; names the features in the store.
        dim: width of a feature vector.
        version: change it when the numbers change; features of another version are extracted anew.
        weights: revision or digest of the network's weights; empty for an expert without any.
        sampling: what it asks of the decoder.

    It may also have `licence` (of the weights), `about` (what it sees or hears) and `cost` (what it costs), a few
    words each, which `hcq experts` shows; and `paced = True` if `--sample-fps` must leave its frames a second alone.
    `experts.contract.check_expert` puts these promises to the test.
    """

    name: str
    dim: int
    version: str
    weights: str
    sampling: Sampling

    def prepare(self, device: str) -> None:
        """Load what is needed on `device` ("cpu", "cuda"); called once in the process that will extract."""
        ...

    def extract(self, clip: Clip) -> Tokens:
        """Turn a piece into tokens, or into none with the reason."""
        ...
