"""Writing an index: build, add, remove, compact.

Each makes new immutable files and then publishes a generation that names them; a kill at any instant leaves the last
generation as it was, and the next writer clears what was left behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from hcq_cli.codes.codefile import CodeFile, CodeHeader, relative_to
from hcq_cli.codes.container import ContainerWriter
from hcq_cli.cores import cores
from hcq_cli.errors import HcqError, ModelMismatchError, NotFoundError, UsageError
from hcq_cli.files import remove_leftovers
from hcq_cli.model.exported_text_encoder import ExportedTextEncoder
from hcq_cli.search import chance
from hcq_cli.search.index import QUANTIZER, Index
from hcq_cli.search.index_draft import (
    Encoding,
    IndexChange,
    IndexDraft,
    Progress,
    TextEncoderExporter,
    WriteSegments,
    clear_unnamed,
    new_suffix,
)
from hcq_cli.search.ivf import UNTUNED, write_lists
from hcq_cli.search.ivf_training import TuningQueries, learn, lists_for, noisy_videos, sample, tune
from hcq_cli.search.manifest import IndexManifest, generations
from hcq_cli.search.segment_columns import ColumnsSource, merge_columns
from hcq_cli.search.segment_writer import merge_segments
from hcq_cli.search.sentence_vectors import clear_kept
from hcq_cli.words.sentences import Sentence
from hcq_cli.writer_lock import another_writer, writer_lock


class Words(Protocol):
    """Where the words of videos come from."""

    def sentences_of(self, id: str, path: str, /) -> Iterable[Sentence]:
        """What is said, shown and told of a video."""
        ...

    def digest_of(self, file: CodeFile, /) -> str:
        """SHA-256, as hex, of all that the words of a code file's videos are read from: another one, other words."""
        ...


@dataclass(frozen=True)
class IndexSources:
    """What comes into an index beside codes, and who is told how far that is.

    Args:
        text_encoder: brings the text encoder of the model; without it queries load the checkpoint.
        without: ids of videos that shall not be found though the code files hold them.
        columns: what is known of the videos, for filters; None for nothing.
        words: where the words of the videos come from; None for none.
        progress: told how many videos have just been written.
        encoding: told how many captions and names are sentence vectors, of how many.
    """

    text_encoder: TextEncoderExporter = lambda folder, suffix: None
    without: Iterable[str] = ()
    columns: ColumnsSource | None = None
    words: Words | None = None
    progress: Progress = lambda videos: None
    encoding: Encoding = lambda done, total: None


WAIT_S = 30.0
"""How long a writer waits for another, seconds."""


def build(
    folder: Path,
    files: Sequence[CodeFile],
    sources: IndexSources = IndexSources(),
    *,
    lists: int | None = 0,
    queries: Callable[[], TuningQueries | None] = lambda: None,
    wait_s: float = WAIT_S,
    elsewhere: WriteSegments | None = None,
) -> IndexChange:
    """Make an index of code files, in place of whatever index the folder holds.

    Of a video that comes more than once, however it was cut into segments, the last file's codes are kept.

    Args:
        files: of codes, all of one model.
        sources: what else the index is made of.
        lists: how many inverted lists to make; 0 for none, None for a number that suits the number of videos.
        queries: gives those to choose with how many lists a query looks into; without any, videos with noise serve.
        wait_s: how long to wait for another writer, seconds.
        elsewhere: who writes the segments, which are the same bytes; None for this process.

    Raises:
        DamagedError: a code file is damaged.
        ModelMismatchError: they are of different models.
        LockedError: another writer is at work.
    """
    _same_models(files)
    with _writing(folder, wait_s) as (newest, suffix):
        draft = IndexDraft(folder, newest, suffix, files[0].header.S, columns=sources.columns)
        draft.sentences_of = sources.words.sentences_of if sources.words else None
        if newest:
            with suppress(HcqError):  # a damaged index that is built anew
                draft.known = [each.vectors for each in Index.open(folder).segments if each.vectors is not None]
        manifest = _write_quantizer(draft, files[0])
        videos = sum(len(file) for file in files)
        lists = min(lists_for(videos) if lists is None else lists, videos)
        if lists:
            some = sample(files, lists)
            draft.ivf = learn(some, files[0].codebooks, files[0].scale, lists)
            if elsewhere is not None:
                write_lists(draft.path("partition"), replace(draft.ivf, tuning=UNTUNED))
        draft.append_verified(files, sources.progress, elsewhere)
        if draft.ivf is not None:
            asked = queries() or noisy_videos(some, files[0].codebooks, files[0].header.levels)
            tuned = tune(draft.ivf, draft.segments, asked, files[0].codebooks, files[0].scale, threads=cores())
            path = draft.path("partition")
            write_lists(path, tuned)
            manifest = replace(manifest, ivf=path.name)
        text_encoder, own = sources.text_encoder(folder, suffix), _keep_own(draft)
        return _publish(draft, replace(manifest, text_encoder=text_encoder, own_columns=own), files, sources)


