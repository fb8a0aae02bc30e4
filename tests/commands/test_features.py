"""`hcq features`: info, show, verify; export is tested with its module."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from feature_samples import DIMS, STORED
from in_process import run_here

from hcq_cli.features.writer import FeatureWriter


def test_commands(hcq, tmp_path: Path) -> None:
    store = tmp_path / "s"
    with FeatureWriter(store) as writer:
        writer.add_videos(STORED)
    (path,) = (store / "shards").iterdir()
    assert hcq("features", "verify", store, "--json").json["damaged"] == []
    info = run_here("features", "info", store, "--json").json
    assert info["videos"] == 12 and info["shards"] == 1 and info["bytes"] == path.stat().st_size
    assert (
        info["experts"]["motion"]["dim"] == DIMS["motion"] and sum(info["experts"]["face"]["states"].values()) == 12
    )
    assert "12 videos" in run_here("features", "info", store).out
    shown = run_here("features", "show", "v3", store, "--json").json
    tokens = STORED[3].tokens["appearance"]
    assert shown["experts"]["appearance"]["tokens"] == len(tokens) and shown["path"] == "/videos/v3"
    np.testing.assert_allclose(shown["experts"]["appearance"]["times"], tokens.times)
    assert "appearance" in run_here("features", "show", "v3", store).out
    assert run_here("features", "show", "nothing", store, code=10).err
    assert "hcq extract" in run_here("features", "info", store / "nowhere", code=10).err
    path.write_bytes(path.read_bytes()[:-1])
    broken = run_here("features", "verify", store, "--json", code=4).json
    assert broken["damaged"][0]["file"] == str(path)
    assert path.name in hcq("features", "verify", store, code=4).err
    assert path.name in run_here("features", "info", store, code=4).err
    run_here("features", "verify", store, "--mend")
    assert run_here("features", "verify", store, "--json").json["damaged"] == []
    assert json.loads((run_here("features", "info", store, "--json")).out)["videos"] == 0
