"""Subtitles that lie beside a video: `film.srt`, `film.en.vtt` beside `film.mp4`.

Read here, and not by a library: pysubs2 takes comments of .vtt for speech, leaves `&amp;` as it is, and needs half a
minute for 200 kB of opening brackets in a stranger's file. What is read of a file is bounded, in size and in time.
"""

from __future__ import annotations

import codecs
import html
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from hcq_cli.errors import DamagedError
from hcq_cli.files import open_regular
from hcq_cli.words.sentences import Sentence, one_line

ENDINGS = (".srt", ".vtt")
LARGEST = 16 << 20
"""Bytes; the subtitles of a day are a tenth of it."""
MOST_FILES = 64
"""Subtitle files of one video that are read."""
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,4}){0,3}")
_REMARKS = {"forced", "sdh", "cc", "default", "auto", "orig"}
"""What else may stand between a video's name and the ending."""
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_OLD_ENCODINGS = {
    **dict.fromkeys(("ru", "uk", "be", "bg", "sr", "mk", "rus", "ukr", "bul"), "cp1251"),
    **dict.fromkeys(("pl", "cs", "sk", "hu", "ro", "sl", "hr", "pol", "cze", "hun"), "cp1250"),
    **dict.fromkeys(("el", "gre"), "cp1253"),
    **dict.fromkeys(("tr", "tur"), "cp1254"),
    **dict.fromkeys(("he", "heb"), "cp1255"),
    **dict.fromkeys(("ar", "fa", "ara", "per"), "cp1256"),
    **dict.fromkeys(("ja", "jpn"), "cp932"),
    **dict.fromkeys(("zh", "chi", "zho"), "gb18030"),
    **dict.fromkeys(("ko", "kor"), "cp949"),
    **dict.fromkeys(("th", "tha"), "cp874"),
}
"""What files that are no Unicode are written in, by language; all others in that of western Europe."""
_CLOCK = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{2})[.,](\d{1,3})"
_TIMES = re.compile(rf"\s*{_CLOCK}\s*-->\s*{_CLOCK}(?:\s|$)")
# A tag holds no other bracket, so that looking for its end never starts twice at the same letter.
_TAGS = re.compile(r"</?[A-Za-z][^<>]{0,500}>|<\d[\d:.]{1,20}>|</?>|\{\\[^{}]{0,500}\}|\\[Nnh]")


@dataclass(frozen=True)
class SubtitleFile:
    """A file of subtitles.

    Args:
        language: as its name says; empty where it does not.
    """

    path: str
    language: str


def sidecars_of(video: str) -> tuple[SubtitleFile, ...]:
    """The files of subtitles that lie beside a video, by name; none where its folder cannot be read."""
    folder, name = os.path.split(video)
    return _in_folder(folder).get(name, ())


@lru_cache(maxsize=4)  # videos come folder after folder
def _in_folder(folder: str) -> dict[str, tuple[SubtitleFile, ...]]:
    """The sidecars in a folder by the name of their video."""
    try:
        names = os.listdir(folder or ".")
    except OSError:
        return {}
    files = sorted(name for name in names if name.lower().endswith(ENDINGS))
    if not files:
        return {}
    videos: dict[str, list[str]] = {}
    for name in names:
        if not name.lower().endswith(ENDINGS):
            for called in {name, name.rpartition(".")[0]} - {""}:
                videos.setdefault(called, []).append(name)
    found: dict[str, list[SubtitleFile]] = {}
    for name in files:
        stem, language = name.rpartition(".")[0], ""
        # `a.b.en.srt` belongs to a.b.mp4 if there is one, and to a.mp4 only if not.
        while stem not in videos:
            stem, _, part = stem.rpartition(".")
            if not (part.lower() in _REMARKS or _LANGUAGE.fullmatch(part)):
                stem = ""
            if not stem:
                break
            language = language if part.lower() in _REMARKS else part.replace("_", "-")
        for video in videos.get(stem, ()):
            found.setdefault(video, []).append(SubtitleFile(str(Path(folder) / name), language))
    return {video: tuple(sidecars[:MOST_FILES]) for video, sidecars in found.items()}


def forget_folders() -> None:
    """Look into folders anew: call it before a run, since files come and go in between."""
    _in_folder.cache_clear()


def read_sidecar(sidecar: SubtitleFile) -> list[Sentence]:
    """The sentences of a file of subtitles, in the order of the file; times may overlap.

    Raises:
        DamagedError: it holds none, is far too large, or is no file.
        OSError: it cannot be read.
    """
    with os.fdopen(open_regular(sidecar.path, links=True), "rb") as source:
        data = source.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise DamagedError(f"{sidecar.path}: is too large for subtitles", "move it away")
    sentences = list(_sentences(_decoded(data, sidecar.language), sidecar.language))
    if not sentences and data.strip():
        raise DamagedError(f"{sidecar.path}: no subtitles in it", "give it another ending, or mend it")
    return sentences


def _decoded(data: bytes, language: str) -> str:
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    # Every other byte of western text in UTF-16 is zero, and none is in any other encoding.
    for first, encoding in ((0, "utf-16-be"), (1, "utf-16-le")):
        if data[first:2000:2].count(0) > len(data[first:2000:2]) / 2:
            return data.decode(encoding, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        old = _OLD_ENCODINGS.get(language.partition("-")[0].lower(), "cp1252")
        return data.decode(old, "replace")


def _sentences(text: str, language: str) -> Iterator[Sentence]:
    """What stands between a line of times and the next blank line; the number above is passed over, so are notes and
    styles of .vtt, which have no times."""
    last: Sentence | None = None
    lines = iter(text.splitlines())
    for line in lines:
        found = _TIMES.match(line)
        if found is None:
            continue
        start_s = _seconds(found.groups()[:4])
        end_s = max(start_s, _seconds(found.groups()[4:]))
        told = []
        for line in lines:
            if not line.strip():
                break
            told.append(line)
        said = one_line(html.unescape(_TAGS.sub(" ", " ".join(told))))
        if last is not None and said == last.text:  # rolling captions say a line again and again
            last = Sentence(said, "subtitles", last.start_s, max(last.end_s or 0.0, end_s), language)
            continue
        if last is not None:
            yield last
        last = Sentence(said, "subtitles", start_s, end_s, language) if said else None
    if last is not None:
        yield last


def _seconds(clock: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, fraction = clock
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0) + float(f"0.{fraction}")
