"""The lock of a folder: one process at a time writes there."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hcq_cli.errors import LockedError
from hcq_cli.files import NotRegularError
from hcq_cli.generations import Generations
from hcq_cli.writer_lock import writer_lock


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


HOLD = """
import sys, time
from pathlib import Path
from hcq_cli.writer_lock import writer_lock
with writer_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_lock_keeps_others_out_and_goes_with_its_process(tmp_path: Path) -> None:
    holder = python(HOLD, tmp_path)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match="another hcq process"), writer_lock(tmp_path):
            pass
        threading.Timer(0.3, lambda: holder.send_signal(signal.SIGKILL)).start()
        started = time.monotonic()
        with writer_lock(tmp_path, wait_s=20):
            assert 0.2 < time.monotonic() - started < 15
    finally:
        holder.kill()
        holder.communicate()
    with writer_lock(tmp_path):
        pass


COUNT = """
import sys
from pathlib import Path
from hcq_cli.generations import Generations
from hcq_cli.writer_lock import writer_lock
folder = Path(sys.argv[1])
for _ in range(int(sys.argv[2])):
    with writer_lock(folder, wait_s=60):
        held = Generations(folder, "hcq-test", 1, "")
        held.publish({"count": held.read().body.get("count", 0) + 1})
"""


def test_no_writer_loses_the_update_of_another(tmp_path: Path) -> None:
    writers = [python(COUNT, tmp_path, 15) for _ in range(4)]
    for writer in writers:
        _, errors = writer.communicate(timeout=120)
        assert writer.returncode == 0, errors
    assert Generations(tmp_path, "hcq-test", 1, "").read().body == {"count": 60}


def test_a_lock_empties_no_file_that_a_link_leads_to(tmp_path: Path) -> None:
    (tmp_path / "diary").write_text("mine")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "writer.lock").symlink_to(tmp_path / "diary")
    with pytest.raises(NotRegularError, match=r"writer\.lock"), writer_lock(tmp_path / "store"):
        pass
    assert (tmp_path / "diary").read_text() == "mine"
