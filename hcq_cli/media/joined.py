"""Several recordings in one file, behind one another (`cat a b > c`): each is opened by itself.

FFmpeg reads the first and says nothing, or reads on by the headers of the first, which fit the others at best by
chance. Where another one begins its own header tells; of it FFmpeg gets a name, as if it were a file (`subfile`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hcq_cli.media import programmes
from hcq_cli.media.clock import BACK_S, LEAP_S
from hcq_cli.media.decoder import CannotOpenError, Picture, Sound
from hcq_cli.media.sniffing import windows

HEADER_BYTES = 64
"""No header below is longer."""
LEAST_BYTES = 512
"""Headers nearer than this to one another are of one recording: an Ogg begins with one for each of its tracks."""
MOST_PARTS = 100
# So long that no other bytes are likely to be the same by chance, and literal at first: that is searched fast.
HEADERS = {
    # Of an MP4 not the pictures that may lie in it as previews.
    "mov,mp4,m4a,3gp,3g2,mj2": rb"ftyp(?<=\0\0\0[\x0c-\xff]ftyp)(?!hei|hevc|mif|msf|avi|jp2|crx)[ -~]{4}",
    "matroska,webm": rb"\x1aE\xdf\xa3.{1,50}?B\x82.(?:matroska|webm)",
    "flv": rb"FLV\x01[\0\1\4\5]\0\0\0\x09\0\0\0\0",
    "asf": rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c",
    "avi": rb"RIFF....A(?:VI |MV )LIST",
    "ogg": rb"OggS\0[\x02\x06]\0{8}....\0\0\0\0",
    "mxf": rb"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02\x01\x01\x02",
    "swf": rb"[FC]WS[\x03-\x32].{3}[\0-\x0f]",
    "wtv": rb"\xb7\xd8\x00\x20\x37\x49\xda\x11\xa6\x4e\x00\x07\xe9\x5e\xad\x8d",
    "nut": rb"nut/multimedia container\0",
    "rm": rb"\.RMF\0\0\0.\0\0",
    "ivf": rb"DKIF\0\0\x20\0",
    "yuv4mpegpipe": rb"YUV4MPEG2 W\d",
    "apng": rb"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR",
}
"""How a file begins, by FFmpeg's name of its format; what is not here FFmpeg reads from the first to the last."""


def begins_of(path: str, format: str = "") -> list[int]:
    """Where each recording in a file begins, the first at byte 0; of more than `MOST_PARTS` one more. Reads the file.

    Args:
        path: of the file.
        format: FFmpeg's name of it; where FFmpeg does not know it, that of its first bytes is taken.

    Raises:
        OSError: it cannot be read.
    """
    if format == "mpegts":
        return programmes.begins_of(path)
    begins, latest = [0], 0
    headers = [re.compile(HEADERS[name], re.S) for name in ([format] if format in HEADERS else HEADERS)]
    for at, data in windows(path, HEADER_BYTES):
        if not at:  # the first bytes
            headers = [header for header in headers if header.search(data, 0, HEADER_BYTES)]
        if not headers:
            break
        for match in headers[0].finditer(data):
            begin = at + match.start() - (4 if match[0].startswith(b"ftyp") else 0)
            if begin - latest > LEAST_BYTES and len(begins) <= MOST_PARTS:
                begins.append(begin)
            latest = max(latest, begin)
    return begins


def joined_media(path: str, begins: Sequence[int], open_part: Callable[..., Any], from_s: float = 0.0) -> Any:
    """The recordings in a file as one; the only one, where no other can be opened.

    Args:
        path: of the file.
        begins: as `begins_of` gives them.
        open_part: opens one by its name for FFmpeg, from a second on.
        from_s: what comes before may be left out, seconds.

    Raises:
        CannotOpenError: it cannot be opened.
    """
    end = Path(path).stat().st_size
    parts, names, told = list[Any](), list[str](), list[str]()
    if len(begins) > MOST_PARTS:
        *begins, rest = begins  # which stays with the last one: where no others can be read, it is the only one's
        told.append(f"more than {MOST_PARTS} recordings seem to be in it: those from byte {rest} on may be left out")
    for begin in reversed(begins):
        name = f"subfile,,start,{begin},end,{end},,:{path}"
        try:
            part = open_part(name)
        except CannotOpenError as error:
            # It may be none at all, but bytes that look like a header: then they belong to the one before.
            told.insert(0, f"a recording that seems to begin at byte {begin} cannot be read ({error})")
        else:
            part.close()  # it is opened once more when it is its turn: so one is open at a time
            parts.insert(0, part)
            names.insert(0, name)
            end = begin
    if not parts:
        return open_part(path)  # which says why not
    joined = JoinedMedia(parts, names, open_part, from_s) if len(parts) > 1 else open_part(names[0])
    joined.warnings += told
    return joined


class JoinedMedia:
    """Recordings behind one another as one file; see `Media`.

    One goes on where the one before has ended; where its clock goes on too (a station that changed its tracks), at
    its time.

    Args:
        parts: each opened, and closed again.
        names: of each.
        open_part: opens one by its name, from a second on.
        from_s: what comes before may be left out, seconds.
    """

    def __init__(
        self, parts: Sequence[Any], names: Sequence[str], open_part: Callable[..., Any], from_s: float
    ) -> None:
        self.warnings = [f"{len(parts)} recordings behind one another: each goes on where the one before ends"]
        self.packets = 0
        self._names, self._open, self._from_s = names, open_part, from_s
        self._starts_s = [part.start_s for part in parts]
        self.has_picture, self.has_sound = any(p.has_picture for p in parts), any(p.has_sound for p in parts)
        self.rate = next((part.rate for part in parts if part.rate), None)
        self.facts = next((part.facts for part in parts if part.has_picture), parts[0].facts)
        self.duration_s: float | None = sum(part.duration_s or 0.0 for part in parts)

    def __iter__(self) -> Iterator[Picture | Sound]:
        """See `Media.__iter__`."""
        begin_s = reached_s = 0.0
        for name, start_s in zip(self._names, self._starts_s, strict=True):
            own_s = start_s - self._starts_s[0]
            begin_s = own_s if -BACK_S <= own_s - reached_s <= LEAP_S else reached_s
            # One that ends before is opened, too: how long it really is, its last packets tell.
            part = self._open(name, max(0.0, self._from_s - begin_s))
            try:
                for piece in part:
                    if isinstance(piece, Sound):
                        yield replace(piece, start_s=piece.start_s + begin_s)
                    else:
                        yield replace(piece, time_s=piece.time_s + begin_s)  # the part itself keeps its own
            finally:
                part.close()
                self.packets += part.packets
                self.warnings += [f"from {begin_s:.1f} s on: {told}" for told in part.warnings]
            reached_s = begin_s + part.reached_s
        self.duration_s = None  # what is there has been gone through

    def keeps_clock(self, until_s: float) -> bool:
        """See `PyAVMedia.keeps_clock`: FFmpeg knows of the first alone."""
        return False

    def close(self) -> None:
        """See `Media.close`: each part is closed when the next begins."""
