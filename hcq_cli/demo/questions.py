"""The five queries that the demo shows, chosen to need different experts, and what counts as a right answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hcq_cli.demo.clips import SILENCE, DemoClip, unseen
from hcq_cli.demo.grammar import WORDS, with_article


@dataclass(frozen=True)
class Question:
    """A query and what it asks for.

    Args:
        text: the words.
        needs: the experts without which it cannot be answered.
        wanted: attribute name → the value that a right clip shows.
    """

    text: str
    needs: str
    wanted: Mapping[str, str]

    def is_answered_by(self, scene: DemoClip) -> bool:
        """Whether a clip shows all that is asked for."""
        return all(scene.values[name] == value for name, value in self.wanted.items())

    def share(self, scenes: Sequence[DemoClip]) -> float:
        """The share of clips that are right: how often blind luck would be."""
        return sum(map(self.is_answered_by, scenes)) / len(scenes)


def five_questions(scenes: Sequence[DemoClip]) -> list[Question]:
    """One query for sound, one for motion, one for looks, one for a face, one that combines two experts.

    What moves, sounds and looks on is drawn independently in every clip, so that each of the first, second and
    fourth has nothing but its own expert to go by. The last asks for a combination that no training clip shows.
    """
    training = [scene for scene in scenes if scene.split == "train"]
    thing, paint = _common((scene.values["object"], scene.values["colour"]) for scene in training)
    new = [c for scene in scenes if scene.split == "test" for c in unseen(scene, training) if c[2] == "sound"]
    shape, noise = _common((c[1], c[3]) for c in new if c[3] != SILENCE)
    looks = with_article(f"{WORDS['colour'][paint][0]} {WORDS['object'][thing][0]}")
    both = f"{with_article(WORDS['object'][shape][0])} to the sound of {WORDS['sound'][noise][0]}"
    return [
        Question("the sound of a barking dog", "audio", {"sound": "bark"}),
        Question("something spins", "motion", {"motion": "spin"}),
        Question(looks, "appearance", {"object": thing, "colour": paint}),
        Question("a man in glasses looks on", "face", {"person": "man in glasses"}),
        Question(both, "appearance + audio", {"object": shape, "sound": noise}),
    ]


def _common(pairs: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """The pair that occurs most often; the first in alphabetical order of equally common ones."""
    counts = Counter(pairs)
    return min(counts, key=lambda pair: (-counts[pair], pair))
