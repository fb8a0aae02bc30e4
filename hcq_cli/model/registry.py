"""The kinds of model in one table: which network each is, and how it is trained.

A class is named by its module and loaded when it is asked for: the baselines lie above this room, and whoever loads
an HCQ model shall not wait for the code of the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ModelKind:
    """One kind of model; both classes are written "module:Class".

    Args:
        network: a `DualEncoder`, made from a configuration and a text encoder.
        training_method: a `training.method.TrainingMethod`, made from the network and a recipe; empty for a kind that
            is not trained.
        has_codes: whether its videos become codes; else they are float vectors.
        has_levels: whether it has fine levels besides the coarse one.
        is_binary: whether its codes are signs: 8 bits are a codeword, and its vectors are as wide as its bits.
    """

    network: str
    training_method: str
    has_codes: bool = True
    has_levels: bool = True
    is_binary: bool = False


KINDS: dict[str, ModelKind] = {
    "hcq": ModelKind("hcq_cli.model.hcq:HCQ", "hcq_cli.training.method:HCQMethod"),
    "hct": ModelKind("hcq_cli.baselines.hct:HCT", "hcq_cli.baselines.hct:HCTMethod", has_codes=False),
    "jpq": ModelKind("hcq_cli.baselines.jpq:JPQ", "hcq_cli.baselines.jpq:JPQMethod", has_levels=False),
    "dcmh": ModelKind(
        "hcq_cli.baselines.dcmh:DCMH", "hcq_cli.baselines.dcmh:DCMHMethod", has_levels=False, is_binary=True
    ),
    "fitted": ModelKind("hcq_cli.fitting.network:FittedEncoder", ""),
}
"""By the name that `model.kind` has in recipes and in config.json."""


IMPORTED: dict[str, str] = {"reference_options": "hcq_cli.importers.official.checkpoint:build"}
"""What builds the network of a checkpoint from elsewhere, by the name of a weight that only such a one has."""


def build_network(config: Any, text_encoder: Any, weights: Mapping[str, Tensor]) -> Any:
    """The network of a checkpoint; the caller loads its weights.

    Args:
        config: its `ModelConfig`.
        text_encoder: its `model.text.TextTransformer`, which reads captions.
        weights: by name; they tell an imported model, which is like the implementation it came from.
    """
    # By a weight and not by the config: that weight holds the options of the other implementation.
    for mark, builder in IMPORTED.items():
        if mark in weights:
            return _load(builder)(config, weights, text_encoder)
    return network_class(config.kind)(config, text_encoder)


def network_class(kind: str) -> Any:
    """The class of networks of a kind: called with a `ModelConfig` and a text encoder, it gives a `DualEncoder`."""
    return _load(KINDS[kind].network)


def training_method(kind: str) -> Any:
    """The class that trains models of a kind: called with the network and the recipe, it gives a `TrainingMethod`."""
    return _load(KINDS[kind].training_method)


def _load(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)
