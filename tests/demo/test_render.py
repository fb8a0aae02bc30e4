"""Rendered clips: whole, and the same file however they are rendered; motions are what they are called."""

import av
import numpy as np
import pytest

from hcq_cli.demo.clips import ATTRIBUTES, SILENCE, compose
from hcq_cli.demo.drawing import HEIGHT, WIDTH
from hcq_cli.demo.render import motion_path, render_all, render_clip
from hcq_cli.demo.sounds import HZ

CLIPS = compose(480, seed=11)


def test_clips_last_two_to_three_seconds_and_have_picture_and_sound(tmp_path):
    by_sound = {scene.values["sound"]: scene for scene in CLIPS}
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
    silent = [scene for scene in CLIPS if scene.values["sound"] == SILENCE]
    for scene in (next(s for s in silent if s.number % 2 == 0), next(s for s in silent if s.number % 2)):
        path = tmp_path / scene.file
        render_clip(scene, 11, path)
        with av.open(str(path)) as clip:
            assert len(clip.streams.audio) == scene.number % 2
            if clip.streams.audio:
                assert max(np.abs(frame.to_ndarray()).max() for frame in clip.decode(audio=0)) == 0


def test_a_clip_is_the_same_file_however_it_is_rendered(tmp_path):
    some = CLIPS[:10]
    assert render_all(some, 11, tmp_path / "pool", workers=2) == 10
    for scene in some[:3]:
        render_clip(scene, 11, tmp_path / "alone" / scene.file)
        assert (tmp_path / "alone" / scene.file).read_bytes() == (tmp_path / "pool" / scene.file).read_bytes()
    render_clip(some[0], 12, tmp_path / "other.mp4")
    assert (tmp_path / "other.mp4").read_bytes() != (tmp_path / "pool" / some[0].file).read_bytes()


def test_finished_clips_are_not_rendered_again(tmp_path):
    render_all(CLIPS[:4], 11, tmp_path, workers=1)
    (tmp_path / CLIPS[1].file).unlink()
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    told = []
    assert render_all(CLIPS[:4], 11, tmp_path, workers=1, progress=told.append) == 1
    assert told == [4]
    after = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert {name: after[name] for name in before} == before and len(after) == 4


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
