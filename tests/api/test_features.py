"""Looking into a feature store from a program."""

from __future__ import annotations

import numpy as np
import pytest

import hcq_cli as hcq
from hcq_cli.api.features import find_video
from hcq_cli.duplicates.groups import Duplicates
from hcq_cli.errors import NotFoundError, UsageError


def test_a_video_is_found_by_id_path_and_file_name(workspace):
    store = hcq.open_features(workspace)
    row = find_video(store, "clip-0003.mp4")
    assert store.ids[row] == "clip-0003.mp4"
    assert find_video(store, "/videos/clips/clip-0003.mp4") == row
    with pytest.raises(NotFoundError, match=r"has no video 'clip-3\.mp4'"):
        find_video(store, "clip-3.mp4")


def test_a_name_that_may_be_several_is_refused(monkeypatch, workspace):
    store = hcq.open_features(workspace)
    monkeypatch.setattr(type(store), "ids", ["a/x.mp4", "b/x.mp4"])
    with pytest.raises(UsageError, match="may be any of 2 videos"):
        find_video(store, "x.mp4")


def test_damage_is_found_and_set_aside(workspace, told):
    found, moved = hcq.verify_features(workspace, progress=told)
    assert (found.files, found.damaged, moved) == (2, [], [])
    shard = next((workspace.features / "shards").iterdir())
    data = bytearray(shard.read_bytes())
    data[-100] ^= 1
    shard.write_bytes(data)
    found, moved = hcq.verify_features(workspace)
    assert len(found.damaged) == 1 and not moved
    found, moved = hcq.verify_features(workspace, repair=True)
    assert len(moved) == 1
    assert len(hcq.open_features(workspace)) == 1


def test_features_are_exported(workspace, told, tmp_path):
    done = hcq.export_features(workspace, tmp_path / "f.npz", experts=["audio"], progress=told)
    assert (done.videos, list(done.tokens)) == (15, ["audio"])
    assert np.load(tmp_path / "f.npz")["audio.features"].shape == (35, 618)


def test_removed_videos_are_named_short_or_whole(workspace, told):
    ids = list(hcq.open_features(workspace).ids)
    path = hcq.open_features(workspace).video(1).facts.path
    removed = hcq.remove_features(
        workspace, [ids[0].removesuffix(".mp4"), path.removesuffix(".mp4"), "nothing"], progress=told
    )
    assert removed == ids[:2] and "has no video 'nothing'" in told.warnings[0]
    assert sorted(hcq.open_features(workspace).ids) == sorted(ids[2:])  # shards written anew are in order of ids
    with pytest.raises(NotFoundError, match="has no video"):
        hcq.remove_features(workspace, ids[:1])


def test_duplicates_are_given_where_they_cannot_be_kept(read_only, monkeypatch):
    found = Duplicates((), 14, 91)  # these features have no pictures to compare
    monkeypatch.setattr("hcq_cli.duplicates.groups.find_duplicates", lambda *_: found)
    assert hcq.dedupe(read_only) == found and not read_only.duplicates.exists()
