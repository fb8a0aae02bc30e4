"""Ctrl-C: exit code 130, no traceback, within two seconds, whatever hcq is at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hcq_cli import app, interrupts
from hcq_cli.errors import EXIT_INTERRUPTED

IMPORTING = """
import sys, time
class Slow:
    def find_spec(self, name, *_):
        if name == "typer":
            print("ready", flush=True)
            time.sleep(20)
sys.meta_path.insert(0, Slow())
from hcq_cli.__main__ import run
run()
"""
JOINING = """
import threading, time
from hcq_cli import interrupts
interrupts.end_in_time()
threading.Thread(target=time.sleep, args=(20,)).start()  # which the interpreter waits for at its end
print("ready", flush=True)
time.sleep(20)
"""
SWALLOWING = """
import time
from hcq_cli import interrupts
interrupts.end_in_time()
while True:
    try:
        print("ready", flush=True)
        time.sleep(20)
    except BaseException:
        pass
"""
RENDERING = """
import sys
from pathlib import Path
from hcq_cli import interrupts
from hcq_cli.demo.clips import compose
from hcq_cli.demo.render import render_all
interrupts.end_in_time()
render_all(compose(64, 0), 0, Path(sys.argv[1]), 2, lambda finished: print("ready", flush=True))
"""


def interrupted(code: str, *arguments: str) -> tuple[float, str]:
    """Interrupt a Python program and all it has started, as a terminal does, when it says that it is ready."""
    command = [sys.executable, "-c", code, *arguments]
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert running.stdout is not None and "ready" in running.stdout.readline()
    started = time.monotonic()
    os.killpg(running.pid, signal.SIGINT)
    _, errors = running.communicate(timeout=15)
    assert running.returncode in (EXIT_INTERRUPTED, 1, -signal.SIGINT), errors
    return time.monotonic() - started, f"{running.returncode}\n{errors}"


def test_while_it_is_importing() -> None:
    seconds, said = interrupted(IMPORTING)
    assert said.startswith("130\n") and interrupts.MESSAGE in said and "Traceback" not in said
    assert seconds < 2


@pytest.mark.parametrize("code", [JOINING, SWALLOWING], ids=["joining", "swallowing"])
def test_what_does_not_end_by_itself_is_ended(code: str) -> None:
    seconds, said = interrupted(code)
    assert said.startswith("130\n")
    assert seconds < 2 + 1  # a busy machine


def test_what_fails_after_an_interrupt_fails_because_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def turned() -> int:
        monkeypatch.setattr(interrupts, "happened", True)
        raise ImportError("numpy could not be loaded")

    for name in ("end_in_time", "leave_at_once"):
        monkeypatch.setattr(interrupts, name, lambda: None)
    monkeypatch.setattr(app, "_run", turned)
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == EXIT_INTERRUPTED


def test_while_clips_are_rendered_no_child_goes_on(tmp_path: Path) -> None:
    seconds, said = interrupted(RENDERING, str(tmp_path))
    assert (
        seconds < 2 + 1 and said.count("Traceback") == 1
    )  # this program's own: nobody catches its KeyboardInterrupt
    there = sorted(tmp_path.iterdir())
    time.sleep(0.5)
    assert sorted(tmp_path.iterdir()) == there and len(there) < 64
