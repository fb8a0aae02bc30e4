"""The split must be what the demo claims: known values, new combinations."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hcq_cli.demo.clips import ATTRIBUTES, LEAST_VIDEOS, PAIRS, compose, unseen
from hcq_cli.errors import UsageError


def pairs_seen(scenes):
    return {(a, s.values[a], b, s.values[b]) for s in scenes for a, b in PAIRS}


@given(videos=st.integers(LEAST_VIDEOS, 700), seed=st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_every_test_clip_shows_known_values_in_a_combination_that_training_lacks(videos, seed):
    scenes = compose(videos, seed)
    assert [scene.number for scene in scenes] == list(range(videos))
    train = [scene for scene in scenes if scene.split == "train"]
    test = [scene for scene in scenes if scene.split == "test"]
    assert len(train) + len(test) == videos
    for name, values in ATTRIBUTES.items():
        assert {scene.values[name] for scene in train} == set(values)
    seen = pairs_seen(train)
    for scene in test:
        assert pairs_seen([scene]) - seen
        assert unseen(scene, train) == pairs_seen([scene]) - seen
    shown = [tuple(scene.values.values()) for scene in test]
    assert len(set(shown)) == len(shown)


@pytest.mark.parametrize("videos", [480, 720])
def test_a_whole_demo_has_a_hundred_test_clips_and_few_untried_pairs_beyond_the_held_out(videos):
    scenes = compose(videos, seed=0)
    train = [scene for scene in scenes if scene.split == "train"]
    assert len(scenes) - len(train) >= 100
    # Almost every pair that is not held out on purpose does occur in training: the test is about the held-out ones.
    possible = sum(len(ATTRIBUTES[a]) * len(ATTRIBUTES[b]) for a, b in PAIRS)
    held_out = sum(len(ATTRIBUTES[a]) for a, _ in PAIRS)
    assert len(pairs_seen(train)) >= 0.97 * (possible - held_out)
    for a, b in PAIRS:
        kinds = [s for s in scenes if s.split == "test" and {c[::2] for c in unseen(s, train)} >= {(a, b)}]
        assert len(kinds) >= 30


def test_equal_seeds_give_equal_collections():
    assert compose(60, seed=5) == compose(60, seed=5)
    assert compose(60, seed=5) != compose(60, seed=6)


def test_too_few_clips_are_refused():
    with pytest.raises(UsageError):
        compose(LEAST_VIDEOS - 1, seed=0)
