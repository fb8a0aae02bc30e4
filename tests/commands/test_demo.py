"""`hcq demo`: what it refuses before it draws a clip; the journey itself stands in tests/demo."""

from __future__ import annotations

from in_process import run_here


def test_too_few_clips_to_show_everything_once(tmp_path) -> None:
    refused = run_here("demo", tmp_path / "d", "--videos", "3", code=2)
    assert "a demo of 3 clips" in refused.err and "--videos" in refused.err
    assert not list((tmp_path / "d").glob("**/*.mp4"))


def test_a_setting_that_there_is_not_is_told_before_anything_is_drawn(tmp_path) -> None:
    assert "training.epoch" in run_here("demo", tmp_path / "d", "--set", "training.epoch=1", code=2).err
    assert not list((tmp_path / "d").glob("**/*.mp4"))
