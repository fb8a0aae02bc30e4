"""A manifest names nothing but files in shards/; finished videos that are damaged before that are set aside."""

from __future__ import annotations

from pathlib import Path

import pytest
from feature_samples import DIMS, flips, same, video

from hcq_cli import files
from hcq_cli.errors import DamagedError
from hcq_cli.features.folder import (
    ShardEntry,
    entries_of,
    generations,
    list_incoming,
    open_shards,
    write_incoming,
)
from hcq_cli.features.store import FeatureStore
from hcq_cli.features.verification import verify
from hcq_cli.features.writer import FeatureWriter
from hcq_cli.files import digest_file
from hcq_cli.generations import Manifest


def test_entries_describe_the_shards(tmp_path: Path) -> None:
    with FeatureWriter(tmp_path) as writer:
        writer.add_videos([video("a"), video("b")])
    manifest = generations(tmp_path).read()
    (entry,) = entries_of(manifest, tmp_path)
    path = entry.path(tmp_path)
    assert entry == ShardEntry.of(path, 2)
    assert (entry.nbytes, entry.sha256) == (path.stat().st_size, digest_file(path))
    (shard,) = open_shards(tmp_path, [entry], generation=manifest.generation)
    assert list(shard.text("videos/id")) == ["a", "b"]
    wrong = ShardEntry(entry.name, 3, entry.nbytes, entry.sha256)
    with pytest.raises(DamagedError, match="is not the file that the manifest names"):
        open_shards(tmp_path, [wrong], generation=manifest.generation)


@pytest.mark.parametrize("name", ["../x.h5", "/x.h5", "", ".", None, 3])
def test_an_entry_that_leads_elsewhere_is_refused(name: object, tmp_path: Path) -> None:
    body = {"shards": [{"name": name, "videos": 1, "bytes": 1, "sha256": "0" * 64}]}
    with pytest.raises(DamagedError, match="makes no sense"):
        entries_of(Manifest(7, body), tmp_path)


def test_damaged_incoming_files_are_set_aside(tmp_path: Path) -> None:
    good, bad = video("good"), video("bad")
    write_incoming(tmp_path, good)
    path = write_incoming(tmp_path, bad)
    whole = path.read_bytes()
    cuts = [(length, whole[:length]) for length in (0, 3, 100, 5000, len(whole) - 1)]
    for _, damaged in [*cuts, *flips(whole, 150, seed=2)]:
        path.write_bytes(damaged)
        store = FeatureStore.open(tmp_path)  # the flip may sit where nothing is read from: then both are there
        same(store, good)
        if store.row("bad") is None:
            assert len(store.warnings) == 1 and str(path) in store.warnings[0] and "again" in store.warnings[0]
        else:
            same(store, bad)
    path.write_bytes(whole[:-1])
    with FeatureWriter(tmp_path) as writer:
        assert writer.todo("bad", "c0", bad.identities) == set(DIMS)
        done = writer.compact()
        assert done.videos == 1 and len(done.warnings) == 1
    assert (tmp_path / "set-aside" / path.name).read_bytes() == whole[:-1]
    assert verify(tmp_path).damaged == []


def test_a_video_that_is_finished_twice_is_one_file(tmp_path: Path) -> None:
    first = write_incoming(tmp_path, video("a"))
    data = first.read_bytes()
    assert write_incoming(tmp_path, video("a")) == first and first.read_bytes() == data
    others = {write_incoming(tmp_path, video(name)) for name in ("b", "c")}
    others.add(write_incoming(tmp_path, video("a", version="2")))  # of a newer expert
    assert len({first, *others}) == 4 == len(list_incoming(tmp_path))


def test_what_is_being_written_without_the_lock_is_left_alone(tmp_path: Path) -> None:
    """Whoever holds the lock tidies up after killed writers, and others are writing meanwhile."""
    (tmp_path / "incoming").mkdir()
    dead = tmp_path / "incoming" / ".dead.tmp"
    dead.touch()
    with files.atomic_path(tmp_path / "incoming" / "alive.h5") as alive:
        with FeatureWriter(tmp_path):
            assert alive.exists() and not dead.exists()
