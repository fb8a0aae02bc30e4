"""The checks that run in a process of their own, run in this one."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest

from hcq_cli.doctor.child_checks import CHECKS, SCAN_KERNEL, run
from hcq_cli.doctor.package_checks import packages


@pytest.mark.parametrize("name", ["numpy", "h5py", "safetensors", "tokenizers", "av", "cv2", "onnx", "onnxruntime"])
def test_a_package_that_works_tells_its_version(name: str, tmp_path: Path) -> None:
    told = run(name, tmp_path)
    assert "error" not in told and told["version"]


def test_every_package_of_the_doctor_has_a_check_or_is_only_imported() -> None:
    names = {package.module for package in packages()}
    assert set(CHECKS) - names == {SCAN_KERNEL}
    assert names - set(CHECKS) == {"filelock", "rich", "typer"}


def test_an_error_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("no_such_module_anywhere", tmp_path)["error"].startswith("ModuleNotFoundError: ")
    monkeypatch.setattr(numpy, "arange", lambda *given, **named: numpy.zeros(12, numpy.float32))
    assert run("numpy", tmp_path) == {"error": "RuntimeError: a matrix product is wrong"}


def test_scan_kernels_are_right_here_and_an_unknown_one_has_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = run(SCAN_KERNEL, tmp_path)
    assert told["wrong"] == [] and told["used"] in told["right"] and "numpy" in told["right"]
    monkeypatch.setenv("HCQ_KERNEL", "quantum")
    refused = run(SCAN_KERNEL, tmp_path)
    assert "quantum" in refused["error"] and "HCQ_KERNEL" in refused["hint"]
