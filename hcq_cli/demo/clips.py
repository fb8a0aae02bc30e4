"""What the demo's clips show, and the split that keeps some combinations for the test.

A clip is one value of each attribute. For three pairs of attributes a few combinations are held out: no training
clip has them, every test clip has at least one. Each single value occurs in training, so that the test asks for
known things in new combinations.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from hcq_cli.errors import UsageError

NOBODY = "nobody"
SILENCE = "silence"
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "object": ("ball", "box", "triangle", "star", "ring", "cross", "heart", "moon"),
    "colour": ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white"),
    "motion": ("right", "left", "rise", "fall", "spin", "grow", "shrink", "bounce", "still"),
    "background": ("night", "meadow", "sea", "bricks", "chessboard", "desert"),
    "sound": ("siren", "bell", "drum", "bark", "birds", "engine", "rain", "melody", SILENCE),
    "person": (NOBODY, "bearded man", "long-haired woman", "man in glasses"),
}
PAIRS: tuple[tuple[str, str], ...] = (("object", "colour"), ("object", "motion"), ("object", "sound"))
"""Pairs of attributes of which some combinations are held out."""
SHARE_WITHOUT_FACE = 0.5
LEAST_VIDEOS = 24
"""Fewer clips cannot show every value in training."""

Combination = tuple[str, str, str, str]
"""Attribute, value, attribute, value."""


@dataclass(frozen=True)
class DemoClip:
    """What one clip shows.

    Args:
        number: its place in the collection; with the seed it decides every random detail of the drawing.
        split: "train" or "test".
        values: attribute name → value, one for each of ATTRIBUTES.
    """

    number: int
    split: str
    values: dict[str, str]

    @property
    def file(self) -> str:
        """The clip's file name, which tells nothing of what it shows."""
        return f"clip-{self.number:04d}.mp4"

    def combinations(self) -> set[Combination]:
        """The combinations of PAIRS that the clip shows."""
        return {(a, self.values[a], b, self.values[b]) for a, b in PAIRS}


def hold_out(rng: Generator) -> set[Combination]:
    """Choose the combinations that no training clip shows: one partner in each of PAIRS for every object."""
    # One partner a value, by a permutation: every partner keeps other objects to be seen with in training.
    chosen: set[Combination] = set()
    for a, b in PAIRS:
        partners = rng.permutation(ATTRIBUTES[b])
        chosen |= {(a, value, b, str(partner)) for value, partner in zip(ATTRIBUTES[a], partners, strict=False)}
    return chosen


def compose(videos: int, seed: int) -> list[DemoClip]:
    """Decide what every clip shows.

    Args:
        videos: how many clips in all; at least LEAST_VIDEOS. A sixth of them is the test (a hundred or more where
            that leaves three quarters for training).
        seed: equal seeds give equal collections.

    Returns:
        The training clips, then the test clips.

    Raises:
        UsageError: too few clips to show every value in training.
    """
    if videos < LEAST_VIDEOS:
        raise UsageError(f"a demo of {videos} clips cannot show everything once", f"use --videos {LEAST_VIDEOS}")
    rng = np.random.default_rng(seed)
    held_out = hold_out(rng)
    # A hundred test clips, so that a percent of recall is a clip and not chance; but never more than a quarter.
    tests = max(videos // 6, min(100, videos // 4))
    shown = _train_values(videos - tests, held_out, rng) + _test_values(tests, held_out, rng)
    splits = ["train"] * (videos - tests) + ["test"] * tests
    return [DemoClip(at, split, values) for at, (split, values) in enumerate(zip(splits, shown, strict=True))]


def unseen(clip: DemoClip, training: Iterable[DemoClip]) -> set[Combination]:
    """The combinations of `clip` that no clip of `training` shows."""
    seen: set[Combination] = set().union(*(other.combinations() for other in training))
    return clip.combinations() - seen


def _deck(attribute: str, count: int, rng: Generator) -> list[str]:
    """`count` values of an attribute, each as often as the next one, in random order."""
    values: Sequence[str] = ATTRIBUTES[attribute]
    # People are dealt by themselves: half of the clips show nobody, so that "a man" tells something.
    if attribute == "person":
        people = len(values) - 1
        with_face = [values[1 + at % people] for at in range(round(count * (1 - SHARE_WITHOUT_FACE)))]
        deck = with_face + [NOBODY] * (count - len(with_face))
    else:
        deck = [values[at % len(values)] for at in range(count)]
    return [str(value) for value in rng.permutation(deck)]


def _train_values(count: int, held_out: set[Combination], rng: Generator) -> list[dict[str, str]]:
    """Values of the training clips: no held-out combination, and every value at least once."""
    while True:  # in a small demo a value may be lost when held-out combinations are avoided: deal again
        decks = {name: _deck(name, count, rng) for name in ATTRIBUTES}
        shown = [{name: decks[name][at] for name in ATTRIBUTES} for at in range(count)]
        for values in shown:
            for a, b in PAIRS:
                while (a, values[a], b, values[b]) in held_out:
                    values[b] = str(rng.choice(ATTRIBUTES[b]))
        if all({values[name] for values in shown} == set(ATTRIBUTES[name]) for name in ATTRIBUTES):
            return shown


def _test_values(count: int, held_out: set[Combination], rng: Generator) -> list[dict[str, str]]:
    """Test clips, all different, each with a held-out combination, the kinds of them in turn."""
    kinds = [sorted(c for c in held_out if (c[0], c[2]) == pair) for pair in PAIRS]
    decks = {name: _deck(name, count, rng) for name in ATTRIBUTES}
    shown: list[dict[str, str]] = []
    for at in range(count):
        kind = kinds[at % len(kinds)]
        a, value_a, b, value_b = kind[at // len(kinds) % len(kind)]
        values = {name: decks[name][at] for name in ATTRIBUTES} | {a: value_a, b: value_b}
        # Equal clips would have captions of each other, and recall would count them as wrong.
        while values in shown:
            values |= {name: str(rng.choice(ATTRIBUTES[name])) for name in ATTRIBUTES if name not in (a, b)}
        shown.append(values)
    return shown
