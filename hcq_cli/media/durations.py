"""How long videos are, as their headers say: nothing is decoded.

The files are anybody's, and a library that opens them may crash or hang: so a child process opens them, and what it
does not survive has no duration. Streams that a browser or a recorder wrote need not say how long they are, and of
several films behind one another in an MP4 the header tells of the first alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress

from hcq_cli.media.decoder import CannotOpenError, decoders_for, open_media
from hcq_cli.media.sniffing import is_joined_mp4
from hcq_cli.process import ONE_THREAD, ChildDied, ChildProcess, ParentConnection, die_with_parent

DEADLINE_S = 20.0
"""For opening one file; far more than a file on a slow disk takes."""


def durations(paths: Iterable[str]) -> Iterator[float | None]:
    """Seconds of each file, in their order; 0 of one that cannot be opened, None where it is not said."""
    child: ChildProcess | None = None
    try:
        for path in paths:
            child = child or ChildProcess("hcq_cli.media.durations", environment=ONE_THREAD)
            try:
                child.send({"path": path})
                yield child.receive(time.monotonic() + DEADLINE_S)["duration_s"]
            except ChildDied:
                child.close()
                child = None
                yield 0.0
    finally:
        if child is not None:
            child.close()


def main() -> None:
    """In the child: answer for one file after another, until the parent is gone."""
    die_with_parent()
    parent = ParentConnection()
    while True:
        path = parent.receive()["path"]
        duration_s: float | None = 0.0
        with suppress(CannotOpenError):
            _, media = open_media(decoders_for("auto"), path, see=False, hear_hz=[])
            duration_s = None if is_joined_mp4(path) else media.duration_s or None
            media.close()
        parent.send({"duration_s": duration_s})


if __name__ == "__main__":
    main()