def add(
    folder: Path,
    files: Sequence[CodeFile],
    sources: IndexSources = IndexSources(),
    *,
    wait_s: float = WAIT_S,
) -> IndexChange:
    """Add code files to an index; a video that is there already is replaced, with all its segments, however each of
    the two was cut. The arguments are those of `build`.

    Raises:
        NotFoundError: there is no index.
        DamagedError: a file is damaged.
        ModelMismatchError: the codes are of another model than the index.
        LockedError: another writer is at work.
    """
    _same_models(files)
    with _writing(folder, wait_s) as (newest, suffix):
        index = Index.open(folder)
        for file in files:
            _same_model(file, index.header, f"the index {folder}")
        draft = replace(IndexDraft.of(index, newest, suffix), columns=sources.columns)
        draft.sentences_of = sources.words.sentences_of if sources.words else None
        for name, kind in (sources.columns.kinds if sources.columns else {}).items():
            if (held := index.columns.kinds.get(name, kind)) != kind:
                raise UsageError(f"the column {name} is a {held} in {folder}, and a {kind} here", "hcq index build")
        draft.append_verified(files, sources.progress)
        manifest = index.manifest
        if draft.columns and draft.columns.own:
            manifest = replace(manifest, own_columns=_keep_own(draft))
        if manifest.text_encoder is None:  # the checkpoint could not be found when it was built
            manifest = replace(manifest, text_encoder=sources.text_encoder(folder, suffix))
        return _publish(draft, manifest, files, sources)


def _publish(
    draft: IndexDraft, manifest: IndexManifest, files: Sequence[CodeFile], besides: IndexSources
) -> IndexChange:
    """Publish what was made of code files, and name these."""
    replaced = draft.removed
    for video_id in besides.without:
        draft.remove(video_id)
    named, words = {relative_to(str(file.path), draft.folder): file for file in files}, besides.words
    sources = {name: file.digest for name, file in named.items()}
    words_of = {name: words.digest_of(file) for name, file in named.items()} if words else {}
    drift = {name: file.drift for name, file in named.items() if file.drift is not None}
    manifest = replace(
        manifest,
        sources=manifest.sources | sources,
        # Of a file that was there before what was known does not count any more.
        words_of={name: old for name, old in manifest.words_of.items() if name not in named} | words_of,
        drift={name: old for name, old in manifest.drift.items() if name not in named} | drift,
    )
    _write_vectors(draft, manifest, besides.encoding)
    change = draft.publish(_with_chance(draft, manifest, files[0].codebooks, files[0].scale))
    clear_kept(draft.folder)
    # Rows that shall not be found count as never added, not as replaced by others.
    return replace(change, added=change.added - (change.removed - replaced), removed=replaced)


def _with_chance(
    draft: IndexDraft, manifest: IndexManifest, codebooks: np.ndarray, scale: np.ndarray
) -> IndexManifest:
    """The manifest with the chance scores of what it will hold, where its text side has generic sentences alone."""
    if manifest.text_encoder is None:
        return replace(manifest, chance=None)
    try:
        encoder = ExportedTextEncoder(draft.folder / manifest.text_encoder.file)
        if encoder.chance_scores is None or encoder.made_up is not None:
            return replace(manifest, chance=None)
        generic = encoder.generic_queries()
    except HcqError:  # searching will say it; a damaged text side must not keep videos from being removed
        return manifest
    if generic is None:
        return replace(manifest, chance=None)
    parts = [replace(segment.blocks, dead=segment.dead) for segment in draft.segments]
    return replace(manifest, chance=chance.measure(parts, generic, codebooks, scale, encoder.chance_scores))


def remove(folder: Path, ids: Iterable[str]) -> IndexChange:
    """Make videos unfindable, with all their segments; their codes go with the next `compact`.

    Raises:
        NotFoundError: there is no index.
        LockedError: another writer is at work.
    """
    with _writing(folder) as (newest, suffix):
        index = Index.open(folder)
        draft = IndexDraft.of(index, newest, suffix)
        # Each id once: a second time its rows are dead already, and it would count as unknown.
        unknown = [video_id for video_id in dict.fromkeys(ids) if not draft.remove(video_id)]
        if not draft.removed:
            change = IndexChange(
                folder, index.generation, index.videos, index.rows, added=0, removed=0, segments=len(index.segments)
            )
        else:
            change = draft.publish(_with_chance(draft, index.manifest, index.codebooks, index.scale))
        return replace(change, unknown=tuple(unknown))


