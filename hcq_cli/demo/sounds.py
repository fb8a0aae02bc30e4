"""The demo's sounds, synthesised: each is a few lines of the physics that makes it recognisable."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from hcq_cli.demo.clips import SILENCE

HZ = 16_000
"""Samples a second."""

Wave = NDArray[np.float64]


def synthesise(sound: str, seconds: float, rng: Generator) -> NDArray[np.int16]:
    """The mono waveform of a sound.

    Args:
        sound: a value of the attribute "sound".
        seconds: how long.
        rng: varies pitch, tempo, phase and loudness.

    Returns:
        int16 [seconds · HZ]; zeros for silence.
    """
    t = np.arange(round(seconds * HZ)) / HZ
    if sound == SILENCE:
        return np.zeros(len(t), np.int16)
    wave = _MAKERS[sound](t, rng)
    loudness = rng.uniform(0.35, 0.8)
    return (wave / (np.abs(wave).max() + 1e-9) * loudness * 32_767).astype(np.int16)


def _tone(frequency: Wave | float, t: Wave, harmonics: int = 1) -> Wave:
    """A tone of a changing frequency (Hz), its harmonics falling off as 1/n."""
    # The phase is the sum of the frequency so far: sin(2π·f(t)·t) would be a wrong pitch while f changes.
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(frequency, t.shape)) / HZ
    return np.sum([np.sin(n * phase) / n for n in range(1, harmonics + 1)], axis=0)


def _strikes(t: Wave, rng: Generator, every_s: float, one: Callable[[Wave], Wave]) -> Wave:
    """`one`, a sound of the time since its start, repeated every `every_s` seconds from a random moment on."""
    # The last strike may ring on past the next: each is added to those before it.
    wave = np.zeros(len(t))
    for start in np.arange(rng.uniform(0, 0.3), t[-1], every_s):
        since = t - start
        wave += np.where(since >= 0, one(np.maximum(since, 0)), 0)
    return wave


def _siren(t: Wave, rng: Generator) -> Wave:
    # 0.45 of an octave up and down, evenly in pitch as it is heard and not in frequency.
    sweep = np.sin(2 * np.pi * (rng.uniform(0.7, 1.1) * t + rng.uniform()))
    return _tone(rng.uniform(850, 1000) * 2 ** (0.45 * sweep), t, harmonics=3)


def _bell(t: Wave, rng: Generator) -> Wave:
    pitch = rng.uniform(560, 760)
    # Hum, prime, tierce, quint, nominal and above: what makes a bell a bell is that they are no harmonics.
    partials = ((0.5, 1.0), (1.0, 1.0), (1.19, 0.6), (1.5, 0.5), (2.0, 0.7), (2.74, 0.35), (3.76, 0.2))

    def one(since: Wave) -> Wave:
        ringing = [a * np.exp(-since * 1.6 * p) * np.sin(2 * np.pi * pitch * p * since) for p, a in partials]
        return np.sum(ringing, axis=0)

    return _strikes(t, rng, rng.uniform(0.9, 1.1), one)


def _drum(t: Wave, rng: Generator) -> Wave:
    noise, pitch = rng.normal(size=len(t)), rng.uniform(70, 95)

    def one(since: Wave) -> Wave:
        # The pitch falls as the skin, struck, slackens.
        thump = np.sin(2 * np.pi * (pitch * since + 2.5 * (1 - np.exp(-since * 30)))) * np.exp(-since * 14)
        return thump + 0.25 * noise * np.exp(-since * 60)

    return _strikes(t, rng, rng.uniform(0.22, 0.34), one)


def _bark(t: Wave, rng: Generator) -> Wave:
    noise, pitch = rng.normal(size=len(t)), rng.uniform(380, 520)

    def one(since: Wave) -> Wave:
        envelope = np.clip(since / 0.015, 0, 1) * np.exp(-((since / 0.11) ** 2))
        glide = pitch * (1 + 0.5 * np.exp(-since * 18))
        # Overdriven (tanh) and hoarse: a bark is no clean tone.
        return envelope * (np.tanh(3 * _tone(glide, t, harmonics=5)) + 0.5 * noise)

    return _strikes(t, rng, rng.uniform(0.45, 0.6), one)


def _birds(t: Wave, rng: Generator) -> Wave:
    pitch, warble = rng.uniform(3200, 4200), rng.uniform(22, 32)

    def one(since: Wave) -> Wave:
        envelope = np.sin(np.pi * np.clip(since / 0.18, 0, 1)) ** 2
        return envelope * _tone(pitch + 900 * np.sin(2 * np.pi * warble * since) - 2500 * since, t)

    return _strikes(t, rng, rng.uniform(0.26, 0.4), one)


def _engine(t: Wave, rng: Generator) -> Wave:
    idle = rng.uniform(48, 64) * (1 + 0.02 * np.sin(2 * np.pi * 2.2 * t))
    # Four strokes: the cylinders fire unevenly, so the loudness beats at a quarter of the pitch.
    beat = 1 + 0.4 * np.sin(2 * np.pi * np.cumsum(idle) / HZ / 4)
    return beat * _tone(idle, t, harmonics=14) + 0.15 * rng.normal(size=len(t))


def _rain(t: Wave, rng: Generator) -> Wave:
    # The difference of white noise is the high hiss of many small drops; single ones are heard above it.
    hiss = np.diff(rng.normal(size=len(t) + 1))
    drops = np.where(rng.uniform(size=len(t)) < 0.002, rng.normal(size=len(t)) * 9, 0)
    return hiss + np.convolve(drops, np.exp(-np.arange(60) / 10), mode="same")


def _melody(t: Wave, rng: Generator) -> Wave:
    root, step_s = rng.uniform(240, 290), rng.uniform(0.26, 0.32)
    wave = np.zeros(len(t))
    for at, semitones in enumerate((0, 4, 7, 12, 7, 4, 5, 9, 12, 9, 5, 0, 4)):
        since = t - at * step_s
        note = np.maximum(since, 0)
        tone = _tone(root * 2 ** (semitones / 12), t, harmonics=4)
        wave += np.where(since >= 0, np.exp(-note * 5) * tone * np.clip(note / 0.01, 0, 1), 0)
    return wave


_MAKERS: dict[str, Callable[[Wave, Generator], Wave]] = {
    "siren": _siren,
    "bell": _bell,
    "drum": _drum,
    "bark": _bark,
    "birds": _birds,
    "engine": _engine,
    "rain": _rain,
    "melody": _melody,
}
