"""A child process of hcq: messages both ways, a deadline, a memory limit, and an end that leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hcq_cli.process import ChildDied, ChildProcess

SUPPORT = Path(__file__).parent / "support"


@pytest.fixture
def child() -> Iterator[ChildProcess]:
    process = ChildProcess("echo_child", environment={"PYTHONPATH": str(SUPPORT)})
    yield process
    process.close()


def soon(seconds: float = 20.0) -> float:
    return time.monotonic() + seconds


def ended(pid: int) -> bool:
    """Whether a process is gone, or waits only for somebody to ask how it ended."""
    for _ in range(200):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def test_messages_carry_any_name_and_any_bytes(child: ChildProcess) -> None:
    name, payload = os.fsdecode(b"caf\xe9\n.mp4"), bytes(range(256)) * 1000
    child.send({"do": "echo", "text": name}, payload)
    assert child.receive(soon()) == {"text": name, "stdin": "", "payload": payload}
    child.send({"do": "echo", "text": ""})
    assert child.receive(soon()) == {"text": "", "stdin": ""}


def test_what_a_library_prints_is_no_message(child: ChildProcess) -> None:
    child.send({"do": "chatter"})
    assert child.receive(soon()) == {}


def test_a_deadline_ends_the_child_and_one_that_moves_does_not(child: ChildProcess) -> None:
    child.send({"do": "sleep twice", "seconds": 0.1})
    assert child.receive(soon()) == child.receive(soon()) == {"alive": True}
    child.send({"do": "sleep twice", "seconds": 60})
    with pytest.raises(ChildDied) as death:
        child.receive(time.monotonic() + 0.3)
    assert death.value.late
    with pytest.raises(ChildDied):
        child.send({"do": "chatter"})


def test_memory_beyond_the_limit_is_refused(child: ChildProcess) -> None:
    child.send({"do": "fill"})
    assert child.receive(soon()) == {"memory": True}


def test_how_it_died_is_told_with_its_last_words(child: ChildProcess) -> None:
    child.send({"do": "leave"})
    with pytest.raises(ChildDied) as death:
        child.receive(soon())
    assert (death.value.exit_code, death.value.signal, death.value.last_line) == (7, "", "an excuse")
    assert not death.value.late


def test_a_crash_is_told_by_its_signal(child: ChildProcess) -> None:
    child.send({"do": "echo", "text": "it runs"})
    child.receive(soon())
    os.kill(child._process.pid, signal.SIGSEGV)
    with pytest.raises(ChildDied) as death:
        child.receive(soon())
    assert death.value.signal == "SIGSEGV" and str(death.value) == "crashed: SIGSEGV"


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_what_the_child_started_ends_with_it(child: ChildProcess) -> None:
    child.send({"do": "start"})
    grandchild = child.receive(soon())["pid"]
    child.close()
    assert ended(grandchild)


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_a_child_does_not_outlive_its_parent() -> None:
    program = (
        "import os, sys; from hcq_cli.process import ChildProcess\n"
        "child = ChildProcess('echo_child'); child.send({'do': 'echo', 'text': ''}); child.receive()\n"
        "child.send({'do': 'sleep twice', 'seconds': 100}); print(child._process.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    path = os.pathsep.join([str(SUPPORT), str(SUPPORT.parent.parent)])
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.returncode == -signal.SIGKILL and ended(int(done.stdout))
