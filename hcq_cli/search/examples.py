"""Examples as queries: an id becomes the video, the segment or the caption that it means; what is like it."""

from __future__ import annotations

import shlex
import unicodedata
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hcq_cli.codes.ids import second_of, segment_times, video_of
from hcq_cli.errors import ModelMismatchError, NotFoundError, UsageError
from hcq_cli.scan.table import reconstruct_levels
from hcq_cli.search.index import Index
from hcq_cli.search.meant_ids import did_you_mean, ids_meant, several_meant, similar_ids
from hcq_cli.search.params import SearchParams
from hcq_cli.search.query import Hit, QueryResult, search_levels


def locate(collection: Index, item_id: str) -> tuple[str, list[int]]:
    """An id as the collection has it, and its rows; no rows where it is not there.

    Args:
        collection: to look in.
        item_id: as a person may give it: with other accents, as the path of its file, without folder or ending.

    Raises:
        UsageError: several videos may be meant.
    """
    # Accents may be in one with their letters, or apart: file systems differ in it.
    for name in dict.fromkeys([item_id, *(unicodedata.normalize(form, item_id) for form in ("NFC", "NFD"))]):
        if rows := collection.rows_of(name):
            return name, rows
    called = []
    if segment_times(item_id) is None:
        called = ids_meant(collection.ids, item_id, lambda id: collection.name(collection.rows_of(id)[0])[1])
    if len(called) > 1:
        raise UsageError(several_meant(item_id, called), "give the whole id")
    return (called[0], collection.rows_of(called[0])) if called else (item_id, [])


def locate_moment(collection: Index, item_id: str) -> tuple[str, list[int]]:
    """As `locate`; of a second alone, `beach.mp4#t=30`, the segment that holds it, or a video that has none.

    Raises:
        UsageError: several videos may be meant, or the video ends before that second.
    """
    name, rows = locate(collection, item_id)
    video, second = second_of(item_id)
    if rows or second is None:
        return name, rows
    video, rows = locate(collection, video)
    if not rows:
        return item_id, []
    cut = collection.segments_of(rows[:1])[0]
    if cut is None or not cut.rows:
        known = "duration" in collection.columns.kinds
        lasts_s = collection.values(rows[0], ["duration"])["duration"] if known else None
        if isinstance(lasts_s, float) and second > lasts_s:
            raise UsageError(f"{item_id}: {video} ends at {lasts_s:g} s")
        return video, rows
    spans = list(zip(cut.starts_s, cut.ends_s, cut.rows, strict=True))
    # Of windows that lie half over each other, that in whose middle it is.
    holding = [(abs(start + end - 2 * second), row) for start, end, row in spans if start <= second <= end]
    if not holding:
        raise UsageError(f"{item_id}: nothing was encoded at that second; {video} ends at {max(cut.ends_s):g} s")
    row = min(holding)[1]
    return collection.id(row), [row]


def item_levels(source: Index, item_id: str, collection: Index) -> tuple[str, np.ndarray]:
    """An indexed video, segment or caption as a query, made of its own codes: no text, no network, nothing to load.

    A video that lies there in segments alone is the mean of them, so that it is like what it is like as a whole.

    Args:
        source: where it lies.
        item_id: as a person may give it (`locate`).
        collection: what will be searched.

    Returns:
        its id as `source` has it, and float32 [1, L+1, D].

    Raises:
        NotFoundError: no such id; the message names ids that are nearly the same.
        ModelMismatchError: the two collections hold codes of different models.
    """
    item_id, rows = locate_moment(source, item_id)
    if not rows:
        similar = similar_ids(source.ids(), item_id)
        hint = f"hcq query --like {shlex.quote(similar[0])}" if similar else "ids are what `hcq query` prints"
        raise NotFoundError(f"{source.path}: holds no {item_id!r}{did_you_mean(similar)}", hint)
    if source.header.model_hash != collection.header.model_hash:
        raise ModelMismatchError(
            f"{source.path} holds codes of model {source.header.model_hash[:12]}, "
            f"{collection.path} holds codes of model {collection.header.model_hash[:12]}",
            "encode and index both with one checkpoint: hcq encode, hcq index build",
        )
    whole = [row for row in rows if source.name(row)[0] == item_id]
    rows = whole[-1:] or rows
    levels = reconstruct_levels(source.codes(rows), source.codebooks, source.header.levels)
    if len(rows) > 1:
        levels = levels.mean(0, keepdims=True)
        # Segments that cancel each other out have a mean of nearly no length, which must not become NaN.
        levels /= np.maximum(np.linalg.norm(levels, axis=2, keepdims=True), np.float32(1e-12))
    return item_id, levels


def own_hits(source: Index, item_id: str, by: str) -> int:
    """How many hits an item may be itself among those that are like it: so many more are searched for."""
    return len(locate(source, video_of(item_id))[1]) if by == "segment" else 1


def without_items(result: QueryResult, item_ids: Sequence[str], by: str, k: int) -> QueryResult:
    """The best `k` hits that are none of the items which they were to be like, numbered anew."""

    def is_itself(hit: Hit, item_id: str) -> bool:
        """Whether a hit is the video, or of its moments that which the segment lies in."""
        times = segment_times(item_id)
        if hit.id != video_of(item_id) or by == "video" or times is None or hit.moment is None:
            return hit.id == video_of(item_id)
        return hit.moment.start_s < times[1] and times[0] < hit.moment.end_s

    others = [hit for hit in result.hits if not any(is_itself(hit, item_id) for item_id in item_ids)][:k]
    return replace(result, hits=tuple(replace(hit, rank=rank) for rank, hit in enumerate(others, 1)))


def search_like(
    collection: Index,
    item_id: str,
    k: int,
    *,
    source: Index | None = None,
    params: SearchParams = SearchParams(),
) -> QueryResult:
    """What is most like an indexed video or caption, without that one; no model is needed.

    Args:
        collection: what to search.
        item_id: of the video, the segment or the caption; a segment may be like another moment of its video.
        k: how many hits, at least 1.
        source: where `item_id` lies, if it is not what is searched.
        params: as in `search_texts`.

    Raises:
        NotFoundError, ModelMismatchError: as `item_levels`.
    """
    source = source or collection
    item_id, levels = item_levels(source, item_id, collection)
    wanted = k + own_hits(source, item_id, params.by)
    result = search_levels(collection, [item_id], levels, wanted, params=params)[0]
    return without_items(result, [item_id], params.by, k)
