"""Opens MMT's files in a child process, which a damaged file may hang or crash without harm.

One damaged byte can send the HDF5 library round in circles for ever, or crash it. So files are read in a child, where
a memory limit holds, and which is ended when a file takes too long; `VideoReader` starts it anew for the next file.

A request is {"experts", "widths"} with the file as payload; an answer is {"error"}, or what is known of the file with
the features and times of each expert as payload, as they lie in memory.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np

from experts.base import State, Tokens
from hcq_cli.errors import DamagedError
from hcq_cli.importers.mmt_video_file import MmtVideo, read_video
from hcq_cli.process import ChildDied, ChildProcess, ParentConnection, die_with_parent, limit_memory

MIN_LIMIT_S = 60.0
"""How long a file may take at least, seconds; a good one takes milliseconds."""
SLOWEST_BYTES_PER_S = 1_000_000
MEMORY_BYTES = 4 << 30


class VideoReader:
    """The child process, started when it is needed; ended with the `with` block."""

    def __init__(self) -> None:
        self._process: ChildProcess | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def read(self, data: bytes, experts: Iterable[str], widths: Mapping[str, int]) -> MmtVideo:
        """As `mmt_video_file.read_video`, but in the child.

        Raises:
            DamagedError: as there, and if the file hangs or crashes the HDF5 library.
        """
        if self._process is None:
            self._process = ChildProcess("hcq_cli.importers.mmt_video_reader")
        limit_s = MIN_LIMIT_S + len(data) / SLOWEST_BYTES_PER_S
        try:
            self._process.send({"experts": list(experts), "widths": dict(widths)}, data)
            answer = self._process.receive(time.monotonic() + limit_s)
        except ChildDied as death:
            self._close()
            ended = f"ended the reading process (exit {death.exit_code})"
            reason = f"took longer than {limit_s:.0f} s" if death.late else ended
            raise DamagedError(f"is no HDF5 file that can be read ({reason})") from None
        except BaseException:
            self._close()  # interrupted halfway: what it says next would be of this file
            raise
        if "error" in answer:
            raise DamagedError(answer["error"])
        return _to_video(answer)

    def _close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.close()


def _to_video(answer: dict[str, Any]) -> MmtVideo:
    """The file that `_answer` described."""
    numbers, at, tokens = np.frombuffer(answer.get("payload", b""), np.float32), 0, {}
    for name, rows, dim, state in answer["tokens"]:
        features, times = np.split(numbers[at : at + rows * (dim + 1)], [rows * dim])
        tokens[name] = Tokens(features.reshape(rows, dim), times, State(state))
        at += rows * (dim + 1)
    captions = {int(number): text for number, text in answer["captions"].items()}
    return MmtVideo(tokens, captions, answer["left_out"], answer["duration_s"], answer["warnings"])


# From here on: what runs in the child


def serve() -> None:
    """Answer requests until the parent has no more."""
    die_with_parent()
    limit_memory(MEMORY_BYTES)
    parent = ParentConnection()
    while True:
        parent.send(*_answer(parent.receive()))


def _answer(request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """What is said of a file, and the payload."""
    try:
        video = read_video(request.get("payload", b""), request["experts"], request["widths"])
    except DamagedError as error:
        return {"error": error.message}, b""
    except MemoryError:
        return {"error": "would take too much memory"}, b""
    found = video.tokens.values()
    payload = b"".join(array.tobytes() for tokens in found for array in (tokens.features, tokens.times))
    shapes = [[name, *tokens.features.shape, str(tokens.state)] for name, tokens in video.tokens.items()]
    known = {"captions": video.captions, "left_out": video.left_out, "duration_s": video.duration_s}
    return {**known, "warnings": video.warnings, "tokens": shapes}, payload


if __name__ == "__main__":
    serve()
