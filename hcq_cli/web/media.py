"""What a server gives of a video: the file in ranges, and thumbnails.

A video is named by a key made of its id, never by a path; and what lies at the path that the index has for it is
given only if it is a video: an index may come from a stranger.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import mimetypes
import os
import secrets
import tempfile
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from starlette.responses import FileResponse, Response

from hcq_cli.errors import HcqError, NotFoundError
from hcq_cli.files import open_regular
from hcq_cli.media.inputs import SUFFIXES
from hcq_cli.media.sniffing import is_video
from hcq_cli.media.thumbnails import Thumbnailer

PREVIEW_S = 20.0
PREVIEWS_KEPT = 20
THUMBNAILS_KEPT = 2000
"""In memory: of about 10 KB each."""
HEAD_BYTES = 1 << 12
NO_PICTURE, NOT_THERE = (
    f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{9 * width // 16}" viewBox="0 0 320 180">'
    '<rect width="320" height="180"/>'
    f'<text x="160" y="96" fill="#ccc" font-family="sans-serif" font-size="16" text-anchor="middle">{words}</text>'
    "</svg>".encode()
    for width, words in ((32, "no picture"), (16, "no longer there"))
)
"""Pictures that stand in; player.js tells them by their widths."""
LONGEST_KEY = 4096
MOST_SECONDS = 1e6
"""No second of a video lies behind this one: eleven days."""


def key_of(item_id: str) -> str:
    """A video's id as part of an address, whatever bytes it holds."""
    return base64.urlsafe_b64encode(os.fsencode(item_id)).decode().rstrip("=")


def id_of(key: str) -> str:
    """The id that `key_of` was given.

    Raises:
        NotFoundError: it is no key.
    """
    try:
        padded = key.encode("ascii") + b"=" * (-len(key) % 4)
        found = os.fsdecode(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error):
        found = ""
    if not found or len(key) > LONGEST_KEY or key_of(found) != key:
        raise NotFoundError("no video has this key", "keys stand in the answers of /api/search")
    return found


def film_response(path: str) -> Response:
    """The file of a video, whole or in the ranges that a player asks for.

    Raises:
        NotFoundError: it is not there, or is no video.
    """
    try:
        with os.fdopen(open_regular(path, links=True), "rb") as file:
            facts = os.fstat(file.fileno())
            head = file.read(HEAD_BYTES)
    except (OSError, ValueError, HcqError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise NotFoundError(f"the video cannot be read ({reason})", "hcq update") from None
    if Path(path).suffix.lower() not in SUFFIXES and not is_video(head):
        raise NotFoundError("what lies in the video's place is none", "hcq update")
    said = mimetypes.guess_type(f"a{Path(path).suffix}")[0] or ""
    kind = said if said.startswith("video/") else "application/octet-stream"
    return FileResponse(path, media_type=kind, stat_result=facts, headers={"Cache-Control": "private, max-age=60"})


class Thumbnails:
    """Makes thumbnails one at a time beside the server's loop, and keeps the last ones; a context manager."""

    def __init__(self) -> None:
        # One thread that lasts: the process that decodes ends with the thread that started it.
        self._thread = ThreadPoolExecutor(1, "thumbnails")
        self._thumbnailer = Thumbnailer()
        self._kept: OrderedDict[tuple[str, int, float], bytes] = OrderedDict()

    def __enter__(self) -> Thumbnails:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._thumbnailer.close()

    async def response(self, path: str, second: float) -> Response:
        """The picture of a video at a second; where the file gives none, or is not indexed, one that says so."""
        jpeg = await self._jpeg(path, second)
        if jpeg is None:  # nor kept by the browser: a drive may be back
            return Response(NOT_THERE, 200 if path else 404, media_type="image/svg+xml")
        kind, picture = ("image/jpeg", jpeg) if jpeg else ("image/svg+xml", NO_PICTURE)
        return Response(picture, media_type=kind, headers={"Cache-Control": "private, max-age=600"})

    async def _jpeg(self, path: str, second: float) -> bytes | None:
        try:
            changed = os.stat(path).st_mtime_ns  # noqa: PTH116
        except (OSError, ValueError):  # it is not where it was
            return None
        key = (path, changed, round(second, 1))
        if (kept := self._kept.get(key)) is None:
            try:
                kept = await asyncio.get_running_loop().run_in_executor(
                    self._thread, self._thumbnailer.make, path, second
                )
            except HcqError:
                kept = b""  # kept too: it would give none the next time either
            self._kept[key] = kept
        self._kept.move_to_end(key)
        while len(self._kept) > THUMBNAILS_KEPT:
            self._kept.popitem(last=False)
        return kept


class Previews:
    """Makes versions that any browser plays, one at a time, and keeps the last ones; a context manager."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "previews")  # as with thumbnails, the thread lasts as the process does
        self._folder = tempfile.TemporaryDirectory(prefix="hcq-previews-", ignore_cleanup_errors=True)
        self._kept: OrderedDict[tuple[str, float], Path] = OrderedDict()

    def __enter__(self) -> Previews:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._folder.cleanup()

    async def response(self, path: str, second: float) -> Response:
        """Some seconds of a video from one on, as WebM.

        Raises:
            NotFoundError: the file gives none.
        """
        made = await asyncio.get_running_loop().run_in_executor(self._thread, self._made, path, second)
        return FileResponse(made, media_type="video/webm", headers={"Cache-Control": "private, max-age=600"})

    def _made(self, path: str, second: float) -> Path:
        from hcq_cli.media.cutting import cut_clip

        key = (path, round(second, 1))
        if key not in self._kept:
            while len(self._kept) >= PREVIEWS_KEPT:
                self._kept.popitem(last=False)[1].unlink(missing_ok=True)
            target = Path(self._folder.name) / f"{secrets.token_hex(8)}.webm"
            try:
                cut_clip(path, second, second + PREVIEW_S, target)
            except (HcqError, OSError) as error:
                raise NotFoundError(f"no preview can be made ({error})", "play the file in a player") from None
            self._kept[key] = target
        self._kept.move_to_end(key)
        return self._kept[key]
