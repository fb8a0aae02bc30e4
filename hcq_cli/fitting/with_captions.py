"""A fitted model and some captions -> an adapted one, with hubs and quantizer fitted anew: `hcq train --init`.

Memory is bounded as when the model was fitted: whatever the number of videos and captions, `MOST_VIDEOS` and
`MOST_CAPTIONS` of them, evenly spread, are looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hcq_cli.datasets.dataset import has_tokens
from hcq_cli.datasets.splits import Split
from hcq_cli.errors import HcqError
from hcq_cli.features.store import FeatureStore
from hcq_cli.fitting.adaptation import Adaptation, CaptionedVectors, adapt
from hcq_cli.fitting.fitting import OnVideos, batches, fit_quantizer, fit_rows
from hcq_cli.fitting.network import FittedEncoder
from hcq_cli.fitting.sentences import generic_sentences
from hcq_cli.model import checkpoint
from hcq_cli.model.trained_model import Model
from hcq_cli.writer_lock import writer_lock

MOST_CAPTIONS = 16_384


def adapt_model(
    model: Model,
    store: FeatureStore,
    train: Split,
    validation: Split,
    run: Path,
    *,
    about: Mapping[str, Any],
    done: OnVideos = lambda count: None,
) -> Adaptation:
    """Adapt a fitted model to captions and write it; where that is not worth keeping it is written as it was.

    Args:
        model: that `hcq fit` made; what captions taught it before is forgotten.
        store: of the features.
        train: videos and captions to learn from.
        validation: those to decide by; empty for parts of the others in turn.
        run: the checkpoint folder.
        about: for config.json; the decision is added.
        done: told of each video that was looked at.

    Raises:
        HcqError: no captioned video has any token of the model's experts.
        LockedError: another process writes there.
    """
    network = model.network
    assert isinstance(network, FittedEncoder)
    checkpoint.need_own(run)
    adapted_before, network.adapter = network.adapter is not None, None
    experts = model.config.known_experts(store.experts)
    usual = fit_rows(store, experts)
    seen = [_seen(part, store, experts) for part in (train, validation)]
    rows = np.union1d(usual, np.concatenate([part.rows for part in seen]))
    with torch.no_grad():
        found = batches(network, store, rows, experts, done)
        videos = torch.cat([network.embed_videos(batch)[:, 0] for batch in found])
        asked = torch.from_numpy(model.encode_texts(generic_sentences()))
        learned, held_out = (_vectors(model, part, rows, videos=videos, asked=asked[:, 0]) for part in seen)
        if not len(learned.texts):
            raise HcqError("no captioned video has anything that the model sees or hears", "hcq captions check FILE")
        adaptation = adapt(learned, held_out if len(held_out.texts) else None)
        network.adapter, fitted = adaptation.adapter, dict(about.get("fitted", {}))
        if network.adapter is not None or adapted_before:
            asked = network.adapter(asked) if network.adapter is not None else asked
            fitted_to = torch.from_numpy(np.searchsorted(rows, usual))
            fitted |= fit_quantizer(network, videos[fitted_to, None], asked)
    with writer_lock(run):
        files = [tower.source for tower in model.towers.values()]
        document = {**about, "fitted": fitted, "adapted": adaptation.to_dict()}
        checkpoint.save(run, network, model.caption_encoder, document, towers=files)
    return adaptation


def _seen(part: Split, store: FeatureStore, experts: Sequence[str]) -> Split:
    """The videos of which the model's experts have any token."""
    at = np.flatnonzero(has_tokens(store, part.rows, experts).any(1)) if len(part) else np.zeros(0, np.int64)
    return Split(part.rows[at], [part.captions[video] for video in at.tolist()], part.groups[at])


def _vectors(
    model: Model, part: Split, rows: NDArray[np.int64], *, videos: Tensor, asked: Tensor
) -> CaptionedVectors:
    """The captions of some videos, among all `videos` of the collection, which are at `rows` of the store."""
    position = np.searchsorted(rows, part.rows)
    groups = np.arange(len(rows)) + 1 + int(part.groups.max(initial=0))
    groups[position] = part.groups
    sentences = part.sentences
    count = len(sentences)
    kept = np.linspace(0, count - 1, min(count, MOST_CAPTIONS)).round().astype(np.int64)
    texts = model.encode_texts([sentences[at] for at in kept.tolist()])
    owner = position[part.owner[kept]]
    return CaptionedVectors(
        texts=torch.from_numpy(texts[:, 0]),
        owner=torch.from_numpy(owner),
        videos=videos,
        groups=torch.from_numpy(groups),
        asked=asked,
    )
