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


def test_a_package_that_waits_is_not_called_broken_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", plant(tmp_path, sleepy="import time; time.sleep(60)")["PYTHONPATH"])
    monkeypatch.setattr(package_checks, "CHECK_TIMEOUT_S", 0.5)
    monkeypatch.setattr(package_checks, "_origin", lambda module: Path("/installed"))
    finding = check_package(Package("sleepy", "sleepy", "nothing")).finding
    assert finding.is_blocking and "this machine has too much to do" in finding.detail
    assert finding.repair == "hcq doctor, when the machine has less to do"


def test_a_package_that_computes_without_end_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told by its processor time, which a busy machine does not add to."""
    spins = "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (1, 9))\nwhile True: pass\n"
    monkeypatch.setenv("PYTHONPATH", plant(tmp_path, spinning=spins)["PYTHONPATH"])
    monkeypatch.setattr(package_checks, "_origin", lambda module: Path("/installed"))
    finding = check_package(Package("spinning", "spinning", "nothing")).finding
    assert finding.health is Health.BROKEN and "hangs: no answer in 120 s of processor time" in finding.detail
    assert "pip install --force-reinstall" in finding.repair


def test_a_package_that_lies_about_video_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It imports well and decodes wrongly: only a real trial notices."""
    source = "__version__ = '0.6.0'\nclass VideoReader(list):\n    def __init__(self, path): super().__init__([])\n"
    monkeypatch.setenv("PYTHONPATH", plant(tmp_path, decord=source)["PYTHONPATH"])
    finding = check_package(Package("decord", "decord", "pictures")).finding
    assert finding.health is Health.BROKEN and "has 0" in finding.detail
