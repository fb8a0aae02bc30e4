"""Which frames an expert gets, how large, and where a stretch ends.

For a rate f an expert gets, for each k = 0, 1, 2 …, the frame that is on the screen at the time k/f, each frame
once. So constant, variable and very low frame rates come out right, and a file of one frame gives one frame.
Frames and sound gather in the stretch that their time falls in; a stretch is handed on when the picture and the
sound have both passed its end.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from experts.base import SEGMENT_S, Clip, Frames, Sampling, Waveform
from hcq_cli.media.decoder import Picture, Sound

ROUNDING_S = 0.001
"""Containers round times to as little as a millisecond: a frame counts as shown from this much earlier on."""
LONGEST_LAG_S = 4 * SEGMENT_S
"""How far sound and picture may lie apart in a file before a stretch is closed without the one that lags."""


class Grid:
    """Chooses the frames on the screen at the times k/f.

    Args:
        frames_per_second: f.
    """

    def __init__(self, frames_per_second: float) -> None:
        self.frames_per_second = frames_per_second
        self._next = 0

    def wants(self, shown_s: float, gone_s: float) -> bool:
        """Whether a frame on the screen from `shown_s` to `gone_s` (seconds) is one of them; call in order."""
        first = max(self._next, math.ceil((shown_s - ROUNDING_S) * self.frames_per_second))
        if first / self.frames_per_second >= gone_s - ROUNDING_S:
            return False
        self._next = first + 1
        return True


@dataclass
class _Stretch:
    """What has been gathered for the seconds from number * SEGMENT_S on."""

    number: int
    images: dict[Sampling, list[NDArray[np.uint8]]] = field(default_factory=dict)
    times: dict[Sampling, list[float]] = field(default_factory=dict)
    sound: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    heard: dict[int, tuple[int, int]] = field(default_factory=dict)
    end_s: float = 0.0

    def add_frame(self, sampling: Sampling, image: NDArray[np.uint8], time_s: float) -> None:
        self.images.setdefault(sampling, []).append(image)
        self.times.setdefault(sampling, []).append(time_s)

    def add_sound(self, hz: int, at: int, samples: NDArray[np.float32]) -> None:
        """Lay `samples` at sample `at` of the stretch; what lies between two pieces stays silent."""
        lane = self.sound.setdefault(hz, np.zeros(SEGMENT_S * hz, np.float32))
        lane[at : at + len(samples)] = samples
        first, last = self.heard.get(hz, (at, 0))
        self.heard[hz] = (min(first, at), max(last, at + len(samples)))

    def frames(self, sampling: Sampling) -> Frames:
        images = self.images[sampling]
        shape = images[0].shape  # a stream that changes its size in the middle: the first size holds
        same = [image if image.shape == shape else _resized(image, shape) for image in images]
        return Frames(np.stack(same), np.asarray(self.times[sampling], np.float32))

    def waveform(self, hz: int) -> Waveform:
        first, last = self.heard[hz]
        return Waveform(self.sound[hz][first:last], hz, self.number * SEGMENT_S + first / hz)


def _resized(image: NDArray[np.uint8], shape: Sequence[int]) -> NDArray[np.uint8]:
    import cv2

    resized: NDArray[np.uint8] = cv2.resize(image, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
    return resized


class Cutter:
    """Takes the decoded pieces of a video in any interleaving, gives it back in stretches.

    Args:
        samplings: what the experts ask for.
        has_picture: whether pictures will come.
        has_sound: whether sound will come.
        max_seconds: what lies later is left out; None for all.
    """

    def __init__(
        self, samplings: Sequence[Sampling], has_picture: bool, has_sound: bool, max_seconds: float | None = None
    ) -> None:
        self.has_picture, self.has_sound = has_picture, has_sound
        self.seen = [sampling for sampling in dict.fromkeys(samplings) if sampling.frames_per_second]
        self.sees = has_picture and bool(self.seen)
        self.hears = has_sound and any(sampling.audio_hz for sampling in samplings)
        self.end_s = math.inf if max_seconds is None else max_seconds
        self.frames_decoded = self.samples_decoded = 0
        self.picture_s = 0.0
        """How far the picture has come, seconds."""
        self._heard_s = {sampling.audio_hz: 0.0 for sampling in samplings if sampling.audio_hz}
        self.late_sound_s = 0.0
        """Sound that came after its stretch had been handed on, seconds."""
        self._grids = {rate: Grid(rate) for rate in (s.frames_per_second for s in self.seen) if rate}
        self._on_screen: Picture | None = None
        self._begun = False
        self._stretches: dict[int, _Stretch] = {}
        self._given = 0

    @property
    def sound_s(self) -> float:
        """How far the sound has come, at every rate, seconds."""
        return min(self._heard_s.values(), default=0.0)

    @property
    def enough(self) -> bool:
        """Whether all that may be kept (max_seconds) has been seen."""
        clocks = [at for at, wanted in ((self.picture_s, self.sees), (self.sound_s, self.hears)) if wanted]
        return bool(clocks) and (min(clocks) >= self.end_s or max(clocks) >= self.end_s + LONGEST_LAG_S)

    def add(self, piece: Picture | Sound) -> Iterator[Clip]:
        """Take one piece; gives the stretches that are complete with it."""
        if isinstance(piece, Sound):
            self.samples_decoded += len(piece.samples)
            self._add_sound(piece)
        else:
            self.frames_decoded += 1
            self._show(piece)
        yield from self._complete(self._passed_s())

    def finish(self) -> Iterator[Clip]:
        """All pieces have come; gives the stretches that are left."""
        if self._on_screen is not None:
            last = self._on_screen
            gone_s = last.time_s + max(last.duration_s, 3 * ROUNDING_S)
            self._take(last, gone_s)
            self.picture_s = max(self.picture_s, gone_s)
        yield from self._complete(math.inf)

    def _passed_s(self) -> float:
        if not (self.sees and self.hears):
            return max(self.picture_s, self.sound_s)
        return max(min(self.picture_s, self.sound_s), max(self.picture_s, self.sound_s) - LONGEST_LAG_S)

    def _show(self, picture: Picture) -> None:
        """The frame before is known to be gone now, so it can be decided on."""
        before, self._on_screen = self._on_screen, picture
        if before is not None:
            self._take(before, picture.time_s)
            # Only the frame that has just been decided on can still fall in its stretch.
            self.picture_s = max(self.picture_s, picture.time_s)

    def _take(self, picture: Picture, gone_s: float) -> None:
        # The first frame stands for the time before it too.
        shown_s = picture.time_s if self._begun else min(picture.time_s, 0.0)
        self._begun = True
        if picture.time_s >= self.end_s:
            return
        chosen = {rate for rate, grid in self._grids.items() if grid.wants(shown_s, gone_s)}
        images: dict[int, NDArray[np.uint8]] = {}
        stretch = self._stretch(picture.time_s)
        stretch.end_s = max(stretch.end_s, gone_s)
        for sampling in self.seen:
            if sampling.frames_per_second in chosen:
                if sampling.max_side not in images:
                    images[sampling.max_side] = picture.rgb(sampling.max_side)
                stretch.add_frame(sampling, images[sampling.max_side], picture.time_s)

    def _add_sound(self, sound: Sound) -> None:
        at = round(sound.start_s * sound.hz)
        samples = sound.samples[max(0, -at) :]  # what comes before the start of the file is cut off
        at = max(0, at)
        if math.isfinite(self.end_s):
            samples = samples[: max(0, round(self.end_s * sound.hz) - at)]
        length = SEGMENT_S * sound.hz
        while len(samples):
            number, offset = divmod(at, length)
            piece, samples = samples[: length - offset], samples[length - offset :]
            if number < self._given:
                self.late_sound_s += len(piece) / sound.hz
            else:
                stretch = self._stretch(at / sound.hz)
                stretch.add_sound(sound.hz, offset, piece)
                stretch.end_s = max(stretch.end_s, (at + len(piece)) / sound.hz)
            at += len(piece)
        self._heard_s[sound.hz] = max(self._heard_s.get(sound.hz, 0.0), sound.start_s + len(sound.samples) / sound.hz)

    def _stretch(self, time_s: float) -> _Stretch:
        number = max(self._given, int(max(time_s, 0.0) // SEGMENT_S))
        return self._stretches.setdefault(number, _Stretch(number))

    def _complete(self, passed_s: float) -> Iterator[Clip]:
        done = sorted(n for n in self._stretches if (n + 1) * SEGMENT_S <= passed_s)
        for number in done:
            self._given = number + 1
            yield self._clip(self._stretches.pop(number))

    def _clip(self, stretch: _Stretch) -> Clip:
        start_s = float(stretch.number * SEGMENT_S)
        end_s = min(max(stretch.end_s, start_s), start_s + SEGMENT_S, self.end_s)
        frames = {sampling: stretch.frames(sampling) for sampling in stretch.images}
        sound = {hz: stretch.waveform(hz) for hz in stretch.heard}
        return Clip(start_s, end_s, self.has_picture, self.has_sound, frames, sound)
