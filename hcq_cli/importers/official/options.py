"""What shapes a reference model: its architecture and options, under the names its configuration files use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hcq_cli.errors import UsageError

ARCHITECTURES = ("HCQ", "HCT", "JPQ", "DCMH")
CHOICES: dict[str, tuple[str, ...]] = {
    "txt_agg": ("bertftn", "bertftncls", "bertftnmxp", "bertftnmnp"),
    "txt_pro": ("gbn", "gem", "lin"),
    "txt_wgh": ("emb", "none"),
    "vid_inp": ("both", "agg"),
    "pos_enc": ("tint", "ordr", "type", "none"),
    "out_tok": ("mxp", "mnp", "sep"),
}
"""Options that the published code runs with; the first is the shipped setting."""


@dataclass(frozen=True)
class QuantizerOptions:
    """One product quantizer.

    Args:
        M, K: sub-codebooks, and codewords in each.
        alpha: sharpness of the soft attention.
        dual_codebooks: values apart from keys, learned through the soft attention.
        add_BN: batch norm without affine over each sub-codebook's similarities.
        mask_topK: the soft attention sees only so many codewords; None for all.
        pq_detach_opt: which side of the quantization term has no gradient: `features`, `codewords` or `none`.
    """

    M: int = 32
    K: int = 256
    alpha: float = 1.0
    dual_codebooks: bool = False
    add_BN: bool = True
    mask_topK: int | None = None
    pq_detach_opt: str = "none"


@dataclass(frozen=True)
class ReferenceExpert:
    """An expert.

    Args:
        dim: width of its features.
        idx: its row in the table of token types.
    """

    dim: int
    idx: int


@dataclass(frozen=True)
class ReferenceOptions:
    """A whole reference model.

    Args:
        architecture: `HCQ`, or a sibling: `HCT` (dense), `JPQ` (coarse level, one quantizer), `DCMH` (binary codes).
        experts: by name, in the order of the token sequence.
        same_dim: D.
        clusters, ghosts: L and the number of ghosts.
        quantizer: of each level.
        bits: length of DCMH's codes.
        layers, heads, ffn, dropout, positions, types: the video transformer and its tables.
        txt_dropout: before the weights of the mixture.
        txt_agg, txt_pro, txt_wgh, vid_inp, pos_enc, out_tok, normalize_experts: see `CHOICES`.
        cls_sims_weight, vlad_sims_weight: of the coarse level, and of the mean of the fine ones, in the score.
    """

    architecture: str = "HCQ"
    experts: dict[str, ReferenceExpert] = field(default_factory=dict)
    same_dim: int = 512
    clusters: int = 7
    ghosts: int = 1
    quantizer: QuantizerOptions = field(default_factory=QuantizerOptions)
    bits: int = 2048
    layers: int = 4
    heads: int = 4
    ffn: int = 3072
    dropout: float = 0.1
    positions: int = 32
    types: int = 19
    txt_dropout: float = 0.1
    txt_agg: str = "bertftn"
    txt_pro: str = "gbn"
    txt_wgh: str = "emb"
    vid_inp: str = "both"
    pos_enc: str = "tint"
    out_tok: str = "mxp"
    normalize_experts: bool = True
    cls_sims_weight: float = 0.125
    vlad_sims_weight: float = 0.875

    @property
    def fine_levels(self) -> int:
        """L, or 0 for the architectures that have the coarse level alone."""
        return self.clusters if self.architecture in ("HCQ", "HCT") else 0

    @property
    def quantized_levels(self) -> int:
        """How many levels have a quantizer."""
        return self.fine_levels + 1 if self.architecture in ("HCQ", "JPQ") else 0

    def check(self) -> ReferenceOptions:
        """Itself, if the published code could have run with it.

        Raises:
            UsageError: it could not; the message names the option.
        """
        if self.architecture not in ARCHITECTURES:
            raise UsageError(f"architecture {self.architecture!r}, known are {', '.join(ARCHITECTURES)}")
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise UsageError(f"reference option {name} = {getattr(self, name)!r}, known are {', '.join(known)}")
        for name, parts in (("num_attention_heads", self.heads), ("M", self.quantizer.M)):
            if self.same_dim % parts:
                raise UsageError(f"{name} = {parts} does not divide same_dim = {self.same_dim}")
        return self


def quantizer_options(parameters: Mapping[str, Any]) -> QuantizerOptions:
    """From `pq_params` of a reference configuration; what only its constructor needs is left out."""
    known = {name: parameters[name] for name in QuantizerOptions.__dataclass_fields__ if name in parameters}
    return QuantizerOptions(**known)
