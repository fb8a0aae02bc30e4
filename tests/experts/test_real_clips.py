"""The face and audio experts on real clips, against what a person marked in the manifest."""

import csv

import av
import cv2
import numpy as np
import pytest

from experts import registry
from experts.base import Clip, Frames


def _frames(path, sampling, most_s=4.0):
    """Frames of the first seconds at the rate and size asked for."""
    images, times = [], []
    with av.open(str(path)) as media:
        for frame in media.decode(video=0):
            if frame.time > most_s:
                break
            if len(times) > frame.time * sampling.frames_per_second:
                continue
            image = frame.to_ndarray(format="rgb24")
            scale = min(1.0, sampling.max_side / max(image.shape[:2]))
            size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
            images.append(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
            times.append(frame.time)
    return Frames(np.stack(images), np.array(times, np.float32))


def _tokens(expert, path, most_s):
    frames = _frames(path, expert.sampling, most_s)
    return expert.extract(Clip(0, most_s, True, False, {expert.sampling: frames}))


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


def test_two_halves_of_a_clip_look_alike(shared):
    """Frames of a clip are nearer to each other than to those of other clips."""
    appearance = registry.load(["appearance"])[0]
    names = ["beetle_on_flower.mp4", "fireworks_brown_sky.mp4", "city_cyclists.mp4", "corgis_playing.mp4"]
    tokens = [_tokens(appearance, shared / "videos" / name, 3.0).features for name in names]
    early, late = (
        np.stack([part.mean(0) for part in halves]) for halves in zip(*((f[:3], f[3:]) for f in tokens), strict=True)
    )
    centre = (early.mean(0) + late.mean(0)) / 2
    assert ((early - centre) @ (late - centre).T).argmax(1).tolist() == [0, 1, 2, 3]
