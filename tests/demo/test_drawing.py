"""Faces that a detector finds, and objects on which a turn is seen."""

from collections import Counter

import cv2
import numpy as np

from hcq_cli.demo.clips import ATTRIBUTES, NOBODY, DemoClip, compose
from hcq_cli.demo.render import draw_frames

CLIPS = compose(480, seed=11)


def frames_of(scene, count=3):
    return list(draw_frames(scene, np.random.default_rng((11, scene.number)), count))


def test_drawn_faces_are_detected_and_nothing_else_is():
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_alt2.xml")
    people, false = Counter(), 0
    some = CLIPS[:150]
    for scene in some:
        found = [len(cascade.detectMultiScale(cv2.cvtColor(f, cv2.COLOR_RGB2GRAY), 1.2, 4)) for f in frames_of(scene)]
        if scene.values["person"] == NOBODY:
            false += max(found) > 0
        else:
            people[max(found) > 0] += 1
    assert people[True] >= 0.95 * people.total()
    assert false <= 1


def test_turning_is_seen_on_every_object():
    for thing in ATTRIBUTES["object"]:
        values = dict(CLIPS[0].values, object=thing, motion="spin", person=NOBODY)
        first, _, last = frames_of(DemoClip(0, "train", values))
        assert np.mean(np.abs(first.astype(int) - last).max(axis=2) > 40) > 0.01, thing
