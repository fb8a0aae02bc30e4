"""Which experts and videos an extraction is asked for, from a program."""

from __future__ import annotations

import pytest
from sample_videos import clip

import hcq_cli as hcq
from hcq_cli.api.extraction import expert_names, names_in_list
from hcq_cli.errors import NotFoundError, UsageError


def test_experts_by_preset_by_name_and_by_source():
    classic = expert_names(None)
    assert classic == ["appearance", "motion", "audio", "face"]
    assert expert_names(" audio , face ") == expert_names(["audio", "face"]) == ["audio", "face"]
    assert expert_names("audio=onnx:a.onnx") == ["audio=onnx:a.onnx"]
    assert all("=" in name for name in expert_names(None, "neural"))
    with pytest.raises(UsageError, match="names no expert"):
        expert_names(" , ")
    with pytest.raises(UsageError, match="no preset 'large'"):
        expert_names(None, "large")


def test_lists_of_names():
    assert names_in_list(b"a b.mp4\r\n\nc.mp4") == ["a b.mp4", "c.mp4"]
    assert names_in_list(b"a\nb.mp4\0c.mp4\0") == ["a\nb.mp4", "c.mp4"]


def test_planned_then_extracted_then_skipped(tmp_path, told):
    videos = tmp_path / "videos"
    videos.mkdir()
    clip(videos / "one.mp4", seconds=1.0, seed=1)
    (videos / "broken.mp4").write_bytes(b"no video")
    workspace = hcq.Workspace(tmp_path / "work")
    planned = hcq.plan_extraction(workspace, [videos], experts="appearance")
    assert [item.id for item in planned.todo] == ["broken.mp4", "one.mp4"]
    assert not workspace.root.joinpath("features", "shards").exists()
    report = hcq.extract(workspace, [videos], experts="appearance", workers=1, progress=told)
    assert (report.extracted, [failed.path for failed in report.failed]) == (1, [str(videos / "broken.mp4")])
    assert told.bars["extract"] == 2
    assert hcq.extract(workspace, [videos], experts=["appearance"], workers=1).skipped == 1
    assert len(hcq.open_features(workspace)) == 1


def test_that_faces_are_looked_for_is_told_once_and_to_who_has_not_asked_for_it(tmp_path, told):
    videos = tmp_path / "videos"
    videos.mkdir()
    clip(videos / "one.mp4", seconds=0.5, seed=1)
    asked = hcq.Workspace(tmp_path / "asked")
    hcq.extract(asked, [videos], experts="appearance,face", workers=1, progress=told)
    assert not told.notes
    workspace = hcq.Workspace(tmp_path / "work")
    hcq.extract(workspace, [videos], workers=1, progress=told)
    assert len(told.notes) == 1 and "does not tell persons apart" in told.notes[0]
    assert "--experts appearance,motion,audio" in told.notes[0]
    clip(videos / "two.mp4", seconds=0.5, seed=2)
    hcq.extract(workspace, [videos], workers=1, progress=told)
    assert len(told.notes) == 1


def test_nothing_there(tmp_path):
    with pytest.raises(NotFoundError):
        hcq.extract(hcq.Workspace(tmp_path), [tmp_path / "none"])
