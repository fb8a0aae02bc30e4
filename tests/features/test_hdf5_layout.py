"""A shard is a plain HDF5 file."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from feature_samples import video

from hcq_cli.features.writer import FeatureWriter


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
