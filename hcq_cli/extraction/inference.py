"""The process that runs the networks as its parent sees it: started when a video needs it, ended at the end."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from experts.base import Expert
from experts.neural.expert import NetworkExpert
from hcq_cli.errors import HcqError
from hcq_cli.extraction.executor import Setup
from hcq_cli.process import python_command

LAST_WORD_S = 2.0


@contextmanager
def inference_for(experts: Sequence[Expert], setup: Setup) -> Iterator[Feeding | None]:
    """Gives the process that runs the networks; None if no expert is one.

    Args:
        experts: those asked for.
        setup: what the workers are told.
    """
    if not any(isinstance(expert, NetworkExpert) for expert in experts):
        yield None
        return
    feeding = Feeding(setup.experts, setup.device)
    try:
        yield feeding
    finally:
        feeding.close()


class Feeding:
    """The process, and where it listens.

    Args:
        experts: as `experts.registry.load` takes them.
        device: where the networks shall run.
    """

    def __init__(self, experts: Sequence[str], device: str) -> None:
        self._told = json.dumps({"experts": list(experts), "device": device}).encode() + b"\n"
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._address, self._folder = "", ""
        self.busy_s = 0.0
        """How long the networks ran, seconds; known after `close`."""

    def address(self) -> str:
        """Where it listens; starts it if it has not been started. May be called by several threads.

        Raises:
            HcqError: the networks cannot be loaded.
        """
        with self._lock:
            if self._process is None:
                self._start()
            return self._address

    def _start(self) -> None:
        chatter = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            python_command("hcq_cli.extraction.inference_server"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=chatter,
            start_new_session=True,  # an interrupt at the terminal is for the parent
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(OSError):
            self._process.stdin.write(self._told)
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        said = json.loads(line) if line else {"error": f"it ended with exit code {self._process.wait()}"}
        if "error" in said:
            raise HcqError(f"the networks cannot be loaded: {said['error']}", said.get("hint") or "hcq doctor")
        self._address, self._folder = said["address"], said["folder"]

    def _busy_s(self) -> float:
        """What the process says last; 0 if it does not."""
        assert self._process is not None and self._process.stdin is not None and self._process.stdout is not None
        with suppress(OSError, ValueError, KeyError):
            self._process.stdin.write(b"\n")
            self._process.stdin.flush()
            poll = select.poll()
            poll.register(self._process.stdout.fileno(), select.POLLIN | select.POLLHUP)
            if poll.poll(LAST_WORD_S * 1000):
                return float(json.loads(self._process.stdout.readline())["busy_s"])
        return 0.0

    def close(self) -> None:
        """End the process, and learn how long its networks ran; nothing where it was never started."""
        process = self._process
        if process is None:
            return
        self.busy_s = self._busy_s()
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
