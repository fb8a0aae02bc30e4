"""Captions must say what the clip shows, and enough of it."""

import re

import pytest

from hcq_cli.demo.clips import ATTRIBUTES, NOBODY, SILENCE, compose
from hcq_cli.demo.grammar import FULL_CAPTIONS, WORDS, captions, five_questions

SCENES = compose(480, seed=3)


def mentioned(caption, attribute):
    """Values of an attribute whose wording stands in the caption (longest wordings win)."""
    words = [(word, value) for value, forms in WORDS[attribute].items() for word in forms]
    found, rest = set(), caption
    for word, value in sorted(words, key=lambda pair: -len(pair[0])):
        if re.search(rf"\b{re.escape(word)}\b", rest):
            found.add(value)
            rest = rest.replace(word, "…")
    return found


def test_every_value_has_synonyms_and_no_two_share_one():
    for attribute, values in ATTRIBUTES.items():
        assert set(WORDS[attribute]) == set(values)
        wordings = [word for forms in WORDS[attribute].values() for word in forms]
        assert len(set(wordings)) == len(wordings)
        assert all(len(forms) >= 2 for forms in WORDS[attribute].values())


def test_full_captions_name_the_object_its_colour_and_its_motion_and_nothing_wrong():
    named = dict.fromkeys(ATTRIBUTES, 0)
    for scene in SCENES:
        lines = captions(scene, seed=3)[:FULL_CAPTIONS]
        assert len(set(lines)) == FULL_CAPTIONS
        for line in lines:
            for name in ("object", "motion", "background", "person"):
                found = mentioned(line, name)
                assert found <= {scene.values[name]}, (line, name)
                named[name] += bool(found)
            assert scene.values["colour"] in mentioned(line, "colour")
            named["sound"] += scene.values["sound"] in mentioned(line, "sound")
    total = FULL_CAPTIONS * len(SCENES)
    assert named["object"] == named["motion"] == named["background"] == total
    assert named["sound"] > 0.75 * total
    assert named["person"] > 0.55 * total


def test_test_clips_have_only_full_captions():
    assert {len(captions(scene, 0)) for scene in SCENES if scene.split == "test"} == {FULL_CAPTIONS}
    assert all(len(captions(scene, 0)) > FULL_CAPTIONS for scene in SCENES if scene.split == "train")


def test_captions_of_the_test_clips_tell_them_apart():
    shown = {}
    for scene in (s for s in SCENES if s.split == "test"):
        shown.setdefault(tuple(v for k, v in scene.values.items() if k not in ("sound", "person")), []).append(scene)
    alone = sum(len(same) == 1 for same in shown.values())
    assert alone >= 0.95 * sum(s.split == "test" for s in SCENES)


def test_absence_is_said_in_words_that_make_sense():
    for scene in SCENES:
        for line in captions(scene, 3):
            assert "sound of no" not in line and "face of no" not in line and "sound of silence" not in line
            assert not re.search(r"\ba [aeiou]", line), line
    assert SILENCE in WORDS["sound"] and NOBODY in WORDS["person"]


def test_equal_seeds_give_equal_captions():
    assert captions(SCENES[0], 1) == captions(SCENES[0], 1) != captions(SCENES[0], 2)


@pytest.mark.parametrize("seed", range(6))
def test_the_five_questions_have_right_clips_and_are_hard_to_guess(seed):
    scenes = compose(480, seed)
    train = [scene for scene in scenes if scene.split == "train"]
    questions = five_questions(scenes)
    assert len({question.needs for question in questions}) == 5
    for question in questions:
        assert 0 < question.share(scenes) < 0.2
    assert questions[2].share(train) > 0
    assert questions[4].share(train) == 0
