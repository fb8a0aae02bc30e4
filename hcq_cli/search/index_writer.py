"""Writing an index: build, add, remove, compact.

Each makes new immutable files and then publishes a generation that names them; a kill at any instant leaves the last
generation as it was, and the next writer clears what was left behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from hcq_cli.codes.codefile import CodeFile, CodeHeader, open_codes, relative_to
from hcq_cli.codes.container import ContainerWriter
from hcq_cli.cores import cores
from hcq_cli.errors import HcqError, ModelMismatchError, NotFoundError, UsageError
from hcq_cli.files import remove_leftovers, writer_lock
from hcq_cli.packed_strings import PackedStrings
from hcq_cli.search.index import QUANTIZER, Index, IndexManifest, SegmentEntry, TextEncoderExporter, generations
from hcq_cli.search.ivf import InvertedLists, write_lists
from hcq_cli.search.ivf_training import TuningQueries, learn, lists_for, noisy_videos, sample, tune
from hcq_cli.search.segment import IndexSegment, write_tombstones
from hcq_cli.search.segment_writer import Batch, merge_segments, write_listed_segment, write_segment

WAIT_S = 30.0
"""How long a writer waits for another, seconds."""
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


def build(
    folder: Path,
    code_paths: Sequence[Path],
    *,
    lists: int | None = 0,
    queries: Callable[[], TuningQueries | None] = lambda: None,
    progress: Progress = lambda _: None,
    wait_s: float = WAIT_S,
    text_encoder: TextEncoderExporter = lambda folder, generation: None,
) -> IndexChange:
    """Make an index of code files, in place of whatever index the folder holds.

    Of a video that comes more than once, however it was cut into segments, the last file's codes are kept.

    Args:
        folder: of the index.
        code_paths: all of one model.
        lists: how many inverted lists to make; 0 for none, None for what suits so many videos.
        queries: gives those to choose with how many lists a query looks into; without any, videos with noise serve.
        progress: told the videos written.
        wait_s: how long to wait for another writer, seconds.
        text_encoder: brings the text encoder of the model; without it queries load the checkpoint.

    Raises:
        NotFoundError, DamagedError: a code file is missing or damaged.
        ModelMismatchError: they are of different models.
        LockedError: another writer is at work.
    """
    files = _open_all(code_paths)
    with _writing(folder, wait_s) as generation:
        manifest, ivf = _write_quantizer(folder, generation, files[0]), None
        videos = sum(len(file) for file in files)
        lists = min(lists_for(videos) if lists is None else lists, videos)
        if lists:
            some = sample(files, lists)
            ivf = learn(some, files[0].codebooks, files[0].scale, lists)
        draft = _Draft(folder, generation, files[0].header.S, ivf, [])
        draft.append_verified(files, progress)
        if ivf is not None:
            asked = queries() or noisy_videos(some, files[0].codebooks, files[0].header.levels)
            living = [(part.segment, part.dead) for part in draft.segments]
            ivf = tune(ivf, living, asked, files[0].codebooks, files[0].scale, threads=cores())
            manifest = replace(manifest, ivf=f"partition-{generation:08d}.hcq")
            write_lists(folder / manifest.ivf, ivf)
        manifest = replace(manifest, text_encoder=text_encoder(folder, generation))
        return draft.publish(manifest)


def add(
    folder: Path,
    code_paths: Sequence[Path],
    *,
    progress: Progress = lambda _: None,
    wait_s: float = WAIT_S,
    text_encoder: TextEncoderExporter = lambda folder, generation: None,
) -> IndexChange:
    """Add code files to an index; a video that is there already is replaced, with all its segments, however each of
    the two was cut. The arguments are those of `build`.

    Raises:
        NotFoundError: there is no index, or a code file is missing.
        DamagedError: a file is damaged.
        ModelMismatchError: the codes are of another model than the index.
        LockedError: another writer is at work.
    """
    files = _open_all(code_paths)
    with _writing(folder, wait_s) as generation:
        index = Index.open(folder)
        for file in files:
            _same_model(file.path, file.header, index.header, f"the index {folder}")
        draft = _Draft.of(index, generation)
        draft.append_verified(files, progress)
        manifest = index.manifest
        if manifest.text_encoder is None:  # the checkpoint could not be found when it was built
            manifest = replace(manifest, text_encoder=text_encoder(folder, generation))
        return draft.publish(manifest)


def remove(folder: Path, ids: Iterable[str], *, wait_s: float = WAIT_S) -> IndexChange:
    """Make videos unfindable, with all their segments; their codes go with the next `compact`.

    Raises:
        NotFoundError: there is no index.
        LockedError: another writer is at work.
    """
    with _writing(folder, wait_s) as generation:
        index = Index.open(folder)
        draft = _Draft.of(index, generation)
        # Each id once: a second time its rows are dead already, and it would count as unknown.
        unknown = [video_id for video_id in dict.fromkeys(ids) if not draft.remove(video_id)]
        if not draft.removed:
            change = IndexChange(folder, index.generation, index.videos, 0, removed=0, segments=len(index.segments))
        else:
            change = draft.publish(index.manifest)
        return replace(change, unknown=tuple(unknown))


def compact(folder: Path, *, progress: Progress = lambda _: None, wait_s: float = WAIT_S) -> IndexChange:
    """Merge all segments into one without the dead rows; the order of the rows stays.

    Raises:
        NotFoundError: there is no index.
        DamagedError: a segment is damaged.
        LockedError: another writer is at work.
    """
    with _writing(folder, wait_s) as generation:
        index = Index.open(folder)
        index.verify()  # damage must not be sealed under fresh checksums
        draft = _Draft(folder, generation, index.header.S, index.ivf, [])
        path = draft.segment_path(0)
        merge_segments(path, index.header.S, index.segments, index.ivf.lists if index.ivf else 0, progress)
        draft.open_segment(path)
        return draft.publish(index.manifest)


@contextmanager
def _writing(folder: Path, wait_s: float) -> Iterator[int]:
    """Hold the writer lock; gives the number of the generation to be made."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file, an index is a folder")
    with writer_lock(folder, wait_s=wait_s):
        remove_leftovers(folder)  # temporary files of a writer that was killed
        numbers = generations(folder).numbers()
        yield (numbers[-1] if numbers else 0) + 1


