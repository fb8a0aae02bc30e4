"""Opens MMT's files in a child process, which a damaged file may hang or crash without harm.

One damaged byte can send the HDF5 library round in circles for ever, or crash it. So files are read in a child
(`python -P -m hcq_cli.importers.mmt_video_reader`), where a memory limit holds and an alarm ends the process when a
file takes too long; `VideoReader` starts it anew for the next file.

Over the child's stdin go a line of JSON (bytes, experts, widths, limit_s) and the file; over its stdout come a line
of JSON, and then the features and times of each expert as they lie in memory.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from experts.base import State, Tokens
from hcq_cli.errors import DamagedError
from hcq_cli.importers.mmt_video_file import MmtVideo, read_video
from hcq_cli.process import python_command

MIN_LIMIT_S = 60.0
"""How long a file may take at least, seconds; a good one takes milliseconds."""
SLOWEST_BYTES_PER_S = 1_000_000
MEMORY_BYTES = 4 << 30


class VideoReader:
    """The child process, started when it is needed; ended with the `with` block."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def read(self, data: bytes, experts: Iterable[str], widths: Mapping[str, int]) -> MmtVideo:
        """As `mmt_video_file.read_video`, but in the child.

        Raises:
            DamagedError: as there, and if the file hangs or crashes the HDF5 library.
        """
        limit_s = MIN_LIMIT_S + len(data) / SLOWEST_BYTES_PER_S
        request = {"bytes": len(data), "experts": list(experts), "widths": dict(widths), "limit_s": limit_s}
        try:
            to_child, from_child = self._pipes()
            to_child.write(json.dumps(request).encode() + b"\n")
            to_child.write(data)
            to_child.flush()
            return _receive(from_child)
        except (BrokenPipeError, EOFError):
            code = self._end()
            late = code == -signal.SIGALRM
            reason = f"took longer than {limit_s:.0f} s" if late else f"ended the reading process (exit {code})"
            raise DamagedError(f"is no HDF5 file that can be read ({reason})") from None
        except _UnreadableVideoError:
            raise
        except BaseException:
            self._end()  # interrupted halfway: what it says next would be of this file
            raise

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        if self._process is None:
            command = python_command("hcq_cli.importers.mmt_video_reader")
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
        assert self._process.stdin is not None and self._process.stdout is not None
        return self._process.stdin, self._process.stdout

    def _end(self) -> int:
        """End the process if it has not ended by itself; gives its exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        with suppress(BrokenPipeError):
            process.stdin.close()  # type: ignore[union-attr]
        try:
            process.wait(1.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()  # type: ignore[union-attr]
        return process.returncode


class _UnreadableVideoError(DamagedError):
    """What the child says of a file; the child itself is well, and is kept."""


def _receive(from_child: IO[bytes]) -> MmtVideo:
    line = from_child.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    answer: dict[str, Any] = json.loads(line)
    if "error" in answer:
        raise _UnreadableVideoError(answer["error"])
    tokens = {}
    for name, rows, dim, state in answer["tokens"]:
        features = _receive_floats(from_child, rows * dim).reshape(rows, dim)
        tokens[name] = Tokens(features, _receive_floats(from_child, rows), State(state))
    captions = {int(number): text for number, text in answer["captions"].items()}
    return MmtVideo(tokens, captions, answer["left_out"], answer["duration_s"], answer["warnings"])


def _receive_floats(from_child: IO[bytes], count: int) -> NDArray[np.float32]:
    data = from_child.read(4 * count)
    if len(data) != 4 * count:
        raise EOFError
    return np.frombuffer(data, np.float32)


# From here on: what runs in the child


def serve() -> None:
    """Answer requests until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted, and then asks nothing more
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # its default ends the process, even inside the HDF5 library
    with suppress(ImportError, ValueError, OSError):  # macOS has no such limit
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    from_parent, to_parent = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not come between the answers
    while line := from_parent.readline():
        request = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, request["limit_s"])
        answer, video = _answer(request, from_parent.read(request["bytes"]))
        signal.setitimer(signal.ITIMER_REAL, 0)
        to_parent.write(json.dumps(answer).encode() + b"\n")
        for tokens in video.tokens.values():
            to_parent.write(tokens.features.tobytes())
            to_parent.write(tokens.times.tobytes())
        to_parent.flush()


def _answer(request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], MmtVideo]:
    """The line of JSON about a file, and the file's content."""
    try:
        video = read_video(data, request["experts"], request["widths"])
    except DamagedError as error:
        return {"error": error.message}, MmtVideo()
    except MemoryError:
        return {"error": "would take too much memory"}, MmtVideo()
    tokens = [[name, *found.features.shape, str(found.state)] for name, found in video.tokens.items()]
    answer = {"captions": video.captions, "left_out": video.left_out, "duration_s": video.duration_s}
    return {**answer, "warnings": video.warnings, "tokens": tokens}, video


if __name__ == "__main__":
    serve()
