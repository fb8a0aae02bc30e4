"""Child processes of hcq, the one way in which all of them are started, spoken to, limited and ended.

What may crash, hang, fill the memory or open a stranger's file runs in a process of its own. Both sides are here:
`ChildProcess` is the parent's; `ParentConnection`, `die_with_parent` and `limit_memory` are what the child begins
with.

Framing: a message is a line of JSON, ASCII with lone surrogates escaped, so that any file name survives. A message
with a payload names its length under "payload_bytes", and that many raw bytes follow the line. Nothing is pickled.
Somebody else's code runs in some children and may print where messages go: a line break stands before each message,
too, and lines that are no object are passed over. Who must know which question an answer is to numbers both.

`python -m` looks for every module in the current folder first, the standard library's included: in a folder of
downloads a file `cv2.py` or `zipfile.py` would run. So each child is started by the command of `python_command`, and
by no other.
"""

from __future__ import annotations

import json
import math
import os
import queue
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NoReturn

START = Path(__file__).with_name("start.py")
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")}
"""Environment of a child that is one of as many as there are cores."""
LAST_WORDS_BYTES = 4000
PAYLOAD_BYTES = "payload_bytes"
_PARENT = "HCQ_PARENT_PROCESS"
_PR_SET_PDEATHSIG = 1


def python_command(module: str, *arguments: str | os.PathLike[str]) -> list[str]:
    """The command that runs a module of hcq in a process of its own, whatever the current folder holds.

    Args:
        module: its full name; it is run as `python -m` would run it.
        arguments: what it finds in `sys.argv[1:]`.
    """
    # -P: neither the current folder nor that of start.py, which holds such names as `codes`, comes on the path.
    return [sys.executable, "-P", os.fspath(START), module, *(os.fspath(each) for each in arguments)]


def encode_message(message: Mapping[str, Any], payload: bytes = b"") -> bytes:
    """A message as it travels, either way."""
    header = {**message, PAYLOAD_BYTES: len(payload)} if payload else message
    return b"\n" + json.dumps(header, ensure_ascii=True).encode() + b"\n" + payload


def _decoded(line: bytes | bytearray) -> dict[str, Any] | None:
    """A message without its payload; None for a line that is none."""
    with suppress(ValueError, RecursionError):
        message = json.loads(line)
        if isinstance(message, dict) and isinstance(message.get(PAYLOAD_BYTES, 0), int):
            return message
    return None


class ChildDied(Exception):
    """A child process has ended, or was ended at its deadline.

    Args:
        exit_code: as `subprocess` has it, negative for a signal; None if that could not be learned.
        last_words: the end of what it and its libraries printed since the last message to it.
        late: whether it was ended here because its deadline had passed.
    """

    def __init__(self, exit_code: int | None, last_words: str = "", late: bool = False) -> None:
        self.exit_code, self.late = exit_code, late
        self.last_line = (last_words.splitlines() or [""])[-1]
        ended = f"ended with exit code {exit_code}"
        super().__init__("took too long" if late else f"crashed: {self.signal}" if self.signal else ended)

    @property
    def signal(self) -> str:
        """The name of the signal that ended it, such as SIGSEGV; empty if it ended by itself."""
        with suppress(ValueError):
            return signal.Signals(-(self.exit_code or 0)).name
        return ""


