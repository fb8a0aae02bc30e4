"""Comparing with golden arrays, and turning them into batches and models of hcq_cli.importers.official."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reference_training import ReferenceWords, TrainingModel
from torch import Tensor, nn

from hcq_cli.importers.official.names import load_official, place
from hcq_cli.importers.official.options import QuantizerOptions, ReferenceExpert, ReferenceOptions
from hcq_cli.importers.official.video import ReferenceVideos

VALUES, GRADIENTS = 1e-5, 1e-4
"""Largest error, relative to the largest entry of the array."""


def tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items() if array.dtype.kind != "U"}


def relative_error(found: Tensor | np.ndarray | float, wanted: np.ndarray) -> float:
    array = found.detach().numpy() if isinstance(found, Tensor) else np.asarray(found)
    assert array.shape == wanted.shape
    size = float(np.abs(wanted).max(initial=0.0))
    return float(np.abs(array.astype(np.float64) - wanted).max(initial=0.0)) / (size or 1.0)


def close(found: Tensor | np.ndarray | float, wanted: np.ndarray, what: str, within: float = VALUES) -> None:
    """Within a share of the largest entry. HCQ_PARITY_LOG names a file that every error is appended to."""
    error = relative_error(found, wanted)
    if log := os.environ.get("HCQ_PARITY_LOG"):
        with Path(log).open("a") as lines:
            lines.write(f"{error:.3e} {within:.0e} {what}\n")
    assert error <= within, f"{what}: off by {error:.2e} of its largest entry"


def same(found: Tensor | np.ndarray, wanted: np.ndarray, what: str) -> None:
    """Exactly."""
    array = found.detach().numpy() if isinstance(found, Tensor) else found
    assert np.array_equal(array, wanted), f"{what}: {int((array != wanted).sum())} of {wanted.size} differ"


def load_part(module: nn.Module, prefix: str, state: Mapping[str, np.ndarray], official: str) -> None:
    """Load one module with weights stored under names that start below `official` in the whole model."""
    own = dict(module.state_dict())
    for name, value in tensors(state).items():
        at = place(official + name)
        assert at is not None and at.name.startswith(prefix), official + name
        if at.name[len(prefix) :] in own:
            own[at.name[len(prefix) :]].copy_(value)


def options(config: Mapping[str, Any], architecture: str = "HCQ", **changed: Any) -> ReferenceOptions:
    """Options of the golden runs: what config.json says, dropout 0, and what is `changed`."""
    base = ReferenceOptions(
        architecture=architecture,
        experts={name: ReferenceExpert(item["dim"], item["idx"]) for name, item in config["experts"].items()},
        same_dim=config["same_dim"],
        clusters=config["L"],
        ghosts=config["G"],
        quantizer=QuantizerOptions(M=config["M"], K=config["K"], alpha=config["alpha"]),
        bits=config["bits"],
        layers=config["vb_layers"],
        heads=config["vb_heads"],
        ffn=config["vb_inter"],
        dropout=0.0,
        txt_dropout=0.0,
        cls_sims_weight=config["cls_w"],
        vlad_sims_weight=config["vlad_w"],
    )
    return dataclasses.replace(base, **changed)


def text_bert(config: Mapping[str, Any]) -> nn.Module:
    from transformers import BertConfig, BertModel

    shape = BertConfig(**config["txt"], hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    shape._attn_implementation = "eager"
    return BertModel(shape)


def model(
    config: Mapping[str, Any], state: Mapping[str, np.ndarray], architecture: str = "HCQ", **changed: Any
) -> TrainingModel:
    """A reference model with golden weights, in evaluation mode."""
    weights = tensors(state)
    positions, types = (
        len(weights[f"vid_bert.embeddings.{name}_embeddings.weight"]) for name in ("position", "token_type")
    )
    shape = options(config, architecture, positions=positions, types=types, **changed)
    built = TrainingModel(shape, text_bert(config), config["txt"]["hidden_size"])
    load_official(built, weights)
    return built.eval()


def batch(arrays: Mapping[str, np.ndarray], captions: int | None = None) -> tuple[ReferenceWords, ReferenceVideos]:
    """A batch as the golden files store it; `captions`: only so many of each video."""
    given = tensors(arrays)
    words = given["token_ids"][:, :captions]
    experts = [name.removeprefix("features/") for name in given if name.startswith("features/")]
    parts = ("features", "features_t", "features_ind", "features_avgpool", "features_maxpool")
    videos = ReferenceVideos(*({name: given[f"{part}/{name}"] for name in experts} for part in parts))
    return ReferenceWords(words[..., 0].long(), words[..., 1].long()), videos
