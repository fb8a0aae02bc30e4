"""Rendered clips: whole, deterministic, with faces that are found and sounds that differ."""

from collections import Counter

import av
import cv2
import numpy as np
import pytest

from hcq_cli.demo.clips import ATTRIBUTES, NOBODY, SILENCE, DemoClip, compose
from hcq_cli.demo.drawing import HEIGHT, WIDTH
from hcq_cli.demo.render import draw_frames, motion_path, render_all, render_clip
from hcq_cli.demo.sounds import HZ, synthesise

SCENES = compose(480, seed=11)


def frames_of(scene, count=3):
    return list(draw_frames(scene, np.random.default_rng((11, scene.number)), count))


def test_clips_last_two_to_three_seconds_and_have_picture_and_sound(tmp_path):
    by_sound = {scene.values["sound"]: scene for scene in SCENES}
    for scene in [by_sound["siren"], by_sound["rain"], by_sound["bell"]]:
        path = tmp_path / scene.file
        render_clip(scene, 11, path)
        with av.open(str(path)) as clip:
            images = [frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)]
            assert images[0].shape == (HEIGHT, WIDTH, 3)
            seconds = len(images) / float(clip.streams.video[0].average_rate)
            assert 2 <= seconds <= 3
        with av.open(str(path)) as clip:
            heard = np.concatenate([frame.to_ndarray().ravel() for frame in clip.decode(audio=0)])
            assert abs(len(heard) / HZ - seconds) < 0.2
            assert np.abs(heard).max() > 0.05


def test_silent_clips_either_lack_the_track_or_carry_zeros(tmp_path):
    silent = [scene for scene in SCENES if scene.values["sound"] == SILENCE]
    for scene in (next(s for s in silent if s.number % 2 == 0), next(s for s in silent if s.number % 2)):
        path = tmp_path / scene.file
        render_clip(scene, 11, path)
        with av.open(str(path)) as clip:
            assert len(clip.streams.audio) == scene.number % 2
            if clip.streams.audio:
                assert max(np.abs(frame.to_ndarray()).max() for frame in clip.decode(audio=0)) == 0


def test_a_clip_is_the_same_file_however_it_is_rendered(tmp_path):
    some = SCENES[:10]
    assert render_all(some, 11, tmp_path / "pool", workers=2) == 10
    for scene in some[:3]:
        render_clip(scene, 11, tmp_path / "alone" / scene.file)
        assert (tmp_path / "alone" / scene.file).read_bytes() == (tmp_path / "pool" / scene.file).read_bytes()
    render_clip(some[0], 12, tmp_path / "other.mp4")
    assert (tmp_path / "other.mp4").read_bytes() != (tmp_path / "pool" / some[0].file).read_bytes()


def test_finished_clips_are_not_rendered_again(tmp_path):
    render_all(SCENES[:4], 11, tmp_path, workers=1)
    (tmp_path / SCENES[1].file).unlink()
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    told = []
    assert render_all(SCENES[:4], 11, tmp_path, workers=1, progress=told.append) == 1
    assert told == [4]
    after = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert {name: after[name] for name in before} == before and len(after) == 4


def test_drawn_faces_are_detected_and_nothing_else_is():
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_alt2.xml")
    people, false = Counter(), 0
    some = SCENES[:150]
    for scene in some:
        found = [len(cascade.detectMultiScale(cv2.cvtColor(f, cv2.COLOR_RGB2GRAY), 1.2, 4)) for f in frames_of(scene)]
        if scene.values["person"] == NOBODY:
            false += max(found) > 0
        else:
            people[max(found) > 0] += 1
    assert people[True] >= 0.95 * people.total()
    assert false <= 1


@pytest.mark.parametrize("motion", ATTRIBUTES["motion"])
def test_motions_are_what_they_are_called(motion):
    for seed in range(5):
        path = motion_path(motion, 30, np.random.default_rng(seed))
        x, y, size, turn = np.array([(p.x, p.y, p.size, p.turn) for p in path]).T
        dx, dy, dsize, dturn = (np.diff(v) for v in (x, y, size, turn))
        expected = {"right": (dx > 0), "left": (dx < 0), "fall": (dy > 0), "rise": (dy < 0)}
        expected |= {"grow": dsize > 0, "shrink": dsize < 0, "spin": np.abs(dturn) > 3}
        if motion in expected:
            assert expected[motion].all()
        changing = {"right": "x", "left": "x", "fall": "y", "rise": "y", "bounce": "y", "grow": "s", "shrink": "s"}
        still = {"x": dx, "y": dy, "s": dsize, "t": dturn}
        still.pop(changing.get(motion, "t" if motion == "spin" else ""), None)
        assert all(np.allclose(v, 0) for v in still.values())
        if motion == "bounce":
            assert np.count_nonzero(np.diff(np.sign(dy))) >= 3
        assert x.min() > 0 and x.max() < WIDTH and y.min() > 0 and y.max() < HEIGHT


def test_turning_is_seen_on_every_object():
    for thing in ATTRIBUTES["object"]:
        values = dict(SCENES[0].values, object=thing, motion="spin", person=NOBODY)
        first, _, last = frames_of(DemoClip(0, "train", values))
        assert np.mean(np.abs(first.astype(int) - last).max(axis=2) > 40) > 0.01, thing


def test_sounds_differ_more_between_kinds_than_within():
    """Nearest neighbour by the mean log spectrum finds the kind; so the difference is one that can be heard."""

    def spectrum(sound, seed):
        wave = synthesise(sound, 2.5, np.random.default_rng(seed)).astype(float) / 32768
        frames = wave[: len(wave) // 512 * 512].reshape(-1, 512) * np.hanning(512)
        power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
        bands = np.add.reduceat(power, np.unique(np.geomspace(1, 256, 24).astype(int)), axis=1)
        logs = np.log(bands + 1e-6)
        return np.concatenate([logs.mean(0), logs.std(0)])

    kinds = [sound for sound in ATTRIBUTES["sound"] if sound != SILENCE]
    known = {(sound, seed): spectrum(sound, seed) for sound in kinds for seed in range(4)}
    right = 0
    for sound in kinds:
        asked = spectrum(sound, 100)
        nearest = min(known, key=lambda key: np.linalg.norm(known[key] - asked))
        right += nearest[0] == sound
    assert right == len(kinds)
    assert not synthesise(SILENCE, 1, np.random.default_rng(0)).any()
