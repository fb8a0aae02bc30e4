"""The process that opens MMT's files: `python -P -m hcq_cli.importers.mmt_child`.

The HDF5 library can be sent round in circles for ever, or crash, by one damaged byte. So it runs here, where a memory
limit holds, and an alarm ends the process when a file takes too long; `reader.py` starts it anew.

Over stdin a line of JSON (bytes, experts, widths, limit_s) and the file; over stdout a line of JSON, and then the
features and times of each expert as they lie in memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from typing import Any

from hcq_cli.errors import DamagedError
from hcq_cli.importers.mmt_video_file import MmtVideo, read_video

MEMORY_BYTES = 4 << 30


def limit_memory() -> None:
    """A file that would fill the memory fails instead."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # macOS has no such limit
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def answer(request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], MmtVideo]:
    """What is said of a file, and the file."""
    try:
        video = read_video(data, request["experts"], request["widths"])
    except DamagedError as error:
        return {"error": error.message}, MmtVideo()
    except MemoryError:
        return {"error": "would take too much memory"}, MmtVideo()
    tokens = [[name, *found.features.shape, str(found.state)] for name, found in video.tokens.items()]
    said = {"captions": video.captions, "left_out": video.left_out, "duration_s": video.duration_s}
    return {**said, "warnings": video.warnings, "tokens": tokens}, video


def main() -> None:
    """Answer until nothing more is asked."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted, and then asks nothing more
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    limit_memory()
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints
    while line := source.readline():
        request = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, request["limit_s"])
        said, video = answer(request, source.read(request["bytes"]))
        signal.setitimer(signal.ITIMER_REAL, 0)
        sink.write(json.dumps(said).encode() + b"\n")
        for found in video.tokens.values():
            sink.write(found.features.tobytes())
            sink.write(found.times.tobytes())
        sink.flush()


if __name__ == "__main__":
    main()
