"""MMT's features, captions and splits, brought into a feature store and caption files.

The source is read once, in order; features go to the store a shard at a time, so memory stays bounded and an import
that was interrupted goes on where it was (an archive is read again, its finished videos are not written again).
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from hcq_cli.errors import EXIT_OK, EXIT_SOME_FAILED, DamagedError, NotFoundError, UsageError
from hcq_cli.features.store import FeatureWriter, VideoFeatures
from hcq_cli.importers.mmt_captions import CaptionFile, CaptionSpool, write_all, write_split
from hcq_cli.importers.mmt_number_table import read_number_table
from hcq_cli.importers.mmt_source import Item, Position, Refused, Source
from hcq_cli.importers.mmt_splits import (
    DATA_SETS,
    LISTS,
    MOST_LIST_BYTES,
    TEST_CAPTIONS,
    WIDTHS,
    DataSet,
    Split,
    data_set,
    guess,
    guess_by_lists,
    listed_videos,
)
from hcq_cli.importers.mmt_video_file import MOST_FILE_BYTES, MmtVideo
from hcq_cli.importers.mmt_video_reader import VideoReader

VERSION = "mmt-eccv20"
TEST_CAPTION_FILES = {f"{TEST_CAPTIONS}.pkl", f"{TEST_CAPTIONS}.json"}


@dataclass(frozen=True)
class Options:
    """What is wanted.

    Args:
        store: the feature store; made if missing.
        captions: the caption file of the chosen split; those of other splits go beside it, with the split's name.
        dataset: its name; None to tell from names of folders and split files.
        split: its name; None for the first whose lists are there.
        experts: which; None for those of the paper.
        lists: a folder with split files that are not in the source.
    """

    store: Path
    captions: Path
    dataset: str | None = None
    split: str | None = None
    experts: Sequence[str] | None = None
    lists: Path | None = None


@dataclass
class Imported:
    """What became of everything.

    Args:
        dataset, split: as given or found out; None if neither.
        recipe: that trains on this split; None without one.
        videos: files that were good.
        imported: videos written to the store.
        skipped: videos that the store had already.
        failed: what could not be read, and why.
        warnings: what was not quite right, a sentence each.
        left_out: experts that were not asked for, with the number of videos that have them.
        states: videos by expert and state, of the whole store.
        captions: the caption files written, the chosen split's first.
        seconds: how long it took.
    """

    dataset: str | None = None
    split: str | None = None
    recipe: str | None = None
    videos: int = 0
    imported: int = 0
    skipped: int = 0
    failed: list[Refused] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    states: dict[str, dict[str, int]] = field(default_factory=dict)
    captions: list[CaptionFile] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0, or 3 if something could not be read."""
        return EXIT_SOME_FAILED if self.failed else EXIT_OK


Observer = Callable[[Imported, Position], None]


def import_mmt(path: Path, options: Options, observer: Observer | None = None) -> Imported:
    """Import everything that `path` holds.

    Args:
        path: a tar archive of MMT's features, or the folder it was unpacked to.
        options: what is wanted, and where to.
        observer: is told after every file.

    Raises:
        NotFoundError: there is nothing at the path, or no features, or not the lists of the split asked for.
        DamagedError: the file is no tar archive.
        UsageError: the data set has no such split.
        LockedError: another process writes to the store.
    """
    begun = time.monotonic()
    source, run = Source(path), _Run(path, options, observer)
    with FeatureWriter(options.store) as writer, run.reader:
        run.report.imported = writer.add_shard(run.videos(source, writer))
        if run.report.videos:
            run.report.states = writer.store.states()
    if options.lists is not None:
        run.read_lists(Source(options.lists))
    if not run.report.videos and not run.report.failed:
        raise NotFoundError(
            f"{path}: holds no .h5 files of video features", "give MMT's tar file, or the folder of it"
        )
    if run.report.videos:
        run.write_captions()
    run.spool.close()
    run.report.seconds = time.monotonic() - begun
    return run.report


