"""Hits -> what one can look at: clips of their best moments (--save-clips), thumbnails, a player (--open)."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from hcq_cli.api.progress import SILENT, Progress
from hcq_cli.errors import HcqError, UsageError

if TYPE_CHECKING:
    from hcq_cli.search.query import Hit, QueryResult

LONGEST_S = 60.0
"""Of a longer moment the clip is so long."""
BEFORE_S = 5.0
"""So long before the second to look at the clip of a longer moment begins."""
AROUND_S = 1.0
"""So much before and behind a sentence belongs to its clip."""
LONGEST_NAME = 160
"""Bytes of a video's name in that of its clip: with what stands around it no file system finds it too long."""


@dataclass(frozen=True)
class SavedClip:
    """A clip that was asked for.

    Args:
        rank: of its hit.
        path: of the file; None where there is none.
        copied: whether the packets were copied, from the key frame before; else they were encoded anew.
        error: why there is none; empty where there is.
    """

    rank: int
    path: Path | None
    copied: bool = False
    error: str = ""


def save_clips(answer: QueryResult, folder: str | PathLike[str], *, progress: Progress = SILENT) -> list[SavedClip]:
    """Write the best moment of each hit into a folder, as `01-NAME-12.0s.mp4`; a short video as a whole.

    Nothing that is there is written over: a name that is taken gets a number.

    Args:
        folder: made if missing.

    Raises:
        UsageError: the hits are sentences, or `folder` is a file.
        HcqError: the disk is full.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file, clips go into a folder")
    saved = []
    with progress.progress("clips", total=len(answer.hits), unit="clips") as bar:
        for hit in answer.hits:
            saved.append(_save(hit, folder))
            bar.advance(1)
    for clip in saved:
        if clip.error:
            progress.warn(clip.error)
    return saved


def _save(hit: Hit, folder: Path) -> SavedClip:
    source = Path(hit.path)
    if not source.is_file():
        return SavedClip(hit.rank, None, error=f"{hit.path}: is not there, so there is no clip of it")
    for attempt in count(1):
        try:
            return _save_as(hit, source, folder, "" if attempt == 1 else f"-{attempt}")
        except FileExistsError:
            continue
        except HcqError as error:
            if not error.message.startswith(str(source)):  # of the disk, which no other clip would fit on either
                raise
            return SavedClip(hit.rank, None, error=error.message)
    raise AssertionError


def _save_as(hit: Hit, source: Path, folder: Path, numbered: str) -> SavedClip:
    from hcq_cli.files import atomic_path
    from hcq_cli.media.cutting import cut_clip, ending_of_clip

    if (bounds := stretch(hit)) is None:
        target = folder / f"{_name(hit, source, 0.0)}{numbered}{source.suffix}"
        with atomic_path(target, exclusive=True, needed_bytes=source.stat().st_size) as temporary:
            shutil.copyfile(source, temporary)
        return SavedClip(hit.rank, target, copied=True)
    start_s, end_s = bounds
    target = folder / f"{_name(hit, source, start_s)}{numbered}{ending_of_clip(source)}"
    if target.exists():  # before it is decoded for nothing
        raise FileExistsError
    return SavedClip(hit.rank, target, copied=cut_clip(source, start_s, end_s, target))


def stretch(hit: Hit) -> tuple[float, float] | None:
    """From where to where the clip of a hit goes, seconds; None for all of it.

    That is its sentence, where it was found by one that has a time, with a little around it; else its moment.
    """
    if hit.words is not None and hit.words.start_s is not None:
        start_s = hit.words.start_s
        return max(0.0, start_s - AROUND_S), max(start_s, hit.words.end_s or 0.0) + AROUND_S
    if hit.moment is None:
        return None
    start_s, end_s = hit.moment.start_s, hit.moment.end_s
    if end_s - start_s > LONGEST_S:
        start_s = max(start_s, hit.moment.time_s - BEFORE_S)
    return start_s, min(end_s, start_s + LONGEST_S)


def _name(hit: Hit, source: Path, start_s: float) -> str:
    # What one of the usual file systems does not take, or what a terminal would obey.
    stem = re.sub(r'[\x00-\x1f\x7f<>:"/\\|?*]', "_", source.stem)
    raw = stem.encode("utf-8", "surrogateescape")[:LONGEST_NAME]
    stem = raw.decode("utf-8", "ignore") if len(raw) == LONGEST_NAME else stem
    return f"{hit.rank:02d}-{stem}-{start_s:.1f}s"


def thumbnails(hits: Sequence[Hit], max_side: int) -> list[tuple[Hit, bytes]]:
    """The picture at the second of each hit, a PNG; of a file that is not there or gives none there is none."""
    from hcq_cli.media.thumbnails import Thumbnailer

    found = []
    with Thumbnailer() as thumbnailer:
        for hit in hits:
            with suppress(HcqError):
                if Path(hit.path).is_file():
                    found.append((hit, thumbnailer.make(hit.path, hit.time_s or 0.0, max_side, "PNG")))
    return found


def open_hit(answer: QueryResult, rank: int) -> str:
    """Play a hit from its second in a player of this machine; gives a sentence that says by what.

    Args:
        rank: of the hit, from 1.

    Raises:
        UsageError: there is no such hit.
        NotFoundError: its file is not there, or there is no player.
    """
    from hcq_cli.media.playing import play

    hit = next((hit for hit in answer.hits if hit.rank == rank), None)
    if hit is None:
        raise UsageError(f"--open {rank}: there are {len(answer.hits)} hits", "name one by its rank, from 1")
    second = hit.time_s or 0.0
    player, at_second = play(Path(hit.path), second)
    if at_second or not second:
        return f"{player} plays {hit.path} from {second:.1f} s on"
    return f"{player} opens {hit.path}; what was found is at {second:.1f} s"
