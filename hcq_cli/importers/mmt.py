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
from hcq_cli.features.records import VideoFeatures
from hcq_cli.features.writer import FeatureWriter
from hcq_cli.importers.mmt_number_table import read_number_table
from hcq_cli.importers.mmt_source import MmtSource, ReadPosition, SourceFile, UnreadableFile
from hcq_cli.importers.mmt_splits import (
    DATA_SETS,
    MAX_LIST_BYTES,
    SPLIT_FILES,
    TEST_CAPTIONS,
    WIDTHS,
    CaptionFile,
    CaptionSpool,
    MmtDataset,
    MmtSplit,
    dataset_from_path,
    dataset_from_split_files,
    dataset_named,
    listed_videos,
    write_captions,
)
from hcq_cli.importers.mmt_video_file import MAX_FILE_BYTES
from hcq_cli.importers.mmt_video_reader import VideoReader

VERSION = "mmt-eccv20"
"""Stands for the expert's version in the identity of imported features."""
TEST_CAPTION_FILES = {f"{TEST_CAPTIONS}.pkl", f"{TEST_CAPTIONS}.json"}


@dataclass(frozen=True)
class MmtOptions:
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
class MmtReport:
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
    failed: list[UnreadableFile] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    states: dict[str, dict[str, int]] = field(default_factory=dict)
    captions: list[CaptionFile] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0, or 3 if something could not be read."""
        return EXIT_SOME_FAILED if self.failed else EXIT_OK


Observer = Callable[[MmtReport, ReadPosition], None]


def import_mmt(path: Path, options: MmtOptions, observer: Observer | None = None) -> MmtReport:
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
    source, run = MmtSource(path), _Import(path, options, observer)
    report = run.report
    with FeatureWriter(options.store) as writer, run.reader:
        report.imported = writer.add_videos(run.new_videos(source, writer))
        if report.videos:
            report.states = writer.store.states()
    if options.lists is not None:
        run.read_lists(MmtSource(options.lists))
    if not report.videos and not report.failed:
        raise NotFoundError(
            f"{path}: holds no .h5 files of video features", "give MMT's tar file, or the folder of it"
        )
    if report.videos:
        run.write_captions()
    run.spool.close()
    report.seconds = time.monotonic() - begun
    return report


class _Import:
    """One import; `import_mmt` says what the arguments are."""

    def __init__(self, path: Path, options: MmtOptions, observer: Observer | None) -> None:
        self.path, self.options, self.observer = path, options, observer
        self.report, self.spool, self.reader = MmtReport(), CaptionSpool(), VideoReader()
        self.dataset = _asked_dataset(options) or dataset_from_path(str(path.absolute()))
        self.widths: dict[str, int] = {}  # of the experts that some video has had
        self.lists: dict[str, list[str]] = {}  # by the split file's name
        self.chosen: dict[str, int] = {}  # by test video, the number of the caption that counts
        self.ids: set[str] = set()
        self.videos_with_warning: dict[str, list[str]] = {}
        self.videos_of_width: dict[str, dict[int, list[str]]] = {}  # by expert

    def new_videos(self, source: MmtSource, writer: FeatureWriter) -> Iterator[VideoFeatures]:
        """The videos that the store lacks, while captions and split files are put aside."""
        self.widths = {name: info.dim for name, info in writer.store.experts.items()}
        for found in source.files(_size_limit):
            if isinstance(found, UnreadableFile):
                self.report.failed.append(found)
            elif not found.name.endswith(".h5"):
                self._read_list(found)
            elif (video := self._read_video(found, writer)) is not None:
                yield video
            # After the yield: what the observer is told of is with the writer.
            if self.observer is not None:
                self.observer(self.report, source.position)

    def _read_video(self, file: SourceFile, writer: FeatureWriter) -> VideoFeatures | None:
        """The video of one file; None if the store has it, or if it cannot be read."""
        name = PurePosixPath(file.name).stem
        self.dataset = self.dataset or dataset_from_path(file.name)
        published = self.dataset.widths if self.dataset else {}
        experts = list(published or WIDTHS) if self.options.experts is None else self.options.experts
        identities = {expert: f"{expert}|{VERSION}|||" for expert in experts}
        # Widths of experts that gave nothing: as seen in other videos, else as published.
        widths = {**WIDTHS, **published, **self.widths}
        try:
            if name in self.ids:
                raise DamagedError(f"is a second file of {name}; the first is kept")
            data = file.read()
            content = hashlib.sha256(data).hexdigest()
            new = bool(writer.todo(name, content, identities))
            # Of a video that is in the store the captions alone are read: they are in no store.
            found = self.reader.read(data, identities if new else (), widths)
        except (OSError, DamagedError) as error:
            self.report.failed.append(UnreadableFile(file.path, _reason(error)))
            return None
        self.ids.add(name)
        self.report.videos += 1
        self.report.skipped += not new
        self.report.left_out.update(set(found.left_out) - set(identities))
        self.spool.add(name, found.captions)
        for warning in found.warnings:
            self.videos_with_warning.setdefault(warning, []).append(name)
        there = {expert: t.features.shape[1] for expert, t in found.tokens.items() if len(t)}
        self.widths |= there
        for expert, width in there.items():
            self.videos_of_width.setdefault(expert, {}).setdefault(width, []).append(name)
        if new and not there and not found.left_out:
            self.videos_with_warning.setdefault("no expert has any rows", []).append(name)
        if not new:
            return None
        return VideoFeatures(
            id=name,
            path=file.path,
            content_hash=content,
            size=file.size,
            mtime_ns=file.mtime_ns,
            duration_s=found.duration_s,
            decoder="mmt",
            warnings=found.warnings,
            tokens=found.tokens,
            identities={expert: identities[expert] for expert in found.tokens},
        )

    def read_lists(self, source: MmtSource) -> None:
        """Take split files from another place; they count before those of the source itself."""
        from_source, self.lists = self.lists, {}
        for found in source.files(lambda name: None if name.endswith(".h5") else _size_limit(name)):
            if isinstance(found, UnreadableFile):
                self.report.failed.append(found)
            else:
                self._read_list(found)
        self.lists = {**from_source, **self.lists}

    def _read_list(self, file: SourceFile) -> None:
        name = PurePosixPath(file.name).name
        try:
            data = file.read()
            if name in TEST_CAPTION_FILES:
                self.chosen = read_number_table(data)
                return
        except (OSError, DamagedError) as error:
            self.report.failed.append(UnreadableFile(file.path, _reason(error)))
            return
        videos = listed_videos(name, data)
        if self.lists.setdefault(name, videos) != videos:
            self.report.warnings.append(f"{file.path}: differs from another {name}, which was read first and counts")

    def write_captions(self) -> None:
        """Write the caption file of the chosen split, and of each other split beside it."""
        report, path = self.report, self.options.captions
        dataset = self.dataset or dataset_from_split_files(self.lists)
        report.dataset = dataset.name if dataset else None
        splits = self._complete_splits(dataset)
        if splits:
            report.split, report.recipe = splits[0].name, splits[0].recipe
        else:
            report.captions.append(write_captions(self.spool, path))
            report.warnings.append("no split files found: the captions have no split (--lists FOLDER)")
        for split in splits:
            own = path if split is splits[0] else path.with_name(f"{path.stem}-{split.name}{path.suffix}")
            report.captions.append(
                write_captions(self.spool, own, split, listed=self.lists, chosen=self.chosen),
            )
        report.warnings += [warning for file in report.captions for warning in file.warnings]
        for expert, by_width in self.videos_of_width.items():
            usual = max(by_width, key=lambda width: len(by_width[width]))
            for width in sorted(set(by_width) - {usual}):
                warning = f"{expert}: {width} wide, where others are {usual} wide and a model takes one width alone"
                self.videos_with_warning[warning] = by_width[width]
        for warning, names in self.videos_with_warning.items():
            some = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
            report.warnings.append(f"{warning}: {len(names):,} video{'s' * (len(names) != 1)}: {some}")

    def _complete_splits(self, dataset: MmtDataset | None) -> list[MmtSplit]:
        """The splits whose lists are there, the one asked for first.

        Raises:
            NotFoundError: not all lists of the one asked for are there.
        """
        wanted, every = self.options.split, dataset.splits if dataset else ()
        complete = [split for split in every if set(split.lists.values()) <= set(self.lists)]
        if wanted is not None and wanted not in [split.name for split in complete]:
            lists = [name for split in every if split.name == wanted for name in split.lists.values()]
            missing = ", ".join(name for name in lists if name not in self.lists)
            raise NotFoundError(
                f"{self.path}: the split files {missing or 'of ' + wanted} are not there; the features are imported, "
                "captions are not written",
                "hcq import mmt PATH --lists FOLDER, and --dataset NAME if it is not told from their names",
            )
        return sorted(complete, key=lambda split: split.name != wanted)


def _reason(error: OSError | DamagedError) -> str:
    return error.message if isinstance(error, DamagedError) else (error.strerror or str(error))


def _size_limit(name: str) -> int | None:
    """Of interest are videos, split files, and the choice of test captions."""
    last = PurePosixPath(name).name
    if last.endswith(".h5") and not last.startswith("."):
        return MAX_FILE_BYTES
    return MAX_LIST_BYTES if last in SPLIT_FILES or last in TEST_CAPTION_FILES else None


def _asked_dataset(options: MmtOptions) -> MmtDataset | None:
    """The data set asked for, or the only one that has the split asked for.

    Raises:
        UsageError: it has no such split.
    """
    if options.dataset is None and options.split is None:
        return None
    candidates = [dataset_named(options.dataset)] if options.dataset else list(DATA_SETS)
    if options.split is None:
        return candidates[0]
    having = [each for each in candidates if options.split in [split.name for split in each.splits]]
    if not having:
        known = ", ".join(split.name for split in candidates[0].splits)
        raise UsageError(f"{candidates[0].name} has no split {options.split!r}", f"--split {known}")
    return having[0] if len(having) == 1 else None