def compact(folder: Path, *, progress: Progress = lambda _: None) -> IndexChange:
    """Merge all segments into one without the dead rows; the order of the rows stays.

    Raises:
        NotFoundError: there is no index.
        DamagedError: a segment is damaged.
        LockedError: another writer is at work.
    """
    with _writing(folder) as (newest, suffix):
        index = Index.open(folder)
        index.verify()  # damage must not be sealed under fresh checksums
        draft = replace(IndexDraft.of(index, newest, suffix), segments=[])
        path = draft.path("segment", 0)
        merge_segments(path, index.header.S, index.segments, index.ivf.lists if index.ivf else 0, progress)
        merged = draft.open_segment(path)
        if index.columns.kinds:
            held = list(zip(index.segments, index.columns.files, strict=True))
            merge_columns(columns := draft.path("columns", 0), held)
            merged.entry = replace(merged.entry, columns=columns.name)
        if index.sentences:
            draft.write_words(merged, 0, _living_sentences(index))
        _write_vectors(draft, index.manifest, lambda done, total: None)
        change = draft.publish(index.manifest)
        clear_kept(folder)
        return change


def _write_vectors(draft: IndexDraft, manifest: IndexManifest, encoding: Encoding) -> None:
    """Write the sentence vectors of segments that have none yet, where the index has a text encoder for them."""
    if manifest.text_encoder is None or not any(segment.entry.wants_vectors for segment in draft.segments):
        return
    try:
        encoder = ExportedTextEncoder(draft.folder / manifest.text_encoder.file, lasting=True, threads=cores())
        if encoder.chance_scores is None:  # of a trained model: its captions are what it learned by
            return
        encoder.prepare()
    except HcqError:  # searching will say it
        return
    draft.write_vectors(encoder, encoding)


def _living_sentences(index: Index) -> Iterator[tuple[int, Sentence]]:
    """The sentences of an index without those of dead videos, each with the first row of its video in one segment."""
    before = 0
    for segment in index.segments:
        living = np.flatnonzero(segment.alive)
        # By the first row of a video, where its sentences are, the new number of its first living one: of a video
        # that comes twice in a file the first row is dead.
        rows = np.full(segment.videos, -1)
        rows[segment.first_rows[living[::-1]]] = before + np.arange(len(living))[::-1]
        for row, sentence in segment.words.everything() if segment.words else ():
            if row < segment.videos and rows[row] >= 0:
                yield int(rows[row]), sentence
        before += len(living)


def _keep_own(draft: IndexDraft) -> str:
    """Keep the user's own columns with the index; gives the name of the file, empty for none."""
    if draft.columns is None or draft.columns.own is None:
        return ""
    draft.columns.own.write(path := draft.path("own"))
    return path.name


@contextmanager
def _writing(folder: Path, wait_s: float = WAIT_S) -> Iterator[tuple[int, str]]:
    """Hold the writer lock; gives the newest generation, 0 for none, and what the names of new files end in.

    What was written is deleted again where the block fails before it publishes.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file, an index is a folder")
    with writer_lock(folder, wait_s=wait_s):
        remove_leftovers(folder)  # temporary files of a writer that was killed
        clear_unnamed(folder, "")  # what a killed writer left
        newest = max(generations(folder).numbers(), default=0)
        suffix = new_suffix(newest + 1)
        try:
            yield newest, suffix
        except BaseException as error:
            with suppress(OSError):  # the failure itself is what matters
                clear_unnamed(folder, suffix)
            overtaken = max(generations(folder).numbers(), default=0) != newest
            if overtaken and isinstance(error, FileNotFoundError | NotFoundError):
                raise another_writer(folder) from error  # whose clearing took what was being written here
            raise


def _same_models(files: Sequence[CodeFile]) -> None:
    if not files:
        raise UsageError("no code files given", "hcq index build CODES")
    for file in files:
        _same_model(file, files[0].header, str(files[0].path))


def _same_model(file: CodeFile, other: CodeHeader, holder: str) -> None:
    path, header = file.path, file.header
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


def _write_quantizer(draft: IndexDraft, file: CodeFile) -> IndexManifest:
    """Write the quantizer of a new index; gives what its manifest says so far."""
    path = draft.path("quantizer")
    # Where it is now, not where it was when the codes were made: the two may have moved together.
    checkpoint = next((path for path in file.checkpoints if path.is_dir()), Path(file.header.checkpoint))
    header = replace(file.header, checkpoint=str(checkpoint.resolve()))
    with ContainerWriter(path, QUANTIZER, asdict(header)) as writer:
        writer.add("codebooks", file.codebooks, "<f4")
        writer.add("scale", file.scale, "<f4")
    return IndexManifest(header, relative_to(header.checkpoint, draft.folder), path.name, ())
