"""The index as readers see it: one generation of a folder, whole, mapped into memory.

    index/
      manifest-00000003.json       model, quantizer, segments and tombstones of generation 3
      quantizer-….hcq              codebooks and scale
      partition-….hcq              inverted lists, where the index has them (ivf.py)
      tower-….hcq                  the text encoder of the model, where it could be exported
      segment-00000001-….hcq       immutable (segment.py)
      tombstones-00000003-….hcq    rows of a segment that were removed or replaced
      columns-00000001-….hcq       duration, folder, date… of a segment's rows (columns/)
      own-00000001-….hcq           the user's own columns, of whatever videos
      words-00000001-….db          what is said, shown and told of a segment's videos (words/table.py)
      vectors-00000001-….hcq       captions and names among these as sentence vectors (sentence_vectors.py)

The manifest names each of them with its digest, so that a file of another build is not taken for the right one.

As in a log-structured merge tree, files are never changed: adding makes a segment, removing makes tombstones,
compacting merges segments, and each then publishes a generation that names its files (index_writer.py). Everything a
generation names stays mapped, so a reader goes on with its generation while a writer works.
"""

from __future__ import annotations

import bisect
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from hcq_cli.codes.codefile import read_quantizer
from hcq_cli.codes.container import Container
from hcq_cli.columns.columns_file import ColumnsFile
from hcq_cli.columns.own_columns import OwnColumns, read_copy
from hcq_cli.errors import DamagedError, NotFoundError
from hcq_cli.files import need_regular
from hcq_cli.generations import Manifest
from hcq_cli.headers import decode
from hcq_cli.model.exported_text_encoder import ExportedTextEncoder
from hcq_cli.packed_strings import PackedStrings
from hcq_cli.scan.blocks import Blocks
from hcq_cli.scan.topk import TopK
from hcq_cli.search.ivf import InvertedLists, list_sizes, read_lists
from hcq_cli.search.manifest import REMEDY, VERSION, IndexManifest, SegmentEntry, generations
from hcq_cli.search.segment import IndexSegment, TimedRows, read_tombstones
from hcq_cli.search.segment_columns import IndexColumns

QUANTIZER = "hcq-quantizer"


