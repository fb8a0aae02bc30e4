"""Sounds of different kinds differ, and silence is silent."""

import numpy as np

from hcq_cli.demo.clips import ATTRIBUTES, SILENCE
from hcq_cli.demo.sounds import synthesise


def test_sounds_differ_more_between_kinds_than_within():
    """Nearest neighbour by the mean log spectrum finds the kind; so the difference is one that can be heard."""

    def spectrum(sound, seed):
        wave = synthesise(sound, 2.5, np.random.default_rng(seed)).astype(float) / 32768
        frames = wave[: len(wave) // 512 * 512].reshape(-1, 512) * np.hanning(512)
        power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
        bands = np.add.reduceat(power, np.unique(np.geomspace(1, 256, 24).astype(int)), axis=1)
        logs = np.log(bands + 1e-6)
        return np.concatenate([logs.mean(0), logs.std(0)])

    kinds = [sound for sound in ATTRIBUTES["sound"] if sound != SILENCE]
    known = {(sound, seed): spectrum(sound, seed) for sound in kinds for seed in range(4)}
    right = 0
    for sound in kinds:
        asked = spectrum(sound, 100)
        nearest = min(known, key=lambda key: np.linalg.norm(known[key] - asked))
        right += nearest[0] == sound
    assert right == len(kinds)
    assert not synthesise(SILENCE, 1, np.random.default_rng(0)).any()