class ChildProcess:
    """A running module of hcq: messages go to it and come from it, and it can be ended at any time.

    It has a session of its own: an interrupt at the terminal is for the parent, who decides what it ends; and
    whatever the child starts itself is ended with it. Where the child calls `die_with_parent` it ends with the
    *thread* that started it (Linux), so that thread must live as long.

    Args:
        module: its full name.
        arguments: what it finds in `sys.argv[1:]`.
        environment: variables on top of the parent's.
    """

    def __init__(
        self, module: str, *arguments: str | os.PathLike[str], environment: Mapping[str, str] | None = None
    ) -> None:
        # A file, not a pipe that somebody would have to read; appending, so that it can be cut to nothing in between.
        self._stderr = tempfile.TemporaryFile("a+b")  # noqa: SIM115
        self._received = bytearray()
        self._closed = False
        self._process = subprocess.Popen(
            python_command(module, *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env={**os.environ, **(environment or {}), _PARENT: str(os.getpid())},
            start_new_session=True,
        )

    def send(self, message: Mapping[str, Any], payload: bytes = b"") -> None:
        """Send a message; what the child printed before it is forgotten.

        Raises:
            ChildDied: it is gone.
        """
        assert self._process.stdin is not None
        try:
            self._stderr.truncate(0)
            self._process.stdin.write(encode_message(message, payload))
            self._process.stdin.flush()
        except (OSError, ValueError):
            raise self._died() from None

    def receive(self, deadline: float = math.inf) -> dict[str, Any]:
        """The next message; its payload, if it has one, is under "payload".

        Args:
            deadline: on the monotonic clock, seconds. A caller who hears that more time is needed asks again with a
                later one.

        Raises:
            ChildDied: it is gone; or nothing came in time, and it has been ended.
        """
        message = None
        while message is None:
            while (end := self._received.find(b"\n")) < 0:
                self._read_more(deadline)
            message = _decoded(self._received[:end])
            del self._received[: end + 1]
        if size := message.pop(PAYLOAD_BYTES, 0):
            while len(self._received) < size:
                self._read_more(deadline)
            message["payload"] = bytes(self._received[:size])
            del self._received[:size]
        return message

    def _read_more(self, deadline: float) -> None:
        assert self._process.stdout is not None
        if self._closed:
            raise self._died()
        handle = self._process.stdout.fileno()
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            self.close()
            raise ChildDied(self._process.returncode, late=True)
        # poll, not select: there may be more open files than select can count. It counts milliseconds in an int.
        poll = select.poll()
        poll.register(handle, select.POLLIN | select.POLLHUP)
        if poll.poll(min(left_s, 3600.0) * 1000):
            data = os.read(handle, 1 << 16)
            if not data:
                raise self._died()
            self._received += data

    def _died(self) -> ChildDied:
        if self._closed:
            return ChildDied(self._process.returncode)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - LAST_WORDS_BYTES))
        last_words = self._stderr.read().decode("utf-8", "backslashreplace").strip()
        exit_code = self._process.poll()
        self.close()
        return ChildDied(exit_code, last_words)

    def kill(self) -> None:
        """Kill it and whatever it has started, without waiting; may be called from any thread."""
        with suppress(OSError):  # gone already
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()

    def close(self) -> None:
        """Kill it, wait for its end, and let go of what was open for it."""
        if self._closed:  # once it has been waited for, its number may be another process's
            return
        self._closed = True
        self.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._stderr):
            if stream is not None:
                with suppress(OSError):  # what was still on its way to the child
                    stream.close()


def die_with_parent() -> None:
    """In a child: ask the kernel to be killed with the thread that started this process; leave if that is gone.

    The end of stdin, which `ParentConnection` watches, is not enough: a native library that spins while it holds
    the lock of the interpreter lets no other thread run.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.environ.get(_PARENT, str(os.getppid())) != str(os.getppid()):  # it died before the kernel was asked
        os._exit(1)


def limit_memory(limit_bytes: int) -> None:
    """In a child: let what would take more memory fail with a MemoryError; and let no crash write a core file.

    Args:
        limit_bytes: 0 for no limit.
    """
    import resource

    with suppress(ValueError, OSError):  # macOS has no such limit
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if limit_bytes:
            # Not RLIMIT_AS: mapping a large read-only file (weights, the video itself) is no use of memory.
            resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))


def _exit() -> NoReturn:
    os._exit(0)


class ParentConnection:
    """In a child: the messages from and to the parent. Made once, before anything else is done.

    stdin and stdout are kept for messages: what reads stdin afterwards finds nothing, and what libraries print, on
    whatever level, goes where stderr goes. A thread reads ahead; the end of stdin is the end of the parent.

    Args:
        on_end: called when the parent is gone, in the reading thread, even in the middle of work; it must not return.
    """

    def __init__(self, on_end: Callable[[], NoReturn] = _exit) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt ends
        source, self._sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(2, 1)
        os.close(nothing)
        self._sending = threading.Lock()
        self._messages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._read, args=(source, on_end), daemon=True).start()

    def _read(self, source: IO[bytes], on_end: Callable[[], NoReturn]) -> None:
        for line in source:
            message = _decoded(line)
            if message is None:
                continue
            if size := message.pop(PAYLOAD_BYTES, 0):
                message["payload"] = source.read(size)
            self._messages.put(message)
        on_end()

    def receive(self) -> dict[str, Any]:
        """The parent's next message; its payload, if it has one, is under "payload"."""
        return self._messages.get()

    def send(self, message: Mapping[str, Any], payload: bytes = b"") -> None:
        """Send a message; several threads may."""
        with self._sending:
            self._sink.write(encode_message(message, payload))
            self._sink.flush()
