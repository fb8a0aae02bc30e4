"""What goes in comes out, in whole generations, whatever the names of the videos are."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from feature_samples import DIMS, same, video, write_in_turn

from hcq_cli.errors import DamagedError, HcqError, LockedError, NotFoundError, UsageError
from hcq_cli.features.store import FeatureStore
from hcq_cli.features.verification import verify
from hcq_cli.features.writer import FeatureWriter

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
        write_in_turn(tmp_path / "s", one)
    if folded:
        with FeatureWriter(tmp_path / "s") as writer:
            assert writer.compact().videos == len(wanted)
    store = FeatureStore.open(tmp_path / "s")
    ids = sorted(ODD_NAMES) if folded else ODD_NAMES  # a shard has them in order
    assert len(store) == len(wanted) and list(store.ids) == ids and store.ids[1:3] == ids[1:3]
    assert store.incoming == (0 if folded else len(wanted)) and store.warnings == []
    for one in wanted:
        same(store, one)
    assert store.row("not there") is None and "emoji 🎬.mp4" in store.ids


def test_a_batch_is_its_rows_one_by_one(tmp_path: Path) -> None:
    with FeatureWriter(tmp_path) as writer:
        writer.add_videos(video(f"v{at}") for at in range(60))
        for at in range(60, 70):
            write_in_turn(tmp_path, video(f"v{at}", ["motion"]))
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


def test_readers_see_whole_generations_while_a_writer_works(tmp_path: Path) -> None:
    finished: list[str] = []
    done = threading.Event()

    def write() -> None:
        try:
            for run in range(40):
                name = f"v{run % 15}"
                write_in_turn(tmp_path, video(name, content=f"c{run // 15}"))
                finished.append(name)
                if run % 3 == 0:
                    with FeatureWriter(tmp_path) as writer:
                        writer.compact()
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
            same(store, video(name, content=store.facts(row).content_hash))
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
        writer.add_videos([video("a")])
    for name in ("format", "version"):
        copy = tmp_path / name
        os.system(f"cp -r '{tmp_path}/s' '{copy}'")
        manifest = max(copy.glob("manifest-*"))
        text = manifest.read_text()
        manifest.write_text(text.replace("hcq-features", "hcq-index").replace('"version": 1', '"version": 2'))
        with pytest.raises(DamagedError):
            FeatureStore.open(copy)