class Index:
    """One generation of an index, open for searching.

    Args:
        manifest: the generation.

    Attributes:
        header: the model that made the codes, and their sizes.
        codebooks: float32 [S, K, d].
        scale: float32 [S].
        ivf: the inverted lists its segments lie by, or None.
        rows: that a search can find.
        sentences: in the tables of words, those of removed videos included.
        checkpoints: where the model may lie: as seen from the index, then where it was.
        segments: with what is dead in each, its words and its sentence vectors.
        missing: its segments, in groups, that the last search could not reach (groups.py).
        find_elsewhere: finds its best rows as `query.find` does, where others scan it; None where nobody does.

    Raises:
        NotFoundError: a file of the generation is gone.
        DamagedError: a file is damaged.
    """

    format_version = VERSION
    """Of the newest format that this hcq writes and reads."""
    missing: Sequence[range] = ()
    find_elsewhere: Callable[..., TopK] | None = None

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.path, self.generation = folder, manifest.generation
        self._stamp = manifest.stamp
        self.manifest = decode(IndexManifest, manifest.body, folder, REMEDY)
        for name in self.manifest.files():
            need_regular(folder / name)
        digest = self.manifest.digests.get
        quantizer, ivf = self.manifest.quantizer, self.manifest.ivf
        self._quantizer = Container(folder / quantizer, QUANTIZER, REMEDY, digest(quantizer, ""))
        self.header, self.codebooks, self.scale = read_quantizer(self._quantizer)
        # Said twice, so that a quantizer copied from another index is not taken for this one's.
        if self.header != self.manifest.header:
            raise DamagedError(f"{self._quantizer.path}: belongs to another model than the manifest", REMEDY)
        self.ivf: InvertedLists | None = None
        if ivf:
            self.ivf = read_lists(folder / ivf, self.header, self.scale, digest(ivf, ""))
        self.segments = [self._open_segment(entry) for entry in self.manifest.segments]
        self.rows = sum(entry.rows - entry.removed for entry in self.manifest.segments)
        self.sentences = sum(entry.sentences for entry in self.manifest.segments)
        self.checkpoints = [folder / self.manifest.checkpoint_relative, Path(self.header.checkpoint)]
        # Rows count through all segments: the first row of each, and one after the last.
        self._firsts = np.cumsum([0, *(segment.videos for segment in self.segments)]).tolist()

    def _open_segment(self, entry: SegmentEntry) -> IndexSegment:
        """Open a segment, and its words and vectors: they are read when words are asked for, and a writer may drop
        the files before."""
        digest, lists = self.manifest.digests.get, self.ivf.lists if self.ivf else 0
        segment = IndexSegment(self.path / entry.file, self.header.S, lists, digest(entry.file, ""))
        if segment.videos != entry.rows:
            found = f"{segment.videos} rows, the manifest says {entry.rows}"
            raise DamagedError(f"{segment.path}: {found}", REMEDY)
        segment.entry = entry
        if entry.tombstones:
            segment.dead = read_tombstones(self.path / entry.tombstones, segment.videos, digest(entry.tombstones, ""))
        if entry.words:
            from hcq_cli.words.table import WordsTable

            segment.words = WordsTable(self.path / entry.words, entry.sentences, REMEDY, digest(entry.words, ""))
        if entry.vectors:
            from hcq_cli.search.sentence_vectors import SentenceVectors

            segment.vectors = SentenceVectors(self.path / entry.vectors, digest(entry.vectors, ""))
        return segment

    @classmethod
    def open(cls, folder: Path) -> Index:
        """Open the newest generation.

        Raises:
            NotFoundError: there is no index.
            DamagedError: a file is damaged, foreign, missing, or of a newer version.
        """
        folder, held = Path(folder), generations(folder)
        if folder.is_file():
            hint = f"search codes without an index: hcq query --codes {shlex.quote(str(folder))}"
            raise NotFoundError(f"{folder}: is a file, an index is a folder", hint)
        while True:
            manifest = held.read()
            if manifest.generation == 0:
                raise NotFoundError(f"{folder}: no index there", REMEDY)
            try:
                return cls(folder, manifest)
            except NotFoundError as error:
                # A writer may have dropped an old file after the manifest was read; then there is a newer one.
                if held.numbers()[-1:] == [manifest.generation]:
                    raise DamagedError(f"{error.message} (it belongs to the index)", REMEDY) from error

    def is_newest(self) -> bool:
        """Whether there is no other generation by now, be it a newer one or that of an index built anew."""
        return generations(self.path).stamp() == self._stamp

    def sources(self, *, by_video: bool = False) -> list[Blocks]:
        """The segments for `kernels.scan`: of every row, or of each video the best row (`Blocks.owners`)."""
        cut = by_video and self.header.kind == "videos" and self.videos < self.rows
        return [
            replace(segment.blocks, dead=segment.dead, owners=segment.owners if cut else None)
            for segment in self.segments
        ]

    def list_starts(self) -> list[np.ndarray]:
        """Where each list begins in each segment, int64 [lists+1]; empty where the index has no lists."""
        return [segment.list_starts for segment in self.segments if segment.list_starts is not None]

    def list_sizes(self) -> np.ndarray:
        """Videos in each list, int64 [lists]; removed ones count."""
        return list_sizes(self.list_starts(), self.ivf.lists if self.ivf else 0)

    @cached_property
    def columns(self) -> IndexColumns:
        """What is known of its videos, for filters. Raises DamagedError."""
        files: list[ColumnsFile | None] = []
        for entry in self.manifest.segments:
            digest = self.manifest.digests.get(entry.columns, "")
            path = self.path / entry.columns
            files.append(ColumnsFile(path, entry.rows, digest) if entry.columns else None)
        return IndexColumns(self.segments, files)

    def own_columns(self) -> OwnColumns | None:
        """The user's own columns, which new videos are joined with, if there are any. Raises DamagedError."""
        name = self.manifest.own_columns
        return read_copy(self.path / name, self.manifest.digests.get(name, "")) if name else None

    def values(self, row: int, names: Sequence[str]) -> dict[str, float | bool | str | None]:
        """What is known of a row, by column."""
        at = bisect.bisect_right(self._firsts, row) - 1
        return self.columns.values(at, row - self._firsts[at], names)

    def name(self, row: int) -> tuple[str, str]:
        """Id and path of a row, counted through all segments."""
        at = bisect.bisect_right(self._firsts, row) - 1
        return self.segments[at].name(row - self._firsts[at])

    def id(self, row: int) -> str:
        """Id of a row."""
        return self.name(row)[0]

    def codes(self, rows: Sequence[int]) -> np.ndarray:
        """Codes uint8 [n, S] of rows."""
        wanted = np.array(rows, np.int64)
        if len(self.segments) == 1:
            return self.segments[0].codes_of(wanted)
        found = np.empty((len(wanted), self.header.S), np.uint8)
        owners = np.searchsorted(self._firsts, wanted, "right") - 1
        for owner in np.unique(owners).tolist():
            found[owners == owner] = self.segments[owner].codes_of(wanted[owners == owner] - self._firsts[owner])
        return found

    def rows_of(self, item_id: str) -> list[int]:
        """The living rows of a video, of a segment of one or of a caption; of a video in segments all of them."""
        wanted, found = PackedStrings.of([item_id]), []
        for segment, first in zip(self.segments, self._firsts, strict=False):
            rows = segment.rows_of(wanted)
            found += (first + (rows if segment.dead is None else rows[~segment.dead[rows]])).tolist()
        return found

    def segments_of(self, rows: Sequence[int]) -> list[TimedRows]:
        """The living time segments of the video that each of some rows is of, in one index segment."""
        wanted, found = np.array(rows, np.int64), [TimedRows([], [], [])] * len(rows)
        if len(self.segments) == 1:
            return self.segments[0].segments_of(wanted)
        owners = np.searchsorted(self._firsts, wanted, "right") - 1
        for owner in np.unique(owners).tolist():
            segment, first = self.segments[owner], self._firsts[owner]
            places = np.flatnonzero(owners == owner)
            for at, cut in zip(places.tolist(), segment.segments_of(wanted[places] - first), strict=True):
                found[at] = replace(cut, rows=[row + first for row in cut.rows])
        return found

    def ids(self) -> Iterator[PackedStrings]:
        """The ids of the living rows, some at a time."""
        for segment in self.segments:
            yield from (ids for ids, _ in segment.names())

    def text_encoder(self, *, lasting: bool = False, threads: int = 1) -> ExportedTextEncoder | None:
        """The exported text encoder of the model, if there is one. Arguments and errors are those of its class."""
        if (entry := self.manifest.text_encoder) is None:
            return None
        digest = self.manifest.digests.get(entry.file, "")
        return ExportedTextEncoder(self.path / entry.file, lasting=lasting, threads=threads, digest=digest)

    def verify(self, progress: Callable[[int], None] = lambda _: None) -> None:
        """Check every byte of every file of the generation, and that all are of one model.

        Raises:
            DamagedError: naming the file.
        """
        self._quantizer.verify(progress)
        if self.manifest.ivf:
            read_lists(self.path / self.manifest.ivf, self.header, self.scale)  # which verifies it
        if (encoder := self.text_encoder()) is not None:
            encoder.file.verify(progress)
            if encoder.hash != self.header.model_hash:
                raise DamagedError(f"{encoder.source}: belongs to another model than the index", REMEDY)
        self.own_columns()  # which verifies it
        for file in self.columns.files:
            if file is not None:
                file.verify(progress)
        for segment in self.segments:
            if segment.words is not None:
                segment.words.verify()
            if segment.vectors is not None:
                segment.vectors.verify()
            segment.verify(progress)

    @cached_property
    def videos(self) -> int:
        """How many videos, or captions, a search can find: those that its rows are of."""
        # Of one segment alone: where a video comes again, its rows in older segments are dead.
        return sum(
            segment.count_videos() if segment.entry.items is None else segment.entry.items
            for segment in self.segments
        )

    @property
    def missing_rows(self) -> int:
        """How many rows the last search could not reach: those of the segments that are `missing`."""
        lost = [self.manifest.segments[at] for group in self.missing for at in group]
        return sum(entry.rows - entry.removed for entry in lost)

    @property
    def nbytes(self) -> int:
        """Bytes of the segments: what `verify` will tell its progress, nearly."""
        return sum(segment.nbytes for segment in self.segments)

    @property
    def removed(self) -> int:
        """Rows that cannot be found any more and go with the next `compact`."""
        return sum(entry.removed for entry in self.manifest.segments)

    @property
    def video_segments(self) -> int:
        """How many of the rows that can be found are time segments of a video."""
        return sum(segment.video_segments for segment in self.segments)

    @property
    def drift(self) -> float | None:
        """How far its videos have drifted from what their model was made of, see `CodeFile.drift`; None as there.

        Of several code files that of the one that has drifted most.
        """
        return max(self.manifest.drift.values(), default=None)

    @property
    def needs_refit(self) -> bool:
        """Whether that is so far that a model that is made anew finds more."""
        from hcq_cli.model.drift import REFIT

        return self.drift is not None and self.drift >= REFIT

    @property
    def disk_bytes(self) -> int:
        """Bytes of all files."""
        return sum((self.path / name).stat().st_size for name in self.manifest.files())
