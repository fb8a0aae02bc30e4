"""What a file is by its first bytes: a video whatever its name, or what lies there in a video's place."""

from __future__ import annotations

import errno
import math
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

HEAD_BYTES = 1 << 16
READ_BYTES = 1 << 24
TRANSPORT_PACKETS = (188, 192, 204)
"""Bytes of an MPEG transport packet: plain, with a time code (camcorders, Blu-ray), with parity."""
ENTROPY = 7.9
"""Bits a byte from which a head is noise: compressed video has headers, and stays below."""

# A pattern for the first bytes, and what a person is told of it.
_INSTEAD: list[tuple[re.Pattern[bytes], str]] = [
    (
        re.compile(rb"version https://git-lfs\.github\.com/spec/"),
        "a Git LFS pointer in place of the video: git lfs pull",
    ),
    (
        re.compile(rb"\s*(?:<!doctype html|<html|<head|<body|<script)", re.I),
        "a web page, not a video (a failed download, or one that asks to log in): download it again",
    ),
    (re.compile(rb"\s*<\?xml|\s*<[A-Za-z]+[ >/]"), "XML, not a video: download it again"),
    (re.compile(rb"\s*#EXTM3U"), "a playlist, not a video: download what it names"),
    (re.compile(rb"Salted__|age-encryption\.org/|-----BEGIN PGP MESSAGE"), "encrypted: decrypt it first"),
    (re.compile(rb"PK\x03\x04|Rar!\x1a\x07|7z\xbc\xaf\x27\x1c|\x1f\x8b\x08"), "an archive, not a video: unpack it"),
    (re.compile(rb"RIFF....WEBP", re.S), "a WebP picture, which is not read, moving or not: make it an MP4 or a GIF"),
    (re.compile(rb"\xff\xd8\xff|\x89PNG\r\n|%PDF-"), "a picture or a document, not a video"),
    (re.compile(rb"\x00\x05\x16[\x00\x07]"), "what macOS keeps beside a file (AppleDouble), not a video"),
]
_VIDEO = re.compile(
    rb"....(?:ftyp|moov|mdat|wide)|\x1aE\xdf\xa3|RIFF....(?:AVI |CDXA)|FLV[\x01\x05]|\.RMF|OggS.{22}.{2,}\x80theora"
    rb"|\x30\x26\xb2\x75\x8e\x66\xcf\x11|\x00\x00\x01\xba|\x00\x00\x01\xb3|\x06\x0e\x2b\x34\x02\x05\x01\x01"
    rb"|YUV4MPEG2 |DKIF|\x1f\x07\x00|NSVf",
    re.S,
)
PROTECTED = "protected against copying (DRM): only its seller's player opens it"
_PROTECTED = (b"drmi", b"drms", b"encv")
"""Kinds of tracks in an MP4 whose samples are encrypted."""
MOST_BOXES = 64
_JOIN = "join the pieces behind the one they begin with (cat init.mp4 1.m4s 2.m4s > film.mp4)"


