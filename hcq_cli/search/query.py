"""A query: text → levels → table → scan → hits. Float vectors of videos are never rebuilt.

Where an index has inverted lists (ivf.py), a search looks into some of them only, or into everything where that is
asked for.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hcq_cli.codes.ids import video_of
from hcq_cli.errors import HcqError, ModelMismatchError, UsageError, sizes
from hcq_cli.model.confidence import CUT_OFF, ChanceScores, chance_among
from hcq_cli.scan.kernels import kernel, scan
from hcq_cli.scan.table import tables
from hcq_cli.scan.topk import TopK, stack
from hcq_cli.search.index import Index
from hcq_cli.search.ivf import QUERIES_AT_ONCE, scan_lists
from hcq_cli.search.moments import Moment, VideoSegments, segments_of
from hcq_cli.search.params import SearchParams
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
    levels = encoder.encode(texts)
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
    known = encoder.chance_scores
    if known is None or (made_up := encoder.made_up) is None:
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


def find(
    collection: Index,
    levels: np.ndarray,
    table: np.ndarray,
    k: int,
    *,
    hits: int | None = None,
    params: SearchParams = SearchParams(),
) -> TopK:
    """The best `k` rows of an index: of all, or of the inverted lists that look the most promising.

    Of each video only the best row, unless `params.by` is "segment". Where those lists hold fewer than `k`, the query
    is answered from all of them.

    Args:
        collection: an index, or a code file as one.
        levels: the queries, float32 [Q, L+1, D].
        table: the same, tabulated, float32 [Q, S, K].
        k: how many to find.
        hits: for how many hits lists are chosen, where several rows may make one; default: `k`.
        params: how far to look, and by what.
    """
    if collection.find_elsewhere is not None:
        return collection.find_elsewhere(levels, table, k, hits or k, params)
    by, threads, by_video = kernel(params.kernel), params.cores, params.by == "video"
    sources = collection.sources(by_video=by_video)
    starts = [] if collection.ivf is None or params.exact else collection.list_starts()
    if collection.ivf is None or not starts or not len(table):
        return scan(sources, table, k, threads=threads, by=by)
    sizes = collection.list_sizes()
    wanted, found = min(k, collection.videos if by_video else collection.rows), []
    for at in range(0, len(table), QUERIES_AT_ONCE):
        part = slice(at, at + QUERIES_AT_ONCE)
        chosen = collection.ivf.choose(levels[part], sizes, hits or k, params.nprobe)
        found += scan_lists(sources, starts, chosen, table[part], k=k, threads=threads, by=by)
    for query, answer in enumerate(found):
        # Removed videos still count in the sizes that lists are chosen by, so too few may be left in those.
        if len(answer.rows) < wanted:
            found[query] = scan(sources, table[query : query + 1], k, threads=threads, by=by)[0]
    return stack(found)


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
