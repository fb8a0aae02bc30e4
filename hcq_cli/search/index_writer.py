"""The index as its one writer sees it: build, add, remove, compact.

Each makes new immutable files and then publishes a generation that names them; a kill at any instant leaves the
last generation as it was, and the next writer clears what was left behind.
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
from hcq_cli.codes.strings import PackedStrings
from hcq_cli.errors import HcqError, ModelMismatchError, NotFoundError, UsageError
from hcq_cli.files import remove_leftovers, writer_lock
from hcq_cli.scan.blocks import Blocks
from hcq_cli.scan.kernels import default_threads
from hcq_cli.search.index import QUANTIZER, Content, Entry, Index, TextEncoderEntry, generations
from hcq_cli.search.ivf import InvertedLists, write_partition
from hcq_cli.search.ivf_training import TuningQueries, learn, lists_for, noisy_videos, sample, tune
from hcq_cli.search.segment import Batch, Segment, replaced_by, write_tombstones
from hcq_cli.search.segment_writer import merge_listed, merge_segments, write_listed, write_segment

WAIT_S = 30.0
"""How long a writer waits for another, seconds."""
Progress = Callable[[int], None]
"""Told how many videos have just been written."""
TextEncoderExporter = Callable[[Path, int], TextEncoderEntry | None]
"""Puts the model's text side into the folder of an index, given the number of the generation that will name it."""


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
class _Part:
    """A segment of the generation being made, and what is dead in it, bool [N]."""

    segment: Segment
    dead: np.ndarray
    tombstones: str = ""

    @property
    def source(self) -> Blocks:
        """For a scan."""
        return replace(self.segment.blocks, dead=self.dead)

    def bury(self, rows: np.ndarray) -> int:
        """Mark rows as dead; gives how many were alive."""
        fresh = rows[~self.dead[rows]]
        if len(fresh):
            self.dead[fresh] = True
            self.tombstones = ""
        return len(fresh)


def build(
    folder: Path,
    code_paths: Sequence[Path],
    *,
    partitions: int | None = 0,
    queries: Callable[[], TuningQueries | None] = lambda: None,
    progress: Progress = lambda _: None,
    wait_s: float = WAIT_S,
    text_encoder: TextEncoderExporter = lambda folder, generation: None,
) -> IndexChange:
    """Make an index of code files, in place of whatever index the folder holds.

    Of a video that comes more than once, in whatever stretches, the last file's codes are kept.

    Args:
        folder: of the index.
        code_paths: all of one model.
        partitions: how many lists to make; 0 for none, None for what suits so many videos.
        queries: gives those to choose with how many lists a query looks into; without any, videos with noise serve.
        progress: told the videos written.
        wait_s: how long to wait for another writer, seconds.
        text_encoder: brings the text side of the model; without it queries load the checkpoint.

    Raises:
        NotFoundError, DamagedError: a code file is missing or damaged.
        ModelMismatchError: they are of different models.
        LockedError: another writer is at work.
    """
    files = _open_all(code_paths)
    with _writing(folder, wait_s) as generation:
        content, partition = _first_content(folder, generation, files[0]), None
        videos = sum(len(file) for file in files)
        lists = min(lists_for(videos) if partitions is None else partitions, videos)
        if lists:
            some = sample(files, lists)
            partition = learn(some, files[0].codebooks, files[0].scale, lists)
        parts: list[_Part] = []
        with _verified(folder, files):
            counted = _append(folder, generation, parts, files, progress, partition)
        if partition is not None:
            asked = queries() or noisy_videos(some, files[0].codebooks, files[0].header.levels)
            partition = _tuned(partition, parts, files[0], asked)
            content = replace(content, ivf=f"partition-{generation:08d}.hcq")
            write_partition(folder / content.ivf, partition)
        content = replace(content, text_encoder=text_encoder(folder, generation))
        return _counted(_publish(folder, generation, content, parts), counted)


def add(
    folder: Path,
    code_paths: Sequence[Path],
    *,
    progress: Progress = lambda _: None,
    wait_s: float = WAIT_S,
    text_encoder: TextEncoderExporter = lambda folder, generation: None,
) -> IndexChange:
    """Add code files to an index; a video that is there already is replaced, with all its stretches, however each
    of the two was cut. The arguments are those of `build`.

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
        parts = _parts(index)
        with _verified(folder, files):
            counted = _append(folder, generation, parts, files, progress, index.ivf)
        content = index.content
        if content.text_encoder is None:  # the checkpoint could not be found when it was built
            content = replace(content, text_encoder=text_encoder(folder, generation))
        return _counted(_publish(folder, generation, content, parts), counted)


def remove(folder: Path, ids: Iterable[str], *, wait_s: float = WAIT_S) -> IndexChange:
    """Make videos unfindable, with all their stretches; their codes go with the next `compact`.

    Raises:
        NotFoundError: there is no index.
        LockedError: another writer is at work.
    """
    with _writing(folder, wait_s) as generation:
        index = Index.open(folder)
        parts, unknown, removed = _parts(index), [], 0
        for video_id in dict.fromkeys(ids):
            wanted = PackedStrings.of([video_id])
            died = sum(part.bury(part.segment.rows_of(wanted)) for part in parts)
            removed += died
            if not died:
                unknown.append(video_id)
        if not removed:
            return IndexChange(folder, index.generation, index.videos, 0, 0, len(parts), tuple(unknown))
        change = _publish(folder, generation, index.content, parts)
        return replace(change, removed=removed, unknown=tuple(unknown))


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

        path = _segment_path(folder, generation, 0)
        if index.ivf is None:
            merge_segments(path, index.header.S, index.segments, progress)
        else:
            merge_listed(path, index.header.S, index.segments, index.ivf.lists, progress)
        return _publish(folder, generation, index.content, [_opened(path, index.header.S, index.ivf)])


@contextmanager
def _writing(folder: Path, wait_s: float) -> Iterator[int]:
    """Hold the writer lock; gives the number of the generation to be made."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file, an index is a folder")
    with writer_lock(folder, wait_s=wait_s):
        remove_leftovers(folder)
        numbers = generations(folder).numbers()
        yield (numbers[-1] if numbers else 0) + 1


