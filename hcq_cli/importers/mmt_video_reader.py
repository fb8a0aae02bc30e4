"""Reads MMT's files in a process of its own (child.py), which a damaged file may hang or crash without harm."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from experts.base import State, Tokens
from hcq_cli.errors import DamagedError
from hcq_cli.importers.mmt_video_file import MmtVideo
from hcq_cli.process import python_command

PATIENCE_S = 60.0
"""How long a file may take at least, seconds; a good one takes milliseconds."""
SLOWEST_BYTES_PER_S = 1_000_000


class VideoReader:
    """The reading process, started when it is needed; ended with the `with` block."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def read(self, data: bytes, experts: Iterable[str], widths: Mapping[str, int]) -> MmtVideo:
        """As `read_video`.

        Raises:
            DamagedError: as there, and if the file hangs or crashes the HDF5 library.
        """
        limit_s = PATIENCE_S + len(data) / SLOWEST_BYTES_PER_S
        request = {"bytes": len(data), "experts": list(experts), "widths": dict(widths), "limit_s": limit_s}
        try:
            source, sink = self._pipes()
            source.write(json.dumps(request).encode() + b"\n")
            source.write(data)
            source.flush()
            return _answer(sink)
        except (BrokenPipeError, EOFError):
            code = self._end()
            late = code == -signal.SIGALRM
            reason = f"took longer than {limit_s:.0f} s" if late else f"ended the reading process (exit {code})"
            raise DamagedError(f"is no HDF5 file that can be read ({reason})") from None
        except _Refusal:
            raise
        except BaseException:
            self._end()  # interrupted halfway: what it says next would be of this file
            raise

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        if self._process is None:
            command = python_command("hcq_cli.importers.mmt_child")
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
        assert self._process.stdin is not None and self._process.stdout is not None
        return self._process.stdin, self._process.stdout

    def _end(self) -> int:
        """End the process if it has not ended by itself.

        Returns:
            its exit code.
        """
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


def _answer(sink: IO[bytes]) -> MmtVideo:
    line = sink.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    said: dict[str, Any] = json.loads(line)
    if "error" in said:
        raise _Refusal(said["error"])
    tokens = {}
    for name, rows, dim, state in said["tokens"]:
        features = _numbers(sink, rows * dim).reshape(rows, dim)
        tokens[name] = Tokens(features, _numbers(sink, rows), State(state))
    captions = {int(number): text for number, text in said["captions"].items()}
    return MmtVideo(tokens, captions, said["left_out"], said["duration_s"], said["warnings"])


def _numbers(sink: IO[bytes], count: int) -> NDArray[np.float32]:
    data = sink.read(4 * count)
    if len(data) != 4 * count:
        raise EOFError
    return np.frombuffer(data, np.float32)


class _Refusal(DamagedError):
    """What the process says of a file; the process itself is well."""
