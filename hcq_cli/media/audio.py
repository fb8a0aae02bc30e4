"""Sound: mono, at the rates asked for, laid on the clock of the frames by its own times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import av
import numpy as np

from hcq_cli.media.decoder import Sound

JITTER_S = 0.05
"""Times of sound packets are rounded and wander this much; only a larger step is a gap or a jump."""


class _Lane:
    """One sample rate: resamples, and knows the time of the next sample."""

    def __init__(self, hz: int) -> None:
        self.hz = hz
        self.next_s: float | None = None
        self._resampler: Any = None
        self._form: tuple[str, str, int] | None = None

    def hear(self, frame: Any, time_s: float | None) -> Iterator[Sound]:
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        jumped = self.next_s is None or (time_s is not None and abs(time_s - self._heard_s) > JITTER_S)
        if jumped or form != self._form:
            yield from self.finish()
            # The mean over the channels is taken after resampling: FFmpeg's own mixing to mono can exceed 1.
            # Packed: of planes PyAV finds more than there are where a broken file claims more than eight channels.
            self._resampler = av.AudioResampler(format="flt", layout=frame.layout, rate=self.hz)
            self._form = form
            if jumped:
                self.next_s = self._heard_s = time_s or 0.0
        self._heard_s += frame.samples / frame.sample_rate
        yield from self._sounds(frame)

    def finish(self) -> Iterator[Sound]:
        """What the resampler still holds."""
        if self._resampler is not None:
            yield from self._sounds(None)
            self._resampler = None

    _heard_s = 0.0
    """Time at which the last decoded frame ended, seconds."""

    def _sounds(self, frame: Any) -> Iterator[Sound]:
        for piece in self._resampler.resample(frame):
            channels = piece.to_ndarray().reshape(-1, piece.layout.nb_channels).T
            samples = np.clip(np.nan_to_num(channels.mean(axis=0)), -1, 1).astype(np.float32)
            start_s = self.next_s or 0.0
            self.next_s = start_s + len(samples) / self.hz
            yield Sound(samples, self.hz, start_s)


class Hearing:
    """Turns decoded audio frames into mono sound.

    Args:
        rates_hz: the sample rates asked for.
    """

    def __init__(self, rates_hz: Sequence[int]) -> None:
        self._lanes = [_Lane(hz) for hz in dict.fromkeys(rates_hz)]

    def hear(self, frame: Any, zero_s: float) -> Iterator[Sound]:
        """Take an av.AudioFrame; `zero_s` is the start of the file on the frame's own clock, seconds."""
        time_s = None if frame.pts is None else float(frame.pts * frame.time_base) - zero_s
        # Times are kept here; the resampler would stumble over gaps in them.
        frame.pts = None
        for lane in self._lanes:
            yield from lane.hear(frame, time_s)

    def finish(self) -> Iterator[Sound]:
        """At the end of the file: the samples that the resamplers still hold."""
        for lane in self._lanes:
            yield from lane.finish()
