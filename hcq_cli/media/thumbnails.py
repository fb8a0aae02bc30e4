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
from contextlib import suppress
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
FARTHEST_BEFORE_S = 30.0
"""How long before the wanted second a key frame may lie; where a jump leads farther away, the file's clock leaps."""


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

    picture = _at(_jumped(path, second), second)
    if picture is None or not second - FARTHEST_BEFORE_S <= picture.time_s <= second + 1:
        # No way to jump, past the end, or a clock that leaps: from the beginning, on the clock that hits are told by.
        picture = _at(_from_the_beginning(path), second) or picture
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


def _jumped(path: str, second: float) -> Iterator[Picture]:
    """The pictures from the key frame before `second` on; none where the file cannot be jumped in."""
    import av

    from hcq_cli.media.pixels import PyAVPicture, mend_tags
    from hcq_cli.media.pyav import start_s
    from hcq_cli.media.tracks import best_video, open_film

    with suppress(av.FFmpegError, ValueError, OSError), open_film(path) as film:
        track = best_video(film)
        if track is None:
            return
        zero_s = start_s(film)
        film.seek(int((second + zero_s) * 1e6))  # microseconds, to the key frame before
        for frame in film.decode(track):
            if frame.time is not None and not frame.is_corrupt:
                mend_tags(frame)
                aspect = track.sample_aspect_ratio
                yield PyAVPicture(frame, frame.time - zero_s, 0.0, aspect, {})


def _from_the_beginning(path: str) -> Iterator[Picture]:
    from hcq_cli.media.decoder import Sound, decoders_for, open_media

    _, media = open_media(decoders_for("auto"), path, see=True, hear_hz=[])
    try:
        for piece in media:
            if not isinstance(piece, Sound):
                yield piece
    finally:
        media.close()


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
