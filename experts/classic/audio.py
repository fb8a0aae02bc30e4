"""What is heard: spectrum, pitch, rhythm and loudness on windows of a second.

`Audio` is the expert. spectrogram.py measures a window; here level, shape and change of that become one descriptor.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from experts.base import Clip, Sampling, State, Tokens, Waveform
from experts.classic.descriptor import Array, compress, join, second_edges, soft_unit
from experts.classic.spectrogram import (
    BANDS,
    FRAME,
    HZ,
    PITCH_FRAME,
    PITCH_HIGH_HZ,
    PITCH_LOW_HZ,
    SEMITONES,
    SoundMaps,
    cosine_basis,
    is_heard,
    measure,
    mel_filters,
)

CEPSTRA = 20
"""Mel-frequency cepstral coefficients, the constant one left out."""
PITCH_BINS = 30
INTERVALS = 24
"""Semitones that two tones sounding together may lie apart."""
COUNTS = 6
"""Bins of the number of onsets in a window: 0, 1, 2, 4, 8, 16."""
QUARTERS = 4
"""The course of a window is told in so many parts."""
LAGS = 20
"""Distances of beats, from 50 ms to 0.6 s."""


class Audio:
    """Expert for sound; one token a second that is not silent."""

    name = "audio"
    version = "1"
    weights = ""
    licence = ""
    about = "hears timbre, pitch, rhythm and loudness"
    cost = "about 3 ms of a core for a second of video"
    sampling = Sampling(frames_per_second=None, audio_hz=HZ)
    dim = (
        (4 * BANDS + 2 * CEPSTRA + 16 * QUARTERS)  # mel spectrum
        + (8 + 4 * QUARTERS + 10 + 3)  # loudness and shape
        + (PITCH_BINS + QUARTERS + 5 + SEMITONES + 12 + INTERVALS)
        + (LAGS + COUNTS + 2 + 10 + 48)  # rhythm
    )

    def prepare(self, device: str) -> None:
        """Set up the filters; they run on the processor."""
        mel_filters()

    def extract(self, clip: Clip) -> Tokens:
        """One token for each second that can be heard."""
        if not clip.has_sound:
            return Tokens.none(self.dim, State.NO_STREAM)
        sound = clip.sound(HZ)
        if len(sound.samples) < FRAME:
            return Tokens.none(self.dim, State.NO_FRAMES)
        edges = second_edges(clip.start_s, sound.start_s + len(sound.samples) / HZ)
        heard = [k for k in range(len(edges) - 1) if is_heard(_window_samples(sound, edges, k))]
        if not heard:
            return Tokens.none(self.dim, State.SILENT)
        features = [describe_window(measure(_window_samples(sound, edges, k))) for k in heard]
        middles = (edges[heard] + edges[np.array(heard) + 1]) / 2
        return Tokens(np.stack(features), middles.astype(np.float32))


def _window_samples(sound: Waveform, edges: NDArray[np.float64], at: int) -> Array:
    """The samples of one window, free of NaN and of a constant offset, at least one pitch frame long."""
    first, last = (max(0, round((edge - sound.start_s) * HZ)) for edge in (edges[at], edges[at + 1]))
    samples = np.clip(np.nan_to_num(sound.samples[first:last].astype(np.float32)), -1, 1)
    # A constant offset cannot be heard, but would count as the loudest and lowest tone.
    samples = samples - samples.mean() if len(samples) else samples
    return np.pad(samples, (0, max(0, PITCH_FRAME - len(samples))))


def describe_window(maps: SoundMaps) -> NDArray[np.float32]:
    """The descriptor of one window: float32 [dim]."""
    blocks = [*_mel_blocks(maps.mel), *_loudness_blocks(maps), *_pitch_blocks(maps)]
    return join([*blocks, *_tone_blocks(maps.tones), *_rhythm_blocks(maps.mel)])


def _part_means(series: Array, parts: int = QUARTERS) -> Array:
    """Means of successive parts of a window: [n, c] -> [parts, c]."""
    chunks = np.array_split(series, parts) if len(series) >= parts else [series] * parts
    return np.stack([chunk.mean(0) for chunk in chunks])


def _mel_blocks(mel: Array) -> list[Array]:
    """Level-free mean, spread and change of the bands; cepstra; and the course of 16 wide bands.

    Args:
        mel: [n, BANDS].
    """
    mean = mel.mean(0)
    loudest = mel.max(0) - mel.max()  # what the loudest moments look like, whatever the rests between them
    # Over 30 ms: from one frame to the next they overlap, and differ by little.
    step = np.abs(mel[3:] - mel[:-3]).mean(0) if len(mel) > 3 else np.zeros(BANDS, np.float32)
    cepstra = mel @ cosine_basis(BANDS, CEPSTRA)
    course = _part_means(mel.reshape(len(mel), 16, -1).mean(2))
    return [
        soft_unit(mean - mean.mean(), 0.5),
        soft_unit(loudest - loudest.mean(), 0.5),
        soft_unit(mel.std(0), 0.5),
        soft_unit(step, 0.3),
        soft_unit(np.concatenate([cepstra.mean(0), cepstra.std(0)]), 0.5),
        soft_unit((course - course.mean(0)).ravel(), 0.3),
    ]


def _loudness_blocks(maps: SoundMaps) -> list[Array]:
    """Mean, spread and course of the spectral shape, where it is loud; and the loudness with its contour."""
    weight = maps.level[:, None] ** 2 + 1e-3
    mean = (maps.shape * weight).sum(0) / weight.sum()
    spread = np.sqrt((np.square(maps.shape - mean) * weight).sum(0) / weight.sum())
    course = _part_means(maps.shape - mean)
    contour = _part_means(maps.level[:, None], 10).ravel()
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
    # The level is measured every 10 ms, the pitch every 20: read off in the middle of each pitch frame.
    loud = np.interp(np.arange(len(maps.pitch)) * 2 + 2, np.arange(len(maps.level)), maps.level)
    weight = np.square(maps.voicing) * (loud > maps.level.max() - 0.3)
    bins = np.clip(maps.pitch / top * (PITCH_BINS - 1), 0, PITCH_BINS - 1)
    near = np.maximum(0, 1 - np.abs(bins[:, None] - np.arange(PITCH_BINS)))
    histogram = (near * weight[:, None]).sum(0) / len(weight)
    return [
        soft_unit(np.sqrt(histogram), 0.2),
        soft_unit(_pitch_course(maps.pitch / top - 0.5, weight), 0.3),
    ]


def _pitch_course(pitch: Array, weight: Array) -> Array:
    """Course in quarters, mean, spread, rise and jumps of the pitch, and the share that is voiced: float32 [9].

    Args:
        pitch: [p] -0.5..0.5 from the lowest to the highest.
        weight: [p] how much each counts, 0..1.
    """
    # The constants added to sums of weights are a moment's worth of nothing: where little is voiced, all of this goes
    # to zero smoothly instead of following noise.
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


def _tone_blocks(tones: Array) -> list[Array]:
    """Which semitones sound, which of the twelve in any octave, and which intervals sound together in any key.

    Args:
        tones: [m, SEMITONES].
    """
    mean = tones.mean(0)
    chroma = mean.reshape(-1, 12).sum(0)
    # Autocorrelation over the semitones: a chord has the same intervals in every key.
    together = [(tones[:, lag:] * tones[:, : SEMITONES - lag]).sum() for lag in range(1, INTERVALS + 1)]
    intervals = np.sqrt(np.array(together) / (np.square(tones).sum() + 0.1))
    return [
        soft_unit(mean, 0.2),
        soft_unit(chroma - chroma.mean(), 0.2),
        soft_unit(intervals - intervals.mean(), 0.2),
    ]


def _rhythm_blocks(mel: Array) -> list[Array]:
    """Onsets: their autocorrelation (beats 50 ms to 0.6 s apart), count and course; modulation of four bands.

    Args:
        mel: [n, BANDS].
    """
    # Spectral flux: only what grows louder begins something; what fades does not.
    flux = np.maximum(mel[1:] - mel[:-1], 0) if len(mel) > 1 else np.zeros((1, BANDS), np.float32)
    onset = np.maximum(flux.mean(1) - 0.01, 0)
    lags = np.linspace(5, 62, LAGS).astype(int)
    smooth = np.convolve(onset - onset.mean(), np.hanning(7), "same")
    energy = float(np.square(smooth).sum()) + 1e-4
    beats = np.array([(smooth[lag:] * smooth[:-lag]).sum() if lag < len(smooth) else 0.0 for lag in lags]) / energy
    strong = onset > max(0.02, 0.3 * float(onset.max()))
    count = (strong[1:] & ~strong[:-1]).sum() + strong[:1].sum()
    amounts = np.array([onset.max() * 4, onset.mean() * 20])
    many = 0.0 if count == 0 else 1 + np.log2(count)
    course = _part_means(onset[:, None], 10).ravel()
    bands = _part_means(np.ascontiguousarray(mel.T), 4)  # four wide bands over time
    waves = np.abs(np.fft.rfft((bands - bands.mean(1, keepdims=True)) * np.hanning(bands.shape[1]), 128))[:, 1:25]
    modulation = waves.reshape(4, 12, 2).mean(2) / 16
    return [
        soft_unit(beats, 0.3),
        np.maximum(0, 1 - np.abs(min(many, COUNTS - 1) - np.arange(COUNTS))).astype(np.float32),
        soft_unit(compress(amounts, 0.2, 3.0), 0.3),
        soft_unit(compress(course, 0.02, 0.5), 0.3),
        soft_unit(modulation.ravel(), 0.2),
    ]
