"""A shard is a plain HDF5 file; what does not fit is refused, and a full disk leaves nothing behind."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from feature_samples import all_files, same, video

from experts.base import State, Tokens
from hcq_cli.errors import HcqError
from hcq_cli.features.folder import write_incoming
from hcq_cli.features.records import VideoFeatures
from hcq_cli.features.store import FeatureStore
from hcq_cli.features.writer import FeatureWriter


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
            with pytest.raises(HcqError, match=r"(?s)incoming.*(disk is full|File too large).*MB"):
                write_incoming(tmp_path, video("b"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert all_files(tmp_path) == before
    same(FeatureStore.open(tmp_path), video("a"))


def test_a_film_is_copied_a_piece_at_a_time(tmp_path: Path) -> None:
    rng, size = np.random.default_rng(0), 40_000
    tokens = Tokens(rng.random((size, 256), np.float32), np.arange(size, dtype=np.float32) / 5)
    film = replace(video("film", ["face"]), tokens={"face": tokens})
    write_incoming(tmp_path, film)
    tracemalloc.start()
    with FeatureWriter(tmp_path) as writer:
        writer.compact()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < tokens.features.nbytes / 4
    assert [path.suffix for path in (tmp_path / "shards").iterdir()] == [".h5"]
    same(FeatureStore.open(tmp_path), film)


def test_a_shard_is_plain_hdf5(tmp_path: Path) -> None:
    with FeatureWriter(tmp_path) as writer:
        writer.add_videos([video("a"), video("bb"), video("ccc")])
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
