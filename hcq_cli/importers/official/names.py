"""The reference's parameter names and ours, both ways; a fused tensor of ours holds several of theirs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from hcq_cli.errors import DamagedError

RULES: list[tuple[str, str]] = [
    (r"video_dim_reduce\.([^.]+)\.fc\.", r"video.projections.\1."),
    (r"vid_bert\.embeddings\.position_embeddings\.", "video.transformer.positions."),
    (r"vid_bert\.embeddings\.token_type_embeddings\.", "video.transformer.types."),
    (r"vid_bert\.embeddings\.layer_norm\.", "video.transformer.norm."),
    (r"vid_bert\.pooler\.dense\.", "video.transformer.pooler."),
    (r"vid_bert\.encoder\.layer\.(\d+)\.attention\.self\.(?:query|key|value)\.", r"video.transformer.layers.\1.qkv."),
    (r"vid_bert\.encoder\.layer\.(\d+)\.attention\.output\.dense\.", r"video.transformer.layers.\1.out."),
    (
        r"vid_bert\.encoder\.layer\.(\d+)\.attention\.output\.layer_norm\.",
        r"video.transformer.layers.\1.norm_attention.",
    ),
    (r"vid_bert\.encoder\.layer\.(\d+)\.intermediate\.dense\.", r"video.transformer.layers.\1.up."),
    (r"vid_bert\.encoder\.layer\.(\d+)\.output\.dense\.", r"video.transformer.layers.\1.down."),
    (r"vid_bert\.encoder\.layer\.(\d+)\.output\.layer_norm\.", r"video.transformer.layers.\1.norm_ffn."),
    (r"txt_bert\.", "text."),
    (r"text_GU\.([^.]+)\.fc\.", r"coarse.units.\1.embed."),
    (r"text_GU\.([^.]+)\.cg\.fc\.", r"coarse.units.\1.gate."),
    (r"text_GU\.([^.]+)\.cg\.batch_norm\.", r"coarse.units.\1.norm."),
    (r"moe_fc_txt\.([^.]+)\.", r"coarse.weights.\1."),
    (r"text_vlad_proj\.", "text_tokens."),
    (r"ghost_vlad\.clusters2$", "fine.centroids"),
    (r"ghost_vlad\.clusters$", "fine.clusters"),
    (r"ghost_vlad\.batch_norm\.", "fine.norm."),
    (r"vid_hash_layer\.0\.", "video_bits."),
    (r"txt_hash_layer\.0\.", "text_bits."),
]
QUANTIZER_RULES = [("_C_k", "codewords"), ("_C_v", "values"), ("BatchNorm.", "norm.")]
FUSED = {"query": 0, "key": 1, "value": 2}
FUSED_SUFFIXES = (".qkv.weight", ".qkv.bias")


@dataclass(frozen=True)
class Place:
    """Where a tensor of the reference lies in ours.

    Args:
        name: of our tensor.
        part: which third of its first axis; None for all of it.
    """

    name: str
    part: int | None = None

    def of(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The reference's view of our tensors (parameters, gradients or statistics)."""
        # `chunk` gives views: what is copied into a third lands in the fused tensor itself.
        whole = tensors[self.name]
        return whole if self.part is None else whole.chunk(3)[self.part]


def place(official: str) -> Place | None:
    """Where the reference's `official` tensor lies; None if nothing of ours is like it."""
    for pattern, ours in RULES:
        match = re.match(pattern, official)
        if match:
            fused = re.search(r"attention\.self\.(query|key|value)\.", official)
            tail = official[match.end() :]
            in_thirds = fused is not None and ours.endswith(".qkv.")
            return Place(match.expand(ours) + tail, FUSED[fused[1]] if fused and in_thirds else None)
    level = re.match(r"(?:(cls_pq_layer)|vlad_pq_layers\.(\d+))\.", official)
    if level is None:
        return None
    at, tail = 0 if level[1] else int(level[2]) + 1, official[level.end() :]
    for theirs, mine in QUANTIZER_RULES:
        if tail.startswith(theirs):
            return Place(f"quantizers.{at}.{mine}{tail[len(theirs) :]}")
    return None


def load_official(model: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    """Copy the reference's weights into a model of this package.

    Args:
        model: any module of this package (under whole-model names).
        weights: by official name.

    Returns:
        Names of `weights` that the model has no use for (an unused head; `_C_v`, where it is `_C_k` again).

    Raises:
        DamagedError: a tensor has another shape, or one of the model's is missing.
    """
    # A state_dict shares memory with its model, so `copy_` below fills the model. `load_state_dict` would not do: a
    # fused tensor comes in three pieces, under three names.
    own, unused = model.state_dict(), []
    parts = {name: 3 if name.endswith(FUSED_SUFFIXES) else 1 for name in own}
    for name, value in weights.items():
        at = place(name)
        if at is None or at.name not in own:
            unused.append(name)
            continue
        target = at.of(own)
        if target.shape != value.shape:
            raise DamagedError(f"reference weights: {name} has shape {list(value.shape)}, not {list(target.shape)}")
        target.copy_(value)
        parts[at.name] -= 1
    lacking = [name for name, count in parts.items() if count > 0 and not name.endswith("num_batches_tracked")]
    if lacking:
        raise DamagedError(f"reference weights: not all there for {', '.join(lacking[:3])} ({len(lacking)} in all)")
    return unused
