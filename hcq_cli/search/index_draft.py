"""The generation of an index that is being made: its segments, what has died in them, and how it is published.

Nothing that readers can see changes before `publish` writes the manifest: until then there are only files that no
generation names, and the next writer clears those of one that was killed.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hcq_cli.codes.codefile import CodeFile
from hcq_cli.codes.container import read_digest
from hcq_cli.codes.ids import video_of
from hcq_cli.errors import HcqError
from hcq_cli.files import digest_file
from hcq_cli.headers import decode
from hcq_cli.model.exported_text_encoder import ExportedTextEncoder
from hcq_cli.packed_strings import PackedStrings
from hcq_cli.search.index import Index
from hcq_cli.search.ivf import InvertedLists
from hcq_cli.search.manifest import REMEDY, IndexManifest, TextEncoderEntry, generations
from hcq_cli.search.segment import IndexSegment, write_tombstones
from hcq_cli.search.segment_columns import ColumnsSource, write_columns
from hcq_cli.search.segment_writer import write_segment
from hcq_cli.words.sentences import Sentence
from hcq_cli.writer_lock import another_writer

if TYPE_CHECKING:
    from hcq_cli.search.sentence_vectors import SentenceVectors

Progress = Callable[[int], None]
"""Told how many videos have just been written."""
DATA_FILE = re.compile(
    r"(?:quantizer|partition|tower|segment|tombstones|columns|own|words|vectors)-(\d{8,})(?:-.*)?\.(?:hcq|db)"
)
"""Names of what a generation is made of, and the number of that which was being made then."""
Encoding = Callable[[int, int], None]
"""Told how many sentences are encoded, of how many."""
WriteSegments = Callable[[Sequence[tuple[Path, Path]], Path | None, Progress], None]
"""Has segments written: of each code file where its segment goes, and the file of the lists that they lie by."""
TextEncoderExporter = Callable[[Path, str], TextEncoderEntry | None]
"""Puts the model's text encoder into the folder of an index, given what the names of its new files end in."""
SentencesOf = Callable[[str, str], Iterable[Sentence]]
"""What is said, shown and told of a video, by its id and path."""


@dataclass(frozen=True)
class IndexChange:
    """What a writer did.

    Args:
        index: its folder.
        generation: that was published.
        videos: that a search can find now, or captions.
        rows: that are theirs; more where videos have time segments.
        added: rows written.
        removed: rows that died: removed, or replaced by a later row of the same video.
        segments: there are now.
        unknown: ids that were to be removed and are not there.
        kind: of what the index holds: videos or texts.
    """

    index: Path
    generation: int
    videos: int
    rows: int
    added: int
    removed: int
    segments: int
    unknown: tuple[str, ...] = ()
    kind: str = "videos"