class _Run:
    """One import; `import_mmt` says what the arguments are."""

    def __init__(self, path: Path, options: Options, observer: Observer | None) -> None:
        self.path, self.options, self.observer = path, options, observer
        self.report, self.spool, self.reader = Imported(), CaptionSpool(), VideoReader()
        self.known = _data_set(options) or guess(str(path.absolute()))
        self.widths: dict[str, int] = {}
        self.lists: dict[str, list[str]] = {}
        self.chosen: dict[str, int] = {}
        self.ids: set[str] = set()
        self.doubts: dict[str, list[str]] = {}

    def videos(self, source: Source, writer: FeatureWriter) -> Iterator[VideoFeatures]:
        """The videos that the store lacks, while captions and split files are put aside."""
        self.widths = {name: info.dim for name, info in writer.store.experts.items()}
        for found in source.items(_wanted):
            if isinstance(found, Refused):
                self.report.failed.append(found)
            elif not found.name.endswith(".h5"):
                self._read_list(found)
            else:
                yield from self._video(found, writer)
            if self.observer is not None:
                self.observer(self.report, source.position)

    def read_lists(self, source: Source) -> None:
        """Take split files from another place; they count before those of the source itself."""
        self.lists, lists = {}, self.lists
        for found in source.items(lambda name: None if name.endswith(".h5") else _wanted(name)):
            if isinstance(found, Refused):
                self.report.failed.append(found)
            else:
                self._read_list(found)
        self.lists = {**lists, **self.lists}

    def _video(self, item: Item, writer: FeatureWriter) -> Iterator[VideoFeatures]:
        """The video of one file, if the store lacks it."""
        name = PurePosixPath(item.name).stem
        self.known = self.known or guess(item.name)
        try:
            if name in self.ids:
                raise DamagedError(f"is a second file of {name}; the first is kept")
            data = item.read()
            content = hashlib.sha256(data).hexdigest()
            identities = {expert: f"{expert}|{VERSION}|||" for expert in self._experts()}
            new = bool(writer.todo(name, item.path, content, identities))
            found = self.reader.read(data, identities if new else (), self._widths())
        except (OSError, DamagedError) as error:
            self.report.failed.append(Refused(item.path, _reason(error)))
            return
        self.ids.add(name)
        self._note(name, found, new, set(identities))
        if new:
            facts = (name, item.path, content, item.size, item.mtime_ns, found.duration_s, "mmt", found.warnings)
            yield VideoFeatures(*facts, tokens=found.tokens, identities={e: identities[e] for e in found.tokens})

    def _note(self, name: str, found: MmtVideo, new: bool, wanted: set[str]) -> None:
        self.report.videos += 1
        self.report.skipped += not new
        self.report.left_out.update(set(found.left_out) - wanted)
        self.spool.add(name, found.captions)
        for warning in found.warnings:
            self.doubts.setdefault(warning, []).append(name)
        for expert, tokens in found.tokens.items():
            if len(tokens):
                self.widths[expert] = tokens.features.shape[1]

    def _experts(self) -> Sequence[str]:
        if self.options.experts is not None:
            return self.options.experts
        return list(self.known.widths if self.known else WIDTHS)

    def _widths(self) -> dict[str, int]:
        """Widths of experts that gave nothing: as seen in other videos, else as published."""
        return {**WIDTHS, **(self.known.widths if self.known else {}), **self.widths}

    # Split files

    def _read_list(self, item: Item) -> None:
        name = PurePosixPath(item.name).name
        try:
            data = item.read()
            if name in TEST_CAPTION_FILES:
                self.chosen = read_number_table(data)
                return
        except (OSError, DamagedError) as error:
            self.report.failed.append(Refused(item.path, _reason(error)))
            return
        videos = listed_videos(name, data)
        if self.lists.setdefault(name, videos) != videos:
            self.report.warnings.append(f"{item.path}: differs from another {name}, which was read first and counts")

    # Captions

    def write_captions(self) -> None:
        """Write the caption file of the chosen split, and of each other split beside it."""
        known = self.known or guess_by_lists(self.lists)
        self.report.dataset = known.name if known else None
        splits = self._splits(known)
        if splits:
            self.report.split, self.report.recipe = splits[0].name, splits[0].recipe
        else:
            self.report.captions.append(write_all(self.spool, self.options.captions))
            self.report.warnings.append("no split files found: the captions have no split (--lists FOLDER)")
        for split in splits:
            path = self.options.captions
            if split is not splits[0]:
                path = path.with_name(f"{path.stem}-{split.name}{path.suffix}")
            self.report.captions.append(write_split(self.spool, path, split, self.lists, self.chosen))
        self.report.warnings += [warning for file in self.report.captions for warning in file.warnings]
        for doubt, names in self.doubts.items():
            self.report.warnings.append(f"{doubt}: {len(names):,} videos, the first {names[0]}")

    def _splits(self, known: DataSet | None) -> list[Split]:
        """The splits whose lists are there, the one asked for first.

        Raises:
            NotFoundError: not all lists of the one asked for are there.
        """
        wanted, every = self.options.split, known.splits if known else ()
        there = [split for split in every if set(split.lists.values()) <= set(self.lists)]
        if wanted is not None and wanted not in [split.name for split in there]:
            lists = [name for split in every if split.name == wanted for name in split.lists.values()]
            missing = ", ".join(name for name in lists if name not in self.lists)
            raise NotFoundError(
                f"{self.path}: the split files {missing or 'of ' + wanted} are not there; the features are imported, "
                "captions are not written",
                "hcq import mmt PATH --lists FOLDER, and --dataset NAME if it is not told from their names",
            )
        return sorted(there, key=lambda split: split.name != wanted)


def _reason(error: OSError | DamagedError) -> str:
    return error.message if isinstance(error, DamagedError) else (error.strerror or str(error))


def _wanted(name: str) -> int | None:
    """Files of interest: videos, split files, and the choice of test captions."""
    last = PurePosixPath(name).name
    if last.endswith(".h5") and not last.startswith("."):
        return MOST_FILE_BYTES
    return MOST_LIST_BYTES if last in LISTS or last in TEST_CAPTION_FILES else None


def _data_set(options: Options) -> DataSet | None:
    """The data set asked for, or the only one that has the split asked for.

    Raises:
        UsageError: it has no such split.
    """
    if options.dataset is None and options.split is None:
        return None
    candidates = [data_set(options.dataset)] if options.dataset else list(DATA_SETS)
    if options.split is None:
        return candidates[0]
    having = [each for each in candidates if options.split in [split.name for split in each.splits]]
    if not having:
        known = ", ".join(split.name for split in candidates[0].splits)
        raise UsageError(f"{candidates[0].name} has no split {options.split!r}", f"--split {known}")
    return having[0] if len(having) == 1 else None
