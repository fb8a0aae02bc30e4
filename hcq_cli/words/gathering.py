"""Where the words of a collection come from: the store's transcripts, files beside the videos, captions and names."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from hcq_cli.codes.codefile import CodeFile
from hcq_cli.datasets.captions import read_captions
from hcq_cli.datasets.matching import match
from hcq_cli.errors import HcqError
from hcq_cli.features.store import FeatureStore
from hcq_cli.features.transcripts import Transcripts, transcripts_digest
from hcq_cli.words.sentences import SOURCES, Sentence, one_line
from hcq_cli.words.sidecars import forget_folders, read_sidecar, sidecars_of


class CollectionWords:
    """The words of the videos of a collection, read anew.

    Args:
        store: the features of the collection, or None.
        captions: files of captions; those that are not there count for nothing.
        warn: told of what cannot be read; it costs only itself.
    """

    def __init__(
        self, store: FeatureStore | None, captions: Sequence[Path] = (), warn: Callable[[str], None] = lambda _: None
    ) -> None:
        self._store, self._warn = store, warn
        self._caption_files = [path for path in dict.fromkeys(captions) if path.is_file()]
        forget_folders()

    def sentences_of(self, id: str, path: str) -> Iterator[Sentence]:
        """What is said, shown and told of a video.

        Args:
            id: of the video.
            path: of its file.
        """
        yield Sentence(one_line(os.path.splitext(id)[0]), "name")  # noqa: PTH122 - an id may be no path
        for caption in self._captions.get(id, ()):
            yield Sentence(one_line(caption), "caption")
        yield from self._transcribed(id)
        for sidecar in sidecars_of(path):
            try:
                yield from read_sidecar(sidecar)
            except (HcqError, OSError) as error:
                message = error.message if isinstance(error, HcqError) else f"{sidecar.path}: {error.strerror}"
                self._warn(f"{message}; its words are left out")

    def digest_of(self, file: CodeFile) -> str:
        """SHA-256, as hex, of what the words of a code file's videos are read from, by size and time."""
        state = sha256(transcripts_digest(self._store.folder).encode() if self._store else b"")
        for path in self._caption_files:
            state.update(_facts(path))
        last = ""
        for video in file.paths:
            if video != last:  # the segments of a video follow each other
                for sidecar in sidecars_of(video):
                    state.update(_facts(Path(sidecar.path)))
            last = video
        return state.hexdigest()

    def _transcribed(self, id: str) -> Iterator[Sentence]:
        row = self._store.row(id) if self._store else None
        if row is None or self._store is None:
            return
        for expert, words in self._transcripts.of(self._store.facts(row).content_hash).items():
            if expert in SOURCES:
                for start_s, end_s, text in words:
                    yield Sentence(one_line(text), expert, max(start_s, 0.0), max(end_s, start_s, 0.0))

    @cached_property
    def _transcripts(self) -> Transcripts:
        assert self._store is not None
        return Transcripts(self._store.folder)

    @cached_property
    def _captions(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        store = self._store
        for path in self._caption_files if store is not None else ():
            assert store is not None
            try:
                captions = read_captions(path)
                matched = match(captions, store)
            except HcqError as error:
                self._warn(f"{error.message}; its captions are left out of the words")
                continue
            if captions.left_out:
                self._warn(captions.left_out)
            for row, video in zip(matched.rows.tolist(), matched.captioned, strict=True):
                found.setdefault(store.ids[row], []).extend(video.captions)
        return found


def _facts(path: Path) -> bytes:
    """A file's path, size and time of change."""
    with suppress(OSError):
        found = path.stat()
        return json.dumps([os.fsdecode(path), found.st_size, found.st_mtime_ns]).encode()
    return b""
