"""Shards stay few and free of dead weight, and a damaged one does not stop the others."""

from __future__ import annotations

from pathlib import Path

import pytest
from feature_samples import STORED, all_files, same, video
from store_contents import shard_digests

from hcq_cli.errors import LockedError
from hcq_cli.features import compaction
from hcq_cli.features.compaction import WritableShards
from hcq_cli.features.folder import write_incoming
from hcq_cli.features.records import VideoRecord
from hcq_cli.features.store import FeatureStore
from hcq_cli.features.writer import FeatureWriter


def test_the_same_videos_are_the_same_bytes_in_however_many_runs(tmp_path: Path) -> None:
    names = ["b", "d", "a", "c", "e"]
    for store, runs in (("one", [names]), ("other", [names[3:], names[:1], names[1:3]])):
        for run in runs:
            for name in run:
                write_incoming(tmp_path / store, video(name))
            with FeatureWriter(tmp_path / store) as writer:
                assert writer.compact().shards == 1
    assert shard_digests(tmp_path / "one") == shard_digests(tmp_path / "other")
    assert list(FeatureStore.open(tmp_path / "one").ids) == sorted(names)


def test_small_runs_leave_few_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "FULL_VIDEOS", 16)
    monkeypatch.setattr(compaction, "SMALL_BYTES", 0)
    most = 0
    for run in range(40):
        write_incoming(tmp_path, video(f"v{run}"))
        with FeatureWriter(tmp_path) as writer:
            most = max(most, writer.compact().shards)
    assert most <= 2 * 40 // 16 + 5
    store = FeatureStore.open(tmp_path)
    for run in range(40):
        same(store, video(f"v{run}"))
    assert sorted(store.ids) == sorted(f"v{run}" for run in range(40))
    assert len(all_files(tmp_path / "shards")) <= most + 4  # older generations keep a few


def test_overridden_rows_give_their_room_back(tmp_path: Path) -> None:
    with FeatureWriter(tmp_path) as writer:
        writer.add_videos(video(f"v{at}") for at in range(100))
        for version in "23456789":
            writer.add_videos(video(f"v{at}", version=version) for at in range(90))
        store = FeatureStore.open(tmp_path)
        assert len(store) == 100 and sum(shard.videos for shard in store.shards) <= 200
        same(store, video("v5", version="9"))
        assert store.newest_results("motion").kinds[store.newest_results("motion").kind[95]].identity == "motion|1|||"


def test_a_damaged_shard_does_not_stop_a_fold(store: Path) -> None:
    (path,) = (store / "shards").iterdir()
    data = bytearray(path.read_bytes())
    at = bytes(data).index(
        next(one for one in STORED if len(one.tokens["motion"])).tokens["motion"].features.tobytes()
    )
    data[at] ^= 1
    path.write_bytes(data)
    for at in range(12):
        write_incoming(store, video(f"new{at}"))
    with FeatureWriter(store) as writer:
        folded = writer.compact()
    assert folded.videos == 12 and any(str(path) in warning for warning in folded.warnings)
    found = FeatureStore.open(store)
    assert len(found) == 24
    same(found, video("new3"))


def test_a_writer_that_no_lock_kept_out_loses_nothing(tmp_path: Path) -> None:
    with FeatureWriter(tmp_path) as writer:
        writer.add_videos([video("a")])
    one, other = WritableShards(tmp_path), WritableShards(tmp_path)
    entries = one.entries()
    assert other.entries() == entries
    one.append([VideoRecord.of(video("b"))])
    with pytest.raises(LockedError):
        other.publish(entries)
    assert list(FeatureStore.open(tmp_path).ids) == ["a", "b"]
