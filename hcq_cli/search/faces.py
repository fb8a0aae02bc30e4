"""People by example: which videos show the face of a picture, or of a second of a video.

The vectors of faces lie in the feature store where somebody asked for them by name: faces are biometric data
(experts/neural/hub.py). A video is as near as its nearest face, by the cosine with

    q = v / ‖v‖,   v = Σ_i w_i · f_i / ‖f_i‖,

for examples f_i that count w_i times each. A video is left out where it shows a face that is to be the same person's
as one of those that are not wanted, and is nearer to it than to every example. All vectors are compared, some videos
at a time: 5 bytes a video are kept, and no face.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experts.base import State
from hcq_cli.codes.ids import segment_id, video_of
from hcq_cli.errors import HcqError, NotFoundError, UsageError
from hcq_cli.features.records import Ragged, state_number
from hcq_cli.features.store import FeatureStore
from hcq_cli.model.config import ExpertConfig
from hcq_cli.packed_strings import PackedStrings
from hcq_cli.search.composing import ComposedSearch, compose, weighted
from hcq_cli.search.examples import locate
from hcq_cli.search.filtered import FilteredIndex
from hcq_cli.search.fusing import DEPTH, FoundFace, fused
from hcq_cli.search.index import Index
from hcq_cli.search.moments import Moment
from hcq_cli.search.query import Hit, QueryResult
from hcq_cli.search.sentence_vectors import of_unit_length
from hcq_cli.search.video_query import extract_tokens, match_experts

EXPERT = "face"
SAME_PERSON = 0.363
"""Cosine of SFace's vectors from which on two faces are one person's: that of its authors, on LFW."""
SAME_LOOK = 0.8
"""The same for what describes looks (experts/classic/face.py): of the faces in 23 real clips, 91 % of two in one clip
reach it, and 1.7 % of two in different ones."""
NEAR_S = 1.0
"""A face counts as seen at a second where it was found so near to it: a frame a second is looked at."""
VIDEOS_AT_ONCE = 512
ASKED_FOR = 1000
"""Of the nearest so many are looked for in a collection one by one; a filter may let few of all through."""
NO_SAME_FACE = "no face here is near enough to be the same person's"
ONLY_LOOKS = "the face vectors here describe looks, not persons: face=YUNET+SFACE tells persons apart"
EXTRACT = "hcq extract VIDEOS --preset neural --experts face (faces are biometric data: ask the people first)"
_AT_SECOND = re.compile(r"(?s)(.+)@(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class People:
    """Faces that are looked for, and faces that are not wanted.

    Args:
        store: with face vectors.
        examples: unit vectors, float32 [n, dim]; n may be 0.
        weights: how often each counts, float32 [n].
        unwanted: unit vectors, float32 [m, dim].
        notes: what is doubtful about them, a sentence each.

    Raises: see `people`.
    """

    store: FeatureStore
    examples: NDArray[np.float32]
    weights: Sequence[float]
    unwanted: NDArray[np.float32]
    notes: Sequence[str]

    @property
    def same(self) -> float:
        """The cosine from which on two faces count as one person's."""
        return SAME_PERSON if _tells_persons(self.store) else SAME_LOOK

    def without_unwanted(self, collection: Index) -> Index:
        """A collection without the videos that show a face which is not wanted."""
        if not len(self.unwanted):
            return collection
        rows, _, seen = self._compared
        ids = PackedStrings.of([self.store.facts(int(row)).id for row in rows[seen]])
        kept = [np.ones(segment.videos, bool) for segment in collection.segments]
        for segment, keep in zip(collection.segments, kept, strict=True):
            keep[segment.rows_of(ids)] = False
        return FilteredIndex(collection, kept)

    def best(self, collection: Index, k: int, least: float = -1.0) -> list[FoundFace]:
        """The videos of a collection whose faces are nearest, `k` at most, best first, none below a cosine."""
        rows, likeness, _ = self._compared
        order = np.argsort(-likeness, kind="stable")
        order = order[likeness[order] >= least]
        first = max(ASKED_FOR, 2 * k)
        found = self._found(collection, order[:first], k)
        if len(found) < k and len(order) > first:
            # Of the few videos that pass a filter the best may lie far down: those that do not are left out together.
            names = {video_of(id) for ids in collection.ids() for id in ids}
            rest = order[first:]
            there = np.isin(rows[rest], self.store.rows(sorted(names)))
            found += self._found(collection, rest[there], k - len(found))
        return found

    def _found(self, collection: Index, order: NDArray[np.int64], k: int) -> list[FoundFace]:
        """The first `k` that lie in a collection, of the videos that were compared in some order of their numbers."""
        rows, likeness, _ = self._compared
        found: list[FoundFace] = []
        for at in order.tolist():
            if len(found) == k:
                break
            facts = self.store.facts(int(rows[at]))
            if places := collection.rows_of(facts.id):
                moment = self._moment(int(rows[at]), facts.id, facts.duration_s)
                found.append(FoundFace(facts.id, collection.name(places[0])[1], float(likeness[at]), moment))
        return found

    @cached_property
    def _compared(self) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.bool_]]:
        """Rows of the store with faces, [V]; the cosine of each one's nearest; and whether it shows one that is not
        wanted, [V]."""
        rows = np.flatnonzero(self.store.latest(EXPERT).state == state_number(State.TOKENS))
        likeness, seen = [np.empty(0, np.float32)], [np.empty(0, bool)]
        for start in range(0, len(rows), VIDEOS_AT_ONCE):
            tokens = self.store.read(rows[start : start + VIDEOS_AT_ONCE], [EXPERT])[EXPERT]
            faces = of_unit_length(tokens.features)
            likeness.append(np.maximum.reduceat(faces @ self._query, tokens.offsets[:-1]))
            wrong = (faces @ self.unwanted.T).max(1, initial=-1.0)
            nearer = wrong > (faces @ self.examples.T).max(1, initial=-1.0)
            seen.append(np.logical_or.reduceat((wrong >= self.same) & nearer, tokens.offsets[:-1]))
        return rows, np.concatenate(likeness), np.concatenate(seen)

    @cached_property
    def _query(self) -> NDArray[np.float32]:
        """The examples as one, float32 [dim]; 0 without any."""
        if not len(self.examples):
            return np.zeros(self.unwanted.shape[1], np.float32)
        return compose(self.examples[:, None], self.weights)[0, 0]

    def _moment(self, row: int, id: str, duration_s: float) -> Moment | None:
        """From where to where the nearest face of a video is seen, without a gap; None where published features do
        not say when."""
        tokens = self.store.read([row], [EXPERT])[EXPERT]
        likeness = of_unit_length(tokens.features) @ self._query
        best = int(likeness.argmax())
        if np.isnan(tokens.times[best]):
            return None
        seen = (likeness >= min(self.same, likeness[best])) & ~np.isnan(tokens.times)
        times = np.unique(tokens.times[seen])
        runs = np.split(times, np.flatnonzero(np.diff(times) > 1.5 * NEAR_S) + 1)
        run = next(run for run in runs if tokens.times[best] in run)
        start_s, end_s = float(run[0]), float(run[-1]) + NEAR_S
        end_s = max(min(end_s, duration_s), start_s) if duration_s else end_s
        return Moment(segment_id(id, start_s, end_s), float(tokens.times[best]), start_s, end_s)

    def answers(
        self, rest: ComposedSearch | None, collection: Index, texts: Sequence[str], k: int
    ) -> list[QueryResult]:
        """Answer texts together with the faces that are looked for, as `ComposedSearch.answers` does without.

        Args:
            rest: what else is asked for; None for nothing, and then hits have the cosine for a score.
            collection, texts, k: as there.
        """
        asked = [] if rest is None else rest.answers(collection, texts, max(k, DEPTH))
        if not len(self.examples):
            return [self._noted(answer) for answer in asked]
        if rest is not None:
            faces = self.best(collection, max(k, DEPTH), self.same)
            return [self._noted(fused(answer, (), k, faces=faces), faces) for answer in asked]
        started = time.perf_counter()
        faces = self.best(collection, k)
        hits = tuple(
            Hit(rank, each.likeness, each.id, each.path, moment=each.moment, found_by={EXPERT: rank})
            for rank, each in enumerate(faces, 1)
        )
        scan_ms = (time.perf_counter() - started) * 1000
        found = QueryResult("", hits, collection.videos, text_ms=0.0, scan_ms=scan_ms)
        return [self._noted(found, faces) for _ in texts]

    def _noted(self, answer: QueryResult, faces: Sequence[FoundFace] | None = None) -> QueryResult:
        """An answer that says what is doubtful about its faces."""
        far = faces is not None and not any(face.likeness >= self.same for face in faces)
        lasting = "; ".join([*self.notes, *[NO_SAME_FACE] * far])
        return replace(answer, note="; ".join(filter(None, [answer.note, lasting])), lasting=lasting)


