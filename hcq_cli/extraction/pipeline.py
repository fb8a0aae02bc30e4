"""One video: decoded once, each clip of it shown to every expert, tokens joined."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from experts.base import Clip, Expert, State, Tokens
from hcq_cli.errors import HcqError, sizes
from hcq_cli.extraction.executor import Outcome, VideoWarning
from hcq_cli.extraction.inference import RemoteNetwork
from hcq_cli.media.clips import ClipAssembler
from hcq_cli.media.container_facts import ContainerFacts
from hcq_cli.media.decoder import CannotOpenError, Decoder, Media, open_media

INFORMATIVE = (State.FAILED, State.NOTHING_FOUND, State.SILENT, State.NO_FRAMES, State.NO_STREAM)
"""Of an expert without tokens in any clip, the first of these states that occurred is kept."""
SHORT_S = 1.0
SHORT_SHARE = 0.05
"""A file that ends earlier than it says by more than both is reported."""
CLIPS_AHEAD = 2
"""How many clips of a video may wait for a network before its decoding waits too."""
MEASURED_HZ = 16000
"""The sample rate at which `decode_video` asks for the sound."""


@dataclass
class ExtractedVideo(Outcome):
    """What came out of one video.

    Args:
        tokens: by the expert's name.
        facts: what its container says, as far as the decoder tells.
    """

    tokens: dict[str, Tokens] = field(default_factory=dict)
    facts: ContainerFacts = field(default_factory=ContainerFacts)


class TokenCollector:
    """Gathers the tokens of one expert over the clips of a video.

    An expert whose network runs elsewhere waits for it in a thread of its own, while the video is decoded further.

    Args:
        expert: prepared.
    """

    def __init__(self, expert: Expert) -> None:
        self.expert = expert
        self.error: str | None = None
        self._parts: list[Tokens] = []
        # One thread: an expert need not be safe for several, and its tokens must come in the order of the clips.
        waits = isinstance(getattr(expert, "network", None), RemoteNetwork)
        self._thread = ThreadPoolExecutor(1) if waits else None
        self._pending: deque[Future[None]] = deque()

    def show(self, clip: Clip) -> None:
        """Let the expert look at a clip, unless there is nothing in it for its senses."""
        if self._thread is None:
            self._look(clip)
            return
        while len(self._pending) >= CLIPS_AHEAD:
            self._pending.popleft().result()
        self._pending.append(self._thread.submit(self._look, clip))

    def close(self) -> None:
        """Let go of the thread; what it has not begun is dropped."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)

    def _look(self, clip: Clip) -> None:
        if self.error is not None:
            return
        nothing = self._nothing_to_see(clip)
        if nothing is not None:
            self._parts.append(Tokens.none(self.expert.dim, nothing))
            return
        try:
            self._parts.append(checked_tokens(self.expert.extract(clip), self.expert.dim))
        except (MemoryError, HcqError):
            raise  # not of this expert's making: the process cannot go on
        except Exception as error:  # an expert is anybody's code, and costs only its own features
            self.error = f"{type(error).__name__}: {error}"

    def result(self, empty: Clip) -> Tokens:
        """The tokens of all clips.

        Args:
            empty: a clip of the same video with nothing in it, for when there was none.
        """
        while self._pending:
            self._pending.popleft().result()
        if self.error is not None:
            return Tokens.none(self.expert.dim, State.FAILED)
        found = [part for part in self._parts if len(part)]
        if found:
            self._parts = []  # hours of them are not held beside what is made of them
            features = np.concatenate([part.features for part in found])
            words = tuple(text for part in found for text in part.words)
            spans = tuple(span for part in found for span in part.spans)
            return Tokens(features, np.concatenate([part.times for part in found]), words=words, spans=spans)
        states = {part.state for part in self._parts} or {self._nothing_to_see(empty) or State.NO_FRAMES}
        return Tokens.none(self.expert.dim, next((s for s in INFORMATIVE if s in states), State.NO_FRAMES))

    def _nothing_to_see(self, clip: Clip) -> State | None:
        """Why the expert need not be asked; None if it must."""
        sampling = self.expert.sampling
        sees, hears = bool(sampling.frames_per_second), bool(sampling.audio_hz)
        if not ((sees and clip.has_picture) or (hears and clip.has_sound)):
            return State.NO_STREAM
        frames = len(clip.frames(sampling)) if sees else 0
        samples = len(clip.sound(sampling.audio_hz).samples) if sampling.audio_hz else 0
        return None if frames or samples else State.NO_FRAMES


def checked_tokens(tokens: Tokens, dim: int) -> Tokens:
    """What an expert gave, as the store keeps it: float32 features [n, dim] and times [n].

    Raises:
        ValueError: it is something else.
    """
    features = np.asarray(tokens.features, np.float32)
    times = np.asarray(tokens.times, np.float32)
    if features.ndim != 2 or features.shape[1] != dim or times.shape != features.shape[:1]:
        raise ValueError(f"gave {sizes(features.shape)} features and {sizes(times.shape)} times, not n × {dim} and n")
    if not np.isfinite(features).all():
        raise ValueError("gave features that are not finite")
    if tokens.words and len(tokens.words) != len(times):
        raise ValueError(f"gave {len(tokens.words)} texts for {len(times)} tokens")
    if tokens.spans and len(tokens.spans) != len(tokens.words):
        raise ValueError(f"gave {len(tokens.spans)} spans for {len(tokens.words)} texts")
    # An expert may leave the state out: n > 0 says it.
    return Tokens(features, times, State.TOKENS if len(times) else tokens.state, tokens.words, tokens.spans)


