"""The batches in which a collection is encoded, and by which one sees what of it has changed.

A code depends on its batch in the last bit, because sums of floats come out differently in other company. So what was
encoded before is taken over by whole batches or not at all, and then the file is the same, bit by bit, as if all were
encoded anew. For that a video more or less may not move all batches behind it: they are cut by the ids themselves, as
programs that back up files cut these by their content. A new video changes its batch and those up to the next cut.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hcq_cli.codes.codefile import CodeFile, CodeHeader, open_codes, source_of
from hcq_cli.datasets.dataset import has_tokens, rows_by_id
from hcq_cli.datasets.segments import LOOK, SHOTS, WHOLE, Cutting
from hcq_cli.errors import HcqError
from hcq_cli.features.store import FeatureStore
from hcq_cli.model.video_model import VideoModel

VIDEOS_AT_ONCE = 64
CUT_EVERY = 128
"""One video in so many begins a batch whatever comes before it: batches have 50 videos in the mean, and one new video
has some 130 encoded."""
ENCODING_VERSION = 1
"""Of how features become codes. Codes that another version made of the same features are not taken over."""


class VideoBatches:
    """The videos of `store` that have any feature the model knows, in the order of their ids, in batches.

    Args:
        model: loaded from a folder.
        store: of the features.
        cutting: into which segments longer videos are cut.
        without: ids of videos that were taken out of the collection.

    Attributes:
        experts: those of the store that the model knows.
        source: what a code file of them notes (`CodeFile.source`).
        videos: how many there are.
        left_out: int64 [n], the rows of the store that have no token of any expert.

    Raises:
        HcqError: the store lacks every expert of the model.
    """

    def __init__(
        self, model: VideoModel, store: FeatureStore, cutting: Cutting = WHOLE, without: Collection[str] = ()
    ) -> None:
        self.model, self.store, self.cutting = model, store, cutting
        self.experts = model.config.known_experts(store.experts)
        self.source = source_of(store.digest, asdict(cutting), without)
        every = rows_by_id(store, without)
        # No code rather than one of nothing: a video without tokens would be as near to one query as to any other.
        seen = np.asarray(has_tokens(store, every, self.experts).any(1))
        self._rows, self.left_out = every[seen], every[~seen]
        self.videos = len(self._rows)
        newest = store.newest[self._rows]
        self._durations = store.column("videos/duration_s")[newest]
        keys = [store.column(f"videos/{name}")[newest] for name in ("key", "path_key", "content_key")]
        self._facts = np.column_stack([*keys, self._durations.view(np.uint64)])
        self._begins = _begins(keys[0])
        used = [*self.experts, *(name for name in (SHOTS, LOOK) if cutting.shots and name in store.experts)]
        self._states = np.column_stack([store.latest(name).state[self._rows] for name in used])
        # A graphics card rounds otherwise than a processor, and torch otherwise than onnxruntime.
        device = str(getattr(model, "device", "exported"))
        about = [(name, store.experts[name].dim, store.experts[name].identity) for name in used]
        self._of_all = hashlib.blake2b(
            repr((ENCODING_VERSION, model.hash, device, asdict(cutting), about)).encode(), digest_size=16
        )

    def __len__(self) -> int:
        """How many batches."""
        return len(self._begins) - 1

    def rows(self, first: int, last: int | None = None) -> NDArray[np.int64]:
        """Rows of the store in batch `first`, or in those up to `last`, which is not among them."""
        return self._rows[self._begins[first] : self._begins[first + 1 if last is None else last]]

    def hours(self, first: int, last: int) -> float:
        """How long the videos of these batches are together, as far as that is known."""
        durations = self._durations[self._begins[first] : self._begins[last]]
        return float(durations[durations > 0].sum()) / 3600

    def digest(self, number: int) -> bytes:
        """What says whether a batch was made of the very same, 16 bytes."""
        part, state = slice(self._begins[number], self._begins[number + 1]), self._of_all.copy()
        state.update(self._facts[part].tobytes() + self._states[part].tobytes())
        return state.digest()


def _begins(keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Where batches of videos begin, by the keys of their ids [N]: int64 [batches + 1], the last N."""
    places = np.arange(len(keys))
    last_cut = np.maximum.accumulate(np.where(keys % np.uint64(CUT_EVERY) == 0, places, 0))
    return np.append(np.flatnonzero((places - last_cut) % VIDEOS_AT_ONCE == 0), len(keys))


KnownBatches = dict[bytes, tuple[CodeFile, slice]]
"""Batches that code files hold, by their digests: the file and which of its rows."""


def known_batches(paths: Iterable[Path], header: CodeHeader) -> KnownBatches:
    """The batches in code files of one model.

    Args:
        paths: of the files; those that are not there, or cannot be trusted to the last byte, are passed over.
        header: what codes they must be.
    """
    known: KnownBatches = {}
    for path in paths:
        with suppress(HcqError):
            file = open_codes(path)
            if replace(file.header, checkpoint=header.checkpoint) == header and (found := file.encoded_batches()):
                file.verify()
                known |= {digest: (file, rows) for digest, rows in found.items()}
    return known