def _open_all(code_paths: Sequence[Path]) -> list[CodeFile]:
    if not code_paths:
        raise UsageError("no code files given", "hcq index build CODES")
    files = [open_codes(path) for path in code_paths]
    for file in files:
        _same_model(file.path, file.header, files[0].header, str(files[0].path))
    return files


@contextmanager
def _verified(folder: Path, files: list[CodeFile]) -> Iterator[None]:
    """Check every byte of code files while they are being read for the index; nothing is published before it is done.

    Raises:
        DamagedError: one is damaged; what was written meanwhile is deleted.
    """
    with ThreadPoolExecutor(1) as pool:
        checks = [pool.submit(file.verify) for file in files]
        try:
            try:
                yield
            finally:
                for check in checks:
                    check.result()  # damage is the better explanation of whatever else went wrong
        except BaseException:
            _clear(folder)
            raise


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


def _parts(index: Index) -> list[_Part]:
    return [
        _Part(segment, np.zeros(segment.videos, bool) if dead is None else dead, entry.tombstones)
        for (segment, dead), entry in zip(index.segments, index.content.segments, strict=True)
    ]


def _append(
    folder: Path,
    generation: int,
    parts: list[_Part],
    files: list[CodeFile],
    progress: Progress,
    partition: InvertedLists | None,
) -> tuple[int, int]:
    """Add a segment for each file to `parts`; gives how many rows were written, and how many died of them."""
    added = replaced = 0
    for number, file in enumerate(files):
        newer = _write(_segment_path(folder, generation, number), file, partition, progress)
        replaced += newer.bury(newer.segment.replaced_within())
        replaced += sum(part.bury(replaced_by(newer.segment, part.segment)) for part in parts)
        parts.append(newer)
        added += newer.segment.videos
    return added, replaced


def _tuned(partition: InvertedLists, parts: list[_Part], file: CodeFile, queries: TuningQueries) -> InvertedLists:
    segments, sources = [part.segment for part in parts], [part.source for part in parts]
    return tune(partition, segments, sources, file.codebooks, file.scale, queries, threads=default_threads())


def _counted(change: IndexChange, counted: tuple[int, int]) -> IndexChange:
    return replace(change, added=counted[0], removed=counted[1])


def _batches(file: CodeFile, progress: Progress) -> Iterator[Batch]:
    for codes, ids, paths in file.batches():
        yield Batch(codes, ids, paths)
        progress(len(ids))


def _first_content(folder: Path, generation: int, file: CodeFile) -> Content:
    """Write the quantizer of a new index."""
    name = f"quantizer-{generation:08d}.hcq"
    checkpoint = next((path for path in file.checkpoints if path.is_dir()), Path(file.header.checkpoint))
    header = replace(file.header, checkpoint=str(checkpoint.resolve()))
    with ContainerWriter(folder / name, QUANTIZER, asdict(header)) as writer:
        writer.add("codebooks", file.codebooks, "<f4")
        writer.add("scale", file.scale, "<f4")
    return Content(header, relative_to(header.checkpoint, folder), name, ())


def _segment_path(folder: Path, generation: int, number: int) -> Path:
    return folder / f"segment-{generation:08d}-{number:03d}.hcq"


def _write(path: Path, file: CodeFile, partition: InvertedLists | None, progress: Progress) -> _Part:
    subquantizers, batches = file.header.S, _batches(file, progress)
    if partition is None:
        write_segment(path, subquantizers, batches)
    else:
        assign = partial(partition.assign, codebooks=file.codebooks)
        write_listed(path, subquantizers, batches, len(file), partition.lists, assign)
    return _opened(path, subquantizers, partition)


def _opened(path: Path, subquantizers: int, partition: InvertedLists | None) -> _Part:
    segment = Segment(path, subquantizers, partition.lists if partition else 0)
    return _Part(segment, np.zeros(segment.videos, bool))


def _publish(folder: Path, generation: int, content: Content, parts: list[_Part]) -> IndexChange:
    """Name the parts in a new generation, without those that are dead altogether, and clear what no reader needs."""
    entries = []
    for number, part in enumerate(parts):
        removed = int(part.dead.sum())
        if removed == part.segment.videos:
            continue
        if removed and not part.tombstones:
            part.tombstones = f"tombstones-{generation:08d}-{number:03d}.hcq"
            write_tombstones(folder / part.tombstones, part.dead)
        entries.append(Entry(part.segment.path.name, part.segment.videos, removed, part.tombstones))
    generations(folder).publish(replace(content, segments=tuple(entries)).to_json())
    _clear(folder)
    videos = sum(entry.videos - entry.removed for entry in entries)
    return IndexChange(folder, generation, videos, 0, 0, len(entries))


def _clear(folder: Path) -> None:
    """Delete data files that none of the kept generations names; open readers have theirs mapped."""
    held, named = generations(folder), set()
    for number in held.numbers():
        with suppress(HcqError, NotFoundError):
            named.update(Content.from_json(held.read(number).body, folder).files())
    for pattern in ("quantizer-*.hcq", "partition-*.hcq", "tower-*.hcq", "segment-*.hcq", "tombstones-*.hcq"):
        for path in folder.glob(pattern):
            if path.name not in named:
                with suppress(FileNotFoundError):
                    path.unlink()
