"""Codes made in parts, by runs that share the work: `hcq encode --shard I/N`.

A part is so many videos of the collection in the order of their ids, whatever the number of runs, and a code file of
its own. Its name is made of the model, the features and how videos are cut, so a part that was made of anything else
is not taken; who makes one twice writes the same bytes. The next encoding of the whole puts all parts together and
makes those that are missing: the file is the same, bit by bit, as where one run makes it.

    codes.hcq.parts/6f0c…-000000003.hcq
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hcq_cli import files
from hcq_cli.codes.codefile import CodeFile, CodeWriter, open_codes, source_of
from hcq_cli.codes.ids import segment_times
from hcq_cli.datasets.dataset import rows_by_id
from hcq_cli.datasets.segments import WHOLE, Cutting
from hcq_cli.errors import DamagedError, NotFoundError
from hcq_cli.features.store import FeatureStore
from hcq_cli.model.encoding import (
    VIDEOS_AT_ONCE,
    EncodeResult,
    Progress,
    encode_store,
    expert_warnings,
    header,
    left_out_warnings,
)
from hcq_cli.model.video_model import VideoModel
from hcq_cli.shares import Share

PART_VIDEOS = 16 * VIDEOS_AT_ONCE
"""Whole batches: a code depends on its batch in the last bit."""


class CodeParts:
    """The parts of the code file that a model makes of a store.

    Args:
        model: loaded from a folder.
        store: of the features.
        path: of the code file.
        cutting: into which segments longer videos are cut.
        without: ids of videos that were taken out of the collection.
    """

    def __init__(
        self,
        model: VideoModel,
        store: FeatureStore,
        path: Path,
        cutting: Cutting = WHOLE,
        without: Collection[str] = (),
    ) -> None:
        self._model, self._store, self._path = model, store, path
        self._cutting, self._without = cutting, without
        self._source = source_of(store.digest(), cutting.to_json(), without)
        self._name = files.digest_bytes(repr((model.hash, sorted(self._source.items()))).encode())[:16]
        self.folder = path.with_name(f"{path.name}.parts")

    @cached_property
    def _rows(self) -> NDArray[np.int64]:
        # Not in the beginning: where there are no parts, nobody asks.
        return rows_by_id(self._store, self._without)

    def __len__(self) -> int:
        """How many parts there are."""
        return -(-len(self._rows) // PART_VIDEOS)

    def there_are_any(self) -> bool:
        """Whether some run has made a part."""
        return self.folder.is_dir() and any(self.folder.glob(f"{self._name}-*.hcq"))

    def encode_share(self, share: Share, done: Progress = lambda count: None) -> EncodeResult:
        """Make the parts of a share, those that are not there yet."""
        started, made = time.monotonic(), [part for part in range(len(self)) if share.has(part)]
        opened = [self._made(part, done) for part in made]
        return self._result(self.folder, opened, started)

    def join(self, done: Progress = lambda count: None, *, drift: float | None = None) -> EncodeResult:
        """Put all parts together, and make those that are not there; the parts are deleted then."""
        started, opened = time.monotonic(), [self._made(part, done) for part in range(len(self))]
        model, source = self._model, self._source
        with CodeWriter(
            self._path, header(model, "videos"), model.codebooks, model.scale, source, drift=drift
        ) as writer:
            for file in opened:
                for codes, ids, paths in file.batches():
                    writer.append(list(ids), list(paths), codes)
        result = self._result(self._path, opened, started)
        files.remove_folder(self.folder)
        return result

    def _made(self, part: int, done: Progress) -> CodeFile:
        """A part, made if it is not there or is damaged."""
        path = self.folder / f"{self._name}-{part:09d}.hcq"
        rows = self._rows[part * PART_VIDEOS : (part + 1) * PART_VIDEOS]
        try:
            file = open_codes(path)
            file.verify()
            done(len(rows))
        except (NotFoundError, DamagedError):
            self.folder.mkdir(parents=True, exist_ok=True)
            encode_store(
                self._model, self._store, path, done, cutting=self._cutting, without=self._without, rows=rows
            )
            file = open_codes(path)
        return file

    def _result(self, path: Path, parts: list[CodeFile], started: float) -> EncodeResult:
        seconds_of_video, items = 0.0, 0
        for id in _videos_in(parts):
            row, items = self._store.row(id), items + 1
            seconds_of_video += max(self._store.video(row).duration_s, 0.0) if row is not None else 0.0
        left_out = len(self._rows) - items if path == self._path else 0
        warnings = [*self._store.warnings, *expert_warnings(self._model, self._store), *left_out_warnings(left_out)]
        return EncodeResult(
            path,
            "videos",
            items=items,
            rows=sum(map(len, parts)),
            seconds=time.monotonic() - started,
            model=self._model.hash,
            config=self._model.config,
            hours=seconds_of_video / 3600,
            without_features=left_out,
            warnings=warnings,
        )


def _videos_in(parts: list[CodeFile]) -> Iterator[str]:
    for file in parts:
        yield from (id for id in file.ids if segment_times(id) is None)
