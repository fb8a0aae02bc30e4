"""The data sets of the paper: which videos are in which split, which of their captions count, and the caption files.

The splits are those that HCQ was evaluated on (Wang et al., WWW 2022, arXiv 2202.03384), under the names of the files
in which MMT publishes them. Captions come with the videos and split files may come last, so captions wait on disk
(`CaptionSpool`) until all is read.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path, PurePath

from hcq_cli.files import atomic_open
from hcq_cli.printable import counted

WIDTHS = {"s3d": 1024, "vggish": 128, "face": 512, "rgb": 2048, "scene": 2208, "speech": 300, "ocr": 300}
"""The experts of the paper and the usual widths of their features (LSMDC's faces have 128)."""
MAX_LIST_BYTES = 64 << 20
TEST_CAPTIONS = "jsfusion_val_caption_idx"
"""Which caption each test video of 1k-A is queried with; a pickle, or the same as JSON."""


class CaptionRule(Enum):
    """What becomes of the captions of one video."""

    EACH = "each is a caption of its own"
    JOINED = "one after another they are one caption"
    FIRST = "only the first counts"
    CHOSEN = f"the one that {TEST_CAPTIONS} names"


@dataclass(frozen=True)
class MmtSplit:
    """One way of cutting a data set.

    Args:
        name: as the paper calls it.
        recipe: that trains on it.
        lists: by part ("train", "val", "test") the file that names its videos.
        rule: what becomes of the captions of training and validation videos.
        test_rule: the same for test videos.
    """

    name: str
    recipe: str
    lists: Mapping[str, str]
    rule: CaptionRule = CaptionRule.EACH
    test_rule: CaptionRule = CaptionRule.EACH

    def part_of(self, listed: Mapping[str, list[str]]) -> dict[str, str]:
        """The part ("train", "val", "test") of each video.

        Args:
            listed: by file name the videos it lists.
        """
        parts: dict[str, str] = {}
        for part, name in self.lists.items():
            for video in listed[name]:
                parts.setdefault(video, part)
        return parts


@dataclass(frozen=True)
class MmtDataset:
    """One data set.

    Args:
        name: as `--dataset` takes it.
        aliases: what folders and archives of it are called, in lower case.
        splits: the first is the default.
        widths: of the features of its experts.
    """

    name: str
    aliases: tuple[str, ...]
    splits: tuple[MmtSplit, ...]
    widths: Mapping[str, int]


DATA_SETS = (
    MmtDataset(
        "msrvtt",
        ("msrvtt", "msr-vtt", "msr_vtt"),
        (
            MmtSplit(
                "1k-A",
                "msrvtt-1ka",
                {"train": "train_list_jsfusion.txt", "test": "val_list_jsfusion.txt"},
                test_rule=CaptionRule.CHOSEN,
            ),
            MmtSplit(
                "1k-B",
                "msrvtt-1kb",
                {"train": "train_list_miech.txt", "test": "test_list_miech.txt"},
                test_rule=CaptionRule.FIRST,
            ),
            MmtSplit(
                "full", "msrvtt-full", {"train": "train_list.txt", "val": "val_list.txt", "test": "test_list.txt"}
            ),
        ),
        WIDTHS,
    ),
    MmtDataset(
        "lsmdc",
        ("lsmdc",),
        (
            MmtSplit(
                "full",
                "lsmdc",
                {"train": "LSMDC16_annos_training.csv", "test": "LSMDC16_challenge_1000_publictect.csv"},
                CaptionRule.JOINED,
                CaptionRule.JOINED,
            ),
        ),
        {**WIDTHS, "face": 128},
    ),
    MmtDataset(
        "activitynet",
        ("activitynet", "activity-net", "activity_net"),
        (
            # Paragraph retrieval: all sentences of a video, one after another, are its one query.
            MmtSplit(
                "full",
                "activitynet",
                {"train": "train_list.txt", "test": "val_1_list.txt"},
                CaptionRule.JOINED,
                CaptionRule.JOINED,
            ),
        ),
        {name: WIDTHS[name] for name in ("s3d", "vggish")},
    ),
)
SPLIT_FILES = {name for each in DATA_SETS for split in each.splits for name in split.lists.values()}
# Files that only one data set has; train_list.txt, for example, is in two.
UNIQUE_FILES = {
    "train_list_jsfusion.txt": "msrvtt",
    "val_list_jsfusion.txt": "msrvtt",
    "train_list_miech.txt": "msrvtt",
    "LSMDC16_annos_training.csv": "lsmdc",
    "val_1_list.txt": "activitynet",
}


def dataset_named(name: str) -> MmtDataset:
    """The data set that `--dataset` names."""
    return next(each for each in DATA_SETS if each.name == name)


def dataset_from_path(path: str) -> MmtDataset | None:
    """The data set that a path speaks of; None if none or several."""
    parts = [part.lower().split(".")[0] for part in PurePath(path).parts]
    found = [each for each in DATA_SETS if any(part.startswith(alias) for part in parts for alias in each.aliases)]
    return found[0] if len(found) == 1 else None


def dataset_from_split_files(names: Iterable[str]) -> MmtDataset | None:
    """The data set whose split files are there; None if none or several."""
    found = {UNIQUE_FILES[name] for name in names if name in UNIQUE_FILES}
    return dataset_named(found.pop()) if len(found) == 1 else None


def listed_videos(name: str, data: bytes) -> list[str]:
    """The videos that a split file names: one a line; of LSMDC's tables the first column.

    Args:
        name: of the file.
        data: its content.
    """
    lines = data.decode("utf-8-sig", "surrogateescape").splitlines()
    if name.endswith(".csv"):
        # Not the csv module: the captions in these tables have quotes that nothing closes.
        lines = [line.split("\t", 1)[0] for line in lines]
    return [line.strip() for line in lines if line.strip()]


def captions_that_count(captions: Mapping[int, str], rule: CaptionRule, chosen: int | None) -> list[str]:
    """The captions of one video that count.

    Args:
        captions: by number.
        rule: what becomes of them.
        chosen: the number that the split names for this video; None if it names none.
    """
    every = [text for _, text in sorted(captions.items()) if text]
    if rule is CaptionRule.JOINED:
        return [" ".join(every)] if every else []
    if rule is CaptionRule.FIRST:
        return every[:1]
    if rule is CaptionRule.CHOSEN and chosen is not None:
        return [captions[chosen]] if captions.get(chosen) else []
    return every


class CaptionSpool:
    """All captions, on disk until the split files have been seen, which may come last."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile("w+b")  # noqa: SIM115  # closed with the object

    def add(self, video: str, captions: Mapping[int, str]) -> None:
        """Keep the captions of one video, by their numbers."""
        self._file.write(json.dumps([video, list(captions.items())]).encode() + b"\n")

    def __iter__(self) -> Iterator[tuple[str, dict[int, str]]]:
        self._file.seek(0)
        for line in self._file:
            video, captions = json.loads(line)
            yield video, {int(number): text for number, text in captions}

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()


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


def write_captions(
    spool: CaptionSpool,
    path: Path,
    split: MmtSplit | None = None,
    *,
    listed: Mapping[str, list[str]] | None = None,
    chosen: Mapping[str, int] | None = None,
) -> CaptionFile:
    """Write the captions of the videos of one split, the others left out; or of all videos, without a split.

    Args:
        spool: all captions.
        path: where to.
        split: which split; None for every video, each of its captions a caption of its own.
        listed: by file name the videos that a split file lists.
        chosen: by test video the number of the caption that counts; empty if nothing is said.
    """
    part_of, chosen = split.part_of(listed or {}) if split else {}, chosen or {}
    videos: Counter[str] = Counter()
    without_caption, without_choice, captions = 0, 0, 0
    with atomic_open(path) as out:
        for video, found in spool:
            part = part_of.get(video)
            if split and part is None:
                continue
            rule = CaptionRule.EACH if not split else split.test_rule if part == "test" else split.rule
            without_choice += rule is CaptionRule.CHOSEN and video not in chosen
            texts = captions_that_count(found, rule, chosen.get(video))
            if not texts:
                without_caption += 1
                continue
            line = {"video": video, "captions": texts, **({"split": part} if part else {})}
            out.write(json.dumps(line).encode() + b"\n")
            videos[part or "none"] += 1
            captions += len(texts)
    name = split.name if split else None
    missing = len(part_of) - without_caption - sum(videos.values())
    warnings = []
    if without_caption:
        warnings.append(f"{name or 'all'}: left out, because without caption: {counted(without_caption, 'video')}")
    if part_of and missing > 0:
        warnings.append(f"{name}: {missing:,} of the {len(part_of):,} videos that its lists name are not there")
    if without_choice:
        warnings.append(
            f"{name}: for {without_choice:,} test videos no {TEST_CAPTIONS} says which caption counts: all of them "
            "do, and recalls are not those of the paper's protocol"
        )
    return CaptionFile(path, name, dict(videos), captions, warnings)
