"""The example for connected machines, on tiny networks: it runs through, and says where something is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import tiny_duals
import tiny_networks

SCRIPT = Path(__file__).parent.parent / "examples" / "check_real_weights.py"


def run(*asks: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *asks], capture_output=True, text=True, timeout=300, env=env)


@pytest.mark.long
def test_networks_of_ones_own(tmp_path: Path) -> None:
    kinds = ["dinov2", "videomae", "ast"]
    asks = [f"{tiny_networks.expert_name(kind)}={tiny_networks.save(kind, tmp_path)}" for kind in kinds]
    asks += [f"dual={tiny_duals.save('clip', tmp_path)}", f"dual-sound={tiny_duals.save('clap', tmp_path)}"]
    asks.append(f"objects={tiny_networks.save('classifier', tmp_path)}")
    done = run(*asks)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if not line.startswith(" ")]
    named = ["appearance", "motion", "audio", "dual", "dual-sound", "objects"]
    assert [line.split("=")[0] for line in lines[:-1]] == [f"ok    {name}" for name in named]
    assert lines[-1].startswith("ok    a model of objects, dual, dual-2: 'a red ball in the night sky': clip-000")
    assert done.stdout.count("reads as the network to ") == 2
    assert "3 × 32, 3 × 32" in lines[0] and "5 × 32, 5 × 32" in lines[1] and "1 × 32, 1 × 32" in lines[2]


def test_without_a_network_it_says_so(tmp_path: Path) -> None:
    env = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path), "PATH": "/usr/bin", "HF_HUB_OFFLINE": "0"}
    done = run("audio=laion/clap-htsat-unfused", env=env)
    assert done.returncode == 1 and "the hub cannot be reached" in done.stderr
