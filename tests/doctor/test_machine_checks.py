"""Disk and caches."""

from __future__ import annotations

from pathlib import Path

import pytest

from hcq_cli.doctor import Finding, Health, machine_checks
from hcq_cli.doctor.machine_checks import check_caches, check_machine


def test_a_full_or_unwritable_disk_hinders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def disk() -> Finding:
        return next(finding for finding in check_machine(None, tmp_path / "a" / "b") if finding.name == "disk")

    kernels = {"used": "numpy", "right": ["numpy"], "wrong": []}
    monkeypatch.setattr(machine_checks, "run_in_child", lambda name: kernels)
    assert disk().health is Health.OK
    monkeypatch.setattr(machine_checks, "LEAST_FREE_BYTES", 1 << 62)
    assert disk().is_blocking and "free" in disk().repair


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    (tmp_path / "hub" / "models--a--b").mkdir(parents=True)
    cache, hub = check_caches()
    assert cache.detail == f"1 pretrained networks in {tmp_path / 'hub'}"
    assert "may be fetched" in hub.detail
