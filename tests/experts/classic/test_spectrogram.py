"""Pitch, tones and the cosine transform, on sounds whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from experts.classic import spectrogram


@pytest.mark.parametrize("hz", [110, 220, 440, 880, 1500])
def test_the_pitch_of_a_tone_is_heard(hz):
    at = np.arange(spectrogram.HZ) / spectrogram.HZ
    wave = sum(np.sin(2 * np.pi * hz * n * at) / n for n in (1, 2, 3))
    pitch, voicing = spectrogram.measure_pitch((0.2 * wave).astype(np.float32))
    heard = spectrogram.PITCH_LOW_HZ * 2**pitch
    assert np.median(heard) == pytest.approx(hz, rel=0.03)
    assert voicing.mean() > 0.9
    noise = np.random.default_rng(6).normal(0, 0.2, spectrogram.HZ).astype(np.float32)
    assert spectrogram.measure_pitch(noise)[1].mean() < 0.4


def test_a_chord_shows_its_tones():
    at = np.arange(spectrogram.HZ) / spectrogram.HZ
    wave = sum(np.sin(2 * np.pi * 220 * 2 ** (step / 12) * at) for step in (0, 4, 7))
    tones = spectrogram.measure_semitones((0.2 * wave).astype(np.float32)).mean(0)
    assert sorted(np.argsort(tones)[-3:]) == [12, 16, 19]


def test_the_cosine_transform_is_orthonormal():
    basis = spectrogram.cosine_basis(64, 20)
    assert np.allclose(basis.T @ basis, np.eye(20), atol=1e-5)
    assert np.allclose(basis.sum(0), 0, atol=1e-4)