def read_head(path: str, size: int = HEAD_BYTES) -> bytes:
    """The first bytes of a file; none where it cannot be read, or is none."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # which waits for no pipe
        with os.fdopen(handle, "rb") as source:
            if stat.S_ISREG(os.fstat(handle).st_mode):
                return source.read(size)
    return b""


def windows(path: str, overlap: int) -> Iterator[tuple[int, bytes]]:
    """All of a file in pieces, each with the byte at which it begins; holes of a sparse file are left out.

    Args:
        path: of the file.
        overlap: so many bytes at the end of a piece are the beginning of the next one, too.

    Raises:
        OSError: it cannot be read.
    """
    at, rest = 0, b""
    with Path(path).open("rb", buffering=0) as source:
        while True:
            with suppress(AttributeError):  # of Windows
                try:
                    begin = os.lseek(source.fileno(), at, os.SEEK_DATA)
                except OSError as error:
                    if error.errno == errno.ENXIO:  # nothing but a hole comes
                        return
                    begin = at  # a file system that does not know
                at, rest = (at, rest) if begin == at else (begin, b"")
            source.seek(at)
            data = source.read(READ_BYTES)
            if not data:
                return
            yield at - len(rest), rest + data
            at, rest = at + len(data), (rest + data)[-overlap:]


def is_video(head: bytes) -> bool:
    """Whether a file begins as videos do."""
    return bool(_VIDEO.match(head)) or is_transport_stream(head) or is_moving_gif(head)


def is_transport_stream(head: bytes) -> bool:
    """Whether there is a sync byte a packet, as in MPEG transport streams; they may be cut anywhere."""
    for size in TRANSPORT_PACKETS:
        for start in range(min(size, len(head))):
            syncs = head[start : start + 5 * size : size]
            if len(syncs) >= 3 and set(syncs) == {0x47}:
                return True
    return False


def is_moving_gif(head: bytes) -> bool:
    """Whether a GIF has, as far as it is seen, more than one picture."""
    return head.startswith((b"GIF87a", b"GIF89a")) and (b"NETSCAPE2.0" in head or head.count(b"\x21\xf9\x04") > 1)


def is_text(head: bytes) -> bool:
    """Whether it is text that people read, as the source code that shares the suffixes .ts and .mts is."""
    with suppress(UnicodeDecodeError):
        # A letter of several bytes may be cut in two at the end.
        text = head.decode("utf-8") if len(head) < HEAD_BYTES else head[:-4].decode("utf-8", "replace")
        return bool(head) and not re.search(r"[\0-\x08\x0e-\x1a\x1c-\x1f\ufffd]", text)
    return False


def what_instead(head: bytes) -> str | None:
    """What a file that cannot be decoded is, and what to do about it, for people; None where nothing can be said.

    Args:
        head: its first bytes, `HEAD_BYTES` at most.
    """
    for pattern, told in _INSTEAD:
        if pattern.match(head):
            return told
    if is_text(head):
        return f"{'JSON' if head.lstrip()[:1] in (b'{', b'[') else 'text'}, not a video: download it again"
    if head and not head.strip(b"\0"):
        return "nothing but zeros (not copied to its end, or kept in a cloud): copy it again"
    if any(mark in head for mark in _PROTECTED) and is_video(head):
        return PROTECTED
    if len(head) >= 1 << 12 and not is_video(head):
        shares = (count / len(head) for count in Counter(head).values())
        if -sum(share * math.log2(share) for share in shares) > ENTROPY:
            return "encrypted, or overwritten with noise: decrypt it first, or copy it again"
    return None


def what_is_missing(path: str) -> str | None:
    """What an MP4 or MOV that cannot be decoded lacks, and what to do about it, for people; None if it is none."""
    with suppress(OSError):
        kinds = set(islice(_boxes(path), MOST_BOXES))
        if b"moof" in kinds and b"moov" not in kinds:
            return f"a piece of a stream, without its beginning: {_JOIN}"
        if kinds & {b"ftyp", b"mdat", b"wide"} and b"moov" not in kinds:
            told = (
                "an MP4 or MOV without its index (moov), which is written last: it was not recorded or copied to its"
            )
            return f"{told} end; copy it again, or have untrunc mend it by another film of the same camera"
        if b"moov" in kinds and not kinds & {b"moof", b"mdat"}:
            return f"the beginning of a stream, or of a film whose rest was not copied: copy it again, or {_JOIN}"
    return None


def is_joined_mp4(path: str) -> bool:
    """Whether several films lie behind one another in an MP4, as far as its uppermost parts tell."""
    with suppress(OSError):
        return [*islice(_boxes(path), MOST_BOXES)].count(b"ftyp") > 1
    return False


def _boxes(path: str) -> Iterator[bytes]:
    """The kinds of the uppermost parts of an MP4 or MOV (ISO/IEC 14496-12, 4.2), as far as the file is one."""
    with Path(path).open("rb") as source:
        whole = os.fstat(source.fileno()).st_size
        while len(head := source.read(16)) >= 8 and head[4:8].isalnum():
            yield head[4:8]
            size = int.from_bytes(head[8:] if head[:4] == b"\0\0\0\1" else head[:4])
            if not 8 <= size <= whole:  # up to the end of the file, or of what was copied of it
                return
            source.seek(size - len(head), os.SEEK_CUR)