def _open_all(code_paths: Sequence[Path]) -> list[CodeFile]:
    if not code_paths:
        raise UsageError("no code files given", "hcq index build CODES")
    files = [open_codes(path) for path in code_paths]
    for file in files:
        _same_model(file.path, file.header, files[0].header, str(files[0].path))
    return files


def _same_model(path: Path, header: CodeHeader, other: CodeHeader, holder: str) -> None:
    if header.model_hash != other.model_hash:
        raise ModelMismatchError(
            f"{path}: codes of model {header.model_hash[:12]}, {holder} holds codes of model {other.model_hash[:12]}",
            "encode all videos with one checkpoint, then: hcq index build",
        )
    if header.kind != other.kind:
        raise UsageError(
            f"{path}: codes of {header.kind}, {holder} holds {other.kind}", "give them an index of their own"
        )
    if replace(header, checkpoint="") != replace(other, checkpoint=""):
        raise ModelMismatchError(f"{path}: codes of other sizes than {holder}", "encode again: hcq encode")


def _write_quantizer(folder: Path, generation: int, file: CodeFile) -> IndexManifest:
    """Write the quantizer of a new index; gives what its manifest says so far."""
    name = f"quantizer-{generation:08d}.hcq"
    # Where it is now, not where it was when the codes were made: the two may have moved together.
    checkpoint = next((path for path in file.checkpoints if path.is_dir()), Path(file.header.checkpoint))
    header = replace(file.header, checkpoint=str(checkpoint.resolve()))
    with ContainerWriter(folder / name, QUANTIZER, asdict(header)) as writer:
        writer.add("codebooks", file.codebooks, "<f4")
        writer.add("scale", file.scale, "<f4")
    return IndexManifest(header, relative_to(header.checkpoint, folder), name, ())


@dataclass
class _DraftSegment:
    """A segment of the generation being made, and what is dead in it, bool [N]."""

    segment: IndexSegment
    dead: np.ndarray
    tombstones: str = ""
    """The file that says so; empty while it has not been written yet."""


@dataclass
class _Draft:
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
    segments: list[_DraftSegment]
    added: int = 0
    removed: int = 0

    @classmethod
    def of(cls, index: Index, generation: int) -> _Draft:
        """The segments of an index, to be changed."""
        segments = [
            _DraftSegment(segment, np.zeros(segment.videos, bool) if dead is None else dead, entry.tombstones)
            for (segment, dead), entry in zip(index.segments, index.manifest.segments, strict=True)
        ]
        return cls(index.path, generation, index.header.S, index.ivf, segments)

    def segment_path(self, number: int) -> Path:
        """The path of new segment `number` of this generation, counted from 0."""
        return self.folder / f"segment-{self.generation:08d}-{number:03d}.hcq"

    def open_segment(self, path: Path) -> _DraftSegment:
        """Take a segment that has been written into the draft."""
        segment = IndexSegment(path, self.subquantizers, self.ivf.lists if self.ivf else 0)
        self.segments.append(_DraftSegment(segment, np.zeros(segment.videos, bool)))
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
                _clear(self.folder)
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

    def _mark_dead(self, part: _DraftSegment, rows: np.ndarray) -> int:
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
        _clear(self.folder)
        return IndexChange(
            self.folder,
            self.generation,
            videos=sum(entry.videos - entry.removed for entry in entries),
            added=self.added,
            removed=self.removed,
            segments=len(entries),
            kind=manifest.header.kind,
        )


def _clear(folder: Path) -> None:
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
