"""The examination goes on where packages do not work, and asks them for nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from hcq_cli.doctor import Finding, Health, examine
from hcq_cli.doctor.package_checks import PackageCheck
from hcq_cli.workspace import Workspace


def test_without_torch_and_h5py_devices_and_features_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = {
        name: PackageCheck(Finding("packages", name, Health.BROKEN, "torn", required=True))
        for name in ("torch", "h5py")
    }
    monkeypatch.setattr(examine, "check_packages", lambda progress: broken)
    findings = examine.examine(Workspace(tmp_path))
    found = {finding.name: finding for finding in findings}
    assert "torch does not work" in found["cuda"].detail and "h5py does not work" in found["features"].detail
    assert [finding.name for finding in findings if finding.part == "packages"][:2] == ["h5py", "torch"]
    assert list(dict.fromkeys(finding.part for finding in findings)) == ["python", "packages", "machine", "workspace"]
    assert {finding.name for finding in findings if finding.is_blocking} == {"h5py", "torch"}
