"""One video: decoded once, each stretch shown to every expert, tokens joined."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from experts.base import Clip, Expert, State, Tokens
from hcq_cli.errors import HcqError
from hcq_cli.extraction.remote import RemoteNetwork
from hcq_cli.media.clips import Cutter
from hcq_cli.media.decoder import CannotOpenError, Decoder, Media, open_media

INFORMATIVE = (State.FAILED, State.NOTHING_FOUND, State.SILENT, State.NO_FRAMES, State.NO_STREAM)
"""Of an expert without tokens in any stretch, the first of these states that occurred is kept."""
SHORT_S = 1.0
SHORT_SHARE = 0.05
"""A file that ends earlier than it says by more than both is reported."""
STRETCHES_AHEAD = 2
"""How many stretches of a video may wait for a network before its decoding waits too."""
MEASURED_HZ = 16000
"""The rate at which `decode_video` listens."""


@dataclass(frozen=True)
class Remark:
    """Something that went not quite right with a video.

    Args:
        message: for people.
        expert: the expert it is about; None for the video as a whole.
    """

    message: str
    expert: str | None = None


@dataclass
class Extracted:
    """What came out of one video.

    Args:
        decoder: the name of the decoder that read it; empty if none could.
        duration_s: as decoded, or as the file says if that is longer; seconds.
        tokens: by the expert's name.
        remarks: what went not quite right.
        error: why there is nothing at all; None if there is something.
        lasting: whether the error would come again with any experts.
        packets: packets read.
        frames: frames decoded.
    """

    decoder: str = ""
    duration_s: float = 0.0
    tokens: dict[str, Tokens] = field(default_factory=dict)
    remarks: list[Remark] = field(default_factory=list)
    error: str | None = None
    lasting: bool = True
    packets: int = 0
    frames: int = 0


class Collector:
    """Gathers the tokens of one expert over the stretches of a video.

    An expert whose network runs elsewhere waits for it in a thread of its own, while the video is decoded further.

    Args:
        expert: prepared.
    """

    def __init__(self, expert: Expert) -> None:
        self.expert = expert
        self.error: str | None = None
        self._parts: list[Tokens] = []
        waits = isinstance(getattr(expert, "network", None), RemoteNetwork)
        self._thread = ThreadPoolExecutor(1) if waits else None
        self._pending: deque[Future[None]] = deque()

    def show(self, clip: Clip) -> None:
        """Let the expert look at a stretch, unless there is nothing in it for its senses."""
        if self._thread is None:
            self._look(clip)
            return
        while len(self._pending) >= STRETCHES_AHEAD:
            self._pending.popleft().result()
        self._pending.append(self._thread.submit(self._look, clip))

    def close(self) -> None:
        """Let go of the thread; what it has not begun is dropped."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)

    def _look(self, clip: Clip) -> None:
        if self.error is None and (missing := self._missing(clip)) is None:
            try:
                self._parts.append(self._checked(self.expert.extract(clip)))
            except (MemoryError, HcqError):
                raise
            except Exception as error:  # an expert is anybody's code, and costs only its own features
                self.error = f"{type(error).__name__}: {error}"
        elif self.error is None and missing is not None:
            self._parts.append(Tokens.none(self.expert.dim, missing))

    def result(self, clip: Clip) -> Tokens:
        """The tokens of all stretches; `clip` is an empty one of the same video, for when there was none."""
        while self._pending:
            self._pending.popleft().result()
        if self.error is not None:
            return Tokens.none(self.expert.dim, State.FAILED)
        found = [part for part in self._parts if len(part)]
        if found:
            features = np.concatenate([part.features for part in found])
            words = tuple(text for part in found for text in part.words)
            return Tokens(features, np.concatenate([part.times for part in found]), words=words)
        states = {part.state for part in self._parts} or {self._missing(clip) or State.NO_FRAMES}
        return Tokens.none(self.expert.dim, next((s for s in INFORMATIVE if s in states), State.NO_FRAMES))

    def _missing(self, clip: Clip) -> State | None:
        """Why the expert need not be asked; None if it must."""
        sampling = self.expert.sampling
        sees, hears = bool(sampling.frames_per_second), bool(sampling.audio_hz)
        if not ((sees and clip.has_picture) or (hears and clip.has_sound)):
            return State.NO_STREAM
        frames = len(clip.frames(sampling)) if sees else 0
        samples = len(clip.sound(sampling.audio_hz).samples) if sampling.audio_hz else 0
        return None if frames or samples else State.NO_FRAMES

    def _checked(self, tokens: Tokens) -> Tokens:
        features = np.asarray(tokens.features, np.float32)
        times = np.asarray(tokens.times, np.float32)
        if features.ndim != 2 or features.shape[1] != self.expert.dim or times.shape != features.shape[:1]:
            raise ValueError(
                f"gave features {features.shape} and times {times.shape}, not [n, {self.expert.dim}] and [n]"
            )
        if not np.isfinite(features).all():
            raise ValueError("gave features that are not finite")
        if tokens.words and len(tokens.words) != len(times):
            raise ValueError(f"gave {len(tokens.words)} texts for {len(times)} tokens")
        return Tokens(features, times, State.TOKENS if len(times) else tokens.state, tokens.words)


