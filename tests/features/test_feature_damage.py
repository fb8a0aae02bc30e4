"""Whatever happens to the bytes of a store: hcq's own error and the name of the file, or the right features."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from feature_samples import DIMS, same, video

from hcq_cli.errors import DamagedError
from hcq_cli.features.store import FeatureStore, FeatureWriter, mend_manifest, take_out, verify, write_incoming
from hcq_cli.files import Generations

WANTED = [video(f"v{at}") for at in range(12)]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    with FeatureWriter(tmp_path / "s") as writer:
        writer.add_shard(WANTED)
    return tmp_path / "s"


def read_everything(folder: Path) -> int:
    """Opens and reads all; what comes out must be right. How many videos there were."""
    found = FeatureStore.open(folder)
    for one in WANTED:
        if found.row(one.id) is not None:
            same(found, one)
    found.read(np.arange(len(found)))
    found.states()
    return len(found)


def flips(data: bytes, count: int, seed: int) -> list[tuple[int, bytes]]:
    chooser, length = random.Random(seed), len(data)
    places = [*range(0, 64), *(chooser.randrange(length) for _ in range(count))]
    return [(at, data[:at] + bytes([data[at] ^ (1 << chooser.randrange(8))]) + data[at + 1 :]) for at in places]


def test_every_flip_in_a_shard_is_found(store: Path) -> None:
    (path,) = (store / "shards").iterdir()
    whole, refused = path.read_bytes(), 0
    for _, damaged in flips(whole, 300, seed=1):
        path.write_bytes(damaged)
        found = verify(store)
        assert [damage.path for damage in found.damaged] == [path] and str(path) in found.damaged[0].reason
        try:
            assert read_everything(store) == len(WANTED)
        except DamagedError as error:
            assert str(path) in error.message and "hcq" in error.hint
            refused += 1
    assert refused > 64
    path.write_bytes(whole)
    assert verify(store).damaged == [] and read_everything(store) == len(WANTED)


def test_every_truncation_of_a_shard_is_refused(store: Path) -> None:
    (path,) = (store / "shards").iterdir()
    whole = path.read_bytes()
    for length in [*range(0, 40), *range(40, len(whole), 499), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedError) as refused:
            FeatureStore.open(store)
        assert str(path) in refused.value.message
        assert len(verify(store).damaged) == 1
    path.unlink()
    with pytest.raises(DamagedError, match="missing"):
        FeatureStore.open(store)


def test_cut_short_while_open(store: Path) -> None:
    held = FeatureStore.open(store)
    held.read([0])
    (path,) = (store / "shards").iterdir()
    with path.open("rb+") as file:
        file.truncate(5000)
    with pytest.raises(DamagedError, match=r"cut short|damaged"):
        held.read(np.arange(len(held)))


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
        assert len(writer.warnings) == 1
        assert writer.todo("bad", "/b", "c0", bad.identities) == set(DIMS)
        assert writer.fold().videos == 1
    assert (tmp_path / "set-aside" / path.name).read_bytes() == whole[:-1]
    assert verify(tmp_path).damaged == []


def test_a_manifest_that_is_damaged_is_mended_from_the_shards(store: Path) -> None:
    with FeatureWriter(store) as writer:
        writer.add_shard([video("late")])
    newest = max(store.glob("manifest-*"))
    whole = newest.read_bytes()
    for damaged in (whole[:-20], whole.replace(b"e", b"f", 1), b"", b"\xff" * 40, b"[1, 2]", b"null"):
        copy = store.parent / "copy"
        shutil.copytree(store, copy)
        (copy / newest.name).write_bytes(damaged)
        with pytest.raises(DamagedError) as refused:
            FeatureStore.open(copy)
        assert "--mend" in refused.value.hint
        assert len(mend_manifest(copy)) == 1
        assert read_everything(copy) == len(WANTED) + 1 and verify(copy).damaged == []
        shutil.rmtree(copy)
    assert mend_manifest(store) == []
    for format_name, version in (("hcq-index", 1), ("hcq-features", 2)):  # whole, and none of our business
        newest.unlink()
        known = Generations(store, format_name, version, "")
        newest = known.path(known.publish({"shards": []}).generation)
        with pytest.raises(DamagedError):
            mend_manifest(store)
        assert newest.exists()


def test_taking_a_damaged_shard_out_leaves_the_rest(store: Path) -> None:
    (path,) = (store / "shards").iterdir()
    write_incoming(store, video("late"))
    path.write_bytes(path.read_bytes()[:-1])
    take_out(store, [damage.path for damage in verify(store).damaged])
    found = FeatureStore.open(store)
    assert list(found.ids) == ["late"]
    with FeatureWriter(store) as writer:
        assert writer.todo("v0", "/v0", "c0", WANTED[0].identities) == set(DIMS)


def test_a_damaged_shard_does_not_stop_a_fold(store: Path) -> None:
    (path,) = (store / "shards").iterdir()
    data = bytearray(path.read_bytes())
    at = bytes(data).index(
        next(one for one in WANTED if len(one.tokens["motion"])).tokens["motion"].features.tobytes()
    )
    data[at] ^= 1
    path.write_bytes(data)
    for at in range(12):
        write_incoming(store, video(f"new{at}"))
    with FeatureWriter(store) as writer:
        folded = writer.fold()
    assert folded.videos == 12 and any(str(path) in warning for warning in folded.warnings)
    found = FeatureStore.open(store)
    assert len(found) == 24
    same(found, video("new3"))


def test_commands(hcq: Callable[..., Any], store: Path) -> None:
    (path,) = (store / "shards").iterdir()
    assert hcq("features", "verify", store, "--json").json["damaged"] == []
    info = hcq("features", "info", store, "--json").json
    assert info["videos"] == 12 and info["shards"] == 1 and info["bytes"] == path.stat().st_size
    assert (
        info["experts"]["motion"]["dim"] == DIMS["motion"] and sum(info["experts"]["face"]["states"].values()) == 12
    )
    assert "12 videos" in hcq("features", "info", store).out
    shown = hcq("features", "show", "v3", store, "--json").json
    tokens = WANTED[3].tokens["appearance"]
    assert shown["experts"]["appearance"]["tokens"] == len(tokens) and shown["path"] == "/videos/v3"
    np.testing.assert_allclose(shown["experts"]["appearance"]["times"], tokens.times)
    assert "appearance" in hcq("features", "show", "v3", store).out
    assert hcq("features", "show", "nothing", store, code=10).err
    assert "hcq extract" in hcq("features", "info", store / "nowhere", code=10).err
    path.write_bytes(path.read_bytes()[:-1])
    broken = hcq("features", "verify", store, "--json", code=4).json
    assert broken["damaged"][0]["file"] == str(path)
    assert path.name in hcq("features", "verify", store, code=4).err
    assert path.name in hcq("features", "info", store, code=4).err
    hcq("features", "verify", store, "--mend")
    assert hcq("features", "verify", store, "--json").json["damaged"] == []
    assert json.loads((hcq("features", "info", store, "--json")).out)["videos"] == 0
