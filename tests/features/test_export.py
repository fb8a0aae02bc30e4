"""`hcq features export`: what NumPy and pandas read is what the store holds."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from feature_samples import DIMS, video, write_in_turn
from in_process import run_here

from hcq_cli.features import export
from hcq_cli.features.store import FeatureStore
from hcq_cli.features.writer import FeatureWriter

NAMES = [*(f"v{at}" for at in range(40)), "emoji 🎬.mp4", "bad\udcff.mp4", "new\nline.mp4"]


@pytest.fixture(params=[1 << 26, 200])
def store(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> FeatureStore:
    """Shards, incoming files, and videos that lack an expert; read at once, or a video or two at a time."""
    monkeypatch.setattr(export, "BYTES_AT_ONCE", request.param)
    folder = tmp_path / "store"
    with FeatureWriter(folder) as writer:
        writer.add_videos(video(name) for name in NAMES[:30])
    for name in NAMES[30:]:
        write_in_turn(folder, video(name, ["motion"] if name == "v35" else list(DIMS)))
    return FeatureStore.open(folder)


def test_npz_holds_what_the_store_holds(store: FeatureStore, tmp_path: Path) -> None:
    done = export.export(store, tmp_path / "all.npz")
    read = np.load(tmp_path / "all.npz")  # no pickles
    assert read["ids"].tolist() == NAMES == list(store.ids) and done.videos == len(NAMES)
    assert set(read) == {"ids"} | {f"{e}.{part}" for e in DIMS for part in ("features", "times", "offsets", "states")}
    for name, dim in DIMS.items():
        whole = store.read(np.arange(len(store)), [name])[name]
        np.testing.assert_array_equal(read[f"{name}.features"], whole.features)
        np.testing.assert_array_equal(read[f"{name}.times"], whole.times)
        np.testing.assert_array_equal(read[f"{name}.offsets"], whole.offsets)
        assert read[f"{name}.features"].shape[1] == dim and done.tokens[name] == len(whole.times)
        results = [store.video(row).results for row in range(len(store))]
        states = [str(each[name].state) if name in each else "" for each in results]
        assert read[f"{name}.states"].tolist() == states
    assert read["face.states"][NAMES.index("v35")] == "" and "silent" in read["face.states"]


def test_parquet_has_a_row_a_token_for_pandas(store: FeatureStore, tmp_path: Path) -> None:
    export.export(store, tmp_path / "all.parquet")
    table = pd.read_parquet(tmp_path / "all.parquet")
    assert list(table.columns) == ["id", "path", "expert", "state", "time_s", "features"]
    assert set(table["expert"]) == set(DIMS)
    for row, id in enumerate(store.ids):
        record = store.video(row)
        mine = table[table["id"] == id.replace("\udcff", "\\xff")]
        assert set(mine["expert"]) == set(record.results)
        for name in record.results:
            here, tokens = mine[mine["expert"] == name], store.read([row], [name])[name]
            assert set(here["state"]) == {str(record.results[name].state)}
            if not len(tokens.times):
                assert len(here) == 1 and here["time_s"].isna().all() and here["features"].isna().all()
                continue
            np.testing.assert_array_equal(here["time_s"], tokens.times)
            np.testing.assert_array_equal(np.stack(list(here["features"])), tokens.features)


def test_an_export_from_outside(hcq, tmp_path: Path) -> None:
    folder = tmp_path / ".hcq" / "features"
    for name in NAMES[:3]:
        write_in_turn(folder, video(name))
    store = FeatureStore.open(folder)
    done = hcq("features", "export", "-o", "some.npz", "--experts", "motion,face", "--json").json
    assert set(done["tokens"]) == {"motion", "face"} and done["videos"] == 3
    assert done["bytes"] == (tmp_path / "some.npz").stat().st_size
    assert done["tokens"]["face"] == len(store.read([0, 1, 2], ["face"])["face"].times)
    shown = run_here("features", "export", folder, "-o", tmp_path / "all.parquet").out
    assert "3 videos" in shown and "appearance" in shown and len(pd.read_parquet(tmp_path / "all.parquet"))
    refused = [
        ((folder, "-o", tmp_path / "all.csv"), 2, ".npz or .parquet"),
        ((folder, "-o", tmp_path / "a.npz", "--experts", "nose"), 2, "no expert 'nose'"),
        ((tmp_path / "nowhere", "-o", tmp_path / "a.npz"), 10, "hcq extract"),
    ]
    for arguments, code, message in refused:
        assert message in run_here("features", "export", *arguments, code=code).err
    assert not [*tmp_path.glob("a.*"), *tmp_path.glob("all.csv"), *tmp_path.glob(".*.tmp")]


def test_without_pyarrow_it_says_what_to_install(hcq, tmp_path: Path) -> None:
    write_in_turn(tmp_path / ".hcq" / "features", video("v0"))
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "pyarrow.py").write_text("raise ImportError('no pyarrow here')\n")
    paths = os.pathsep.join([str(tmp_path / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = hcq("features", "export", "-o", "all.parquet", env={"PYTHONPATH": paths}, code=10)
    assert 'pip install "hcq[parquet]"' in done.err and not (tmp_path / "all.parquet").exists()


def test_an_export_keeps_its_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many videos there are, few tokens are read at once."""
    with FeatureWriter(tmp_path / "store") as writer:
        writer.add_videos(video(f"v{at}", ["motion"], dims={"motion": 64}) for at in range(500))
    store = FeatureStore.open(tmp_path / "store")
    monkeypatch.setattr(export, "BYTES_AT_ONCE", 4 * 64 * 20)
    largest = []
    read = FeatureStore.read

    def watched(self: FeatureStore, rows: object, experts: object = None) -> object:
        found = read(self, rows, experts)  # type: ignore[arg-type]
        largest.append(len(found["motion"].times))
        return found

    monkeypatch.setattr(FeatureStore, "read", watched)
    for name in ("a.npz", "a.parquet"):
        done = export.export(store, tmp_path / name)
        assert max(largest) <= 20 and sum(largest) == done.tokens["motion"] > 500
        largest.clear()
