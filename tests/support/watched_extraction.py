"""Runs `hcq extract` and watches its processes from outside: memory, open files, and what is left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Ended:
    """What an extraction said, and what its processes were seen to take while it ran.

    Args:
        code: its exit code.
        report: its JSON.
        errors: what it printed on stderr.
        seconds: wall-clock time.
        cpu_s: time of a core that it and its processes took; a busy machine does not change it much.
        parent: process id of the command itself.
        most_handles: by process, the most files it had open.
        peak_bytes: by process, the most memory that was resident.
    """

    code: int
    report: dict[str, Any]
    errors: str
    seconds: float
    cpu_s: float
    parent: int
    most_handles: dict[int, int] = field(default_factory=dict)
    peak_bytes: dict[int, int] = field(default_factory=dict)

    @property
    def parent_bytes(self) -> int:
        """The most memory the command itself took."""
        return self.peak_bytes[self.parent]


def marked(mark: str) -> list[int]:
    """Processes that run with this mark in their environment, of whatever name."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            mine = f"HCQ_TEST_STORE={mark}".encode() in (place / "environ").read_bytes().split(b"\0")
            zombie = (place / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
        except OSError:
            continue
        if mine and not zombie:
            found.append(int(place.name))
    return found


def _look(ended: Ended, mark: str) -> None:
    for process in marked(mark):
        place = Path("/proc") / str(process)
        try:
            handles = len(os.listdir(place / "fd"))
            lines = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
        except OSError:
            continue
        ended.most_handles[process] = max(handles, ended.most_handles.get(process, 0))
        if "VmHWM" in lines:  # the kernel's own record of the peak
            ended.peak_bytes[process] = int(lines["VmHWM"].split()[0]) * 1024


def extract_watched(arguments: Sequence[str], folder: Path, env: dict[str, str], timeout_s: float) -> Ended:
    """Run `hcq extract ARGUMENTS --json` in `folder`; no process and no temporary file may be left behind."""
    mark, scratch = str(folder), folder / "scratch"
    scratch.mkdir()
    begun, before = time.monotonic(), os.times()
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "hcq_cli", "extract", *arguments, "--json"],
            cwd=folder,
            stdout=out,
            stderr=err,
            env={**os.environ, **env, "HCQ_TEST_STORE": mark, "TMPDIR": str(scratch), "NO_COLOR": "1"},
        )
        ended = Ended(-1, {}, "", 0.0, 0.0, process.pid)
        try:
            while process.poll() is None and time.monotonic() - begun < timeout_s:
                _look(ended, mark)
                time.sleep(0.1)
            assert process.poll() is not None, f"still running after {timeout_s} s"
        finally:
            process.kill()
            process.wait()
    after = os.times()
    ended.seconds = time.monotonic() - begun
    ended.cpu_s = sum(after[2:4]) - sum(before[2:4])
    ended.code, ended.errors = process.returncode, (folder / "err").read_text()
    assert marked(mark) == [], "a process was left behind"
    assert list(scratch.iterdir()) == [], "a temporary file was left behind"
    ended.report = json.loads((folder / "out").read_text())
    return ended
