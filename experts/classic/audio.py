"""What is heard: spectrum, pitch, rhythm and loudness on windows of a second.

Frames of 25 ms every 10 ms give log-mel energies (64 bands, 50 Hz to 7.6 kHz); longer frames every 20 ms give
the pitch by normalised autocorrelation. A window gathers level, shape and change of both over its second.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from experts.base import Clip, Sampling, State, Tokens, Waveform
from experts.classic.descriptor import Array, compress, join, second_edges, soft_unit

HZ = 16_000
HOP = 160
FRAME = 400
FFT = 512
BANDS = 64
CEPSTRA = 20
PITCH_HOP, PITCH_FRAME, PITCH_FFT = 320, 1024, 2048
PITCH_LOW_HZ, PITCH_HIGH_HZ = 60.0, 2000.0
PITCH_BINS = 30
TONE_HOP, TONE_FRAME, TONE_FFT = 1024, 2048, 4096
SEMITONES, LOWEST_TONE_HZ = 60, 110.0
INTERVALS = 24
COUNTS = 6
"""Bins of the number of onsets in a window: 0, 1, 2, 4, 8, 16."""
QUARTERS = 4
LAGS = 20
SILENCE_DBFS = -70.0
"""A window whose loudest 50 ms lie below this level (root mean square) is silent."""
FLOOR_DB = 80.0
"""Dynamic range of the log-mel energies below full scale."""


@dataclass(frozen=True)
class SoundMaps:
    """What was measured along a stretch of sound.

    Args:
        mel: [n, BANDS] log-mel energy, 0 (FLOOR_DB below full scale) to about 1, every 10 ms.
        shape: [n, 4] centroid, bandwidth, roll-off (each as octaves over 50 Hz, in 0..1), flatness 0..1.
        level: [n] loudness in dB below full scale, divided by FLOOR_DB, 0..1.
        pitch: [p] octaves over PITCH_LOW_HZ, every 20 ms.
        voicing: [p] how periodic the sound is, 0..1.
        tones: [m, SEMITONES] how far each semitone stands out from its neighbours, unit norm or less, every 64 ms.
    """

    mel: Array
    shape: Array
    level: Array
    pitch: Array
    voicing: Array
    tones: Array


class Audio:
    """Expert for sound; one token a second that is not silent."""

    name = "audio"
    version = "1"
    weights = ""
    licence = ""
    about = "hears timbre, pitch, rhythm and loudness"
    cost = "about 3 ms of a core for a second of video"
    sampling = Sampling(frames_per_second=None, audio_hz=HZ)

    def __init__(self) -> None:
        self.dim = _width()

    def prepare(self, device: str) -> None:
        """Set up the filters; they run on the processor."""
        _mel_filters()

    def extract(self, clip: Clip) -> Tokens:
        """One token for each second that can be heard."""
        if not clip.has_sound:
            return Tokens.none(self.dim, State.NO_STREAM)
        sound = clip.sound(HZ)
        if len(sound.samples) < FRAME:
            return Tokens.none(self.dim, State.NO_FRAMES)
        edges = second_edges(clip.start_s, sound.start_s + len(sound.samples) / HZ)
        heard = [k for k in range(len(edges) - 1) if is_heard(_piece(sound, edges, k))]
        if not heard:
            return Tokens.none(self.dim, State.SILENT)
        features = [describe_window(measure(_piece(sound, edges, k))) for k in heard]
        middles = (edges[heard] + edges[np.array(heard) + 1]) / 2
        return Tokens(np.stack(features), middles.astype(np.float32))


def _piece(sound: Waveform, edges: np.ndarray, at: int) -> Array:
    """The samples of one window, free of NaN and of a constant offset, at least one pitch frame long."""
    first, last = (max(0, round((edge - sound.start_s) * HZ)) for edge in (edges[at], edges[at + 1]))
    samples = np.clip(np.nan_to_num(sound.samples[first:last].astype(np.float32)), -1, 1)
    samples = samples - samples.mean() if len(samples) else samples
    return np.pad(samples, (0, max(0, PITCH_FRAME - len(samples))))


def is_heard(samples: Array, hz: int = HZ) -> bool:
    """Whether any 50 ms of the window, which is at least as long, are above SILENCE_DBFS."""
    span = hz // 20
    blocks = samples[: len(samples) // span * span].reshape(-1, span)  # a window has at least PITCH_FRAME samples
    return bool(np.square(blocks).mean(1).max() > 10 ** (SILENCE_DBFS / 10))


@lru_cache(maxsize=1)
def _mel_filters() -> Array:
    """Triangular filters even on the mel scale (Slaney's areas left out): [FFT/2 + 1, BANDS]."""
    mel = np.linspace(_to_mel(50.0), _to_mel(7600.0), BANDS + 2)
    edges = 700 * (np.exp(mel / 1127) - 1)
    bins = np.fft.rfftfreq(FFT, 1 / HZ)[:, None]
    rise = (bins - edges[:-2]) / np.maximum(edges[1:-1] - edges[:-2], HZ / FFT)
    fall = (edges[2:] - bins) / np.maximum(edges[2:] - edges[1:-1], HZ / FFT)
    return np.clip(np.minimum(rise, fall), 0, 1).astype(np.float32)


def _to_mel(hz: float) -> float:
    return float(1127 * np.log1p(hz / 700))


@lru_cache(maxsize=1)
def _tone_filters() -> Array:
    """Windows a semitone wide around the tones from LOWEST_TONE_HZ up: [TONE_FFT/2 + 1, SEMITONES]."""
    semitone = 12 * np.log2(np.maximum(np.fft.rfftfreq(TONE_FFT, 1 / HZ), 1) / LOWEST_TONE_HZ)
    apart = np.abs(semitone[:, None] - np.arange(SEMITONES))
    width = np.maximum(0.6, 12 * np.log2(1 + HZ / TONE_FFT / (LOWEST_TONE_HZ * 2 ** (np.arange(SEMITONES) / 12))))
    weight = np.clip(1 - apart / width, 0, 1)
    return (weight / weight.sum(0)).astype(np.float32)


def _tones(samples: Array) -> Array:
    """How far each semitone stands out along a window: [m, SEMITONES]."""
    samples = np.pad(samples, (0, max(0, TONE_FRAME - len(samples))))
    frames = sliding_window_view(samples, TONE_FRAME)[::TONE_HOP] * np.hanning(TONE_FRAME).astype(np.float32)
    strength = np.sqrt(np.abs(np.fft.rfft(frames, TONE_FFT)).astype(np.float32) @ _tone_filters())
    around = np.pad(strength, ((0, 0), (3, 3)), mode="edge")
    mean = sliding_window_view(around, 7, axis=1).mean(2)
    return soft_unit(np.maximum(strength - mean, 0), 0.5)


@lru_cache(maxsize=4)
def cosines(size: int, count: int) -> Array:
    """Orthonormal cosine transform (DCT-II) without its constant term: [size, count]."""
    angle = np.pi * np.outer(np.arange(size) + 0.5, np.arange(1, count + 1)) / size
    return (np.cos(angle) * np.sqrt(2 / size)).astype(np.float32)


def measure(samples: Array) -> SoundMaps:
    """Spectrum and pitch along the samples of one window."""
    frames = sliding_window_view(samples, FRAME)[::HOP]
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(FRAME).astype(np.float32), FFT)))
    power = (power / (FRAME * 0.375 * FRAME / 2)).astype(np.float32)  # a full-scale sine sums to about 1
    mel = np.log10(power @ _mel_filters() + 10 ** (-FLOOR_DB / 10 - 1)) * 10 / FLOOR_DB + 1 + 10 / FLOOR_DB
    level = 10 * np.log10(np.square(frames).mean(1) + 1e-12) / FLOOR_DB + 1
    pitch, voicing = _pitch(samples)
    level = np.clip(level, 0, 1).astype(np.float32)
    return SoundMaps(mel.astype(np.float32), _shape(power), level, pitch, voicing, _tones(samples))


