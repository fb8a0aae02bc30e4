"""Whatever happens to the bytes of a store: hcq's own error and the name of the file, or the right features."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from feature_samples import DIMS, STORED, flips, same, video

from hcq_cli.errors import DamagedError
from hcq_cli.features.folder import write_incoming
from hcq_cli.features.store import FeatureStore
from hcq_cli.features.verification import repair_manifest, take_out, verify
from hcq_cli.features.writer import FeatureWriter
from hcq_cli.generations import Generations


def read_everything(folder: Path) -> int:
    """Opens and reads all; what comes out must be right. How many videos there were."""
    found = FeatureStore.open(folder)
    for one in STORED:
        if found.row(one.id) is not None:
            same(found, one)
    found.read(np.arange(len(found)))
    found.states()
    return len(found)


def test_every_flip_in_a_shard_is_found(store: Path) -> None:
    (path,) = (store / "shards").iterdir()
    whole, refused = path.read_bytes(), 0
    for _, damaged in flips(whole, 300, seed=1):
        path.write_bytes(damaged)
        found = verify(store)
        assert [damage.path for damage in found.damaged] == [path] and str(path) in found.damaged[0].reason
        try:
            assert read_everything(store) == len(STORED)
        except DamagedError as error:
            assert str(path) in error.message and "hcq" in error.hint
            refused += 1
    assert refused > 64
    path.write_bytes(whole)
    assert verify(store).damaged == [] and read_everything(store) == len(STORED)


def test_every_flip_in_a_manifest_is_refused_or_harmless(store: Path) -> None:
    (path,) = store.glob("manifest-*.json")
    whole, refused = path.read_bytes(), 0
    for _, damaged in flips(whole, 200, seed=3):
        path.write_bytes(damaged)
        try:
            assert len(FeatureStore.open(store)) == len(STORED)
            assert verify(store).damaged == []
        except DamagedError as error:
            assert str(path) in error.message and error.hint
            refused += 1
    assert refused > 200


def test_a_manifest_that_is_damaged_is_mended_from_the_shards(store: Path) -> None:
    with FeatureWriter(store) as writer:
        writer.add_videos([video("late")])
    newest = max(store.glob("manifest-*"))
    whole = newest.read_bytes()
    for damaged in (whole[:-20], whole.replace(b"e", b"f", 1), b"", b"\xff" * 40, b"[1, 2]", b"null"):
        copy = store.parent / "copy"
        shutil.copytree(store, copy)
        (copy / newest.name).write_bytes(damaged)
        with pytest.raises(DamagedError) as refused:
            FeatureStore.open(copy)
        assert "--mend" in refused.value.hint
        assert len(repair_manifest(copy)) == 1
        assert read_everything(copy) == len(STORED) + 1 and verify(copy).damaged == []
        shutil.rmtree(copy)
    assert repair_manifest(store) == []
    for format_name, version in (("hcq-index", 1), ("hcq-features", 2)):  # whole, and none of our business
        newest.unlink()
        known = Generations(store, format_name, version, "")
        newest = known.path(known.publish({"shards": []}).generation)
        with pytest.raises(DamagedError):
            repair_manifest(store)
        assert newest.exists()


def test_taking_a_damaged_shard_out_leaves_the_rest(store: Path) -> None:
    (path,) = (store / "shards").iterdir()
    write_incoming(store, video("late"))
    path.write_bytes(path.read_bytes()[:-1])
    take_out(store, [damage.path for damage in verify(store).damaged])
    found = FeatureStore.open(store)
    assert list(found.ids) == ["late"]
    with FeatureWriter(store) as writer:
        assert writer.todo("v0", "c0", STORED[0].identities) == set(DIMS)
