"""The generation of an index that is being made: its segments, what has died in them, and how it is published.

Nothing that readers can see changes before `publish` writes the manifest: until then there are only files that no
generation names, and the next writer clears those of one that was killed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from hcq_cli.codes.codefile import CodeFile
from hcq_cli.errors import HcqError, NotFoundError
from hcq_cli.packed_strings import PackedStrings
from hcq_cli.search.index import Index, IndexManifest, SegmentEntry, generations
from hcq_cli.search.ivf import InvertedLists
from hcq_cli.search.segment import IndexSegment, write_tombstones
from hcq_cli.search.segment_writer import Batch, write_listed_segment, write_segment

Progress = Callable[[int], None]
"""Told how many videos have just been written."""
DATA_FILES = ("quantizer-*.hcq", "partition-*.hcq", "tower-*.hcq", "segment-*.hcq", "tombstones-*.hcq")


@dataclass(frozen=True)
class IndexChange:
    """What a writer did.

    Args:
        index: its folder.
        generation: that was published.
        videos: that a search can find now.
        added: rows written.
        removed: rows that died: removed, or replaced by a later row of the same video.
        segments: there are now.
        unknown: ids that were to be removed and are not there.
        kind: of what the index holds: videos or texts.
    """

    index: Path
    generation: int
    videos: int
    added: int
    removed: int
    segments: int
    unknown: tuple[str, ...] = ()
    kind: str = "videos"


@dataclass
class DraftSegment:
    """A segment of the generation being made, and what is dead in it, bool [N]."""

    segment: IndexSegment
    dead: np.ndarray
    tombstones: str = ""
    """The file that says so; empty while it has not been written yet."""


@dataclass
class IndexDraft:
    """The generation being made: its segments, and how many rows were added and died on the way.

    Args:
        folder: of the index.
        generation: its number.
        subquantizers: S.
        ivf: the inverted lists that all segments lie by, or None.
        segments: so far, in the order of their rows.
    """

    folder: Path
    generation: int
    subquantizers: int
    ivf: InvertedLists | None
    segments: list[DraftSegment]
    added: int = 0
    removed: int = 0

    @classmethod
    def of(cls, index: Index, generation: int) -> IndexDraft:
        """The segments of an index, to be changed."""
        segments = [
            DraftSegment(segment, np.zeros(segment.videos, bool) if dead is None else dead, entry.tombstones)
            for (segment, dead), entry in zip(index.segments, index.manifest.segments, strict=True)
        ]
        return cls(index.path, generation, index.header.S, index.ivf, segments)

    def segment_path(self, number: int) -> Path:
        """The path of new segment `number` of this generation, counted from 0."""
        return self.folder / f"segment-{self.generation:08d}-{number:03d}.hcq"

    def open_segment(self, path: Path) -> DraftSegment:
        """Take a segment that has been written into the draft."""
        segment = IndexSegment(path, self.subquantizers, self.ivf.lists if self.ivf else 0)
        self.segments.append(DraftSegment(segment, np.zeros(segment.videos, bool)))
        return self.segments[-1]

    def append_verified(self, files: Sequence[CodeFile], progress: Progress) -> None:
        """Add a segment for each code file, while another thread checks every byte of the files.

        Raises:
            DamagedError: a file is damaged; what was written meanwhile is deleted.
        """
        # Reading twice at once costs little: both read the same pages of the file cache, and checksums drop the GIL.
        with ThreadPoolExecutor(1) as pool:
            checks = [pool.submit(file.verify) for file in files]
            try:
                try:
                    for number, file in enumerate(files):
                        self._append(number, file, progress)
                finally:
                    for check in checks:
                        check.result()  # damage is the better explanation of whatever else went wrong
            except BaseException:
                clear_unnamed(self.folder)
                raise

    def _append(self, number: int, file: CodeFile, progress: Progress) -> None:
        def batches() -> Iterator[Batch]:
            for batch in file.batches():
                yield batch
                progress(len(batch[0]))

        path = self.segment_path(number)
        if self.ivf is None:
            write_segment(path, self.subquantizers, batches())
        else:
            assign = partial(self.ivf.assign, codebooks=file.codebooks)
            lists = self.ivf.lists
            write_listed_segment(path, self.subquantizers, batches(), videos=len(file), lists=lists, assign=assign)
        # Of a video that comes twice the later row lives, be the earlier one in this file or in one before.
        older = list(self.segments)
        newer = self.open_segment(path)
        self.added += newer.segment.videos
        self._mark_dead(newer, newer.segment.replaced_within())
        for part in older:
            self._mark_dead(part, part.segment.replaced_by(newer.segment))

    def remove(self, video_id: str) -> int:
        """Mark a video as dead; gives how many of its rows were alive."""
        wanted = PackedStrings.of([video_id])
        return sum(self._mark_dead(part, part.segment.rows_of(wanted)) for part in self.segments)

    def _mark_dead(self, part: DraftSegment, rows: np.ndarray) -> int:
        fresh = rows[~part.dead[rows]]
        if len(fresh):
            part.dead[fresh] = True
            part.tombstones = ""
        self.removed += len(fresh)
        return len(fresh)

    def publish(self, manifest: IndexManifest) -> IndexChange:
        """Name the segments in a new generation, without those that are dead altogether; clear what is not needed."""
        entries = []
        for number, part in enumerate(self.segments):
            removed = int(part.dead.sum())
            if removed == part.segment.videos:
                continue  # its file is no longer named, and goes below
            # A file of tombstones is never changed: where more rows have died since, a new one takes its place.
            if removed and not part.tombstones:
                part.tombstones = f"tombstones-{self.generation:08d}-{number:03d}.hcq"
                write_tombstones(self.folder / part.tombstones, part.dead)
            entries.append(SegmentEntry(part.segment.path.name, part.segment.videos, removed, part.tombstones))
        # Last of all: until the manifest is there, readers see the generation before.
        generations(self.folder).publish(replace(manifest, segments=tuple(entries)).to_json())
        clear_unnamed(self.folder)
        return IndexChange(
            self.folder,
            self.generation,
            videos=sum(entry.videos - entry.removed for entry in entries),
            added=self.added,
            removed=self.removed,
            segments=len(entries),
            kind=manifest.header.kind,
        )


def clear_unnamed(folder: Path) -> None:
    """Delete data files that none of the kept generations names; open readers have theirs mapped."""
    held, named = generations(folder), set()
    for number in held.numbers():
        # A damaged old generation names nothing that anybody could open any more.
        with suppress(HcqError, NotFoundError):
            named.update(IndexManifest.from_json(held.read(number).body, folder).files())
    for pattern in DATA_FILES:
        for path in folder.glob(pattern):
            if path.name not in named:
                with suppress(FileNotFoundError):
                    path.unlink()
