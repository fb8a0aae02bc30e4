"""The data sets of the paper: their splits, the files that list them, and which captions count where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePath

WIDTHS = {"s3d": 1024, "vggish": 128, "face": 512, "rgb": 2048, "scene": 2208, "speech": 300, "ocr": 300}
"""The experts of the paper and the usual widths of their features (LSMDC's faces have 128)."""
MOST_LIST_BYTES = 64 << 20
TEST_CAPTIONS = "jsfusion_val_caption_idx"
"""Which caption each test video of 1k-A is queried with; a pickle, or the same as JSON."""


class Sentences(Enum):
    """What becomes of a video's captions."""

    EACH = "each is a caption of its own"
    JOINED = "one after another they are one caption"
    FIRST = "only the first counts"
    CHOSEN = f"the one that {TEST_CAPTIONS} names"


@dataclass(frozen=True)
class Split:
    """One way of cutting a data set.

    Args:
        name: as the paper calls it.
        recipe: that trains on it.
        lists: by part ("train", "val", "test") the file that names its videos.
        sentences: what becomes of the captions of training and validation videos.
        test_sentences: the same for test videos.
    """

    name: str
    recipe: str
    lists: Mapping[str, str]
    sentences: Sentences = Sentences.EACH
    test_sentences: Sentences = Sentences.EACH


@dataclass(frozen=True)
class DataSet:
    """One data set.

    Args:
        name: as `--dataset` takes it.
        called: what folders and archives of it are called, in lower case.
        splits: the first is the default.
        widths: of the features of its experts.
    """

    name: str
    called: tuple[str, ...]
    splits: tuple[Split, ...]
    widths: Mapping[str, int]


DATA_SETS = (
    DataSet(
        "msrvtt",
        ("msrvtt", "msr-vtt", "msr_vtt"),
        (
            Split(
                "1k-A",
                "msrvtt-1ka",
                {"train": "train_list_jsfusion.txt", "test": "val_list_jsfusion.txt"},
                test_sentences=Sentences.CHOSEN,
            ),
            Split(
                "1k-B",
                "msrvtt-1kb",
                {"train": "train_list_miech.txt", "test": "test_list_miech.txt"},
                test_sentences=Sentences.FIRST,
            ),
            Split("full", "msrvtt-full", {"train": "train_list.txt", "val": "val_list.txt", "test": "test_list.txt"}),
        ),
        WIDTHS,
    ),
    DataSet(
        "lsmdc",
        ("lsmdc",),
        (
            Split(
                "full",
                "lsmdc",
                {"train": "LSMDC16_annos_training.csv", "test": "LSMDC16_challenge_1000_publictect.csv"},
                Sentences.JOINED,
                Sentences.JOINED,
            ),
        ),
        {**WIDTHS, "face": 128},
    ),
    DataSet(
        "activitynet",
        ("activitynet", "activity-net", "activity_net"),
        (
            Split(
                "full",
                "activitynet",
                {"train": "train_list.txt", "test": "val_1_list.txt"},
                Sentences.JOINED,
                Sentences.JOINED,
            ),
        ),
        {name: WIDTHS[name] for name in ("s3d", "vggish")},
    ),
)
LISTS = {name for data_set in DATA_SETS for split in data_set.splits for name in split.lists.values()}
TELLING = {
    "train_list_jsfusion.txt": "msrvtt",
    "val_list_jsfusion.txt": "msrvtt",
    "train_list_miech.txt": "msrvtt",
    "LSMDC16_annos_training.csv": "lsmdc",
    "val_1_list.txt": "activitynet",
}
"""Files that only one data set has."""


def data_set(name: str) -> DataSet:
    """The data set that `--dataset` names."""
    return next(found for found in DATA_SETS if found.name == name)


def guess(path: str) -> DataSet | None:
    """The data set that a path speaks of; None if none or several."""
    parts = [part.lower().split(".")[0] for part in PurePath(path).parts]
    found = [each for each in DATA_SETS if any(part.startswith(called) for part in parts for called in each.called)]
    return found[0] if len(found) == 1 else None


def guess_by_lists(names: Iterable[str]) -> DataSet | None:
    """The data set whose split files are there; None if none or several."""
    found = {TELLING[name] for name in names if name in TELLING}
    return data_set(found.pop()) if len(found) == 1 else None


def listed_videos(name: str, data: bytes) -> list[str]:
    """The videos that a split file names: one a line; of LSMDC's tables the first column.

    Args:
        name: of the file.
        data: its content.
    """
    lines = data.decode("utf-8-sig", "surrogateescape").splitlines()
    if name.endswith(".csv"):
        lines = [line.split("\t", 1)[0] for line in lines]
    return [line.strip() for line in lines if line.strip()]


def counting(captions: Mapping[int, str], sentences: Sentences, chosen: int | None) -> list[str]:
    """The captions of one video that count.

    Args:
        captions: by number.
        sentences: what becomes of them.
        chosen: the number that the split names for this video; None if it names none.
    """
    every = [text for _, text in sorted(captions.items()) if text]
    if sentences is Sentences.JOINED:
        return [" ".join(every)] if every else []
    if sentences is Sentences.FIRST:
        return every[:1]
    if sentences is Sentences.CHOSEN and chosen is not None:
        return [captions[chosen]] if captions.get(chosen) else []
    return every
