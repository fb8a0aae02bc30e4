"""What the experts can tell apart, by a linear probe on made-up clips of other seeds than it learned from."""

import numpy as np
import pytest
import toys

from experts import registry
from experts.base import Frames

TRAIN, TEST = 10, 5


@pytest.fixture(scope="module")
def prepared():
    experts = {expert.name: expert for expert in registry.load(registry.presets["classic"])}
    for expert in experts.values():
        expert.prepare("cpu")
    return experts


def _share_right(expert, kinds, make):
    """Share of TEST clips of each kind that the probe, taught on TRAIN of each, names rightly."""
    seen = {True: ([], []), False: ([], [])}
    for at, kind in enumerate(kinds):
        for number in range(TRAIN + TEST):
            tokens = expert.extract(make(kind, np.random.default_rng([number, at])))
            features, labels = seen[number < TRAIN]
            features.append(tokens.features.mean(0))
            labels.append(kind)
    named = toys.probe(np.array(seen[True][0]), seen[True][1], np.array(seen[False][0]))
    return np.mean([a == b for a, b in zip(named, seen[False][1], strict=True)])


def test_motion_tells_sixteen_ways_of_moving(prepared):
    expert = prepared["motion"]
    share = _share_right(expert, toys.MOTIONS, lambda kind, rng: toys.clip_of(expert, toys.moving(kind, rng)))
    assert share >= 0.93


def test_audio_tells_sixteen_sounds(prepared):
    expert = prepared["audio"]
    make = toys.sounding
    share = _share_right(expert, toys.SOUNDS, lambda kind, rng: toys.clip_of(expert, sound=make(kind, rng)))
    assert share >= 0.93


def test_appearance_tells_colours_and_shapes_in_combinations_never_seen(prepared):
    expert = prepared["appearance"]
    seen = {True: ([], []), False: ([], [])}
    for i, shape in enumerate(toys.SHAPES):
        for j, colour in enumerate(toys.COLOURS):
            new = (i + j) % 3 == 0
            for number in range(3 if new else 6):
                image = toys.painted(shape, colour, np.random.default_rng([number, i, j]))
                tokens = expert.extract(toys.clip_of(expert, Frames(image[None], np.zeros(1, np.float32))))
                features, labels = seen[not new]
                features.append(tokens.features[0])
                labels.append((shape, colour))
    train, test = np.array(seen[True][0]), np.array(seen[False][0])
    for at in range(2):
        named = toys.probe(train, [label[at] for label in seen[True][1]], test)
        assert np.mean([a == label[at] for a, label in zip(named, seen[False][1], strict=True)]) >= 0.93


@pytest.mark.parametrize("name", ["appearance", "motion", "audio"])
def test_features_are_scaled_alike(prepared, name):
    """Norms at most 1 and not tiny, no coordinate that rules the rest."""
    expert, rng = prepared[name], np.random.default_rng(5)
    kinds = {"motion": toys.MOTIONS, "audio": tuple(toys.SOUNDS)}.get(name, toys.SHAPES)
    features = []
    for kind in kinds:
        if name == "audio":
            clip = toys.clip_of(expert, sound=toys.sounding(kind, rng))
        elif name == "motion":
            clip = toys.clip_of(expert, toys.moving(kind, rng))
        else:
            clip = toys.clip_of(expert, Frames(toys.painted(kind, "blue", rng)[None], np.zeros(1, np.float32)))
        features.append(expert.extract(clip).features)
    norms = np.linalg.norm(np.concatenate(features), axis=1)
    assert 0.2 < norms.min() <= norms.max() <= 1.001
    assert np.abs(np.concatenate(features)).max() < 0.6
