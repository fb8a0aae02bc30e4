"""The README's commands, run one after another as a reader would type them, and what it says they print."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).resolve().parent.parent / "README.md"
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
SMALL_TRAINING = '[train]\nset = ["training.epochs=1", "model.width=64", "training.min_steps=0"]\n'


def commands() -> list[tuple[str, list[str]]]:
    """Each `$ command` of the README's console blocks, with the lines printed below it."""
    found: list[tuple[str, list[str]]] = []
    for block in BLOCK.findall(README.read_text("utf-8")):
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
        assert command.startswith("hcq "), command
        done = subprocess.run(
            command, shell=True, cwd=reader, env=environment(), capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}\n{done.stderr}"
        said = {masked(line) for line in (done.stdout + done.stderr).splitlines()}
        for line in printed:
            assert masked(line) in said, f"$ {command}\nnot printed: {line}\n{done.stdout}\n{done.stderr}"


def test_the_install_commands_are_those_of_the_project() -> None:
    installs = [command for command, _ in commands() if "pip install" in command]
    assert installs[0] == "pip install . && hcq demo"
    assert installs[1].startswith("pip install -e ") and installs[1].endswith("&& python -m pytest")
