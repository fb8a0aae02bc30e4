"""Sound: mono, at the rates asked for, laid on the clock of the frames by its own times."""

from __future__ import annotations

import ctypes
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from hcq_cli.media.decoder import Sound

JITTER_S = 0.05
"""Times of sound packets are rounded and wander this much; only a larger step on is a gap."""
AHEAD_S = 0.1
"""Parts of a file may overlap a little: each has some sound more than lies between its beginning and the next one's.
Laid behind one another it would come later with every join; what is so much too late, seconds, is left out."""
FAR_S = 0.5
"""What goes back further is no overlap, but a clock that is wrong: nothing is left out for it, seconds."""
OWN_ORDER = re.compile(r"\d+ channels \(")
"""How FFmpeg names channels in an order of their own, as QuickTime and CAF have them."""
MEMORY_S = 0.5
"""Over how long it is judged whether channels cancel out, seconds."""
CANCELLED = 0.05
"""The mean of two independent channels has half the power of one. Less than this share of it: they are opposite."""
ALONE = 0.9999
"""Of two channels one with more than this share of their power is heard alone: the other lies 40 dB below."""
LOW_TONES = 0.01
"""Of surround sound the channel for low tones alone (LFE), which players leave out of a mix, counts so much."""


def without_own_order(stream: Any) -> None:
    """Before a stream is decoded: take its channels to be in the usual order, where they have one of their own.

    Which is which makes no difference to their mean. PyAV (18.1) hands out the list that such an order has without a
    copy, and whoever drops it frees it: the process dies. So it is not to come up, and where it does, never dropped.
    """
    layout = stream.codec_context.layout
    if OWN_ORDER.match(layout.name):
        _keep_for_ever(layout)
        stream.codec_context.layout = f"{layout.nb_channels}c"


def _keep_for_ever(layout: Any) -> None:
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(layout))


def decode_sound(packet: Any) -> list[Any]:
    """The frames of a packet; those with an order of their own (a few decoders set it themselves) are made safe."""
    frames: list[Any] = packet.stream.decode(packet if packet.size else None)
    own = [frame for frame in frames if OWN_ORDER.match(frame.layout.name)]
    for frame in own:
        _keep_for_ever(frame.layout)
    return [_in_usual_order(frame) for frame in frames] if own else frames


def _in_usual_order(frame: Any) -> Any:
    plain = av.AudioFrame.from_ndarray(frame.to_ndarray(), frame.format.name, f"{frame.layout.nb_channels}c")
    plain.sample_rate, plain.pts, plain.time_base = frame.sample_rate, frame.pts, frame.time_base
    return plain


class AudioConverter:
    """Turns the decoded frames of a sound track into mono sound at several rates.

    Args:
        rates_hz: the sample rates asked for.
        stereo: whether pieces have two channels, [2, n], and not their mix.
    """

    def __init__(self, rates_hz: Sequence[int], stereo: bool = False) -> None:
        self._outputs = [_Output(hz, stereo) for hz in dict.fromkeys(rates_hz)]

    def convert(self, frame: Any, zero_s: float) -> Iterator[Sound]:
        """Take an av.AudioFrame; `zero_s` is the start of the file on the frame's own clock, seconds."""
        time_s = None if frame.pts is None else float(frame.pts * frame.time_base) - zero_s
        # Times are kept here; the resampler would stumble over gaps in them.
        frame.pts = None
        for output in self._outputs:
            yield from output.convert(frame, time_s)

    def finish(self) -> Iterator[Sound]:
        """At the end of the file: the samples that the resamplers still hold."""
        for output in self._outputs:
            yield from output.finish()


