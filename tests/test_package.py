"""What is shipped: a wheel with the two packages and nothing else; its `hcq --help` works in an empty environment."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import site
import statistics
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from hcq_cli import __version__

REPOSITORY = Path(__file__).resolve().parent.parent
HELP_LIMIT_S = 0.3
"""What `hcq --help` may take (the contract), on an idle machine."""
LIBRARY_LIMIT = 2.0
"""The same as a multiple of importing what draws the help, for a slow machine: torch would be twenty times that."""


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, made from a copy of the sources that git would ship."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("sdist")
    for name in ("pyproject.toml", "README.md", "LICENSE", "hcq_cli", "experts", "tests", "examples"):
        if (REPOSITORY / name).exists():
            copy(REPOSITORY / name, source / name)
    script = f"from setuptools import build_meta; build_meta.build_sdist({str(built)!r})"
    done = subprocess.run([sys.executable, "-c", script], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (found,) = built.glob("*.tar.gz")
    return found


def built_wheel(sdist: Path, folder: Path, **environment: str) -> Path:
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", str(folder)]
    done = subprocess.run([*build, str(sdist)], capture_output=True, text=True, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that the source distribution gives."""
    return built_wheel(sdist, tmp_path_factory.mktemp("built"))


def copy(source: Path, target: Path) -> None:
    if source.is_dir():
        target.mkdir()
        for path in source.iterdir():
            if path.name != "__pycache__" and path.suffix != ".so":  # compiled anew, if at all
                copy(path, target / path.name)
    else:
        target.write_bytes(source.read_bytes())


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel and sees what the running one has installed, hcq itself excepted."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    purelib = subprocess.check_output(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    ).strip()
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    done = subprocess.run([*install, str(wheel)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # Plain paths, appended: the .pth files in them are not read, so an editable hcq of the running one stays out.
    Path(purelib, "dependencies.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    return folder


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [*map(str, command)], capture_output=True, text=True, cwd=cwd, env=clean | {"NO_COLOR": "1"}
    )


@pytest.mark.long
def test_the_wheel_holds_the_two_packages_and_nothing_else(wheel: Path) -> None:
    assert wheel.name.startswith(f"hcq-{__version__}-")
    with zipfile.ZipFile(wheel) as archive:
        shipped = set(archive.namelist())
    assert {name.split("/")[0] for name in shipped} == {"hcq_cli", "experts", f"hcq-{__version__}.dist-info"}
    tracked = {
        str(path.relative_to(REPOSITORY))
        for package in ("hcq_cli", "experts")
        for path in (REPOSITORY / package).rglob("*")
        if path.suffix in (".py", ".toml") or path.name == "py.typed"
    }
    assert tracked - shipped == set(), "left out of the wheel"
    assert f"hcq-{__version__}.dist-info/licenses/LICENSE" in shipped


@pytest.mark.long
@pytest.mark.skipif(not (shutil.which("cc") or shutil.which("gcc")), reason="no C compiler")
def test_the_source_distribution_compiles_to_a_working_scan(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in ("hcq_cli/scan/_scan.abi3.so", "hcq_cli/scan/_transpose.abi3.so"):
            archive.extract(name, tmp_path)
    script = "import _scan; print(*_scan.kernels())"
    shown = subprocess.check_output([sys.executable, "-c", script], cwd=tmp_path / "hcq_cli" / "scan", text=True)
    assert shown.split()[-1] == "portable"


@pytest.mark.long
def test_without_a_compiler_it_installs_all_the_same(sdist: Path, tmp_path: Path) -> None:
    made = built_wheel(sdist, tmp_path / "built", CC="/no/compiler", CXX="/no/compiler")
    with zipfile.ZipFile(made) as archive:
        shipped = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert "hcq_cli/scan/kernels.py" in shipped and not [name for name in shipped if name.endswith(".so")]
    script = "from hcq_cli.scan.kernels import kernels; import hcq_cli; print(hcq_cli.__file__, *kernels())"
    shown = subprocess.check_output([sys.executable, "-c", script], cwd=tmp_path / "site", text=True)
    assert shown.startswith(str(tmp_path / "site")) and shown.split()[1:] == ["numpy"]


@pytest.mark.long
def test_the_installed_wheel_runs(installed: Path, tmp_path: Path) -> None:
    hcq = installed / "bin" / "hcq"
    shown = run(hcq, "--help", cwd=tmp_path)
    assert shown.returncode == 0 and "Search a folder of videos" in shown.stdout, shown.stderr
    for name in ("extract", "train", "encode", "index", "query", "demo", "doctor", "captions"):
        assert re.search(rf"^\W*{name}\b", shown.stdout, re.M), f"{name} is not in the help"
    assert run(hcq, "--version", cwd=tmp_path).stdout == f"hcq {__version__}\n"
    where = run(installed / "bin" / "python", "-c", "import hcq_cli; print(hcq_cli.__file__)", cwd=tmp_path).stdout
    assert str(installed) in where


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    script = (
        "import sys, json, atexit\n"
        "atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))\n"
        "sys.argv = ['hcq', '--help']\n"
        "from hcq_cli.app import main\nmain()\n"
    )
    done = run(sys.executable, "-c", script, cwd=tmp_path)
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert "typer" in loaded
    assert not loaded & {"torch", "h5py", "transformers", "av", "cv2", "decord", "numpy", "tokenizers", "safetensors"}


def processor_s(*command: str | Path, cwd: Path) -> float:
    """Processor time of a command: what it takes in all on an idle machine, and hardly more on a busy one."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)  # finer than os.times, which counts hundredths
    assert run(*command, cwd=cwd).returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


@pytest.mark.long
def test_help_answers_at_once(installed: Path, tmp_path: Path) -> None:
    """Under 0.3 s; on a slow machine no more than twice what the libraries that draw it take."""
    help_s, library_s = [], []
    for _ in range(7):
        help_s.append(processor_s(installed / "bin" / "hcq", "--help", cwd=tmp_path))
        library_s.append(processor_s(installed / "bin" / "python", "-c", "import typer.rich_utils", cwd=tmp_path))
    limit = max(HELP_LIMIT_S, LIBRARY_LIMIT * statistics.median(library_s))
    assert statistics.median(help_s) < limit, f"help {sorted(help_s)}, its libraries {sorted(library_s)}"


def test_one_version() -> None:
    assert f'\nversion = "{__version__}"\n' in (REPOSITORY / "pyproject.toml").read_text()


def test_all_is_all_that_users_may_install() -> None:
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    [every] = extras.pop("all")
    assert set(re.findall(r"[\w-]+", every.removeprefix("hcq"))) == set(extras) - {"test", "browser"}
