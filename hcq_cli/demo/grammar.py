"""Puts the demo's clips in words: a small grammar with synonyms.

Full captions name what tells a clip from the others (the object, its colour and its motion always, the rest
mostly). Training clips have short ones too, which name a thing or two, because that is how people ask.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.random import Generator

from hcq_cli.demo.clips import NOBODY, SILENCE, DemoClip

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
    "{painted_thing}",
    "{thing} {motion}",
    "{thing}{with_sound}",
    "{thing} before {background}",
    "something {motion}{with_sound}",
)
SOMEBODY = ("somebody", "a person", "someone")
"""What any person may also be called in a short caption."""


def say(attribute: str, value: str, rng: Generator) -> str:
    """One of the wordings of a value."""
    return str(rng.choice(WORDS[attribute][value]))


def with_article(words: str) -> str:
    """`words` after "a" or "an", as the first letter asks."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def with_sound(values: Mapping[str, str], spoken: Mapping[str, str], rng: Generator) -> str:
    """What is heard, as the end of a sentence."""
    return str(rng.choice(WITHOUT_SOUND if values["sound"] == SILENCE else SOUND)).format(spoken["sound"])


def full_caption(values: Mapping[str, str], rng: Generator) -> str:
    """A sentence that names object, colour and motion, the background, and mostly the sound and the person."""
    spoken = {name: say(name, value, rng) for name, value in values.items()}
    sound = with_sound(values, spoken, rng) if rng.uniform() < 0.9 else ""
    mentioned = rng.uniform() < (0.4 if values["person"] == NOBODY else 0.95)
    person = str(rng.choice(PERSON)).format(spoken["person"]) if mentioned else ""
    return str(rng.choice(FULL)).format(
        thing=with_article(f"{spoken['colour']} {spoken['object']}"),
        motion=spoken["motion"],
        background=spoken["background"],
        sound=sound,
        person=person,
    )


def short_caption(values: Mapping[str, str], attribute: str, rng: Generator) -> str:
    """A few words about one attribute."""
    spoken = {name: say(name, value, rng) for name, value in values.items()}
    if values["person"] != NOBODY and rng.uniform() < 0.25:
        spoken["person"] = str(rng.choice(SOMEBODY))
    forms = {SILENCE: SHORT_SILENCE, NOBODY: SHORT_NOBODY}.get(values[attribute], SHORT[attribute])
    spoken |= {"thing": with_article(spoken["object"]), "colour_thing": with_article(f"{spoken['colour']} thing")}
    return str(rng.choice(forms)).format(**spoken)


def pair_caption(values: Mapping[str, str], rng: Generator) -> str:
    """A few words about two or three attributes."""
    spoken = {name: say(name, value, rng) for name, value in values.items()}
    painted = with_article(f"{spoken['colour']} {spoken['object']}")
    return str(rng.choice(PAIR)).format(
        painted_thing=painted,
        thing=painted if rng.uniform() < 0.5 else with_article(spoken["object"]),
        with_sound=with_sound(values, spoken, rng),
        motion=spoken["motion"],
        background=spoken["background"],
    )


def captions(scene: DemoClip, seed: int) -> list[str]:
    """All captions of a clip: FULL_CAPTIONS different sentences, and for training short ones as well."""
    rng = np.random.default_rng((seed, scene.number, 1))
    lines: list[str] = []
    while len(lines) < FULL_CAPTIONS:
        line = full_caption(scene.values, rng)
        if line not in lines:
            lines.append(line)
    if scene.split == "train":
        about = rng.permutation(sorted(SHORT))[:SHORT_CAPTIONS]
        lines += [short_caption(scene.values, str(attribute), rng) for attribute in about]
        lines += [pair_caption(scene.values, rng) for _ in range(PAIR_CAPTIONS)]
    return lines
