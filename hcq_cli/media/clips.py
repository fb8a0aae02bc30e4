"""Which frames an expert gets, how large, and how decoded pieces become clips.

For a rate f an expert gets, for each k = 0, 1, 2 …, the frame that is on the screen at the time k/f, each frame once.
So constant, variable and very low frame rates come out right, and a file of one frame gives one frame. A video is cut
into clips of `SEGMENT_S` seconds, so that a two-hour film needs no more memory than a short one. Frames and sound
gather in the clip that their time falls in; a clip is handed on when the picture and the sound have both passed its
end.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from experts.base import SEGMENT_S, Clip, Frames, Sampling, Waveform
from hcq_cli.media.decoder import CannotConvertError, Picture, Sound

ROUNDING_S = 0.001
"""Containers round times to as little as a millisecond: a frame counts as shown from this much earlier on."""
LONGEST_LAG_S = 4 * SEGMENT_S
"""How far sound and picture may lie apart in a file before a clip is closed without the one that lags, seconds."""


class FrameGrid:
    """Chooses the frames on the screen at the times k/f.

    Args:
        frames_per_second: f.
    """

    def __init__(self, frames_per_second: float) -> None:
        self.frames_per_second = frames_per_second
        self._next = 0

    def wants(self, shown_s: float, gone_s: float) -> bool:
        """Whether a frame on the screen from `shown_s` to `gone_s` (seconds) is one of them; call in order."""
        # The next k that no frame has been chosen for and that is not over yet. Counting k in integers, not adding
        # up 1/f: after two hours a sum of floats is a frame off.
        k = max(self._next, math.ceil((shown_s - ROUNDING_S) * self.frames_per_second))
        if k / self.frames_per_second >= gone_s - ROUNDING_S:
            return False
        self._next = k + 1
        return True


@dataclass
class _OpenClip:
    """What has been gathered so far for the seconds from number * SEGMENT_S on.

    Args:
        number: of the clip in the video, from 0.
        images: frames chosen for each sampling, [height, width, 3] each.
        times: of these frames, seconds.
        sound: float32 [SEGMENT_S * hz] for each rate, silent where nothing has come.
        heard: for each rate the first sample that has come, and the one after the last.
        end_s: how far anything in it reaches, seconds.
    """

    number: int
    images: dict[Sampling, list[NDArray[np.uint8]]] = field(default_factory=dict)
    times: dict[Sampling, list[float]] = field(default_factory=dict)
    sound: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    heard: dict[int, tuple[int, int]] = field(default_factory=dict)
    end_s: float = 0.0

    def add_sound(self, hz: int, at: int, samples: NDArray[np.float32]) -> None:
        """Lay `samples` at sample `at` of the clip; what lies between two pieces stays silent."""
        if hz not in self.sound:
            self.sound[hz] = np.zeros(SEGMENT_S * hz, np.float32)
        self.sound[hz][at : at + len(samples)] = samples
        first, last = self.heard.get(hz, (at, 0))
        self.heard[hz] = (min(first, at), max(last, at + len(samples)))

    def close(self, has_picture: bool, has_sound: bool, latest_s: float) -> Clip:
        """The clip as the experts get it; it ends where its last frame or sample does, `latest_s` at the latest."""
        frames = {}
        for sampling, images in self.images.items():
            shape = images[0].shape  # a stream that changes its size in the middle: the first size holds
            same = [image if image.shape == shape else _fitted(image, shape) for image in images]
            frames[sampling] = Frames(np.stack(same), np.asarray(self.times[sampling], np.float32))
        start_s = float(self.number * SEGMENT_S)
        sound = {
            hz: Waveform(self.sound[hz][first:last], hz, self.number * SEGMENT_S + first / hz)
            for hz, (first, last) in self.heard.items()
        }
        end_s = min(max(self.end_s, start_s), start_s + SEGMENT_S, latest_s)
        return Clip(start_s, end_s, has_picture, has_sound, frames_by_sampling=frames, sound_by_hz=sound)


def _fitted(image: NDArray[np.uint8], shape: Sequence[int]) -> NDArray[np.uint8]:
    """The image in another size; black at its sides where its own shape is another, so that nothing is distorted."""
    import cv2

    height, width = shape[:2]
    scale = min(height / image.shape[0], width / image.shape[1])
    high, wide = round(image.shape[0] * scale), round(image.shape[1] * scale)
    if height - high <= 1 and width - wide <= 1:  # the same shape, but for rounding
        high, wide = height, width
    fitted = np.zeros((height, width, 3), np.uint8)
    top, left = (height - high) // 2, (width - wide) // 2
    inner = cv2.resize(image, (max(1, wide), max(1, high)), interpolation=cv2.INTER_AREA)
    fitted[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return fitted


class ClipAssembler:
    """Takes the decoded pieces of a video in any interleaving, gives it back in clips.

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
        self._visual = [sampling for sampling in dict.fromkeys(samplings) if sampling.frames_per_second]
        self.sees = has_picture and bool(self._visual)
        self.hears = has_sound and any(sampling.audio_hz for sampling in samplings)
        self.end_s = math.inf if max_seconds is None else max_seconds
        self.frames_decoded = self.samples_decoded = 0
        self.picture_s = 0.0
        """How far the picture has come, seconds."""
        self._sound_s = {sampling.audio_hz: 0.0 for sampling in samplings if sampling.audio_hz}
        self.late_sound_s = 0.0
        """Sound that came after its clip had been handed on, seconds."""
        self.not_converted: list[str] = []
        """Why, of each frame of which no pixels could be had."""
        self._grids = {rate: FrameGrid(rate) for rate in (s.frames_per_second for s in self._visual) if rate}
        self._on_screen: Picture | None = None
        self._begun = False
        self._open: dict[int, _OpenClip] = {}
        self._next_number = 0

    @property
    def sound_s(self) -> float:
        """How far the sound has come, at every rate, seconds."""
        return min(self._sound_s.values(), default=0.0)

    @property
    def enough(self) -> bool:
        """Whether all that may be kept (max_seconds) has been seen."""
        # A track that ends early never reaches the limit: the other goes on a little, and then it is enough.
        clocks = [at for at, wanted in ((self.picture_s, self.sees), (self.sound_s, self.hears)) if wanted]
        return bool(clocks) and (min(clocks) >= self.end_s or max(clocks) >= self.end_s + LONGEST_LAG_S)

    def add(self, piece: Picture | Sound) -> Iterator[Clip]:
        """Take one piece; gives the clips that are complete with it."""
        if isinstance(piece, Sound):
            self.samples_decoded += len(piece.samples)
            self._add_sound(piece)
        else:
            self.frames_decoded += 1
            # How long a frame is shown, files tell wrongly or not at all. The next frame tells it for sure: so the
            # frame before is decided on now, and only that one can still fall in its clip.
            before, self._on_screen = self._on_screen, piece
            if before is not None:
                self._add_frame(before, piece.time_s)
                self.picture_s = max(self.picture_s, piece.time_s)
        # A clip is complete when both tracks have passed its end. One that lags too far is not waited for: what the
        # other brings meanwhile would fill the memory.
        first, last = sorted((self.picture_s, self.sound_s))
        yield from self._complete(max(first, last - LONGEST_LAG_S) if self.sees and self.hears else last)

    def finish(self) -> Iterator[Clip]:
        """All pieces have come; gives the clips that are left."""
        if self._on_screen is not None:
            last = self._on_screen
            # The last frame is shown for some time even where the file says none, or no grid would choose it.
            gone_s = last.time_s + max(last.duration_s, 3 * ROUNDING_S)
            self._add_frame(last, gone_s)
            self.picture_s = max(self.picture_s, gone_s)
        yield from self._complete(math.inf)

    def _add_frame(self, picture: Picture, gone_s: float) -> None:
        # The first frame stands for the time before it too.
        shown_s = picture.time_s if self._begun else min(picture.time_s, 0.0)
        self._begun = True
        if picture.time_s >= self.end_s:
            return
        chosen = {rate for rate, grid in self._grids.items() if grid.wants(shown_s, gone_s)}
        images: dict[int, NDArray[np.uint8]] = {}
        clip = self._clip_at(picture.time_s)
        clip.end_s = max(clip.end_s, gone_s)
        for sampling in self._visual:
            if sampling.frames_per_second in chosen:
                if sampling.max_side not in images:  # converted once a size: that is what costs
                    try:
                        images[sampling.max_side] = picture.rgb(sampling.max_side)
                    except CannotConvertError as error:
                        self.not_converted.append(str(error))
                        return
                clip.images.setdefault(sampling, []).append(images[sampling.max_side])
                clip.times.setdefault(sampling, []).append(picture.time_s)

    def _add_sound(self, sound: Sound) -> None:
        # In samples from the start of the file, integers from here on: so pieces join without a seam.
        at = round(sound.start_s * sound.hz)
        samples = sound.samples[max(0, -at) :]  # what comes before the start of the file is cut off
        at = max(0, at)
        if math.isfinite(self.end_s):
            samples = samples[: max(0, round(self.end_s * sound.hz) - at)]
        length = SEGMENT_S * sound.hz
        while len(samples):
            number, offset = divmod(at, length)
            piece, samples = samples[: length - offset], samples[length - offset :]
            if number < self._next_number:
                self.late_sound_s += len(piece) / sound.hz
            else:
                clip = self._clip_at(at / sound.hz)
                clip.add_sound(sound.hz, offset, piece)
                clip.end_s = max(clip.end_s, (at + len(piece)) / sound.hz)
            at += len(piece)
        self._sound_s[sound.hz] = max(self._sound_s.get(sound.hz, 0.0), sound.start_s + len(sound.samples) / sound.hz)

    def _clip_at(self, time_s: float) -> _OpenClip:
        # A picture that comes too late goes to the first clip that is still open, with its own time.
        number = max(self._next_number, int(max(time_s, 0.0) // SEGMENT_S))
        return self._open.setdefault(number, _OpenClip(number))

    def _complete(self, passed_s: float) -> Iterator[Clip]:
        for number in sorted(number for number in self._open if (number + 1) * SEGMENT_S <= passed_s):
            self._next_number = number + 1  # first: what comes late for this clip is not to open it again
            yield self._open.pop(number).close(self.has_picture, self.has_sound, self.end_s)