def people(
    folder: Path,
    collection: Index,
    wanted: Sequence[str],
    unwanted: Sequence[str] = (),
    sources: Sequence[str] = (),
) -> People:
    """Look up the faces that are examples.

    Args:
        folder: of the feature store.
        collection: that is searched, for ids as a person may give them.
        wanted: `FILE`, `FILE@SECOND` or `ID@SECOND`, each with `^W` where it counts W times; of a file without a
            second its first face counts, of several in one picture the largest.
        unwanted: the same, without weights.
        sources: `face=SOURCE`, where the networks are files that have moved, for examples that are files.

    Raises:
        NotFoundError: there are no face vectors, no such video or file, or no face in it.
        UsageError: the vectors are those of the classic expert; or what made them is not found, so that no face of a
            file can be compared.
    """
    store = FeatureStore.open(folder)
    _check_vectors(store)
    # A file may itself be called like a weight.
    examples = [(each, 1.0) if Path(each).is_file() else weighted(each) for each in wanted]
    found = [_face(store, collection, each, sources) for each in [*(part for part, _ in examples), *unwanted]]
    vectors = of_unit_length(np.stack([vector for vector, _ in found]))
    notes = [note for _, note in found if note] + [ONLY_LOOKS] * (not _tells_persons(store))
    weights = [weight for _, weight in examples]
    return People(store, vectors[: len(examples)], weights, vectors[len(examples) :], notes)


