"""How long videos are, as their headers say: nothing is decoded.

The files are anybody's, and a library that opens them may crash or hang: so a child process opens them, and what it
does not survive has no duration.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress

from hcq_cli.media.decoder import CannotOpenError, decoders_for, open_media
from hcq_cli.process import ONE_THREAD, ChildDied, ChildProcess, ParentConnection, die_with_parent

DEADLINE_S = 20.0
"""For opening one file; far more than a file on a slow disk takes."""


def durations(paths: Iterable[str]) -> Iterator[float | None]:
    """The duration of each file, seconds, in their order; None for one that cannot be opened or does not say."""
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
                yield None
    finally:
        if child is not None:
            child.close()


def main() -> None:
    """In the child: answer for one file after another, until the parent is gone."""
    die_with_parent()
    parent = ParentConnection()
    while True:
        duration_s = None
        with suppress(CannotOpenError):
            _, media = open_media(decoders_for("auto"), parent.receive()["path"], see=False, hear_hz=[])
            duration_s = media.duration_s
            media.close()
        parent.send({"duration_s": duration_s})


if __name__ == "__main__":
    main()