def _shape(power: Array) -> Array:
    """Centroid, bandwidth and roll-off on a scale of octaves, and flatness: [n, bins] -> [n, 4]."""
    hz = np.fft.rfftfreq(FFT, 1 / HZ).astype(np.float32)
    octave = np.log2(np.maximum(hz, 50) / 50) / np.log2(8000 / 50)
    share = (power + 1e-12) / (power + 1e-12).sum(1, keepdims=True)
    centroid = share @ octave
    bandwidth = np.sqrt(np.maximum(share @ np.square(octave) - np.square(centroid), 0))
    rolloff = octave[np.argmax(np.cumsum(share, 1) >= 0.85, axis=1)]
    flatness = np.exp(np.log(share[:, 2:]).mean(1)) / share[:, 2:].mean(1)
    return np.stack([centroid, bandwidth * 2, rolloff, flatness], -1).astype(np.float32)


def _pitch(samples: Array) -> tuple[Array, Array]:
    """Pitch in octaves over PITCH_LOW_HZ and voicing 0..1, by autocorrelation normalised by energy (as in YIN)."""
    frames = sliding_window_view(samples, PITCH_FRAME)[::PITCH_HOP].astype(np.float32)
    spectrum = np.fft.rfft(frames, PITCH_FFT)
    correlation = np.fft.irfft(np.square(np.abs(spectrum)), PITCH_FFT)[:, : PITCH_FRAME * 3 // 4]
    energy = np.cumsum(np.square(frames), 1)
    lags = np.arange(correlation.shape[1])
    head, tail = energy[:, PITCH_FRAME - 1 - lags], energy[:, -1:] - np.where(lags > 0, energy[:, lags - 1], 0)
    normal = 2 * correlation / (head + tail + 1e-7)
    first, last = int(HZ / PITCH_HIGH_HZ), int(HZ / PITCH_LOW_HZ)
    inside = normal[:, first : last + 1]
    peak = (inside >= normal[:, first - 1 : last]) & (inside > normal[:, first + 1 : last + 2])
    height = np.where(peak, inside, 0)
    best = height.max(1, keepdims=True)
    lag = np.argmax(peak & (height >= 0.9 * best), axis=1)  # the shortest good lag: no octave too low
    rows = np.arange(len(lag))
    before, at, after = (normal[rows, lag + first + step] for step in (-1, 0, 1))
    between = np.clip((before - after) / np.minimum(2 * (before - 2 * at + after), -1e-6), -0.5, 0.5)  # parabola
    pitch = np.log2(HZ / (lag + first + between) / PITCH_LOW_HZ)
    return pitch.astype(np.float32), np.clip(best[:, 0], 0, 1).astype(np.float32)


def describe_window(maps: SoundMaps) -> NDArray[np.float32]:
    """The descriptor of one window: float32 [dim]."""
    return join(
        [
            *_mel_blocks(maps.mel),
            *_shape_blocks(maps),
            *_pitch_blocks(maps),
            *_tone_blocks(maps.tones),
            *_rhythm_blocks(maps),
        ]
    )


def _quarters(series: Array, parts: int = QUARTERS) -> Array:
    """Means of successive parts of a window: [n, c] -> [parts, c]."""
    chunks = np.array_split(series, parts) if len(series) >= parts else [series] * parts
    return np.stack([chunk.mean(0) for chunk in chunks])


def _mel_blocks(mel: Array) -> list[Array]:
    """Level-free mean, spread and change of the bands; cepstra; and the course of 16 wide bands."""
    mean = mel.mean(0)
    shape = mean - mean.mean()
    loud = mel.max(0) - mel.max()  # what the loudest moments look like, whatever the rests between them
    step = np.abs(mel[3:] - mel[:-3]).mean(0) if len(mel) > 3 else np.zeros(BANDS, np.float32)
    cepstra = mel @ cosines(BANDS, CEPSTRA)
    course = _quarters(mel.reshape(len(mel), 16, -1).mean(2))
    return [
        soft_unit(shape, 0.5),
        soft_unit(loud - loud.mean(), 0.5),
        soft_unit(mel.std(0), 0.5),
        soft_unit(step, 0.3),
        soft_unit(np.concatenate([cepstra.mean(0), cepstra.std(0)]), 0.5),
        soft_unit((course - course.mean(0)).ravel(), 0.3),
    ]


def _shape_blocks(maps: SoundMaps) -> list[Array]:
    """Mean, spread and course of the spectral shape, where it is loud; and the loudness with its contour."""
    weight = maps.level[:, None] ** 2 + 1e-3
    mean = (maps.shape * weight).sum(0) / weight.sum()
    spread = np.sqrt((np.square(maps.shape - mean) * weight).sum(0) / weight.sum())
    course = _quarters(maps.shape - mean)
    contour = _quarters(maps.level[:, None], 10).ravel()
    loudness = np.array([maps.level.mean(), maps.level.max(), maps.level.std() * 2], np.float32)
    return [
        soft_unit(np.concatenate([mean - 0.5, spread]), 0.3),
        soft_unit(course.ravel(), 0.3),
        soft_unit(contour - contour.mean(), 0.2),
        soft_unit(loudness, 0.3),
    ]


def _pitch_blocks(maps: SoundMaps) -> list[Array]:
    """Histogram of pitch, weighted by voicing; its course, slope and jumps."""
    top = float(np.log2(PITCH_HIGH_HZ / PITCH_LOW_HZ))
    loud = np.interp(np.arange(len(maps.pitch)) * 2 + 2, np.arange(len(maps.level)), maps.level)
    weight = np.square(maps.voicing) * (loud > maps.level.max() - 0.3)
    bins = np.clip(maps.pitch / top * (PITCH_BINS - 1), 0, PITCH_BINS - 1)
    near = np.maximum(0, 1 - np.abs(bins[:, None] - np.arange(PITCH_BINS)))
    histogram = (near * weight[:, None]).sum(0) / len(weight)
    return [
        soft_unit(np.sqrt(histogram), 0.2),
        soft_unit(_pitch_course(maps.pitch / top - 0.5, weight), 0.3),
    ]


def _tone_blocks(tones: Array) -> list[Array]:
    """Which semitones sound, which of the twelve in any octave, and which intervals sound together in any key."""
    mean = tones.mean(0)
    chroma = mean.reshape(-1, 12).sum(0)
    together = [(tones[:, lag:] * tones[:, : SEMITONES - lag]).sum() for lag in range(1, INTERVALS + 1)]
    intervals = np.sqrt(np.array(together) / (np.square(tones).sum() + 0.1))
    return [
        soft_unit(mean, 0.2),
        soft_unit(chroma - chroma.mean(), 0.2),
        soft_unit(intervals - intervals.mean(), 0.2),
    ]


def _pitch_course(pitch: Array, weight: np.ndarray) -> Array:
    """Course in quarters, mean, spread, rise and jumps of the pitch, and the share that is voiced: [9]."""
    total = weight.sum() + 1e-3
    mean = float((pitch * weight).sum() / total)
    parts = [np.array_split(series, QUARTERS) for series in ((pitch - mean) * weight, weight)]
    course = [float(p.sum() / (w.sum() + 0.5)) for p, w in zip(*parts, strict=True)]
    at = np.linspace(-1, 1, len(pitch))
    middle = float((at * weight).sum() / total)
    rise = ((at - middle) * (pitch - mean) * weight).sum() / ((np.square(at - middle) * weight).sum() + 0.5)
    spread = np.sqrt((np.square(pitch - mean) * weight).sum() / total)
    joint = np.minimum(weight[1:], weight[:-1])
    jumps = (np.abs(np.diff(pitch)) * joint).sum() / (joint.sum() + 0.5)
    voiced = weight.mean()
    return np.array([*course, mean * voiced, spread, rise * 2, jumps * 4, voiced], np.float32)


def _rhythm_blocks(maps: SoundMaps) -> list[Array]:
    """Onsets: their autocorrelation (beats 50 ms to 0.6 s apart), count and course; modulation of four bands."""
    flux = np.maximum(maps.mel[1:] - maps.mel[:-1], 0) if len(maps.mel) > 1 else np.zeros((1, BANDS), np.float32)
    onset = np.maximum(flux.mean(1) - 0.01, 0)
    lags = np.linspace(5, 62, LAGS).astype(int)
    smooth = np.convolve(onset - onset.mean(), np.hanning(7), "same")
    energy = float(np.square(smooth).sum()) + 1e-4
    beats = np.array([(smooth[lag:] * smooth[:-lag]).sum() if lag < len(smooth) else 0.0 for lag in lags]) / energy
    strong = onset > max(0.02, 0.3 * float(onset.max()))
    count = (strong[1:] & ~strong[:-1]).sum() + strong[:1].sum()
    amounts = np.array([onset.max() * 4, onset.mean() * 20])
    many = 0.0 if count == 0 else 1 + np.log2(count)
    course = _quarters(onset[:, None], 10).ravel()
    bands = _quarters(np.ascontiguousarray(maps.mel.T), 4)  # four wide bands over time
    waves = np.abs(np.fft.rfft((bands - bands.mean(1, keepdims=True)) * np.hanning(bands.shape[1]), 128))[:, 1:25]
    modulation = waves.reshape(4, 12, 2).mean(2) / 16
    return [
        soft_unit(beats, 0.3),
        np.maximum(0, 1 - np.abs(min(many, COUNTS - 1) - np.arange(COUNTS))).astype(np.float32),
        soft_unit(compress(amounts, 0.2, 3.0), 0.3),
        soft_unit(compress(course, 0.02, 0.5), 0.3),
        soft_unit(modulation.ravel(), 0.2),
    ]


def _width() -> int:
    mel = 4 * BANDS + 2 * CEPSTRA + 16 * QUARTERS
    shape = 8 + 4 * QUARTERS + 10 + 3
    pitch = PITCH_BINS + QUARTERS + 5 + SEMITONES + 12 + INTERVALS
    rhythm = LAGS + COUNTS + 2 + 10 + 48
    return mel + shape + pitch + rhythm
