"""Puts the demo's clips in words: captions by a small grammar with synonyms, and the five queries that are shown.

Full captions name what tells a clip from the others (the object, its colour and its motion always, the rest
mostly). Training clips have short ones too, which name a thing or two, because that is how people ask.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from hcq_cli.demo.clips import NOBODY, SILENCE, DemoClip, unseen

FULL_CAPTIONS, SHORT_CAPTIONS, PAIR_CAPTIONS = 3, 2, 2
"""Captions of each kind that a clip has: of everything, of one attribute, of two; test clips have only full ones."""

WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "object": {
        "ball": ("ball", "sphere", "disc"),
        "box": ("box", "square", "block"),
        "triangle": ("triangle", "pyramid"),
        "star": ("star", "five-pointed star"),
        "ring": ("ring", "hoop"),
        "cross": ("cross", "plus sign"),
        "heart": ("heart", "valentine heart"),
        "moon": ("moon", "crescent"),
    },
    "colour": {
        "red": ("red", "crimson", "scarlet"),
        "orange": ("orange", "tangerine"),
        "yellow": ("yellow", "golden"),
        "green": ("green", "emerald"),
        "blue": ("blue", "azure"),
        "purple": ("purple", "violet"),
        "pink": ("pink", "rosy"),
        "white": ("white", "snowy"),
    },
    "motion": {
        "right": ("moves to the right", "slides right", "drifts rightwards"),
        "left": ("moves to the left", "slides left", "drifts leftwards"),
        "rise": ("rises", "floats upwards", "climbs up"),
        "fall": ("falls", "drops down", "sinks"),
        "spin": ("spins", "rotates", "turns around"),
        "grow": ("grows", "gets bigger", "swells"),
        "shrink": ("shrinks", "gets smaller", "dwindles"),
        "bounce": ("bounces", "hops", "jumps"),
        "still": ("stands still", "does not move", "stays in place"),
    },
    "background": {
        "night": ("a starry night", "the night sky", "a starlit sky"),
        "meadow": ("a meadow", "grassland", "a grassy field"),
        "sea": ("the sea", "the ocean", "sea waves"),
        "bricks": ("a brick wall", "a wall of bricks"),
        "chessboard": ("a chessboard", "a checkered floor", "a chequered pattern"),
        "desert": ("the desert", "sand dunes", "a sandy desert"),
    },
    "sound": {
        "siren": ("a siren", "a wailing siren", "an emergency siren"),
        "bell": ("a bell", "a church bell", "a ringing bell"),
        "drum": ("a drum", "drumming", "a beating drum"),
        "bark": ("a barking dog", "barking", "a dog that barks"),
        "birds": ("birds", "birdsong", "chirping birds"),
        "engine": ("an engine", "a humming motor", "an idling engine"),
        "rain": ("rain", "pouring rain", "a rain shower"),
        "melody": ("a melody", "a tune", "piano music"),
        SILENCE: ("silence", "no sound"),
    },
    "person": {
        NOBODY: ("nobody", "no one"),
        "bearded man": ("a bearded man", "a man with a beard"),
        "long-haired woman": ("a long-haired woman", "a woman with long hair", "a blonde woman"),
        "man in glasses": ("a man in glasses", "a man wearing glasses", "a man with spectacles"),
    },
}
FULL = (
    "{thing} {motion} before {background}{sound}{person}",
    "before {background}, {thing} {motion}{person}{sound}",
    "{thing} that {motion}{sound}, {background} behind it{person}",
    "we see {thing}; it {motion} in front of {background}{person}{sound}",
    "{background} and {thing} which {motion}{sound}{person}",
)
SOUND = (" to the sound of {}", " while {} can be heard", " with {} on the soundtrack")
WITHOUT_SOUND = (" in silence", " without a sound", " with no sound")
PERSON = (", watched by {}", ", {} looks on", " and {} watches")
SHORT: dict[str, tuple[str, ...]] = {
    "object": ("{thing}", "{thing} can be seen"),
    "colour": ("something {colour}", "{colour_thing}"),
    "motion": ("something {motion}", "a thing that {motion}", "it {motion}"),
    "background": ("{background}", "in front of {background}"),
    "sound": ("{sound}", "the sound of {sound}", "{sound} can be heard"),
    "person": ("{person}", "the face of {person}", "{person} looks on"),
}
SHORT_SILENCE = ("{sound}", "{sound} can be heard")
SHORT_NOBODY = ("{person} looks on", "{person} is there")
PAIR = (
    "{painted_thing}",
    "{painted_thing}",  # twice as often: it is what people ask for most
    "{thing} {motion}",
    "{thing}{with_sound}",
    "{thing} before {background}",
    "something {motion}{with_sound}",
)
SOMEBODY = ("somebody", "a person", "someone")
"""What any person may also be called in a short caption."""


def _say(attribute: str, value: str, rng: Generator) -> str:
    """One of the wordings of a value."""
    return str(rng.choice(WORDS[attribute][value]))


def _with_article(words: str) -> str:
    """`words` after "a" or "an", as the first letter asks."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _with_sound(values: Mapping[str, str], spoken: Mapping[str, str], rng: Generator) -> str:
    """What is heard, as the end of a sentence."""
    return str(rng.choice(WITHOUT_SOUND if values["sound"] == SILENCE else SOUND)).format(spoken["sound"])


