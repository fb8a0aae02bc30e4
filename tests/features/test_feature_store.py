"""What goes in comes out; newer rows override older ones; what is still to do is said right."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
from feature_samples import DIMS, all_files, same, video

from experts.base import Sampling, State, Tokens
from hcq_cli.errors import DamagedError, HcqError, LockedError, NotFoundError, UsageError
from hcq_cli.features import folding, merging
from hcq_cli.features.store import (
    FeatureStore,
    FeatureWriter,
    VideoFeatures,
    identity,
    read_failures,
    verify,
    write_incoming,
)

ODD_NAMES = [
    "plain.mp4",
    'sp ace\'s "quote".mp4',
    "new\nline.mp4",
    "emoji 🎬.mp4",
    "-dash.mp4",
    "bad\udcff.mp4",
    "",
    "x/" * 99,
]


@pytest.mark.parametrize("folded", [False, True])
def test_round_trip_of_odd_names(tmp_path: Path, folded: bool) -> None:
    wanted = [video(name) for name in ODD_NAMES]
    for one in wanted:
        write_incoming(tmp_path / "s", one)
    if folded:
        with FeatureWriter(tmp_path / "s") as writer:
            assert writer.fold().videos == len(wanted)
    store = FeatureStore.open(tmp_path / "s")
    assert len(store) == len(wanted) and list(store.ids) == ODD_NAMES and store.ids[1:3] == ODD_NAMES[1:3]
    assert store.incoming == (0 if folded else len(wanted)) and store.warnings == []
    for one in wanted:
        same(store, one)
    assert store.row("not there") is None and "emoji 🎬.mp4" in store.ids


def test_a_batch_is_its_rows_one_by_one(tmp_path: Path) -> None:
    with FeatureWriter(tmp_path) as writer:
        writer.add_shard(video(f"v{at}") for at in range(60))
        for at in range(60, 70):
            write_incoming(tmp_path, video(f"v{at}", ["motion"]))
    store = FeatureStore.open(tmp_path)
    rows = np.random.default_rng(0).integers(0, 70, 200)
    for chosen in (rows, np.arange(70), rows[:0], rows[:1]):
        batch = store.read(chosen)
        assert set(batch) == set(DIMS)
        for expert, ragged in batch.items():
            single = [store.read([row], [expert])[expert] for row in chosen]
            assert ragged.features.shape == (ragged.offsets[-1], DIMS[expert]) and len(ragged) == len(chosen)
            assert np.diff(ragged.offsets).tolist() == [len(one.times) for one in single]
            if single:
                np.testing.assert_array_equal(ragged.features, np.concatenate([one.features for one in single]))
                np.testing.assert_array_equal(ragged.times, np.concatenate([one.times for one in single]))
    with pytest.raises(IndexError):
        store.read([70])
    with pytest.raises(KeyError):
        store.read([0], ["smell"])


def test_a_shard_is_plain_hdf5(tmp_path: Path) -> None:
    with FeatureWriter(tmp_path) as writer:
        writer.add_shard([video("a"), video("bb"), video("ccc")])
    (path,) = (tmp_path / "shards").iterdir()
    with h5py.File(path) as file:
        group = file["experts/appearance/6"]
        for dataset in (group["features"], group["times"], file["videos/id.bytes"]):
            assert dataset.chunks is None and dataset.compression is None
        offsets = group["offsets"][:]
        expected = [video(name).tokens["appearance"] for name in ("a", "bb", "ccc")]
        np.testing.assert_array_equal(group["features"][:], np.concatenate([tokens.features for tokens in expected]))
        np.testing.assert_array_equal(np.diff(offsets), [len(tokens) for tokens in expected])
        assert file["videos/id.bytes"][:].tobytes() == b"abbccc"
        assert file.attrs["states"].startswith("0=not extracted,1=tokens")


def todo(writer: FeatureWriter, id: str, content: str = "c0", **versions: str) -> set[str]:
    wanted = {expert: f"{expert}|{version}|||" for expert, version in versions.items()}
    return writer.todo(id, f"/videos/{id}", content, wanted)


@pytest.mark.parametrize("fold_each", [False, True])
def test_overrides(tmp_path: Path, fold_each: bool) -> None:
    def put(one: VideoFeatures) -> None:
        write_incoming(tmp_path, one)
        if fold_each:
            with FeatureWriter(tmp_path) as writer:
                writer.fold()

    put(video("a"))
    put(video("b", ["motion"]))
    put(video("b", ["face"]))
    with FeatureWriter(tmp_path) as writer:
        assert todo(writer, "a", appearance="1", motion="1", face="1") == set()
        assert todo(writer, "a", appearance="2", motion="1") == {"appearance"}
        assert todo(writer, "b", appearance="1", motion="1", face="1") == {"appearance"}
        assert todo(writer, "a", content="c1", motion="1", face="1") == {"motion", "face"}
        assert todo(writer, "new", motion="1") == {"motion"}
    same(FeatureStore.open(tmp_path), video("b", ["face", "motion"]))
    put(video("a", ["appearance"], version="2"))
    store = FeatureStore.open(tmp_path)
    assert store.row("a") == 0 and set(store.video(0).states) == set(DIMS)
    assert store.video(0).identities["appearance"] == "appearance|2|||"
    put(video("a", ["motion"], content="c1"))  # another file under the same name: the rest is void
    store = FeatureStore.open(tmp_path)
    same(store, video("a", ["motion"], content="c1"))
    assert set(store.video(store.row("a")).states) == {"motion"}
    assert store.experts.keys() == {"motion", "face"} and len(store) == 2


def test_features_of_two_identities_are_not_mixed(tmp_path: Path) -> None:
    wider = {**DIMS, "appearance": 9}
    with FeatureWriter(tmp_path) as writer:
        writer.add_shard(video(f"v{at}") for at in range(5))
        writer.add_shard(video(f"v{at}", ["appearance"], version="2", dims=wider) for at in range(2))
        assert todo(writer, "v0", appearance="2", motion="1") == set()
        assert todo(writer, "v0", appearance="1") == todo(writer, "v4", appearance="2") == {"appearance"}
        store = FeatureStore.open(tmp_path)
        assert (store.experts["appearance"].dim, store.experts["appearance"].left_out) == (6, 2)
        assert "appearance" not in store.video(0).states and len(store.warnings) == 1
        writer.add_shard(video(f"v{at}", ["appearance"], version="2", dims=wider) for at in range(2, 5))
    store = FeatureStore.open(tmp_path)
    assert store.experts["appearance"].dim == 9 and store.experts["appearance"].version == "2" and not store.warnings
    for at in range(5):
        same(store, video(f"v{at}", ["appearance"], version="2", dims=wider))


def test_failed_experts_and_states(tmp_path: Path) -> None:
    broken = Tokens.none(3, State.FAILED)
    write_incoming(
        tmp_path, VideoFeatures("a", "/a", "c", 1, 2, 0.0, "", [], {"motion": broken}, {"motion": "motion|1|||"})
    )
    with FeatureWriter(tmp_path) as writer:
        wanted = {"motion": "motion|1|||"}
        assert writer.todo("a", "/a", "c", wanted) == set()
        assert writer.todo("a", "/a", "c", wanted, retry_failed=True) == {"motion"}
    assert FeatureStore.open(tmp_path).states()["motion"]["failed"] == 1


@pytest.mark.parametrize("folded", [False, True])
def test_moved_videos_only_change_their_path(tmp_path: Path, folded: bool) -> None:
    write_incoming(tmp_path / "s", video("a"))
    moved = tmp_path / "elsewhere.mp4"
    moved.write_bytes(b"12345")
    with FeatureWriter(tmp_path / "s") as writer:
        if folded:
            writer.fold()
        writer.set_path("a", str(moved))
    same(FeatureStore.open(tmp_path / "s"), video("a", path=str(moved)))
    with FeatureWriter(tmp_path / "s") as writer:
        assert writer.known_hash(str(moved), 5, moved.stat().st_mtime_ns) == "c0"
        assert writer.known_hash("/videos/a", 101, 12345) is None


def test_hashes_and_failures_are_remembered(tmp_path: Path) -> None:
    path = "/videos/bad\udcff 'x'.mp4"
    with FeatureWriter(tmp_path) as writer:
        writer.remember_hash(path, 10, 20, "h")
        writer.record_failure(path, "no frames", "h", 10, 20)
        writer.record_failure("/gone", "broken")
        writer.clear("/gone")
        assert writer.known_hash(path, 10, 20) == "h" and writer.known_hash(path, 10, 21) is None
    with (tmp_path / "failures.jsonl").open("ab") as torn:
        torn.write(b'{"path": "/half')
    with FeatureWriter(tmp_path) as writer:
        assert writer.known_hash(path, 10, 20) == "h"
        found = writer.failed(path, 10, 20)
        assert found is not None and found.error == "no frames" and writer.failed(path, 11, 20) is None
        writer.record_failure("/third", "broken")
        write_incoming(tmp_path, video("a", path=path))
        writer.fold()
        assert writer.known_hash(path, 101, 12345) == "c0"
    assert [failure.path for failure in read_failures(tmp_path)] == [path, "/third"]
    assert (tmp_path / "hashes.jsonl").read_text() == ""


def test_small_runs_leave_few_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "FULL_VIDEOS", 16)
    monkeypatch.setattr(folding, "FULL_VIDEOS", 16)
    most = 0
    for run in range(40):
        write_incoming(tmp_path, video(f"v{run}"))
        with FeatureWriter(tmp_path) as writer:
            most = max(most, writer.fold().shards)
    assert most <= 2 * 40 // 16 + 5
    store = FeatureStore.open(tmp_path)
    for run in range(40):
        same(store, video(f"v{run}"))
    assert list(store.ids) == [f"v{run}" for run in range(40)]
    assert len(all_files(tmp_path / "shards")) <= most + 4  # older generations keep a few


def test_overridden_rows_give_their_room_back(tmp_path: Path) -> None:
    with FeatureWriter(tmp_path) as writer:
        writer.add_shard(video(f"v{at}") for at in range(100))
        for version in "23456789":
            writer.add_shard(video(f"v{at}", version=version) for at in range(90))
        store = FeatureStore.open(tmp_path)
        assert len(store) == 100 and sum(shard.videos for shard in store.catalog.shards) <= 200
        same(store, video("v5", version="9"))
        assert store.catalog.latest("motion").kinds[store.catalog.latest("motion").kind[95]].identity == "motion|1|||"


def test_readers_see_whole_generations_while_a_writer_works(tmp_path: Path) -> None:
    finished: list[str] = []
    done = threading.Event()

    def write() -> None:
        try:
            for run in range(40):
                name = f"v{run % 15}"
                write_incoming(tmp_path, video(name, content=f"c{run // 15}"), durable=False)
                finished.append(name)
                if run % 3 == 0:
                    with FeatureWriter(tmp_path) as writer:
                        writer.fold()
        finally:
            done.set()

    thread = threading.Thread(target=write)
    thread.start()
    looked, held = 0, None
    while not done.is_set():
        known = list(finished)
        if not known:
            continue
        store = FeatureStore.open(tmp_path)
        held = held or store
        for name in known:
            row = store.row(name)
            assert row is not None
            same(store, video(name, content=store.video(row).content_hash))
        held.read(np.arange(len(held)))
        looked += 1
    thread.join()
    assert looked >= 3 and len(FeatureStore.open(tmp_path)) == 15


def test_wrong_places(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as missing:
        FeatureStore.open(tmp_path / "nowhere")
    assert "hcq extract" in missing.value.hint
    (tmp_path / "file").write_text("x")
    for opened in (FeatureStore.open, verify):
        with pytest.raises(HcqError):
            opened(tmp_path / "file")
    with pytest.raises(UsageError):
        FeatureWriter(tmp_path / "file").__enter__()
    with pytest.raises(UsageError, match="no feature store"):
        FeatureWriter(tmp_path).__enter__()
    with FeatureWriter(tmp_path / "s"), pytest.raises(LockedError):
        FeatureWriter(tmp_path / "s").__enter__()
    with FeatureWriter(tmp_path / "s") as writer:
        writer.add_shard([video("a")])
    for name in ("format", "version"):
        copy = tmp_path / name
        os.system(f"cp -r '{tmp_path}/s' '{copy}'")
        manifest = max(copy.glob("manifest-*"))
        text = manifest.read_text()
        manifest.write_text(text.replace("hcq-features", "hcq-index").replace('"version": 1', '"version": 2'))
        with pytest.raises(DamagedError):
            FeatureStore.open(copy)


def test_tokens_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    two, one = np.zeros((2, 3), np.float32), np.zeros(1, np.float32)
    for tokens in (Tokens(two, one), Tokens(two, np.zeros(2, np.float32), State.SILENT), Tokens(two[0], one)):
        with pytest.raises(ValueError):
            write_incoming(
                tmp_path, VideoFeatures("a", "/a", "c", 1, 2, 0, "", [], {"motion": tokens}, {"motion": "m"})
            )
    with pytest.raises(ValueError):
        write_incoming(
            tmp_path, VideoFeatures("a", "/a", "c", 1, 2, 0, "", [], {"motion": Tokens(two, two[:, 0])}, {})
        )


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource
    import signal

    write_incoming(tmp_path, video("a"))
    before = all_files(tmp_path)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        for limit in (100, 5_000, 20_000):  # a real limit of the system: no file may become longer
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            with pytest.raises(HcqError, match=r"(?s)incoming.*disk is full.*MB"):
                write_incoming(tmp_path, video("b"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert all_files(tmp_path) == before
    same(FeatureStore.open(tmp_path), video("a"))


def test_identity_holds_everything_a_feature_depends_on() -> None:
    class Expert:
        name, dim, version, weights = "motion", 3, "2", "w"
        sampling = Sampling(frames_per_second=2.0)

    plain = identity(Expert())  # type: ignore[arg-type]
    assert plain.startswith("motion|2|w|") and identity(Expert(), {"max_seconds": None}) == plain  # type: ignore
    assert identity(Expert(), {"max_seconds": 3}) != plain  # type: ignore[arg-type]
