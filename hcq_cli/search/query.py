"""A query: text → levels → table → scan → hits. Float vectors of videos are never rebuilt."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hcq_cli.codes.ids import (
    did_you_mean,
    ids_meant,
    second_of,
    segment_times,
    several_meant,
    similar_ids,
    spellings,
    video_of,
)
from hcq_cli.errors import HcqError, ModelMismatchError, NotFoundError, UsageError, sizes
from hcq_cli.model.confidence import CUT_OFF, ChanceScores, chance_among
from hcq_cli.scan.table import reconstruct_levels, tables
from hcq_cli.scan.topk import TopK
from hcq_cli.search.best_rows import SearchParams, find
from hcq_cli.search.index import Index
from hcq_cli.search.moments import Moment, VideoSegments, segments_of
from hcq_cli.search.text_encoder import TextEncoder
from hcq_cli.words.sentences import Sentence

NO_WORD = "the query holds no word"
NOTHING_FITS = "nothing here fits well"
CUT = "the query is longer than the model reads: only its beginning counts"
NONE_KNOWN = "no word of the query is known to this model: what it finds has nothing to do with the query"


@dataclass(frozen=True)
class Hit:
    """A video, a moment of one, or a sentence that was found.

    Args:
        rank: from 1.
        score: the hybrid score, higher is better.
        id: of the video or the caption.
        path: where the video was when it was extracted; of a caption the sentence.
        confidence: that it fits, 0 to 1; None where the model does not say.
        moment: where in the video; None where it has no segments.
        columns: what is known of it, as far as it was asked for; None for what is unknown, dates in ISO 8601.
        words: the sentence that it was found by, where it was found by one.
        found_by: its rank by each channel that found it (fusing.py); None where there was only the model.
    """

    rank: int
    score: float
    id: str
    path: str
    confidence: float | None = None
    moment: Moment | None = None
    columns: Mapping[str, float | bool | str | None] | None = None
    words: Sentence | None = None
    found_by: Mapping[str, int] | None = None

    @property
    def source(self) -> str:
        """Where the sentence comes from that it was found by; empty for none."""
        return self.words.source if self.words is not None else ""

    @property
    def time_s(self) -> float | None:
        """Where to look first, seconds: where its sentence is said or shown, else at its moment; None for neither."""
        if self.words is not None and self.words.start_s is not None:
            return self.words.start_s
        return None if self.moment is None else self.moment.time_s


@dataclass(frozen=True)
class QueryResult:
    """The answer to one query.

    Args:
        query: its text, the id of the video that hits are to be like, or the path of a video.
        hits: best first.
        videos_searched: how many could have been found.
        text_ms: to encode the query with a model that is loaded, milliseconds; its share where several were together.
        scan_ms: to tabulate and scan, milliseconds; its share where several were together.
        note: what is doubtful about it, a sentence; empty where nothing is.
        lasting: what of the note holds although somebody says the words of the query.
    """

    query: str
    hits: tuple[Hit, ...]
    videos_searched: int
    text_ms: float
    scan_ms: float
    note: str = ""
    lasting: str = ""


def check_model(encoder: TextEncoder, collection: Index) -> None:
    """See that queries and codes are of one model.

    Raises:
        ModelMismatchError: they are not; names both.
    """
    if encoder.hash != collection.header.model_hash:
        source, texts = os.path.normpath(encoder.source), " --texts FILE" if collection.header.kind == "texts" else ""
        raise ModelMismatchError(
            f"{collection.path} holds codes of model {collection.header.model_hash[:12]}, "
            f"the checkpoint {source} is model {encoder.hash[:12]}",
            f"encode and index anew: hcq encode --ckpt {source}{texts}; or name the right one: hcq query --ckpt",
        )


def search_texts(
    collection: Index,
    encoder: TextEncoder,
    texts: Sequence[str],
    k: int,
    *,
    params: SearchParams = SearchParams(),
) -> list[QueryResult]:
    """Answer queries, together in one scan.

    A query of no token (invisible characters alone) has no hits, and `NO_WORD` for a note; one of tokens that the
    model's vocabulary does not know has some, since its vector is near to something, but `NONE_KNOWN` says of them
    what they are worth. `CUT` says that not all of a long query was read.

    Args:
        collection: what to search.
        encoder: of the model that made the codes.
        texts: the queries, none of them blank.
        k: how many hits each, at least 1.
        params: how many inverted lists to look into, by what kernel, on how many cores.

    Raises:
        UsageError: a query is blank, or k is less than 1.
        ModelMismatchError: the encoder is of another model.
    """
    if not all(text.strip() for text in texts):
        raise UsageError("the query is empty", 'hcq query "a man cooking"')
    check_model(encoder, collection)
    encoder.prepare()
    started = time.perf_counter()
    # Bytes that are no UTF-8 reach us as lone surrogates, which no tokenizer takes.
    levels = encoder.encode([text.encode("utf-8", "replace").decode() for text in texts])
    text_ms = (time.perf_counter() - started) * 1000 / max(len(texts), 1)
    results = search_levels(collection, texts, levels, k, text_ms=text_ms, params=params)
    chances = _chance_scores(collection, encoder, levels)
    for at, (tokens, known) in enumerate(encoder.count_tokens(texts)):
        if not tokens:
            results[at] = replace(results[at], hits=(), note=NO_WORD)
        elif not known:
            results[at] = replace(results[at], note=NONE_KNOWN)
        elif (chance := chances[at]) is not None and collection.header.kind == "videos":
            hits = tuple(replace(hit, confidence=chance.confidence(hit.score)) for hit in results[at].hits)
            best = max((hit.confidence or 0.0 for hit in hits), default=1.0)
            results[at] = replace(results[at], hits=hits, note=NOTHING_FITS if best < CUT_OFF else "")
        if tokens > encoder.most_tokens:
            results[at] = replace(results[at], note=results[at].note or CUT, lasting=CUT)
    return results


def _chance_scores(collection: Index, encoder: TextEncoder, levels: np.ndarray) -> Sequence[ChanceScores | None]:
    """For queries [Q, L+1, D]: among made-up videos; else in what is indexed now, or in what was fitted to."""
    known, made_up = encoder.chance_scores, encoder.made_up
    if known is None or made_up is None:
        return [collection.manifest.chance or known] * len(levels)
    return chance_among(known, made_up, levels, collection.videos)


def search_levels(
    collection: Index,
    queries: Sequence[str],
    levels: np.ndarray,
    k: int,
    *,
    text_ms: float = 0.0,
    params: SearchParams = SearchParams(),
) -> list[QueryResult]:
    """Answer queries that are vectors already.

    A video comes once, by the best of its segments or as a whole, whichever is better; `params.by` "segment" gives
    the moments of all videos.

    Args:
        collection: what to search.
        queries: their names, for the results.
        levels: float32 [Q, L+1, D].
        k: how many hits each, at least 1.
        params: as in `search_texts`.
        text_ms: for the results.

    Raises:
        HcqError: vectors of another model's shape.
        UsageError: k is less than 1.
    """
    expected = (len(queries), collection.header.levels, collection.header.D)
    if levels.shape != expected:
        raise HcqError(
            f"query vectors of {sizes(levels.shape)}, {collection.path} wants {sizes(expected)}", "hcq encode"
        )
    if k < 1:
        raise UsageError(f"k = {k}, at least one hit must be asked for")
    started = time.perf_counter()
    table = tables(levels, collection.codebooks, collection.scale)
    search = _best_moments if params.by == "segment" else _best_videos
    hits = search(collection, levels, table, k, params=params)
    scan_ms = (time.perf_counter() - started) * 1000 / max(len(queries), 1)
    return [
        QueryResult(query, of_query, collection.videos, text_ms=text_ms, scan_ms=scan_ms)
        for query, of_query in zip(queries, hits, strict=True)
    ]


def _best_videos(
    collection: Index, levels: np.ndarray, table: np.ndarray, k: int, params: SearchParams
) -> list[tuple[Hit, ...]]:
    """The best `k` videos for each query, each with its best moment; `table` is float32 [Q, S, K]."""
    found = find(collection, levels, table, k, params=params)
    cut = collection.header.kind == "videos" and collection.rows > collection.videos
    segments = segments_of(collection, found.rows, table) if cut else []
    answers = []
    for query in range(len(table)):
        hits = []
        for at, (score, row) in enumerate(zip(found.scores[query].tolist(), found.rows[query].tolist(), strict=True)):
            name, path = collection.name(row)
            moment = segments[query][at].best() if cut and len(segments[query][at]) else None
            hits.append(Hit(at + 1, score, _video(collection, name), path, moment=moment))
        answers.append(tuple(hits))
    return answers


def _best_moments(
    collection: Index, levels: np.ndarray, table: np.ndarray, k: int, params: SearchParams
) -> list[tuple[Hit, ...]]:
    """The best `k` moments for each query, several of a video; `table` is float32 [Q, S, K]."""
    # Neighbours become one moment: more rows are found than moments are wanted, and more until that is enough.
    wanted = k * max(1, -(-collection.rows // max(collection.videos, 1)))
    while True:
        found = find(collection, levels, table, wanted, hits=k, params=params)
        hits = [_moments(collection, found, query, table[query], k) for query in range(len(table))]
        if min(map(len, hits), default=k) == k or found.rows.shape[1] < wanted:
            return hits
        wanted *= 4


def _moments(collection: Index, found: TopK, query: int, table: np.ndarray, k: int) -> tuple[Hit, ...]:
    """The best `k` moments of the rows that were found for a query; a video without segments is one."""
    hits: list[Hit] = []
    seen: dict[str, tuple[VideoSegments, list[Moment]]] = {}
    pairs = list(zip(found.scores[query].tolist(), found.rows[query].tolist(), strict=True))
    for start in range(0, len(pairs), 2 * k):
        named = [(score, row, *collection.name(row)) for score, row in pairs[start : start + 2 * k]]
        # The segments of all these videos are looked up together.
        new = {video: row for _, row, name, _ in named if (video := _video(collection, name)) not in seen}
        cut = segments_of(collection, np.array([list(new.values())], np.int64), table[None])[0]
        seen |= {video: (segments, []) for video, segments in zip(new, cut, strict=True)}
        for score, row, name, path in named:
            segments, moments = seen[video := _video(collection, name)]
            if not len(segments):
                hits.append(Hit(len(hits) + 1, score, video, path))
            elif name != video and (moment := segments.around(row, moments)) is not None:
                moments.append(moment)
                hits.append(Hit(len(hits) + 1, score, video, path, moment=moment))
            if len(hits) == k:
                return tuple(hits)
    return tuple(hits)


def _video(collection: Index, name: str) -> str:
    """The id of the video that a row is of; a caption is its own."""
    return video_of(name) if collection.header.kind == "videos" else name


def locate(collection: Index, item_id: str) -> tuple[str, list[int]]:
    """An id as the collection has it, and its rows; no rows where it is not there.

    Args:
        collection: to look in.
        item_id: as a person may give it: with other accents, as the path of its file, without folder or ending.

    Raises:
        UsageError: several videos may be meant.
    """
    for name in spellings(item_id):
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
    cut = collection.segments_of(rows[:1])[0] if rows else None
    if cut is None or not cut.rows:
        return (video, rows) if rows else (item_id, [])
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
