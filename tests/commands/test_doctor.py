"""`hcq doctor` tells the truth on a good set-up and on broken ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handmade import HEADER, names, other_model, random_codes, write_codes

from experts.base import Tokens
from hcq_cli.doctor import packages as diagnosed
from hcq_cli.doctor.finding import Finding, Health
from hcq_cli.doctor.machine import look_at_caches, look_at_machine
from hcq_cli.doctor.packages import Package, try_package
from hcq_cli.doctor.places import look_at_workspace
from hcq_cli.features.store import FeatureWriter, VideoFeatures, write_incoming
from hcq_cli.search.index_writer import build
from hcq_cli.workspace import Workspace


def plant(folder: Path, **modules: str) -> dict[str, str]:
    """Modules that stand before the installed ones; gives the environment in which they do."""
    folder.mkdir(exist_ok=True)
    for name, source in modules.items():
        (folder / f"{name}.py").write_text(source)
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))}


def by_name(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {finding["name"]: finding for finding in document["findings"]}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace with two videos extracted, encoded and indexed; no checkpoint."""
    place = Workspace(tmp_path / ".hcq")
    for at in range(2):
        tokens = Tokens(np.ones((3, 4), np.float32), np.arange(3, dtype=np.float32))
        facts = VideoFeatures(
            f"{at}.mp4",
            f"/v/{at}.mp4",
            str(at) * 64,
            1,
            1,
            1.0,
            "pyav",
            [],
            {"motion": tokens},
            {"motion": "motion|1||"},
        )
        write_incoming(place.features, facts)
    with FeatureWriter(place.features) as writer:
        writer.fold()
    write_codes(place.codes, names(2), random_codes(2))
    build(place.index, [place.codes])
    return place


def test_a_good_set_up(hcq, workspace: Workspace) -> None:
    done = hcq("doctor", "--json")
    assert done.json["ok"] is True
    found = by_name(done.json)
    for name in ("torch", "transformers", "av", "decord", "opencv-python-headless", "h5py", "numpy", "scan kernel"):
        assert (found[name]["state"], found[name]["mend"]) == ("ok", ""), found[name]
    assert "FFmpeg" in found["av"]["detail"] and "Haar" in found["opencv-python-headless"]["detail"]
    assert found["features"]["detail"].startswith("2 videos, experts motion [4]")
    assert "2 videos" in found["index"]["detail"] and "2 videos" in found["codes"]["detail"]
    assert (found["checkpoint"]["state"], found["checkpoint"]["mend"]) == ("missing", "hcq train --captions FILE")


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


def test_a_package_that_is_not_installed_is_missing() -> None:
    finding = try_package(Package("no-such-thing", "no_such_thing", "nothing")).finding
    assert finding.health is Health.MISSING and finding.hinders
    assert "not installed" in finding.detail and finding.mend == 'pip install "no-such-thing"'


def test_a_package_that_hangs_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", plant(tmp_path, sleepy="import time; time.sleep(60)")["PYTHONPATH"])
    monkeypatch.setattr(diagnosed, "TRIAL_TIMEOUT_S", 0.5)
    monkeypatch.syspath_prepend(tmp_path)
    finding = try_package(Package("sleepy", "sleepy", "nothing")).finding
    assert finding.health is Health.BROKEN and "hangs" in finding.detail


def test_a_package_that_lies_about_video_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It imports well and decodes wrongly: only a real trial notices."""
    source = "__version__ = '0.6.0'\nclass VideoReader(list):\n    def __init__(self, path): super().__init__([])\n"
    monkeypatch.setenv("PYTHONPATH", plant(tmp_path, decord=source)["PYTHONPATH"])
    finding = try_package(Package("decord", "decord", "pictures")).finding
    assert finding.health is Health.BROKEN and "has 0" in finding.detail


def workspace_findings(place: Workspace) -> dict[str, Finding]:
    return {finding.name: finding for finding in look_at_workspace(place)}


def test_an_empty_workspace_hinders_nothing(tmp_path: Path) -> None:
    found = workspace_findings(Workspace(tmp_path / "none"))
    assert {name for name, finding in found.items() if finding.health is Health.MISSING} == {
        "features",
        "checkpoint",
        "codes",
        "index",
    }
    assert not any(finding.hinders for finding in found.values())
    assert not (tmp_path / "none").exists()


def test_damage_inside_a_file_is_found(workspace: Workspace) -> None:
    """A flipped bit that opening alone would not notice."""
    blob = bytearray(workspace.codes.read_bytes())
    at = blob.find(random_codes(2).tobytes())
    assert at > 0
    blob[at] ^= 1
    workspace.codes.write_bytes(blob)
    found = workspace_findings(workspace)["codes"]
    assert found.health is Health.BROKEN and found.hinders and found.mend == "hcq encode"


def test_a_checkpoint_is_checked_and_codes_must_be_of_it(workspace: Workspace) -> None:
    from small_models import model

    from hcq_cli.model.checkpoint import save

    trained = model()
    identity = save(workspace.model, trained.network, trained.tower)
    found = workspace_findings(workspace)
    assert found["checkpoint"].health is Health.OK and identity[:12] in found["checkpoint"].detail
    assert found["codes"].health is Health.BROKEN and found["codes"].mend == "hcq encode"
    weights = workspace.model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    found = workspace_findings(workspace)
    assert found["checkpoint"].health is Health.BROKEN and "model.safetensors" in found["checkpoint"].detail


def test_codes_of_another_model_than_the_index_are_told(workspace: Workspace) -> None:
    write_codes(workspace.codes, names(2), random_codes(2), other_model())
    found = workspace_findings(workspace)
    assert found["codes"].health is Health.OK
    assert found["index"].health is Health.BROKEN and found["index"].mend == "hcq index build"
    assert HEADER.model_hash[:12] in found["index"].detail


def test_a_workspace_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert look_at_workspace(Workspace(tmp_path / "file"))[0].hinders


def test_a_full_or_unwritable_disk_hinders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hcq_cli.doctor import machine

    def disk() -> Finding:
        return next(finding for finding in look_at_machine(None, tmp_path / "a" / "b") if finding.name == "disk")

    assert disk().health is Health.OK
    monkeypatch.setattr(machine, "LEAST_FREE_BYTES", 1 << 62)
    assert disk().hinders and "free" in disk().mend


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    (tmp_path / "hub" / "models--a--b").mkdir(parents=True)
    cache, hub = look_at_caches()
    assert cache.detail == f"1 pretrained networks in {tmp_path / 'hub'}"
    assert "may be fetched" in hub.detail
