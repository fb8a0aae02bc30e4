"""One worker process as its parent sees it: asked for one video at a time, killed at the deadline."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from hcq_cli.errors import HcqError
from hcq_cli.extraction import executor as protocol
from hcq_cli.extraction.executor import Answer, Job, Setup
from hcq_cli.process import python_command

START_S = 180.0
"""How long a worker may take to load its experts, seconds."""
TAIL_BYTES = 4000
LEAST_S = 60.0
"""The shortest default deadline of a video, seconds."""
SLOWEST_BYTES_PER_S = 100_000
SLOWEST_REAL_TIME = 0.5
LONGEST_SAID_S = 12 * 3600.0
"""A file that says it is longer may be lying, and is not waited for longer, seconds."""


def patience_s(size: int, duration_s: float = 0.0) -> float:
    """The default deadline of a video: generous, because a slow machine is no broken file.

    Args:
        size: bytes.
        duration_s: as the file says.
    """
    by_duration = min(duration_s, LONGEST_SAID_S) / SLOWEST_REAL_TIME
    return LEAST_S + max(size / SLOWEST_BYTES_PER_S, by_duration)


class Died(Exception):
    """The worker is gone; the message says how, for people.

    Args:
        reason: the message.
        lasting: whether the video is to blame; not if somebody else ended the process.
    """

    def __init__(self, reason: str, lasting: bool = True) -> None:
        super().__init__(reason)
        self.lasting = lasting


class Child:
    """A worker process; started at the first job, and again after it died.

    The process ends with the thread that started it (Linux), so a `Child` belongs to one thread.

    Args:
        setup: what the worker is told first.
        inference: gives the address of the process that runs the networks; None if there is none.
    """

    def __init__(self, setup: Setup, inference: Callable[[], str] | None = None) -> None:
        self.setup = replace(setup, parent=os.getpid())
        self._inference = inference
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""
        self._closed = False

    def ask(self, job: Job, timeout_s: float | None = None) -> Answer:
        """Let the worker do a job; whatever happens to the worker is told in the answer.

        Args:
            job: what to do.
            timeout_s: the deadline, seconds; None for a generous one by size and duration.

        Raises:
            HcqError: no worker can be started at all (an expert cannot be prepared), or the store cannot be written.
        """
        try:
            if self._process is None:
                self._start()
            self._chatter.truncate(0)
            self._tell(protocol.line(job))
            return self._answer(job, timeout_s)
        except Died as death:
            return Answer(error=str(death), lasting=death.lasting and not self._closed)

    def _answer(self, job: Job, timeout_s: float | None) -> Answer:
        begun = time.monotonic()
        limit_s = timeout_s or patience_s(job.size)
        while True:
            too_late = f"it took longer than {limit_s:.0f} s and was stopped (--timeout-s)"
            said = self._hear(begun + limit_s, too_late)
            if "alive" in said:  # it waits for a network, which takes its time: the file is not to blame
                begun = begun if timeout_s else time.monotonic()
                continue
            if "duration_s" not in said or "states" in said:
                break
            limit_s = timeout_s or patience_s(job.size, float(said["duration_s"]))
        if "fatal" in said:
            raise HcqError(str(said["fatal"]), str(said["hint"]))
        if said.get("memory"):
            self.kill()
            limit = f"{self.setup.memory_bytes / 2**30:.3g} GiB"
            return Answer(error=f"it needs more memory than {limit} (HCQ_MEMORY_LIMIT_GIB)")
        return Answer(**said)

    def kill(self) -> None:
        """End the process, whatever it is doing."""
        process, self._process = self._process, None
        if process is None:
            return
        _end(process)
        process.wait()
        for stream in (process.stdin, process.stdout, self._chatter):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    def stop(self) -> None:
        """End the process for good; may be called from another thread."""
        self._closed = True
        process = self._process
        if process is not None:
            _end(process)

    def _start(self) -> None:
        if self._closed:
            raise Died("stopped")
        if self._inference is not None:
            self.setup = replace(self.setup, inference=self._inference())
        # Appending, so that what it printed about one file can be cut off before the next.
        self._chatter = tempfile.TemporaryFile("a+b")  # noqa: SIM115
        self._rest = b""
        self._process = subprocess.Popen(
            python_command("hcq_cli.extraction.worker"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._chatter,
            start_new_session=True,  # an interrupt at the terminal is for the parent
        )
        if self._closed:  # stopped in between
            self.kill()
            raise Died("stopped")
        try:
            self._tell(protocol.line(self.setup))
            said = self._hear(time.monotonic() + START_S, f"it did not start within {START_S:.0f} s")
        except Died as death:
            if self._closed:
                raise
            raise HcqError(f"a worker process cannot start: {death}", "hcq doctor") from None
        if "error" in said:
            self.kill()
            raise HcqError(f"the experts cannot be prepared: {said['error']}", said.get("hint") or "hcq doctor")

    def _tell(self, text: bytes) -> None:
        assert self._process is not None and self._process.stdin is not None
        try:
            self._process.stdin.write(text)
            self._process.stdin.flush()
        except (OSError, ValueError):
            raise self._death() from None

    def _hear(self, deadline: float, too_late: str) -> dict[str, Any]:
        """The next line; kills the worker if there is none by then (on the monotonic clock)."""
        assert self._process is not None and self._process.stdout is not None
        handle = self._process.stdout.fileno()
        while b"\n" not in self._rest:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                self.kill()
                raise Died(too_late)
            # poll, not select: there may be more open files than select can count.
            poll = select.poll()
            poll.register(handle, select.POLLIN | select.POLLHUP)
            if poll.poll(left_s * 1000):
                text = os.read(handle, 1 << 16)
                if not text:
                    raise self._death()
                self._rest += text
        text, _, self._rest = self._rest.partition(b"\n")
        return protocol.parse(text)

    def _death(self) -> Died:
        """What the process died of."""
        assert self._process is not None
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        code = self._process.poll()
        words = self._last_words().splitlines()
        self.kill()
        if code is not None and code < 0:
            with suppress(ValueError):
                by_others = -code in (signal.SIGKILL, signal.SIGTERM)
                return Died(f"the decoder crashed: {signal.Signals(-code).name}", lasting=not by_others)
        return Died(f"the decoder process ended with exit code {code}" + (f": {words[-1]}" if words else ""))

    def _last_words(self) -> str:
        """The end of what the process and its libraries printed."""
        size = self._chatter.seek(0, os.SEEK_END)
        self._chatter.seek(max(0, size - TAIL_BYTES))
        return self._chatter.read().decode("utf-8", "backslashreplace").strip()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a worker and whatever it has started itself."""
    with suppress(OSError):  # gone already
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
