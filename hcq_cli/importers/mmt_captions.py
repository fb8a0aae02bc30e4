"""Captions on their way from MMT's files to caption files, one for each split whose lists are there."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hcq_cli.files import atomic_open
from hcq_cli.importers.mmt_splits import TEST_CAPTIONS, Sentences, Split, counting


@dataclass(frozen=True)
class CaptionFile:
    """A caption file that was written.

    Args:
        path: where.
        split: its name; None if the videos in it have no split.
        videos: how many of each part ("train", "val", "test"; "none" without a split).
        captions: how many in all.
        warnings: what is missing, a sentence each.
    """

    path: Path
    split: str | None
    videos: dict[str, int]
    captions: int
    warnings: list[str] = field(default_factory=list)


class CaptionSpool:
    """All captions, on disk until the split files have been seen, which may come last."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile("w+b")  # noqa: SIM115  # closed with the object
        self.videos = 0

    def add(self, video: str, captions: Mapping[int, str]) -> None:
        """Keep the captions of one video."""
        self._file.write(json.dumps([video, list(captions.items())]).encode() + b"\n")
        self.videos += 1

    def __iter__(self) -> Iterator[tuple[str, dict[int, str]]]:
        self._file.seek(0)
        for line in self._file:
            video, captions = json.loads(line)
            yield video, {int(number): text for number, text in captions}

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()


def write_all(spool: CaptionSpool, path: Path) -> CaptionFile:
    """Write the captions of every video, each a caption of its own, without a split."""
    return _write(spool, path, None, {}, {})


def write_split(
    spool: CaptionSpool, path: Path, split: Split, lists: Mapping[str, list[str]], chosen: Mapping[str, int]
) -> CaptionFile:
    """Write the captions of the videos of one split, the others left out.

    Args:
        spool: all captions.
        path: where to.
        split: which split.
        lists: by file name the videos it lists.
        chosen: by test video the number of the caption that counts; empty if nothing is said.
    """
    part_of: dict[str, str] = {}
    for part, name in split.lists.items():
        for video in lists[name]:
            part_of.setdefault(video, part)
    return _write(spool, path, split, part_of, chosen)


def _write(
    spool: CaptionSpool, path: Path, split: Split | None, part_of: Mapping[str, str], chosen: Mapping[str, int]
) -> CaptionFile:
    videos: Counter[str] = Counter()
    silent, unchosen, captions = 0, 0, 0
    with atomic_open(path) as out:
        for video, found in spool:
            part = part_of.get(video) if split else None
            if split and part is None:
                continue
            sentences = Sentences.EACH if not split else split.test_sentences if part == "test" else split.sentences
            unchosen += sentences is Sentences.CHOSEN and video not in chosen
            texts = counting(found, sentences, chosen.get(video))
            if not texts:
                silent += 1
                continue
            line = {"video": video, "captions": texts, **({"split": part} if part else {})}
            out.write(json.dumps(line).encode() + b"\n")
            videos[part or "none"] += 1
            captions += len(texts)
    name = split.name if split else None
    warnings = _warnings(name or "all", part_of, videos, silent, unchosen)
    return CaptionFile(path, name, dict(videos), captions, warnings)


def _warnings(
    name: str, part_of: Mapping[str, str], videos: Mapping[str, int], silent: int, unchosen: int
) -> list[str]:
    said = []
    if silent:
        said.append(f"{name}: {silent:,} videos have no caption and are left out")
    missing = len(part_of) - silent - sum(videos.values())
    if part_of and missing > 0:
        said.append(f"{name}: {missing:,} of the {len(part_of):,} videos that its lists name are not there")
    if unchosen:
        said.append(
            f"{name}: for {unchosen:,} test videos no {TEST_CAPTIONS} says which caption counts: all of them do, "
            "and recalls are not those of the paper's protocol"
        )
    return said