def _check_vectors(store: FeatureStore) -> None:
    from experts.classic.face import Face

    if EXPERT not in store.experts:
        raise NotFoundError(f"{store.folder}: holds no face vectors", EXTRACT)
    # A plain `hcq extract` makes these, without anybody's asking for faces.
    if store.experts[EXPERT].identity.split("|")[2:3] == [Face.weights]:
        message = f"{store.folder}: the face vectors are the classic expert's, which tells no person from another"
        raise UsageError(message, EXTRACT)


def _tells_persons(store: FeatureStore) -> bool:
    from experts.neural.face import SFACE_WIDTH

    return store.experts[EXPERT].dim == SFACE_WIDTH


def _face(
    store: FeatureStore, collection: Index, part: str, sources: Sequence[str]
) -> tuple[NDArray[np.float32], str]:
    """The vector [dim] of an example, and what is doubtful about it; errors are those of `people`."""
    at = None if Path(part).is_file() else _AT_SECOND.fullmatch(part)
    name, second = (at[1], float(at[2])) if at else (part, None)
    row = store.row(locate(collection, name)[0]) if second is not None else None
    if row is not None:
        tokens = store.read([row], [EXPERT])[EXPERT]
    elif Path(name).is_file():
        tokens = _faces_of_file(store, Path(name), sources)
    else:
        known = store.row(locate(collection, name)[0]) is not None
        what = "give its second, too" if known else "no such file, nor an indexed video"
        hint = f"--face {name if known else 'holiday/beach.mp4'}@12, or --face photo.jpg"
        raise NotFoundError(f"{name}: {what}", hint)
    return _chosen(tokens, name, second)


def _chosen(tokens: Ragged, name: str, second: float | None) -> tuple[NDArray[np.float32], str]:
    """The face of an example at a second, or the first one."""
    if not len(tokens.times):
        raise NotFoundError(f"{name}: no face was found in it", "give another picture or video")
    if second is not None and np.isnan(tokens.times).all():
        raise NotFoundError(f"{name}: when its faces are seen is not known", "give a picture: --face photo.jpg")
    nearest = tokens.times[0 if second is None else np.nanargmin(np.abs(tokens.times - second))]
    if second is not None and abs(nearest - second) > NEAR_S:
        times = dict.fromkeys(tokens.times[~np.isnan(tokens.times)].tolist())
        seen = ", ".join(f"{time:g}" for time in list(times)[:5])
        raise NotFoundError(f"{name}: no face was found at second {second:g}", f"there is one at second {seen}")
    # The larger ones of a picture come first.
    together = np.flatnonzero(tokens.times == nearest)
    several = f"{name}: of {len(together)} faces at second {nearest:g} the largest counts"
    return tokens.features[together[0]], several if len(together) > 1 else ""


def _faces_of_file(store: FeatureStore, path: Path, sources: Sequence[str]) -> Ragged:
    """The faces of a file, by the very networks that made the vectors of the store."""
    info = store.experts[EXPERT]
    try:
        matched = match_experts({EXPERT: ExpertConfig(info.dim, info.identity)}, sources)
    except UsageError as error:
        message = f"{path}: what made the face vectors here is not known by name ({info.identity})"
        raise UsageError(message, "say where it lies: --experts face=SOURCE, as at hcq extract") from error
    try:
        return extract_tokens(path, matched).get(EXPERT, NO_FACES)
    except HcqError as error:
        raise type(error)(f"--face: {error.message}", error.hint) from error


NO_FACES = Ragged(np.empty((0, 0), np.float32), np.empty(0, np.float32), np.zeros(2, np.int64))