@dataclass
class IndexDraft:
    """The generation being made: its segments, and how many rows were added and died on the way.

    Args:
        after: the generation that this one will follow; 0 for none.
        suffix: what the names of its files end in (`new_suffix`).
        subquantizers: S.
        ivf: the inverted lists that all segments lie by, or None.
        segments: so far, in the order of their rows, each with an array of what is dead in it; what their entries
            say of tombstones holds until more rows die.
        columns: where those of new videos come from; None for no columns.
        sentences_of: gives the words of the videos that are added; None for no words.
        known: sentence vectors that there are already: what they hold is not made again.
    """

    folder: Path
    after: int
    suffix: str
    subquantizers: int
    ivf: InvertedLists | None = None
    segments: list[IndexSegment] = field(default_factory=list)
    added: int = 0
    removed: int = 0
    columns: ColumnsSource | None = None
    sentences_of: SentencesOf | None = None
    known: Sequence[SentenceVectors] = ()

    @classmethod
    def of(cls, index: Index, after: int, suffix: str) -> IndexDraft:
        """The segments of an index, to be changed."""
        segments = [segment.without(np.zeros(segment.videos, bool)) for segment in index.segments]
        known = [segment.vectors for segment in index.segments if segment.vectors is not None]
        return cls(index.path, after, suffix, index.header.S, ivf=index.ivf, segments=segments, known=known)

    def path(self, kind: str, number: int | None = None, ending: str = "hcq") -> Path:
        """The path of a new file of a kind: the one of that kind, or one of several, counted from 0."""
        return self.folder / f"{kind}-{self.suffix}{'' if number is None else f'-{number:03d}'}.{ending}"

    def open_segment(self, path: Path) -> IndexSegment:
        """Take a segment that has been written into the draft."""
        segment = IndexSegment(path, self.subquantizers, self.ivf.lists if self.ivf else 0)
        segment.dead = np.zeros(segment.videos, bool)
        self.segments.append(segment)
        return segment

    def append_verified(
        self, files: Sequence[CodeFile], progress: Progress, elsewhere: WriteSegments | None = None
    ) -> None:
        """Add a segment for each code file, while another thread checks every byte of the files.

        Args:
            files: of the codes.
            progress: told the videos written.
            elsewhere: who writes the segments; None for this process.

        Raises:
            DamagedError: a file is damaged.
        """
        # Reading twice at once costs little: both read the same pages of the file cache, and checksums drop the GIL.
        with ThreadPoolExecutor(1) as pool:
            checks = [pool.submit(file.verify) for file in files]
            try:
                if elsewhere is not None:
                    paths = [(file.path, self.path("segment", number)) for number, file in enumerate(files)]
                    elsewhere(paths, self.path("partition") if self.ivf else None, progress)
                for number, file in enumerate(files):
                    path = self.path("segment", number)
                    if elsewhere is None:
                        write_segment(path, file, self.ivf, progress)
                    self._take(number, path)
            finally:
                for check in checks:
                    check.result()  # damage is the better explanation of whatever else went wrong

    def _take(self, number: int, path: Path) -> None:
        """Take in the segment of a code file, behind those that are there."""
        # Of a video that comes twice the later row lives, be the earlier one in this file or in one before.
        older = list(self.segments)
        newer = self.open_segment(path)
        if self.columns is not None:
            write_columns(columns := self.path("columns", number), newer, self.columns)
            newer.entry = replace(newer.entry, columns=columns.name)
        self.added += newer.videos
        self._mark_dead(newer, newer.replaced_within())
        for segment in older:
            self._mark_dead(segment, segment.replaced_by(newer))
        if self.sentences_of is not None:
            self.write_words(newer, number, _sentences(newer, self.sentences_of))

    def write_words(self, segment: IndexSegment, number: int, sentences: Iterable[tuple[int, Sentence]]) -> None:
        """Give a segment its table of words: sentences, each with the row of its video."""
        from hcq_cli.words.table import write_words

        path = self.path("words", number, "db")
        if count := write_words(path, sentences):
            segment.entry = replace(segment.entry, words=path.name, sentences=count)

    def write_vectors(self, encoder: ExportedTextEncoder, encoding: Encoding) -> None:
        """Give segments that have words and no sentence vectors theirs, by the encoder of the index to be."""
        from hcq_cli.search.sentence_vectors import write_sentence_vectors
        from hcq_cli.words.table import WordsTable

        for number, segment in enumerate(self.segments):
            if not segment.entry.wants_vectors:
                continue
            table = WordsTable(self.folder / segment.entry.words, segment.entry.sentences, "hcq index build")
            path = self.path("vectors", number)
            count = write_sentence_vectors(path, table, encoder, self.known, encoding)
            segment.entry = replace(segment.entry, vectors=path.name if count else "", telling=count)
            table.close()

    def remove(self, video_id: str) -> int:
        """Mark a video as dead; gives how many of its rows were alive."""
        wanted = PackedStrings.of([video_id])
        return sum(self._mark_dead(segment, segment.rows_of(wanted)) for segment in self.segments)

    def _mark_dead(self, segment: IndexSegment, rows: np.ndarray) -> int:
        assert segment.dead is not None
        fresh = rows[~segment.dead[rows]]
        if len(fresh):
            segment.dead[fresh] = True
            segment.entry = replace(segment.entry, tombstones="")
        self.removed += len(fresh)
        return len(fresh)

    def publish(self, manifest: IndexManifest) -> IndexChange:
        """Name the segments in a new generation, without those that are dead altogether; clear what is not needed.

        Raises:
            LockedError: another writer has published since: nothing of this one is seen.
        """
        entries = []
        for number, segment in enumerate(self.segments):
            assert segment.dead is not None
            removed = int(segment.dead.sum())
            if removed == segment.videos:
                continue  # its file is no longer named, and goes below
            # A file of tombstones is never changed: where more rows have died since, a new one takes its place.
            tombstones = segment.entry.tombstones
            if removed and not tombstones:
                write_tombstones(path := self.path("tombstones", number), segment.dead)
                tombstones = path.name
            items = segment.count_videos()
            entries.append(replace(segment.entry, removed=removed, tombstones=tombstones, items=items))
        manifest, known = replace(manifest, segments=tuple(entries)), manifest.digests
        digests = {name: known.get(name) or _digest(self.folder / name) for name in manifest.files()}
        body = replace(manifest, digests=digests).to_json()
        # Last of all: until the manifest is there, readers see the generation before.
        held = generations(self.folder)
        published = held.publish(body, after=self.after)
        # Where locks exclude nobody, another writer may have cleared what it took for a killed one's.
        if not all((self.folder / name).is_file() for name in digests):
            held.path(published.generation).unlink()
            raise another_writer(self.folder)
        with suppress(OSError):  # it is done; what is left goes with the next
            clear_unnamed(self.folder)
        return IndexChange(
            self.folder,
            published.generation,
            videos=sum(entry.items or 0 for entry in entries),
            rows=sum(entry.rows - entry.removed for entry in entries),
            added=self.added,
            removed=self.removed,
            segments=len(entries),
            kind=manifest.header.kind,
        )


