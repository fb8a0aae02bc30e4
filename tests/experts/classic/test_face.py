"""Faces are found where they are, and nowhere else."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import toys
from real_clips import tokens_of as _tokens

from experts import registry
from experts.base import Clip, State


def _watch(expert, frames, start_s=0.0):
    return expert.extract(Clip(start_s, start_s + 30, True, False, {expert.sampling: frames}))


def test_a_clip_without_a_face_says_nothing_found():
    face = registry.load(["face"])[0]
    frames = toys.moving("spin", np.random.default_rng(4))
    assert _watch(face, frames).state is State.NOTHING_FOUND


def test_faces_are_found_where_they_are(shared):
    face = registry.load(["face"])[0]
    people = ["asl_sign_eat.mkv", "grid_speaker_man_black.mpg", "grid_speaker_woman.mpg", "man_talking_in_car.mp4"]
    others = ["beetle_on_flower.mp4", "stream_over_rocks.mp4", "fireworks_brown_sky.mp4", "corgis_playing.mp4"]
    assert sum(len(_tokens(face, shared / "videos" / name, 2.0)) > 0 for name in people) >= 3
    assert sum(len(_tokens(face, shared / "videos" / name, 2.0)) > 0 for name in others) <= 1


@pytest.mark.slow
def test_faces_of_all_clips_as_the_manifest_says(shared):
    face = registry.load(["face"])[0]
    right = wrong = 0
    for row in csv.DictReader((shared / "videos" / "MANIFEST.csv").open()):
        found = len(_tokens(face, shared / "videos" / row["file"], 60.0)) > 0
        right += found and row["faces"] == "yes"
        wrong += found and row["faces"] != "yes"
    assert right >= 15
    assert wrong <= 5
