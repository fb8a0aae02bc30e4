"""Packages that are missing, hang, or import well and do wrong work."""

from __future__ import annotations

from pathlib import Path

import pytest
from doctor_places import plant

from hcq_cli.doctor import Health, package_checks
from hcq_cli.doctor.package_checks import Package, check_package


def test_a_package_that_is_not_installed_is_missing() -> None:
    finding = check_package(Package("no-such-thing", "no_such_thing", "nothing")).finding
    assert finding.health is Health.MISSING and finding.is_blocking
    assert "not installed" in finding.detail and finding.repair == 'pip install "no-such-thing"'


def test_a_package_that_hangs_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", plant(tmp_path, sleepy="import time; time.sleep(60)")["PYTHONPATH"])
    monkeypatch.setattr(package_checks, "CHECK_TIMEOUT_S", 0.5)
    monkeypatch.syspath_prepend(tmp_path)
    finding = check_package(Package("sleepy", "sleepy", "nothing")).finding
    assert finding.health is Health.BROKEN and "hangs" in finding.detail


def test_a_package_that_lies_about_video_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It imports well and decodes wrongly: only a real trial notices."""
    source = "__version__ = '0.6.0'\nclass VideoReader(list):\n    def __init__(self, path): super().__init__([])\n"
    monkeypatch.setenv("PYTHONPATH", plant(tmp_path, decord=source)["PYTHONPATH"])
    finding = check_package(Package("decord", "decord", "pictures")).finding
    assert finding.health is Health.BROKEN and "has 0" in finding.detail