class _Output:
    """One sample rate: resamples, and knows the time of the next sample.

    Two clocks run side by side. `_decoded_s` is where the last frame ended as it was decoded, and tells a gap;
    `_next_s` counts the samples given out since the last gap. Counting keeps pieces without seam, where the times of
    packets, rounded to milliseconds, would make samples overlap or leave holes. Where `_decoded_s` runs ahead of the
    times of packets, parts overlap. But sound whose times stand still is laid after what there is, never over it:
    `_late_s` is how much later than its times it comes since.
    """

    def __init__(self, hz: int, stereo: bool) -> None:
        self.hz, self._stereo = hz, stereo
        self._next_s: float | None = None
        self._decoded_s = self._late_s = 0.0
        self._goes_on_s = 0.0  # a frame earlier than this stands still, or goes back
        self._stood = False  # whether the last one did
        self._skipped = 0  # samples to be left out next
        self._resampler: Any = None
        self._form: tuple[str, str, int] | None = None
        self._emphasis: list[float] = []  # of each channel
        self._powers: list[float] = []  # of each channel lately
        self._mean_power = 0.0

    def convert(self, frame: Any, time_s: float | None) -> Iterator[Sound]:
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        jumped = self._next_s is None or (time_s is not None and time_s - self._decoded_s > JITTER_S)
        if jumped or form != self._form:
            yield from self.finish()
            # The mean over the channels is taken after resampling: FFmpeg's own mixing to mono can exceed 1.
            # Packed: of planes PyAV finds more than there are where a broken file claims more than eight channels.
            self._resampler = av.AudioResampler(
                format="flt", layout="stereo" if self._stereo else frame.layout, rate=self.hz
            )
            self._form = form
            self._emphasis = [LOW_TONES if one.name.startswith("LFE") else 1.0 for one in frame.layout.channels]
            if jumped:
                self._decoded_s = time_s or 0.0
                # Of an overlap before the gap there may be more sound than could be left out yet.
                self._next_s = max(self._next_s if self._next_s is not None else -math.inf, self._decoded_s)
                self._skipped = round((self._next_s - self._decoded_s) * self.hz)
        if time_s is not None:
            self._leave_out_overlap(time_s, frame.samples / frame.sample_rate)
        self._decoded_s += frame.samples / frame.sample_rate
        yield from self._resample(frame)

    def _leave_out_overlap(self, time_s: float, length_s: float) -> None:
        """Before a frame that is to be heard at `time_s`: where parts overlap, skip what was laid too much."""
        ahead_s, stands = self._decoded_s - time_s, time_s < self._goes_on_s
        wrong = (stands and self._stood) or ahead_s - self._late_s > FAR_S
        self._late_s = ahead_s if wrong else max(0.0, min(self._late_s, ahead_s))
        if not stands and ahead_s - self._late_s > AHEAD_S:
            self._skipped += round((ahead_s - self._late_s) * self.hz)
            self._decoded_s = time_s + self._late_s
        # Times may be rounded, and a part may begin a little before the last one ends: once is no standing still.
        self._goes_on_s, self._stood = time_s + 0.75 * length_s, stands

    def finish(self) -> Iterator[Sound]:
        """What the resampler still holds."""
        if self._resampler is not None:
            yield from self._resample(None)
            self._resampler = None

    def _resample(self, frame: Any) -> Iterator[Sound]:
        for piece in self._resampler.resample(frame):
            channels = piece.to_ndarray().reshape(-1, piece.layout.nb_channels).T
            samples = channels if self._stereo else self._mix(channels)
            skipped, start_s = min(self._skipped, samples.shape[-1]), self._next_s or 0.0
            samples, self._skipped = samples[..., skipped:], self._skipped - skipped
            self._next_s = start_s + samples.shape[-1] / self.hz
            yield Sound(samples, self.hz, start_s)

    def _mix(self, channels: NDArray[np.float32]) -> NDArray[np.float32]:
        """[channels, n] -> [n] in -1..1: their mean; or the loudest, where channels of opposite phase cancel out, or
        where of two one is silent.

        Of surround sound the mix is made as loud as its channels: a voice in one alone is not to be a sixth as loud.
        """
        mixed: NDArray[np.float32] = np.add.reduce(channels, axis=0) / len(channels)
        power = float(np.einsum("i,i->", mixed, mixed))
        if len(channels) > 1:
            powers = np.einsum("ij,ij->i", channels, channels).tolist()
            # A damaged piece is not remembered: what is after it would never be judged again.
            if len(powers) != len(self._powers) or not math.isfinite(sum(self._powers) + self._mean_power):
                self._powers, self._mean_power = [0.0] * len(powers), 0.0
            fades = math.exp(-channels.shape[1] / (self.hz * MEMORY_S))
            self._powers = [fades * before + now for before, now in zip(self._powers, powers, strict=True)]
            shares = [1 / len(powers)] * len(powers)
            levels = [math.sqrt(each) for each in self._powers]
            weights = [each * by for each, by in zip(levels, self._emphasis, strict=True)]
            if len(powers) > 2 and 0 < sum(weights) < math.inf:
                # Together as loud as those that are heard, and none louder or quieter to another than it is there.
                level = sum(each * by for each, by in zip(levels, weights, strict=True)) / sum(weights)
                shares = [by * level / sum(weights) for by in self._emphasis]
                mixed = np.einsum("i,ij->j", np.array(shares, np.float32), channels)
                power = float(np.einsum("i,i->", mixed, mixed))
            self._mean_power = fades * self._mean_power + power
            # What a mix of channels has that know nothing of each other.
            independent = sum(share**2 * each for share, each in zip(shares, self._powers, strict=True))
            alone = len(powers) == 2 and max(self._powers) > ALONE * sum(self._powers)
            if self._mean_power < CANCELLED * independent or alone:
                mixed = channels[self._powers.index(max(self._powers))]
        # A damaged file decodes to NaN and to samples far beyond 1, which no expert is made for.
        if not math.isfinite(power):
            mixed = np.nan_to_num(mixed)
        return np.minimum(np.maximum(mixed, -1), 1)