def extract_video(
    path: str,
    experts: Sequence[Expert],
    decoders: Sequence[Decoder],
    max_seconds: float | None = None,
    opened: Callable[[float], None] = lambda duration_s: None,
) -> Extracted:
    """Decode a video once and let every expert look and listen.

    Args:
        path: the file.
        experts: prepared.
        decoders: tried in this order.
        max_seconds: what lies later is left out.
        opened: told the duration, as soon as it is known that the file can be opened.

    Raises:
        MemoryError: it needs more memory than the process may have.
        HcqError: the process that runs the networks is gone.
    """
    samplings = [expert.sampling for expert in experts]
    see = any(sampling.frames_per_second for sampling in samplings)
    hear_hz = list(dict.fromkeys(sampling.audio_hz for sampling in samplings if sampling.audio_hz))
    try:
        name, media = open_media(decoders, path, see, hear_hz)
    except CannotOpenError as error:
        return Extracted(error=str(error))
    collectors = [Collector(expert) for expert in experts]
    try:
        opened(min(media.duration_s or 0.0, max_seconds or math.inf))
        cutter = Cutter(samplings, media.has_picture, media.has_sound, max_seconds)
        for clip in _stretches(media, cutter):
            for collector in collectors:
                collector.show(clip)
        whole = (see or not media.has_picture) and (bool(hear_hz) or not media.has_sound)
        return _summary(name, media, cutter, collectors, whole)
    finally:
        media.close()
        for collector in collectors:
            collector.close()


def decode_video(path: str, decoders: Sequence[Decoder]) -> Extracted:
    """Decode all pictures and the sound of a video, and no more: what extraction cannot do without.

    Args:
        path: the file.
        decoders: tried in this order.
    """
    try:
        name, media = open_media(decoders, path, True, [MEASURED_HZ])
    except CannotOpenError as error:
        return Extracted(error=str(error))
    try:
        cutter = Cutter([], media.has_picture, media.has_sound)
        for piece in media:
            for _ in cutter.add(piece):
                pass
        reached_s = max(cutter.picture_s, cutter.sound_s, media.duration_s or 0.0)
        return Extracted(name, reached_s, packets=media.packets, frames=cutter.frames_decoded)
    finally:
        media.close()


def _stretches(media: Media, cutter: Cutter) -> Iterator[Clip]:
    for piece in media:
        yield from cutter.add(piece)
        if cutter.enough:
            break
    yield from cutter.finish()


def _summary(name: str, media: Media, cutter: Cutter, collectors: Sequence[Collector], whole: bool) -> Extracted:
    reached_s = max(cutter.picture_s, cutter.sound_s)
    empty = Clip(0.0, 0.0, media.has_picture, media.has_sound)
    tokens = {collector.expert.name: collector.result(empty) for collector in collectors}
    remarks = [Remark(message) for message in [*media.warnings, *_how_far(media, cutter, reached_s, whole)]]
    remarks += [Remark(c.error, c.expert.name) for c in collectors if c.error is not None]
    return Extracted(
        name,
        min(max(reached_s, media.duration_s or 0.0), cutter.end_s),
        tokens,
        remarks,
        _nothing(media, cutter, collectors),
        whole and not any(c.error for c in collectors),
        media.packets,
        cutter.frames_decoded,
    )


def _how_far(media: Media, cutter: Cutter, reached_s: float, whole: bool) -> list[str]:
    """What a person should know of how much of the file was there."""
    said_s = min(media.duration_s or 0.0, cutter.end_s)
    told = []
    if whole and said_s - reached_s > max(SHORT_S, SHORT_SHARE * said_s):
        told.append(f"only {reached_s:.1f} s of {said_s:.1f} s could be decoded")
    if cutter.late_sound_s:
        told.append(f"{cutter.late_sound_s:.1f} s of sound lie too far from their pictures and were left out")
    return told


def _nothing(media: Media, cutter: Cutter, collectors: Sequence[Collector]) -> str | None:
    """Why the video gave nothing to any expert; None if it gave something, or was not asked for what it has."""
    if collectors and all(collector.error is not None for collector in collectors):
        return "; ".join(f"{c.expert.name}: {c.error}" for c in collectors)
    asked = (cutter.sees, cutter.hears)
    if any(asked) and not cutter.frames_decoded and not cutter.samples_decoded:
        why = "; ".join(media.warnings)
        return "no frame and no sound in it can be decoded" + (f": {why}" if why else "")
    return None
