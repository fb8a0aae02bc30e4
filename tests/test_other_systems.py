"""What can be shown on Linux of other systems: nothing is asked for that macOS lacks; Windows is refused by name."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from served import served_here

from hcq_cli import __main__

KEPT = Path(__file__).parent / "golden" / "workspace"
LESS = """
import builtins, io, os, resource

BEGIN = "sched_", "posix_fa", "pidfd_", "memfd_", "POSIX_FADV_"
for name in [name for name in vars(os) if name.startswith(BEGIN)]:
    delattr(os, name)
for name in ("O_DIRECT", "O_PATH", "O_TMPFILE", "copy_file_range", "splice", "eventfd", "getrandom"):
    hasattr(os, name) and delattr(os, name)
_open = open

def _no_proc(path, *arguments, **named):
    if isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith("/proc"):
        raise FileNotFoundError(2, "No such file or directory", path)
    return _open(path, *arguments, **named)

builtins.open = io.open = _no_proc
_limit = resource.setrlimit
resource.setrlimit = lambda what, to: _limit(what, to) if what != resource.RLIMIT_DATA else _refused()

def _refused():
    raise ValueError("current limit exceeds maximum limit")
"""
"""A sitecustomize: a Python that lacks what only Linux has, in every process that a command starts."""


@pytest.fixture
def less(tmp_path: Path, hcq: Callable[..., Any]) -> Callable[..., Any]:
    """hcq on a system that is less than Linux."""
    (tmp_path / "less").mkdir()
    (tmp_path / "less" / "sitecustomize.py").write_text(LESS, "utf-8")
    path = os.pathsep.join(filter(None, [str(tmp_path / "less"), os.environ.get("PYTHONPATH", "")]))

    def run(*arguments: Any, **how: Any) -> Any:
        return hcq(*arguments, env={"PYTHONPATH": path}, **how)

    return run


@pytest.mark.long
def test_the_verbs_ask_for_nothing_that_macos_lacks(
    less: Callable[..., Any], clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = shutil.copytree(KEPT, tmp_path / "w")
    own = ("-w", tmp_path / "own")
    done = less("extract", clips, "--experts", "appearance,motion,audio", "--json", *own).json
    assert done["extracted"] == 6 and not done["failed"]
    assert less("features", "verify", *own).code == 0
    less("report", "-o", tmp_path / "report.html", *own)
    less("encode", "-w", work)
    less("index", "build", "-w", work)
    alone = less("query", "a red ball", "--json", "-w", work).json["hits"]
    less("doctor", "--json", code=None)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "less"))
    for name in [name for name in os.environ if name.startswith("HCQ_TEST")]:  # a server leaves HCQ_* to the command
        monkeypatch.delenv(name)
    with served_here(work) as (served, _):
        assert len(served.search("a red ball")["hits"]) == 10
        assert less("query", "a red ball", "--json", "-w", work).json["hits"] == alone
        assert "answered by" in less("query", "a red ball", "-v", "-w", work).err


def test_windows_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SystemExit, match="WSL 2"):
        __main__.run()