def _full_caption(values: Mapping[str, str], rng: Generator) -> str:
    """A sentence that names object, colour and motion, the background, and mostly the sound and the person."""
    spoken = {name: _say(name, value, rng) for name, value in values.items()}
    sound = _with_sound(values, spoken, rng) if rng.uniform() < 0.9 else ""
    # That nobody is there is said seldom, as people do; it would else be what most captions have in common.
    mentioned = rng.uniform() < (0.4 if values["person"] == NOBODY else 0.95)
    person = str(rng.choice(PERSON)).format(spoken["person"]) if mentioned else ""
    return str(rng.choice(FULL)).format(
        thing=_with_article(f"{spoken['colour']} {spoken['object']}"),
        motion=spoken["motion"],
        background=spoken["background"],
        sound=sound,
        person=person,
    )


def _short_caption(values: Mapping[str, str], attribute: str, rng: Generator) -> str:
    """A few words about one attribute."""
    spoken = {name: _say(name, value, rng) for name, value in values.items()}
    if values["person"] != NOBODY and rng.uniform() < 0.25:
        spoken["person"] = str(rng.choice(SOMEBODY))
    forms = {SILENCE: SHORT_SILENCE, NOBODY: SHORT_NOBODY}.get(values[attribute], SHORT[attribute])
    spoken |= {"thing": _with_article(spoken["object"]), "colour_thing": _with_article(f"{spoken['colour']} thing")}
    return str(rng.choice(forms)).format(**spoken)


def _pair_caption(values: Mapping[str, str], rng: Generator) -> str:
    """A few words about two or three attributes."""
    spoken = {name: _say(name, value, rng) for name, value in values.items()}
    painted = _with_article(f"{spoken['colour']} {spoken['object']}")
    return str(rng.choice(PAIR)).format(
        painted_thing=painted,
        thing=painted if rng.uniform() < 0.5 else _with_article(spoken["object"]),
        with_sound=_with_sound(values, spoken, rng),
        motion=spoken["motion"],
        background=spoken["background"],
    )


def captions(clip: DemoClip, seed: int) -> list[str]:
    """All captions of a clip: FULL_CAPTIONS different sentences, and for training short ones as well."""
    rng = np.random.default_rng((seed, clip.number, 1))  # the 1 keeps it apart from the generator of the drawing
    lines: list[str] = []
    while len(lines) < FULL_CAPTIONS:
        line = _full_caption(clip.values, rng)
        if line not in lines:
            lines.append(line)
    if clip.split == "train":
        about = rng.permutation(sorted(SHORT))[:SHORT_CAPTIONS]
        lines += [_short_caption(clip.values, str(attribute), rng) for attribute in about]
        lines += [_pair_caption(clip.values, rng) for _ in range(PAIR_CAPTIONS)]
    return lines


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

    def is_answered_by(self, clip: DemoClip) -> bool:
        """Whether a clip shows all that is asked for."""
        return all(clip.values[name] == value for name, value in self.wanted.items())

    def share(self, clips: Sequence[DemoClip]) -> float:
        """The share of clips that are right: how often blind luck would be."""
        return sum(map(self.is_answered_by, clips)) / len(clips)


def five_questions(clips: Sequence[DemoClip]) -> list[Question]:
    """One query for sound, one for motion, one for looks, one for a face, one that combines two experts.

    What moves, sounds and looks on is drawn independently in every clip, so that each of the first, second and
    fourth has nothing but its own expert to go by. The last asks for a combination that no training clip shows.
    """
    training = [clip for clip in clips if clip.split == "train"]
    thing, paint = _common((clip.values["object"], clip.values["colour"]) for clip in training)
    new = [c for clip in clips if clip.split == "test" for c in unseen(clip, training) if c[2] == "sound"]
    shape, noise = _common((c[1], c[3]) for c in new if c[3] != SILENCE)
    looks = _with_article(f"{WORDS['colour'][paint][0]} {WORDS['object'][thing][0]}")
    both = f"{_with_article(WORDS['object'][shape][0])} to the sound of {WORDS['sound'][noise][0]}"
    return [
        Question("the sound of a barking dog", "audio", {"sound": "bark"}),
        Question("something spins", "motion", {"motion": "spin"}),
        Question(looks, "appearance", {"object": thing, "colour": paint}),
        Question("a man in glasses looks on", "face", {"person": "man in glasses"}),
        Question(both, "appearance + audio", {"object": shape, "sound": noise}),
    ]


def _common(pairs: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """The pair that occurs most often; the first in alphabetical order of equally common ones."""
    # Ties by the alphabet: the order in which a Counter first met them would change with the order of the clips.
    counts = Counter(pairs)
    return min(counts, key=lambda pair: (-counts[pair], pair))
