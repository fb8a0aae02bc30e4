"""Puts a model without captions together and fits its quantizer to a person's videos, a batch at a time.

Whatever the number of videos, `MOST_VIDEOS` of them, evenly spread, are looked at, so that memory and time are
bounded; codewords of far fewer videos than there are codewords are filled up with generic sentences, and then each
video is a codeword of its own. Letters: n videos, C classes, D width of the vectors, K codewords.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from hcq_cli.datasets.batches import collate, in_order
from hcq_cli.datasets.dataset import has_tokens
from hcq_cli.errors import HcqError
from hcq_cli.features.store import FeatureStore
from hcq_cli.fitting.dual_space import spread_of
from hcq_cli.fitting.network import COMMON, Concepts, FittedEncoder
from hcq_cli.fitting.sentences import generic_sentences
from hcq_cli.fitting.sources import Source
from hcq_cli.model import checkpoint, text
from hcq_cli.model.config import ExpertConfig, ModelConfig, QuantizerConfig, TextConfig, VideoConfig
from hcq_cli.model.drift import mean_loss
from hcq_cli.model.encoding import VIDEOS_AT_ONCE
from hcq_cli.model.exported_text_encoder import ExportedTextEncoder
from hcq_cli.model.text import CaptionEncoder, text_tensors
from hcq_cli.model.video import VideoTensors, video_tensors
from hcq_cli.training.codebooks import fit_codewords
from hcq_cli.writer_lock import writer_lock

MOST_VIDEOS = 16_384
"""That are looked at: 64 for each codeword."""
MAX_TOKENS = 128
"""Frames or windows of a video that are looked at, evenly spread over it."""
HUBNESS = 0.25
"""λ: how much is taken from videos that are near to all sentences."""
NO_ENCODER = "none"
"""The text encoder of a model whose texts are read by dual encoders alone."""
SPREAD = 0.1
"""Standard deviation of a query's scores over the videos, where no other part gives one to bring dual encoders to."""
LEAST_SPREAD = 0.01
"""That of parts that tell videos apart at all."""
ITERATIONS = 20
"""Of k-means."""
SENTENCES_AT_ONCE = 128
MADE_UP = 256
"""Videos that are made up, to tell what scores chance gives."""
SEED = 0

OnVideos = Callable[[int], None]
"""Called with the number of videos looked at since the last call."""


@dataclass(frozen=True)
class Fitted:
    """A fitted model.

    Args:
        hash: of the model.
        videos: it was fitted to.
        error: share of the length of a video's vector that its codes do not give back, the mean.
    """

    hash: str
    videos: int
    error: float


def fit(
    store: FeatureStore,
    sources: Sequence[Source],
    run: Path,
    *,
    weights: Mapping[str, float],
    encoder: TextConfig,
    code_bytes: int,
    about: Mapping[str, Any],
    towers: Mapping[str, ExportedTextEncoder] = MappingProxyType({}),
    done: OnVideos = lambda count: None,
) -> Fitted:
    """Write a checkpoint that needs no captions.

    Args:
        store: of the features.
        sources: what the model is made of.
        run: the checkpoint folder.
        weights: of each source, by its expert.
        encoder: of the sentences; `NO_ENCODER` where dual encoders are all that the model is made of.
        code_bytes: S, bytes a video.
        about: more to write into config.json.
        towers: the text encoder of each dual encoder, by its expert.
        done: told of progress; each video counts twice.

    Raises:
        HcqError: no video has any of the features.
        NotFoundError: the text encoder is not on this machine.
        LockedError: another process writes there.
    """
    checkpoint.need_own(run)
    rows = fit_rows(store, [source.expert for source in sources])
    torch.manual_seed(SEED)
    caption_encoder = text.no_encoder() if encoder.encoder == NO_ENCODER else text.build(encoder, [])
    network = FittedEncoder(
        _shape(sources, weights, encoder, caption_encoder.transformer.hidden, code_bytes), caption_encoder.transformer
    ).eval()
    with torch.inference_mode():
        _name_classes(network, caption_encoder, sources)
        _learn_rarity(network, store, rows, done)
        sentences = _read(network, caption_encoder, generic_sentences())
        _balance(network, sentences)
        found = torch.cat(
            [network.found(batch) for batch in batches(network, store, rows, list(network.config.experts), done)]
        )
        read = _learn_spaces(network, found, sentences, towers)
        network.centre.copy_(found.mean(0))
        network.learn_query_scale(sentences)
        if network.has_relative_scores:
            network.made_up = (_made_up(network, store, rows) - network.centre)[:, None].half()
        asked = sum((network.tower_levels(*each) for each in read.items()), network.query(sentences))
        vectors = (found - network.centre)[:, None]
        errors = fit_quantizer(network, vectors, asked)
    with writer_lock(run):
        fitted = {"sources": [source.expert for source in sources], "videos": len(rows), **errors}
        files = [tower.source for tower in towers.values()]
        identity = checkpoint.save(run, network, caption_encoder, {**about, "fitted": fitted}, towers=files)
    return Fitted(identity, len(rows), errors["error"])


