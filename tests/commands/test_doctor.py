"""`hcq doctor` tells the truth on a good set-up and on broken ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from doctor_places import plant, small_workspace

from hcq_cli.workspace import Workspace


def by_name(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {finding["name"]: finding for finding in document["findings"]}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return small_workspace(tmp_path)


@pytest.mark.long
def test_a_good_set_up(hcq, workspace: Workspace) -> None:
    done = hcq("doctor", "--json")
    assert done.json["ok"] is True
    found = by_name(done.json)
    for name in ("torch", "transformers", "av", "decord", "opencv-python-headless", "h5py", "numpy", "scan kernel"):
        assert (found[name]["state"], found[name]["mend"]) == ("ok", ""), found[name]
    assert "FFmpeg" in found["av"]["detail"] and "Haar" in found["opencv-python-headless"]["detail"]
    assert found["features"]["detail"].startswith("2 videos, experts motion [4]")
    assert "2 videos" in found["index"]["detail"] and "2 videos" in found["codes"]["detail"]
    assert found["checkpoint"]["state"] == "missing"
    assert found["checkpoint"]["mend"] == "hcq train --captions FILE, or without captions: hcq fit"


def test_a_broken_set_up(hcq, workspace: Workspace, tmp_path: Path) -> None:
    """Everything at once: each is told, with what mends it, and nothing stops the examination."""
    environment = plant(
        tmp_path / "planted",
        decord="raise OSError('libavcodec.so.58: not for this machine')",
        torch="import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
        transformers="print('noise'); raise ImportError('no torch')",
        safetensors="import sys; sys.exit('out of luck')",
    )
    for folder in (workspace.index, workspace.features):
        manifest = max(folder.glob("manifest-*.json"))
        manifest.write_bytes(manifest.read_bytes()[:-20])
    (tmp_path / "hcq.toml").write_text("k = [1,\n")
    done = hcq("doctor", "--json", env=environment | {"HCQ_KERNEL": "quantum", "HF_HUB_OFFLINE": "1"}, code=1)
    assert done.json["ok"] is False
    found = by_name(done.json)
    wanted = {
        "decord": ("OSError: libavcodec.so.58", "PYTHONPATH"),
        "torch": ("SIGSEGV", "PYTHONPATH"),
        "transformers": ("no torch", "PYTHONPATH"),
        "safetensors": ("out of luck", "PYTHONPATH"),
        "scan kernel": ("quantum", "HCQ_KERNEL"),
        "hcq.toml": ("hcq.toml", "mend the line"),
        "features": ("manifest", "hcq extract"),
        "index": ("manifest", "hcq index build"),
    }
    for name, (detail, mend) in wanted.items():
        assert found[name]["state"] == "broken", found[name]
        assert detail in found[name]["detail"] and mend in found[name]["mend"], found[name]
    assert found["codes"]["state"] == found["av"]["state"] == found["numpy"]["state"] == "ok"
    assert "HF_HUB_OFFLINE" in found["hub"]["detail"]
    assert "torch does not work" in found["cuda"]["detail"]


def test_for_people(hcq, tmp_path: Path) -> None:
    environment = plant(
        tmp_path / "planted", torch="raise ImportError('torn')", transformers="raise ImportError('x')"
    )
    done = hcq("doctor", env=environment, code=1)
    lines = done.out.splitlines()
    at = next(at for at, line in enumerate(lines) if line.split()[:2] == ["broken", "torch"])
    assert "torn" in lines[at] and "→ take" in lines[at + 1]
    assert any(line.split()[:2] == ["missing", "features"] for line in lines)
    assert lines[-1] == "required and not working: 2"
