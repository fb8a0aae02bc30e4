"""The commands of README and tutorial and the cells of the notebook, run one after another as a reader would."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
README, EXAMPLES = REPOSITORY / "README.md", REPOSITORY / "examples"
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ELSEWHERE = (
    "pip install",
    "models fetch",
    "--preset neural",
    "--preset laptop",
    "--experts appearance=",
    "=onnx:",
    "--concepts onnx:",
    "dual=",
    "--dual ",
    "MSRVTT",
)
"""What needs an index of packages, a network, weights that were fetched, or videos of others."""
SMALL_DEMO = '[demo]\nvideos = 24\nset = ["training.epochs=1", "model.width=64"]\n'
SMALL_TRAINING = (
    '[train]\nset = ["training.epochs=1", "model.width=64", "training.min_steps=0", "text.encoder=scratch"]\n'
)


def commands(document: Path = README) -> list[tuple[str, list[str]]]:
    """Each `$ command` of a document's console blocks, with the lines printed below it."""
    found: list[tuple[str, list[str]]] = []
    for block in BLOCK.findall(document.read_text("utf-8")):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif line.strip():
                found[-1][1].append(line)
    return found


def masked(line: str) -> str:
    """A line without what differs from run to run: numbers, rules of tables, the width of columns."""
    return " ".join(re.sub(r"[\d.,:]+", "0", re.sub("[─│┃━]", " ", line)).split())


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the reader works: a small demo is asked for in hcq.toml, and so are short trainings."""
    place = tmp_path_factory.mktemp("reader")
    (place / "hcq.toml").write_text(SMALL_DEMO + SMALL_TRAINING)
    return place


def environment() -> dict[str, str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}


def prepare_own_videos(place: Path) -> None:
    """What "your own videos" stands for: a folder of videos and a caption file."""
    shutil.copytree(place / "hcq-demo" / "clips", place / "videos")
    shutil.copy(place / "hcq-demo" / ".hcq" / "captions.jsonl", place / "captions.jsonl")


@pytest.mark.long
def test_every_command_works_and_prints_what_the_readme_says(reader: Path) -> None:
    asked = [(command, printed) for command, printed in commands() if not any(part in command for part in ELSEWHERE)]
    assert len(asked) >= 10
    # The chapter on one's own videos comes first; its videos are those of the demo here.
    ran = sorted(asked, key=lambda each: not each[0].startswith("hcq demo"))
    for number, (command, printed) in enumerate(ran):
        if number == 1:
            prepare_own_videos(reader)
        said = {masked(line) for line in run(command, reader).splitlines()}
        for line in printed:
            assert masked(line) in said, f"$ {command}\nnot printed: {line}\n{said}"


def run(command: str, place: Path) -> str:
    """What a command prints, which must not fail."""
    assert command.startswith("hcq "), command
    done = subprocess.run(
        command, shell=True, cwd=place, env=environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"$ {command}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.mark.long
def test_the_tutorial_can_be_followed(reader: Path) -> None:
    if not (reader / "videos").exists():
        run("hcq demo", reader)
        prepare_own_videos(reader)
    for command, _ in commands(EXAMPLES / "TUTORIAL.md"):
        run(command, reader)
    assert "<html" in (reader / "found.html").read_text("utf-8")


@pytest.mark.long
def test_the_notebook_runs(reader: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (reader / "hcq-demo").exists():
        run("hcq demo", reader)
    monkeypatch.chdir(reader)
    names: dict[str, object] = {}
    shown = []
    for cell in json.loads((EXAMPLES / "notebook.ipynb").read_text("utf-8"))["cells"]:
        assert not cell.get("outputs"), "kept without outputs"
        if cell["cell_type"] == "code":
            *before, last = ast.parse("".join(cell["source"])).body
            assert isinstance(last, ast.Expr), "a cell ends with what it shows"
            exec(compile(ast.Module(before, []), "cell", "exec"), names)
            shown.append(eval(compile(ast.Expression(last.value), "cell", "eval"), names))
    assert [len(shown[number]) for number in (1, 2, 3)] == [6, 6, 3]
    assert shown[1]._repr_html_().count("data:image") >= 6 and shown[5].loc["codes", "bytes"] == 256


def test_the_install_commands_are_those_of_the_project() -> None:
    installs = [command for command, _ in commands() if "pip install" in command]
    assert installs[0] == "pip install . && hcq demo"
    assert installs[1].startswith("pip install -e ") and installs[1].endswith("&& python -m pytest")