def fit_rows(store: FeatureStore, experts: Sequence[str]) -> NDArray[np.int64]:
    """Rows of the store that have any token, at most `MOST_VIDEOS` of them, evenly spread.

    Raises:
        HcqError: there is none.
    """
    every = np.arange(len(store))
    there = np.concatenate([has_tokens(store, rows, experts).any(1) for rows in in_order(len(store), 4096)])
    found = every[there]
    if not len(found):
        what = f"{store.folder}: {' and '.join(experts)} found nothing to see or hear in any video"
        raise HcqError(what, "name a network for what these have, pictures or sound; hcq features info tells which")
    return found[np.linspace(0, len(found) - 1, min(len(found), MOST_VIDEOS)).round().astype(np.int64)]


def _shape(
    sources: Sequence[Source], weights: Mapping[str, float], encoder: TextConfig, hidden: int, code_bytes: int
) -> ModelConfig:
    """The config of the model: as wide as all parts together, and a multiple of the code's bytes."""
    experts = {
        source.expert: ExpertConfig(
            source.info.dim, source.info.identity, reads=source.kind, weight=weights[source.expert]
        )
        for source in sources
    }
    named = (each for each in experts.values() if each.reads not in ("sentences", "joint"))
    joint = (each.dim for each in experts.values() if each.reads == "joint")
    axes = hidden + sum(Concepts(each, 1).axes for each in named) + sum(joint)
    return ModelConfig(
        kind="fitted",
        width=-(-axes // code_bytes) * code_bytes,
        levels=0,
        text=encoder,
        video=VideoConfig(layers=0, heads=1, max_tokens=MAX_TOKENS, standardize=False),
        quantizer=QuantizerConfig(codebooks=code_bytes, rotation="all", hubness=HUBNESS),
        experts=experts,
        relative=True,
    ).check()


def _read(network: FittedEncoder, caption_encoder: CaptionEncoder, texts: Sequence[str]) -> Tensor:
    """Texts → sentence vectors [n, E], some at a time."""
    device = torch.device("cpu")
    parts = [texts[at : at + SENTENCES_AT_ONCE] for at in range(0, len(texts), SENTENCES_AT_ONCE)]
    read = [network.embed_sentences(*text_tensors(caption_encoder.tokenizer(part), device)) for part in parts]
    return torch.cat(read)


def _name_classes(network: FittedEncoder, caption_encoder: CaptionEncoder, sources: Sequence[Source]) -> None:
    """Give each class the mean of the sentence vectors of its names."""
    for source in sources:
        if source.kind in ("sentences", "joint"):
            continue
        # Sorted by length, so that short names are not padded to the longest.
        names = sorted({name for synonyms in source.names for name in synonyms}, key=lambda name: (len(name), name))
        vectors = dict(zip(names, _read(network, caption_encoder, names), strict=True))
        nothing = torch.zeros(caption_encoder.transformer.hidden)
        means = [torch.stack([vectors[name] for name in each] or [nothing]).mean(0) for each in source.names]
        network.parts()[source.expert].names.copy_(F.normalize(torch.stack(means), dim=1))


def batches(
    network: FittedEncoder, store: FeatureStore, rows: NDArray[np.int64], experts: Sequence[str], done: OnVideos
) -> Iterator[VideoTensors]:
    """What experts found in some videos, a batch at a time; `done` is told of each."""
    config = network.config
    for at in in_order(len(rows), VIDEOS_AT_ONCE):
        batch = collate(store.read(rows[at], experts), config.video.max_tokens)
        yield video_tensors(batch, config, torch.device("cpu"))
        done(len(at))


def _learn_rarity(network: FittedEncoder, store: FeatureStore, rows: NDArray[np.int64], done: OnVideos) -> None:
    """What a whole collection shows tells its videos apart by little: such classes count less."""
    sums = {name: torch.zeros(part.rarity.shape, dtype=torch.float64) for name, part in network.parts().items()}
    if not sums:
        done(len(rows))  # without classifiers there is nothing to learn, and nothing to read
        return
    counts = dict.fromkeys(sums, 0)
    for batch in batches(network, store, rows, list(sums), done):
        for name, concepts in network.parts().items():
            sums[name] += concepts.seen(batch.features[name], batch.mask[name]).sum(0)
            counts[name] += int(batch.mask[name].any(1).sum())
    for name, concepts in network.parts().items():
        mean = sums[name] / max(counts[name], 1)
        concepts.rarity.copy_(1 / (1 + mean / COMMON))


def _balance(network: FittedEncoder, sentences: Tensor) -> None:
    """Learn how near any query is to any class, and scale classes by how much queries use an axis of each.

    A quantizer errs alike in all directions of what it quantizes, and what an error costs is the query's part.

    Args:
        network: changed.
        sentences: [n, E], of generic queries.
    """
    for name, concepts in network.parts().items():
        likeness = concepts.likeness(sentences)
        concepts.unrelated.copy_(likeness.mean())
        used = network.config.experts[name].weight * concepts.nearest(likeness)
        per_axis = used.square().sum(1).mean() / used.shape[1]
        concepts.balance.copy_((per_axis * sentences.shape[1]).sqrt().clamp_min(1e-3))


def _learn_spaces(
    network: FittedEncoder, found: Tensor, sentences: Tensor, towers: Mapping[str, ExportedTextEncoder]
) -> dict[str, Tensor]:
    """Learn what dual encoders make of the collection.

    Its weight says how much a dual encoder counts beside the classifiers together: so many times as far as theirs lie
    its scores of a query apart, over the videos.

    Args:
        network: changed.
        found: [n, D], what the experts found; changed where dual encoders have their axes.
        sentences: [Q, E], of generic queries.
        towers: the text encoder of each dual encoder, by its expert.

    Returns:
        The generic queries' vectors in the space of each dual encoder, [Q, dim], by its expert.
    """
    if not towers:
        return {}
    # Before any dual encoder has its share of the length: what they add is measured against this, too.
    own, usual = F.normalize(network.asked(sentences)[0][:, : network.named_axes], dim=1), SPREAD
    if network.named_axes:
        # Where classifiers tell no video from another, dual encoders must not count as little.
        usual = max(spread_of(own, found[:, : network.named_axes]), LEAST_SPREAD)
    read = {name: torch.from_numpy(tower.encode(generic_sentences())[:, 0]) for name, tower in towers.items()}
    for name, space in network.joint_spaces().items():
        place, weight = network.places[name], network.config.experts[name].weight
        axes = sentences.shape[1]
        per_axis = float(own[:, :axes].square().mean()) if axes else 1 / read[name].shape[1]
        space.learn(found[:, place], read[name], usual * weight, per_axis)
        found[:, place] = space.centred(found[:, place])
    return read


def _made_up(network: FittedEncoder, store: FeatureStore, rows: NDArray[np.int64]) -> Tensor:
    """Videos [MADE_UP, D] of random classes, each as clear as those of one of these rows of the store."""
    draws, found = torch.Generator().manual_seed(SEED), torch.zeros(0, network.config.width)
    some = rows[np.linspace(0, len(rows) - 1, min(len(rows), MADE_UP)).round().astype(np.int64)]
    while len(found) < MADE_UP:
        for batch in batches(network, store, some, list(network.config.experts), lambda count: None):
            found = torch.cat([found, network.found(batch, draws)])
    return found[:MADE_UP]


def fit_quantizer(network: FittedEncoder, vectors: Tensor, asked: Tensor) -> dict[str, float]:
    """Correct hubs, fit rotation and codewords, measure the chance scores.

    Returns:
        `error`, as in `Fitted`, and `loss`, what the codes lose of vectors that are not corrected
        (`model.drift.mean_loss`).
    """
    count, quantizer, seen = len(vectors), network.quantizer, vectors
    nobody = torch.full((len(asked),), -1)
    if network.hubness is not None:
        vectors = network.hubness.videos.fit(vectors, torch.arange(count), asked, nobody)
        network.hubness.texts.fit(asked, nobody, vectors, torch.arange(count))
    # As many points as codewords at least: then each video is one of them, and its codes give it back whole.
    points = torch.cat([vectors, asked[: max(quantizer.config.codewords - count, 0)]])
    quantizer.active.fill_(min(quantizer.config.codewords, len(points)))
    fit_codewords(quantizer, points, ITERATIONS, torch.Generator().manual_seed(SEED))
    best, errors, losses = torch.full((len(asked),), -torch.inf), [], []
    for part, whole in zip(vectors.split(SENTENCES_AT_ONCE), seen.split(SENTENCES_AT_ONCE), strict=True):
        coded = quantizer(part).vectors
        losses.append(mean_loss(whole.numpy(), coded.numpy()) * len(part) / count)
        best = torch.maximum(best, (asked[:, 0] @ coded[:, 0].T).amax(1))
        errors.append((part - coded).square().sum((1, 2)) / part.square().sum((1, 2)).clamp_min(1e-12))
    network.chance.copy_(torch.stack([best.mean(), best.std()]))
    return {"error": float(torch.cat(errors).mean()), "loss": sum(losses)}