def extract_video(
    path: str,
    experts: Sequence[Expert],
    decoders: Sequence[Decoder],
    max_seconds: float | None = None,
    opened: Callable[[float], None] = lambda duration_s: None,
    deaf: bool = False,
) -> ExtractedVideo:
    """Decode a video once and let every expert look and listen.

    Args:
        path: the file.
        experts: prepared.
        decoders: tried in this order.
        max_seconds: what lies later is left out.
        opened: told the duration in seconds, as soon as it is known that the file can be opened.
        deaf: whether the sound is left alone, because the decoder has crashed with it; that is told.

    Raises:
        MemoryError: it needs more memory than the process may have.
        HcqError: the process that runs the networks is gone.
    """
    samplings = [expert.sampling for expert in experts]
    see = any(sampling.frames_per_second for sampling in samplings)
    hear_hz = list(dict.fromkeys(s.audio_hz for s in samplings if s.audio_hz and not deaf))
    try:
        name, media = open_media(decoders, path, see, hear_hz)
    except CannotOpenError as error:
        return ExtractedVideo(error=str(error))
    collectors = [TokenCollector(expert) for expert in experts]
    try:
        # From here on the deadline goes by the duration, which a file may lie about: what is left out does not count.
        opened(min(media.duration_s or 0.0, max_seconds or math.inf))
        assembler = ClipAssembler(samplings, media.has_picture, media.has_sound, max_seconds)
        if deaf:
            assembler.hears = False  # there is sound, and none will come: nobody waits for it
            media.warnings.append("the decoder crashed; without its sound the pictures could be decoded")
        facts: ContainerFacts = getattr(media, "facts", ContainerFacts())  # a stranger's decoder may not tell
        for clip in clips_of(media, assembler):
            for frames in clip.frames_by_sampling.values():
                if len(frames):
                    facts = facts.shown_as(frames.images.shape[2], frames.images.shape[1])
            for collector in collectors:
                collector.show(clip)
        every_track = (see or not media.has_picture) and (bool(hear_hz) or not media.has_sound)
        found = _summarize(name, media, assembler, collectors, every_track)
        found.facts = facts
        if deaf and not found.frames:
            found.error = found.error or "there is nothing in it but a sound that crashes the decoder"
        return found
    finally:
        media.close()
        for collector in collectors:
            collector.close()


def decode_video(path: str, decoders: Sequence[Decoder]) -> Outcome:
    """Decode all pictures and the sound of a video, and no more: what extraction cannot do without.

    Args:
        path: the file.
        decoders: tried in this order.
    """
    try:
        name, media = open_media(decoders, path, True, [MEASURED_HZ])
    except CannotOpenError as error:
        return Outcome(error=str(error))
    try:
        assembler = ClipAssembler([], media.has_picture, media.has_sound)
        for piece in media:
            for _ in assembler.add(piece):  # a generator: it counts while it is gone through
                pass
        reached_s = max(assembler.picture_s, assembler.sound_s, media.duration_s or 0.0)
        return Outcome(decoder=name, duration_s=reached_s, packets=media.packets, frames=assembler.frames_decoded)
    finally:
        media.close()


def clips_of(media: Media, assembler: ClipAssembler) -> Iterator[Clip]:
    """The clips of an open file, each as soon as it is complete; decodes no further than is asked for."""
    for piece in media:
        yield from assembler.add(piece)
        if assembler.enough:
            break
    yield from assembler.finish()


def _summarize(
    name: str, media: Media, assembler: ClipAssembler, collectors: Sequence[TokenCollector], every_track: bool
) -> ExtractedVideo:
    """What is told of a video, when its last clip has been shown.

    Args:
        name: of the decoder.
        media: read to its end, or as far as was asked for.
        assembler: knows how far that was.
        collectors: one an expert.
        every_track: whether all tracks of the file were asked for, so that nothing in it can have been missed.
    """
    reached_s = max(assembler.picture_s, assembler.sound_s)
    empty = Clip(0.0, 0.0, media.has_picture, media.has_sound)
    tokens = {collector.expert.name: collector.result(empty) for collector in collectors}
    broken = [collector for collector in collectors if collector.error is not None]
    told = list(media.warnings)
    said_s = min(media.duration_s or 0.0, assembler.end_s)
    if every_track and said_s - reached_s > max(SHORT_S, SHORT_SHARE * said_s):
        told.append(f"only {reached_s:.1f} s of {said_s:.1f} s could be decoded")
    if assembler.late_sound_s:
        told.append(f"{assembler.late_sound_s:.2g} s of sound lie too far from their pictures and were left out")
    if assembler.not_converted:
        told.append(f"{len(assembler.not_converted)} frames have no pixels: {assembler.not_converted[0]}")
    return ExtractedVideo(
        error=_reason_for_nothing(media, assembler, collectors),
        lasting=every_track and not broken,  # another expert may do better, or ask for the other track
        warnings=[*map(VideoWarning, told), *(VideoWarning(c.error or "", c.expert.name) for c in broken)],
        decoder=name,
        duration_s=min(max(reached_s, media.duration_s or 0.0), assembler.end_s),
        packets=media.packets,
        frames=assembler.frames_decoded,
        tokens=tokens,
    )


def _reason_for_nothing(media: Media, assembler: ClipAssembler, collectors: Sequence[TokenCollector]) -> str | None:
    """Why the video gave nothing to any expert; None if it gave something, or was not asked for what it has."""
    if collectors and all(collector.error is not None for collector in collectors):
        return "; ".join(f"{c.expert.name}: {c.error}" for c in collectors)
    asked = assembler.sees or assembler.hears
    if asked and not assembler.frames_decoded and not assembler.samples_decoded:
        why = "; ".join(media.warnings)
        return "no frame and no sound in it can be decoded" + (f": {why}" if why else "")
    return None
