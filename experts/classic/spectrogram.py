"""What is measured along a second of sound: mel spectrogram, spectral shape, loudness, pitch and semitones.

Frames of 25 ms every 10 ms give log-mel energies (64 bands, 50 Hz to 7.6 kHz); longer frames every 20 ms give the
pitch by normalised autocorrelation, still longer ones the semitones. NumPy alone: a library for sound would bring
compiled packages along for a few Fourier transforms.

Letters: n frames of 10 ms, p of 20 ms, m of 64 ms in a window.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from experts.classic.descriptor import Array, soft_unit

HZ = 16_000
"""Samples a second."""
HOP, FRAME, FFT = 160, 400, 512
"""Of the mel spectrogram, in samples: from frame to frame, length of a frame, length with the zeros behind it."""
BANDS = 64
PITCH_HOP, PITCH_FRAME, PITCH_FFT = 320, 1024, 2048
"""Of the pitch; twice the frame, so that the autocorrelation does not wrap around."""
PITCH_LOW_HZ, PITCH_HIGH_HZ = 60.0, 2000.0
TONE_HOP, TONE_FRAME, TONE_FFT = 1024, 2048, 4096
"""Of the semitones: neighbours at 110 Hz lie 6.5 Hz apart, which short frames do not tell apart."""
SEMITONES, LOWEST_TONE_HZ = 60, 110.0
"""Five octaves from A2 up."""
SILENCE_DBFS = -70.0
"""A window whose loudest 50 ms lie below this level (root mean square) is silent."""
FLOOR_DB = 80.0
"""Dynamic range of the log-mel energies below full scale."""


@dataclass(frozen=True)
class SoundMaps:
    """What was measured along a window of sound.

    Args:
        mel: float32 [n, BANDS] log-mel energy, 0 (FLOOR_DB below full scale) to about 1, every 10 ms.
        shape: float32 [n, 4] centroid, bandwidth, roll-off (each as octaves over 50 Hz, in 0..1), flatness 0..1.
        level: float32 [n] loudness in dB below full scale, divided by FLOOR_DB, 0..1.
        pitch: float32 [p] octaves over PITCH_LOW_HZ, every 20 ms.
        voicing: float32 [p] how periodic the sound is, 0..1.
        tones: float32 [m, SEMITONES] how far each semitone stands out from its neighbours, unit norm or less.
    """

    mel: Array
    shape: Array
    level: Array
    pitch: Array
    voicing: Array
    tones: Array


def measure(samples: Array) -> SoundMaps:
    """Spectrum, pitch and semitones along the samples of one window, which are at least PITCH_FRAME."""
    frames = sliding_window_view(samples, FRAME)[::HOP]
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(FRAME).astype(np.float32), FFT)))
    power = (power / (FRAME * 0.375 * FRAME / 2)).astype(np.float32)  # a full-scale sine sums to about 1
    # The floor is added before the logarithm, 10 dB below the range: digital silence has a finite energy.
    mel = np.log10(power @ mel_filters() + 10 ** (-FLOOR_DB / 10 - 1)) * 10 / FLOOR_DB + 1 + 10 / FLOOR_DB
    level = 10 * np.log10(np.square(frames).mean(1) + 1e-12) / FLOOR_DB + 1
    pitch, voicing = measure_pitch(samples)
    level = np.clip(level, 0, 1).astype(np.float32)
    return SoundMaps(
        mel=mel.astype(np.float32),
        shape=_spectral_shape(power),
        level=level,
        pitch=pitch,
        voicing=voicing,
        tones=measure_semitones(samples),
    )


def is_heard(samples: Array, hz: int = HZ) -> bool:
    """Whether any 50 ms of the samples, which last at least as long, are above SILENCE_DBFS.

    Args:
        samples: [samples] in -1..1, without a constant offset.
        hz: samples a second.
    """
    span = hz // 20
    # The loudest 50 ms and not the mean: a single click in a silent second is heard.
    blocks = samples[: len(samples) // span * span].reshape(-1, span)
    return bool(np.square(blocks).mean(1).max() > 10 ** (SILENCE_DBFS / 10))


@lru_cache(maxsize=1)
def mel_filters() -> Array:
    """Triangular filters even on the mel scale, of equal height: float32 [FFT/2 + 1, BANDS]."""
    low, high = (1127 * np.log1p(hz / 700) for hz in (50.0, 7600.0))
    edges = 700 * (np.exp(np.linspace(low, high, BANDS + 2) / 1127) - 1)
    bins = np.fft.rfftfreq(FFT, 1 / HZ)[:, None]
    # No slope is steeper than one bin of the transform: the lowest bands are narrower, and would be empty.
    rise = (bins - edges[:-2]) / np.maximum(edges[1:-1] - edges[:-2], HZ / FFT)
    fall = (edges[2:] - bins) / np.maximum(edges[2:] - edges[1:-1], HZ / FFT)
    return np.clip(np.minimum(rise, fall), 0, 1).astype(np.float32)


@lru_cache(maxsize=4)
def cosine_basis(size: int, count: int) -> Array:
    """Orthonormal cosine transform (DCT-II) without its constant term: float32 [size, count]."""
    angle = np.pi * np.outer(np.arange(size) + 0.5, np.arange(1, count + 1)) / size
    return (np.cos(angle) * np.sqrt(2 / size)).astype(np.float32)


def _spectral_shape(power: Array) -> Array:
    """Centroid, bandwidth and roll-off on a scale of octaves, and flatness: [n, FFT/2 + 1] -> float32 [n, 4]."""
    hz = np.fft.rfftfreq(FFT, 1 / HZ).astype(np.float32)
    octave = np.log2(np.maximum(hz, 50) / 50) / np.log2(8000 / 50)
    share = (power + 1e-12) / (power + 1e-12).sum(1, keepdims=True)
    centroid = share @ octave
    bandwidth = np.sqrt(np.maximum(share @ np.square(octave) - np.square(centroid), 0))
    rolloff = octave[np.argmax(np.cumsum(share, 1) >= 0.85, axis=1)]
    # Geometric by arithmetic mean; the two lowest bins are left out, because they hold the constant offset.
    flatness = np.exp(np.log(share[:, 2:]).mean(1)) / share[:, 2:].mean(1)
    return np.stack([centroid, bandwidth * 2, rolloff, flatness], -1).astype(np.float32)


def measure_pitch(samples: Array) -> tuple[Array, Array]:
    """Pitch and voicing every 20 ms, by autocorrelation normalised by energy.

    The normalisation is that of YIN's relatives (de Cheveigné and Kawahara, "YIN, a fundamental frequency estimator",
    JASA 2002): 2·Σ a·b / (Σ a² + Σ b²) is 1 for a perfect repetition, however loud.

    Args:
        samples: at least PITCH_FRAME.

    Returns:
        float32 [p] octaves over PITCH_LOW_HZ, and float32 [p] how periodic the sound is, 0..1.
    """
    frames = sliding_window_view(samples, PITCH_FRAME)[::PITCH_HOP].astype(np.float32)
    spectrum = np.fft.rfft(frames, PITCH_FFT)
    correlation = np.fft.irfft(np.square(np.abs(spectrum)), PITCH_FFT)[:, : PITCH_FRAME * 3 // 4]
    energy = np.cumsum(np.square(frames), 1)
    lags = np.arange(correlation.shape[1])
    # Energies of the two parts that overlap at each lag: the first PITCH_FRAME - lag samples, and the last.
    head, tail = energy[:, PITCH_FRAME - 1 - lags], energy[:, -1:] - np.where(lags > 0, energy[:, lags - 1], 0)
    normal = 2 * correlation / (head + tail + 1e-7)
    first, last = int(HZ / PITCH_HIGH_HZ), int(HZ / PITCH_LOW_HZ)
    inside = normal[:, first : last + 1]
    peak = (inside >= normal[:, first - 1 : last]) & (inside > normal[:, first + 1 : last + 2])
    height = np.where(peak, inside, 0)
    best = height.max(1, keepdims=True)
    # Two periods repeat as well as one does. The shortest lag that is nearly as good: no octave too low.
    lag = np.argmax(peak & (height >= 0.9 * best), axis=1)
    rows = np.arange(len(lag))
    before, at, after = (normal[rows, lag + first + step] for step in (-1, 0, 1))
    # The top of a parabola through three points: at 2 kHz a whole sample of lag is two semitones.
    between = np.clip((before - after) / np.minimum(2 * (before - 2 * at + after), -1e-6), -0.5, 0.5)
    pitch = np.log2(HZ / (lag + first + between) / PITCH_LOW_HZ)
    return pitch.astype(np.float32), np.clip(best[:, 0], 0, 1).astype(np.float32)


@lru_cache(maxsize=1)
def _semitone_filters() -> Array:
    """Triangles a semitone wide around the tones from LOWEST_TONE_HZ up: float32 [TONE_FFT/2 + 1, SEMITONES]."""
    semitone = 12 * np.log2(np.maximum(np.fft.rfftfreq(TONE_FFT, 1 / HZ), 1) / LOWEST_TONE_HZ)
    distance = np.abs(semitone[:, None] - np.arange(SEMITONES))
    # Low tones are at least as wide as a bin of the transform, so that none falls between two bins.
    width = np.maximum(0.6, 12 * np.log2(1 + HZ / TONE_FFT / (LOWEST_TONE_HZ * 2 ** (np.arange(SEMITONES) / 12))))
    weight = np.clip(1 - distance / width, 0, 1)
    return (weight / weight.sum(0)).astype(np.float32)


def measure_semitones(samples: Array) -> NDArray[np.float32]:
    """How far each semitone stands out along a window: float32 [m, SEMITONES], unit norm or less."""
    samples = np.pad(samples, (0, max(0, TONE_FRAME - len(samples))))
    frames = sliding_window_view(samples, TONE_FRAME)[::TONE_HOP] * np.hanning(TONE_FRAME).astype(np.float32)
    strength = np.sqrt(np.abs(np.fft.rfft(frames, TONE_FFT)).astype(np.float32) @ _semitone_filters())
    # Less the mean of the three semitones on either side: noise is even there, a tone stands out.
    around = np.pad(strength, ((0, 0), (3, 3)), mode="edge")
    mean = sliding_window_view(around, 7, axis=1).mean(2)
    return soft_unit(np.maximum(strength - mean, 0), 0.5)
