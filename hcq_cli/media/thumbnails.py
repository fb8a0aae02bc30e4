"""The picture at a second of a video, as a small JPEG or PNG.

Decoders crash and hang on some files, so that a process of its own makes them: `Thumbnailer` is the parent's side,
`main` the child, and `thumbnail` what it does.
"""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any, Self

from hcq_cli.errors import HcqError
from hcq_cli.process import ONE_THREAD, ChildDied, ChildProcess, ParentConnection, die_with_parent, limit_memory

if TYPE_CHECKING:
    from hcq_cli.media.decoder import Picture

MAX_SIDE = 320
"""Pixels of the longer side."""
DEADLINE_S = 20.0
MEMORY_BYTES = 2 << 30
QUALITY = 82
"""Of the JPEG, 1 to 95."""
FARTHEST_BEFORE_S, FARTHEST_AFTER_S = 30.0, 1.0
"""How far from the wanted second a key frame may lie; where a jump leads farther away, the file's clock leaps."""


class Thumbnailer:
    """Makes thumbnails in a process of its own, one at a time; several threads may ask.

    A context manager: the process ends with its block, and with the thread that asked first.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: ChildProcess | None = None
        self._asked = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def make(
        self, path: str | os.PathLike[str], second: float, max_side: int = MAX_SIDE, format: str = "JPEG"
    ) -> bytes:
        """The picture that is shown at `second`, a JPEG or PNG whose longer side is at most `max_side` pixels.

        Raises:
            HcqError: the file gives no picture; says why.
        """
        with self._lock:
            self._asked += 1
            asked = {"path": os.fspath(path), "second": second, "max_side": max_side, "format": format}
            asked["number"] = self._asked
            try:
                if self._process is None:
                    self._process = ChildProcess("hcq_cli.media.thumbnails", environment=ONE_THREAD)
                self._process.send(asked)
                said: dict[str, Any] = {}
                while said.get("number") != self._asked:
                    said = self._process.receive(time.monotonic() + DEADLINE_S)
            except ChildDied as death:
                self._process = None
                raise HcqError(f"{path}: no picture of it (the decoder {death})") from None
        if "payload" not in said:
            raise HcqError(f"{path}: no picture of it ({said.get('error', 'none')})")
        picture: bytes = said["payload"]
        return picture

    def close(self) -> None:
        """End the process; asked again, another one is started."""
        with self._lock:
            process, self._process = self._process, None
            if process is not None:
                process.close()


def thumbnail(path: str, second: float, max_side: int = MAX_SIDE, format: str = "JPEG") -> bytes:
    """What `Thumbnailer.make` gives, made in this process.

    Raises:
        CannotOpenError, CannotConvertError: there is no picture.
    """
    from PIL import Image

    from hcq_cli.media.decoder import CannotOpenError

    picture = _at(_pictures(path, second), second)
    if picture is None or not second - FARTHEST_BEFORE_S <= picture.time_s <= second + FARTHEST_AFTER_S:
        # No way to jump, past the end, or a clock that leaps in a file too large to be read for this.
        picture = _at(_pictures(path, 0.0), second) or picture
    if picture is None:
        raise CannotOpenError("no picture in it")
    file = io.BytesIO()
    Image.fromarray(picture.rgb(max_side)).save(file, format, quality=QUALITY)
    return file.getvalue()


def _at(pictures: Iterator[Picture], second: float) -> Picture | None:
    """The last picture that begins by `second`, or else the first one."""
    found = None
    for picture in pictures:
        # Half a millisecond, as times are rounded on their way through ids and addresses.
        if found is not None and picture.time_s > second + 0.0005:
            break
        found = picture
    return found


def _pictures(path: str, second: float) -> Iterator[Picture]:
    """From the last key picture by `second` on, or some time before; from the beginning for second 0."""
    from hcq_cli.media.decoder import CannotOpenError, Media, Sound, decoders_for, open_media
    from hcq_cli.media.pyav import PyAVDecoder

    try:
        media: Media = PyAVDecoder().open(path, True, [], from_s=second, until_s=second + FARTHEST_AFTER_S)
    except CannotOpenError:
        _, media = open_media(decoders_for("auto"), path, see=True, hear_hz=[])
    with closing(media):
        yield from (piece for piece in media if not isinstance(piece, Sound))


def main() -> None:
    """Serve until the parent has no more questions."""
    die_with_parent()
    parent = ParentConnection()
    limit_memory(MEMORY_BYTES)
    while True:
        asked = parent.receive()
        answer: dict[str, Any] = {"number": asked["number"]}
        try:
            picture = thumbnail(asked["path"], asked["second"], asked["max_side"], asked["format"])
        except MemoryError:
            return  # a fresh process starts with fresh memory
        except Exception as error:  # whatever a library makes of a file
            parent.send({**answer, "error": getattr(error, "strerror", None) or str(error) or type(error).__name__})
        else:
            parent.send(answer, picture)


if __name__ == "__main__":
    main()
    os._exit(0)
