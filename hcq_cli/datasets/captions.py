"""Reads a caption file into videos with their captions, and says what is wrong with which line."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hcq_cli.datasets.formats import recognise
from hcq_cli.datasets.rows import CaptionRow, Problem
from hcq_cli.errors import DamagedError, HcqError, NotFoundError, UsageError
from hcq_cli.printable import counted

__all__ = ["CaptionedVideo", "Captions", "Problem", "read_captions"]

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""What files call the three splits of a data set, and what hcq calls them."""

HALF = re.compile("[\ud800-\udc7f\udd00-\udfff]")
WORD = re.compile(r"\w")
NOTHING = {"nan", "null", "none", "n/a"}
"""What programs write where there is no text."""
MAX_WORDS = 30
"""Captions of more words are warned about: 30 tokens are read in the settings of HCQ (arXiv 2202.03384)."""


@dataclass
class CaptionedVideo:
    """A video that a caption file names.

    Args:
        video: its name as written in the file.
        captions: its sentences, at least one, none of them empty.
        split: "train", "val" or "test"; None where the file does not say.
        line: where the file names it first.
    """

    video: str
    captions: list[str]
    split: str | None
    line: int


@dataclass
class Captions:
    """What a caption file holds.

    Args:
        path: the file.
        format: "jsonl", "metadata", "csv", "msrvtt", "activitynet", "vatex", "didemo", "youcook", or "json" for
            other documents.
        videos: in the order in which the file first names them.
        problems: lines that are wrong (left out) or doubtful (kept, `warning`), in the file's order.
    """

    path: Path
    format: str
    videos: list[CaptionedVideo] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def __len__(self) -> int:
        """How many captions; there may be several of a video."""
        return sum(len(video.captions) for video in self.videos)

    @property
    def errors(self) -> list[Problem]:
        """The problems that cost a line."""
        return [problem for problem in self.problems if not problem.warning]

    @property
    def left_out(self) -> str:
        """What is said of the lines that have errors, by whoever goes on without them; empty where none has."""
        lines = counted(len(self.errors), "line")
        return f"{self.path}: left out as wrong: {lines} (hcq captions check {self.path})" if self.errors else ""

    @property
    def warnings(self) -> list[Problem]:
        """The problems that cost nothing."""
        return [problem for problem in self.problems if problem.warning]

    def split_counts(self) -> dict[str, int]:
        """Videos a split; the key "none" for those without one."""
        return dict(Counter(video.split or "none" for video in self.videos))

    def lengths(self) -> dict[str, float]:
        """Words a caption: "least", "median", "mean" and "most"."""
        lengths = [len(caption.split()) for video in self.videos for caption in video.captions] or [0]
        middle = {"median": float(np.median(lengths)), "mean": float(np.mean(lengths))}
        return {"least": min(lengths), **middle, "most": max(lengths)}


def read_captions(path: Path) -> Captions:
    """Read a caption file of any known format; lines of one video are put together.

    Args:
        path: JSON Lines, a table (CSV or tab-separated), a Hugging Face metadata.jsonl, or the JSON of MSR-VTT,
            ActivityNet Captions, VATEX, DiDeMo or YouCook2; told apart by content.

    Raises:
        NotFoundError: there is no such file.
        UsageError: it is a folder.
        DamagedError: it is of no known format, or holds nothing but a header.
    """
    try:
        name, reader = recognise(path)
        captions = Captions(path, name)
        captions.videos.extend(_gather(reader(path), captions.problems))
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such file", "give the path of a caption file") from None
    except IsADirectoryError:
        raise UsageError(f"{path}: is a folder, not a caption file", "give the file inside it") from None
    except OSError as error:
        raise HcqError(f"{path}: cannot be read ({error.strerror})", "check the path and its permissions") from error
    if not captions.videos and not captions.problems:
        raise DamagedError(f"{path}: holds no captions ({name} without an entry)", "write a line for each video")
    return captions


def _gather(rows: Iterator[CaptionRow | Problem], problems: list[Problem]) -> Iterable[CaptionedVideo]:
    """The videos that the rows name, each with the captions of all its rows; what is wrong goes to `problems`."""
    by_name: dict[str, CaptionedVideo] = {}
    for row in rows:
        if isinstance(row, Problem):
            problems.append(row)
            continue
        # Both are told of, a wrong split and wrong captions, before the row is given up.
        split, problem = _split_of(row)
        texts = list(_usable_captions(row, problems))
        known = by_name.get(row.video)
        # Bytes of file names that are no UTF-8 are surrogates of their own; any other is half a character.
        if not row.video.isascii() and HALF.search(row.video):
            problem = Problem(row.line, f"the name {row.video!r} holds half a character (a surrogate)")
        if problem is None and known is not None and split != known.split:
            here, there = split or "no split", known.split or "no split"
            message = f"{known.video!r} is in {here!r} here and in {there!r} on line {known.line}"
            problem = Problem(row.line, message)
        if problem is not None:
            problems.append(problem)
        elif texts and known is not None:
            known.captions.extend(texts)
        elif texts:
            by_name[row.video] = CaptionedVideo(row.video, texts, split, row.line)
    return by_name.values()


def _split_of(row: CaptionRow) -> tuple[str | None, Problem | None]:
    name = (row.split or "").strip().lower()
    if not name:
        return None, None
    if name not in SPLIT_NAMES:
        return None, Problem(row.line, f"unknown split {row.split!r} of {row.video!r} (known: train, val, test)")
    return SPLIT_NAMES[name], None


def _usable_captions(row: CaptionRow, problems: list[Problem]) -> Iterator[str]:
    """The row's usable captions, white space made plain; what is wrong with the others goes to `problems`."""
    for caption in row.captions:
        words = caption.split()
        if not words:
            problems.append(Problem(row.line, f"empty caption for {row.video!r}"))
            continue
        # JSON can spell half of a surrogate pair ("\\ud800"); no tokenizer takes it, and UTF-8 cannot be made of it.
        if not caption.isascii() and any("\ud800" <= character <= "\udfff" for character in caption):
            problems.append(Problem(row.line, f"the caption of {row.video!r} holds half a character (a surrogate)"))
            continue
        if not WORD.search(caption) or " ".join(words).lower() in NOTHING:
            message = f"the caption of {row.video!r} is {caption.strip()!r}: is there none?"
            problems.append(Problem(row.line, message, warning=True))
        if len(words) > MAX_WORDS:
            message = (
                f"a caption of {row.video!r} has {len(words)} words; what comes after {MAX_WORDS} may not be read"
            )
            problems.append(Problem(row.line, message, warning=True))
        yield " ".join(words)