def _sentences(segment: IndexSegment, sentences_of: SentencesOf) -> Iterator[tuple[int, Sentence]]:
    """The sentences of a segment's videos, each with the first row of its video."""
    firsts = segment.first_rows
    for row in np.flatnonzero(firsts == np.arange(len(firsts))).tolist():
        id, path = segment.name(row)
        for sentence in sentences_of(video_of(id), path):
            yield row, sentence


def _digest(path: Path) -> str:
    """The digest of a file as the manifest names it: of a database the bytes, of our own files what they say."""
    return digest_file(path, links=False) if path.suffix == ".db" else read_digest(path)


def new_suffix(generation: int) -> str:
    """What the names of a writer's files end in: the number of the generation to be, and what no other writer has.

    So nobody writes over what another is writing, even on a file system whose locks exclude nobody. The text side
    holds its own name, by which its graph says where the weights lie: in that, and in digests of it, two builds of
    the same codes differ, and in nothing else.
    """
    return f"{generation:08d}-{secrets.token_hex(4)}"


def clear_unnamed(folder: Path, coming: str | None = None) -> None:
    """Delete data files that none of the kept generations names; open readers have theirs mapped.

    Args:
        coming: a part of the names of those files of generations still to come that shall go, too; None for none.
            They may be another writer's where locks exclude nobody.
    """
    held, named = generations(folder), set()
    numbers = held.numbers()
    for number in numbers:
        # A damaged old generation names nothing that anybody could open any more.
        with suppress(HcqError):
            named.update(decode(IndexManifest, held.read(number).body, folder, REMEDY).files())
    for path in [*folder.glob("*.hcq"), *folder.glob("*.db")]:
        found = DATA_FILE.fullmatch(path.name)
        if found is None or path.name in named:
            continue
        if int(found[1]) > max(numbers, default=0) and (coming is None or coming not in path.name):
            continue
        if held.numbers() != numbers:  # somebody has just published, perhaps this very file
            return
        with suppress(FileNotFoundError):
            path.unlink()
