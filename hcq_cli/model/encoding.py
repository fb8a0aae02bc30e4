"""Whole collections through a model, a batch at a time: into a code file, or as dense vectors in memory.

Codes are what is searched; the vectors of captioned videos are what quantizers are fitted on and what retrieval is
measured by.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hcq_cli.codes.codefile import CodeHeader, CodeWriter
from hcq_cli.codes.ids import segment_id
from hcq_cli.datasets.batches import collate, in_order
from hcq_cli.datasets.features import Features
from hcq_cli.datasets.segments import (
    LOOK,
    SHOTS,
    Cutting,
    VideoSegment,
    cut_tokens,
    cut_video,
    look_edges,
    shot_edges,
)
from hcq_cli.datasets.splits import Split
from hcq_cli.features.records import VideoFacts
from hcq_cli.features.store import FeatureStore
from hcq_cli.features.stored_tokens import AnyRagged
from hcq_cli.model.config import ModelConfig
from hcq_cli.model.trained_model import Model
from hcq_cli.model.video_batches import VIDEOS_AT_ONCE, KnownBatches, VideoBatches
from hcq_cli.model.video_model import VideoModel
from hcq_cli.printable import counted

FEATURE_BYTES_AT_ONCE = 64 << 20
"""Features that are read together: of films fewer than `VIDEOS_AT_ONCE`, and of one that is larger its segments."""
NAMED = 3
"""Videos, at most, that a warning names."""
CAPTIONS_AT_ONCE = 256
FIT_VECTORS = 32_768

Progress = Callable[[int], None]
"""Called with the number of videos or captions finished since the last call."""


@dataclass(frozen=True)
class EncodeResult:
    """A written code file.

    Args:
        codes: the file.
        kind: "videos" or "texts".
        items: videos or captions in it.
        rows: their codes; more than items where long videos have time segments, too.
        seconds: it took.
        model: hash of the model.
        config: the model's shape.
        hours: how long the videos are together, as far as that is known.
        taken_over: videos whose codes an earlier code file held.
        without_features: videos left out because no expert of the model has tokens of them.
        warnings: what is doubtful, a sentence each.
    """

    codes: Path
    kind: str
    items: int
    rows: int
    seconds: float
    model: str
    config: ModelConfig
    hours: float = 0.0
    taken_over: int = 0
    without_features: int = 0
    warnings: list[str] = field(default_factory=list)

    @property
    def items_per_second(self) -> float:
        """Videos or captions encoded a second."""
        return self.items / max(self.seconds, 1e-9)

    @property
    def bytes_per_hour(self) -> float | None:
        """Bytes of codes an hour of video; None where nobody knows how long the videos are."""
        return self.rows * self.config.bytes_per_video / self.hours if self.hours else None


def header(model: VideoModel, kind: str) -> CodeHeader:
    """What the codes of `model` are codes of.

    Args:
        model: loaded from a folder.
        kind: "videos" or "texts".
    """
    config = model.config
    return CodeHeader(
        kind=kind,
        model_hash=model.hash,
        checkpoint=str(model.folder.resolve()) if model.folder else "",
        levels=config.levels + 1,
        M=config.quantizer.codebooks,
        K=config.quantizer.codewords,
        D=config.embedding_width,
    )


def encode_batches(
    batches: VideoBatches,
    path: Path,
    done: Progress = lambda count: None,
    *,
    known: KnownBatches | None = None,
    only: range | None = None,
    drift: float | None = None,
) -> EncodeResult:
    """Write the codes of videos in the order of their ids, behind those of each the ones of its time segments.

    Batches that are known are taken over.

    Args:
        batches: of a collection.
        path: of the code file.
        done: told of progress.
        known: from earlier code files, that at `path` for example.
        only: numbers of the batches to write, one after the other; all by default.
        drift: of the collection from what the model was made of, if that is known (model/drift.py).

    Raises:
        HcqError: the store has features of another width.
    """
    started, model, store = time.monotonic(), batches.model, batches.store
    only = range(len(batches)) if only is None else only
    taken_over, known = 0, known or {}
    with CodeWriter(
        path, header(model, "videos"), model.codebooks, model.scale, batches.source, drift=drift
    ) as writer:
        for number in only:
            rows, digest = batches.rows(number), batches.digest(number)
            if digest in known:
                file, part = known[digest]
                ids, paths = (names.part(part.start, part.stop) for names in (file.ids, file.paths))
                writer.append(ids, paths, file.codes[part])
                taken_over += len(rows)
            else:
                _encode(writer, batches, rows)
            writer.end_batch(digest)
            done(len(rows))
    left_out = batches.left_out if len(only) == len(batches) else batches.left_out[:0]
    warnings = [*store.warnings, *expert_warnings(model, store)]
    if len(left_out):
        names = [store.ids[row] for row in left_out[:NAMED].tolist()] + ["…"] * (len(left_out) > NAMED)
        without = f"{counted(len(left_out), 'video')} without tokens of any expert left out"
        warnings.append(f"{without}, not to be found (hcq features show ID says why): {', '.join(names)}")
    return EncodeResult(
        path,
        "videos",
        items=len(batches.rows(only.start, only.stop)),
        rows=writer.videos,
        seconds=time.monotonic() - started,
        model=model.hash,
        config=model.config,
        hours=batches.hours(only.start, only.stop),
        taken_over=taken_over,
        without_features=len(left_out),
        warnings=warnings,
    )


def _encode(writer: CodeWriter, batches: VideoBatches, rows: NDArray[np.int64]) -> None:
    """Encode a batch, and write its codes."""
    model, store = batches.model, batches.store
    sizes = np.zeros(len(rows), np.int64)
    for name in batches.experts:
        sizes += 4 * store.experts[name].dim * store.counts(name, rows)
    # Most batches are within the limit, and stay in one piece.
    pieces = np.cumsum(sizes) // FEATURE_BYTES_AT_ONCE
    cuts = np.flatnonzero(np.diff(pieces)) + 1
    for piece, large in zip(np.split(rows, cuts), np.split(sizes, cuts), strict=True):
        videos = [store.facts(int(row)) for row in piece]
        tokens: Mapping[str, AnyRagged] = (
            store.read(piece, batches.experts)
            if large.sum() <= FEATURE_BYTES_AT_ONCE
            else store.stored(piece, batches.experts)
        )
        codes = model.encode_codes(collate(tokens, model.config.video.max_tokens))
        segments = _cut(store, piece, videos, batches.cutting, tokens)
        _append(writer, videos, codes, *_encode_segments(model, tokens, segments))


def _cut(
    store: FeatureStore,
    rows: NDArray[np.int64],
    videos: Sequence[VideoFacts],
    cutting: Cutting,
    tokens: Mapping[str, AnyRagged],
) -> list[VideoSegment]:
    """The segments of the videos at `rows`, one video's after another's; what the model sees is in `tokens`."""
    known = [name for name in (SHOTS, LOOK) if name in store.experts] if cutting.shots else []
    segments: list[VideoSegment] = []
    for video, facts in enumerate(videos):
        windows = cut_video(video, facts.duration_s, cutting)
        # Of a short video nobody needs to know where its shots end.
        expert = next((name for name in known if store.counts(name, rows[[video]])[0]), None) if windows else None
        if expert is not None:
            seen = tokens[expert].of(video) if expert in tokens else store.stored(rows[[video]], [expert])[expert]
            edges = shot_edges(seen.times) if expert == SHOTS else look_edges(seen.features, seen.times)
            windows = cut_video(video, facts.duration_s, cutting, edges)
        segments += windows
    return segments


def _encode_segments(
    model: VideoModel, tokens: Mapping[str, AnyRagged], segments: Sequence[VideoSegment]
) -> tuple[list[VideoSegment], NDArray[np.uint8]]:
    """Those of some segments in which anything is seen or heard, and their codes uint8 [n, S]."""
    kept: list[VideoSegment] = []
    codes = [np.empty((0, model.config.bytes_per_video), np.uint8)]
    for at in in_order(len(segments), VIDEOS_AT_ONCE):
        part = segments[int(at[0]) : int(at[-1]) + 1]
        pieces, own = cut_tokens(tokens, part)
        if own.any():
            codes.append(model.encode_codes(collate(pieces, model.config.video.max_tokens))[own])
            kept += [segment for segment, has_own in zip(part, own.tolist(), strict=True) if has_own]
    return kept, np.concatenate(codes)


def _append(
    writer: CodeWriter,
    videos: Sequence[VideoFacts],
    codes: NDArray[np.uint8],
    segments: Sequence[VideoSegment],
    segment_codes: NDArray[np.uint8],
) -> None:
    """Write the codes [B, S] of videos, behind each those of its segments, [n, S] of all of them."""
    owners = np.array([*range(len(videos)), *(segment.video for segment in segments)], np.int64)
    names = [facts.id for facts in videos]
    names += [segment_id(names[one.video], one.start_s, one.end_s) for one in segments]
    order = np.argsort(owners, kind="stable")
    paths = [videos[owner].path for owner in owners[order].tolist()]
    writer.append([names[at] for at in order.tolist()], paths, np.concatenate([codes, segment_codes])[order])


def expert_warnings(model: VideoModel, store: FeatureStore) -> list[str]:
    """What of the store does not fit what the model was trained on, a sentence each."""
    warnings: list[str] = []
    for name, expert in model.config.experts.items():
        if name not in store.experts:
            warnings.append(f"the features hold no {name}, which the model was trained with")
        elif expert.identity and store.experts[name].identity != expert.identity:
            warnings.append(f"the {name} features are of another version or sampling than the model was trained on")
    return warnings


def encode_texts(
    model: Model, ids: Sequence[str], sentences: Sequence[str], path: Path, done: Progress = lambda count: None
) -> EncodeResult:
    """Write the codes of captions, for video-to-text search.

    Args:
        model: loaded from a folder.
        ids: of the captions, unique.
        sentences: the captions; they stand where a video has its path.
        path: of the code file.
        done: told of progress.
    """
    started = time.monotonic()
    with CodeWriter(path, header(model, "texts"), model.codebooks, model.scale) as writer:
        for at in in_order(len(sentences), CAPTIONS_AT_ONCE):
            part = [sentences[i] for i in at]
            writer.append([ids[i] for i in at], part, model.quantize(model.encode_texts(part), "texts"))
            done(len(part))
    seconds = time.monotonic() - started
    rows = len(sentences)
    return EncodeResult(path, "texts", items=rows, rows=rows, seconds=seconds, model=model.hash, config=model.config)


@dataclass(frozen=True)
class Encoded:
    """A set of captioned videos as dense vectors.

    Args:
        videos: float32 [N, L+1, D].
        texts: float32 [Q, L+1, D].
        owner: int64 [Q], position of each text's video.
    """

    videos: NDArray[np.float32]
    texts: NDArray[np.float32]
    owner: NDArray[np.int64]

    @property
    def all(self) -> NDArray[np.float32]:
        """Videos and texts one after the other, float32 [N + Q, L+1, D]."""
        return np.concatenate([self.videos, self.texts])


def encode_both(model: Model, features: Features, part: Split, done: Progress | None = None) -> Encoded:
    """The dense vectors of the videos of `part` and of their captions.

    Raises:
        HcqError: the features lack every expert of the model.
    """
    experts = model.config.known_experts(features.experts)
    videos = [np.zeros((0, model.config.levels + 1, model.config.embedding_width), np.float32)]
    for at in in_order(len(part), VIDEOS_AT_ONCE):
        batch = collate(features.read(part.rows[at], experts), model.config.video.max_tokens)
        videos.append(model.encode_videos(batch))
        if done is not None:
            done(len(at))
    return Encoded(np.concatenate(videos), model.encode_texts(part.sentences), part.owner)


def training_vectors(model: Model, features: Features, part: Split, limit: int = FIT_VECTORS) -> Encoded:
    """Dense vectors of training videos and captions to fit quantizers on, at most `limit` together.

    Of a larger set every n-th video is taken, with its captions as far as there is room.
    """
    captions = len(part.sentences) / max(len(part), 1)
    # Rounded up: every n-th of all, not the first ones, since files are often sorted by theme.
    step = -(-int(len(part) * (1 + captions)) // limit) or 1
    kept = Split(part.rows[::step], list(part.captions)[::step], part.groups[::step])
    encoded = encode_both(model, features, kept)
    room = max(limit - len(encoded.videos), 0)
    return Encoded(encoded.videos[:limit], encoded.texts[:room], encoded.owner[:room])
