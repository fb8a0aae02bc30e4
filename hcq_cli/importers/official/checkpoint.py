"""A reference model in a checkpoint folder of ours: it encodes, is indexed and queried as any other."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hcq_cli.errors import HcqError
from hcq_cli.importers.official.description import OfficialModel
from hcq_cli.importers.official.layers import ReferenceQuantizer
from hcq_cli.importers.official.names import load_official
from hcq_cli.importers.official.network import ReferenceModel
from hcq_cli.importers.official.options import QuantizerOptions, ReferenceExpert, ReferenceOptions
from hcq_cli.importers.official.video import ReferenceVideos
from hcq_cli.model.config import ExpertConfig, ModelConfig, QuantizerConfig, TextConfig, VideoConfig
from hcq_cli.model.quantizer import Coder
from hcq_cli.model.video import VideoTensors

if TYPE_CHECKING:
    from hcq_cli.model.text import TextTransformer

MARK = "reference_options"
"""Weight of an imported checkpoint that holds its options, so that the model's hash covers them too."""

UNKNOWN_TIME, FIRST_SECOND = 1.0, 2.0


def to_bytes(options: ReferenceOptions) -> Tensor:
    """Options as JSON in a uint8 tensor."""
    return torch.tensor(list(json.dumps(dataclasses.asdict(options), sort_keys=True).encode()), dtype=torch.uint8)


def from_bytes(body: Tensor) -> ReferenceOptions:
    """What `to_bytes` wrote."""
    table: dict[str, Any] = json.loads(bytes(body.tolist()))
    experts = {name: ReferenceExpert(**item) for name, item in table.pop("experts").items()}
    return ReferenceOptions(**{**table, "experts": experts, "quantizer": QuantizerOptions(**table["quantizer"])})


class ImportedQuantizer(Coder):
    """Codes by the reference's codebooks; no gradient.

    Args:
        quantizers: one a level.
    """

    def __init__(self, quantizers: list[ReferenceQuantizer]) -> None:
        self.quantizers = quantizers

    def unit_codewords(self) -> Tensor:
        """[L+1, M, K, d]; dead codewords stay zero."""
        return F.normalize(torch.stack([quantizer.codewords for quantizer in self.quantizers]), dim=-1)

    @torch.no_grad()
    def codes(self, x: Tensor) -> Tensor:
        """[B, L+1, D] → int64 [B, L+1, M]; the batch norm of the similarities cannot change them."""
        codewords = self.unit_codewords()
        chunks = F.normalize(x.unflatten(-1, (codewords.shape[1], -1)), dim=-1)
        return torch.einsum("blmd,lmkd->blmk", chunks, codewords).argmax(-1)


class ImportedNetwork(nn.Module):
    """A reference model with the face of `hcq_cli.model.hcq.HCQ`, for encoding and searching.

    Args:
        config: its shape in our terms.
        options: in the reference's.
        text_encoder: the network that reads captions.
    """

    level_weights: Tensor
    hubness: None = None
    pads_videos = True

    def __init__(self, config: ModelConfig, options: ReferenceOptions, text_encoder: TextTransformer) -> None:
        super().__init__()
        self.config = config
        self.pads_texts_to = config.text.max_tokens
        self.reference = ReferenceModel(options, text_encoder.network, text_encoder.hidden)
        quantizers = [q for q in self.reference.quantizers if isinstance(q, ReferenceQuantizer)]
        self.quantizer = ImportedQuantizer(quantizers)
        self.register_buffer(MARK, to_bytes(options))
        self.register_buffer("level_weights", torch.tensor(config.level_weights), persistent=False)

    def chance_scores(self) -> None:
        """See `DualEncoder.chance_scores`."""

    def generic_queries(self) -> None:
        """See `DualEncoder.generic_queries`."""

    def made_up_videos(self) -> None:
        """See `DualEncoder.made_up_videos`."""

    def embed_texts(self, ids: Tensor, mask: Tensor, special: Tensor) -> Tensor:
        """Captions → levels, [B, L+1, D], each of unit length, and its chunks equally long.

        Args:
            ids: int64 [B, T]; padded to the length the reference pads to, since that counts with it.
            mask, special: bool [B, T].
        """
        # The reference's VLAD gives masked tokens a share, too: fewer of them, and the vectors would be others.
        spare = max(self.config.text.max_tokens - ids.shape[1], 0)
        return self._unit(self.reference.embed_captions(F.pad(ids, (0, spare)), F.pad(mask, (0, spare))))

    def embed_videos(self, videos: VideoTensors) -> Tensor:
        """Videos → levels, as `embed_texts`."""
        return self._unit(self.reference.embed_videos(self._padded(videos)))

    def _unit(self, levels: Tensor) -> Tensor:
        # The reference scores by chunks of equal length; brought to it here, a plain inner product gives its scores.
        books = self.config.quantizer.codebooks
        return (F.normalize(levels.unflatten(-1, (books, -1)), dim=-1) * books**-0.5).flatten(-2)

    def _padded(self, videos: VideoTensors) -> ReferenceVideos:
        features, times, masks, means, highest = {}, {}, {}, {}, {}
        for name, given in videos.features.items():
            mask = videos.mask[name]
            there = mask[..., None]
            spare = max(self.config.video.max_tokens - given.shape[1], 0)
            seconds = videos.times[name]
            slots = torch.where(torch.isfinite(seconds) & (seconds >= 0), seconds + FIRST_SECOND, UNKNOWN_TIME)
            features[name] = F.pad(given * there, (0, 0, 0, spare))
            times[name] = F.pad(slots, (0, spare), value=UNKNOWN_TIME)
            masks[name] = F.pad(mask, (0, spare))
            means[name] = (given * there).sum(1) / there.sum(1).clamp(min=1)
            highest[name] = given.masked_fill(~there, -torch.inf).amax(1).masked_fill(~there.any(1), 0.0)
        return ReferenceVideos(features, times, masks, means, highest)


def model_config(model: OfficialModel, text_encoder: str) -> ModelConfig:
    """The shape in our terms.

    Raises:
        HcqError: the model has no codes to search (HCT, DCMH), or learns values apart from keys.
        UsageError: a size does not fit our formats.
    """
    options = model.options
    if not options.quantized_levels:
        raise HcqError(
            f"a {options.architecture} checkpoint has no quantizer: there is nothing to encode videos with",
            "hcq import official an HCQ or JPQ checkpoint",
        )
    if options.quantizer.dual_codebooks:
        raise HcqError("checkpoints with dual codebooks are not imported", "train without dual_codebooks")
    total = options.cls_sims_weight + options.vlad_sims_weight
    return ModelConfig(
        width=options.same_dim,
        levels=options.fine_levels,
        text_gates=len(options.experts),
        coarse_weight=options.cls_sims_weight / total if options.fine_levels else 0.0,
        text=TextConfig(encoder=text_encoder, max_tokens=model.max_words),
        video=VideoConfig(
            layers=options.layers,
            heads=options.heads,
            ffn=options.ffn,
            dropout=options.dropout,
            max_tokens=model.max_tokens,
            time_slots=options.positions,
            standardize=False,
        ),
        quantizer=QuantizerConfig(options.quantizer.M, options.quantizer.K, options.quantizer.alpha),
        experts={name: ExpertConfig(expert.dim) for name, expert in options.experts.items()},
    ).check()


def build(config: ModelConfig, weights: Mapping[str, Tensor], text_encoder: TextTransformer) -> ImportedNetwork:
    """The network of a checkpoint folder whose weights have the mark; the caller loads them."""
    return ImportedNetwork(config, from_bytes(weights[MARK]), text_encoder)


def convert(
    model: OfficialModel, weights: Mapping[str, Tensor], text_encoder: TextTransformer, source: str
) -> tuple[ImportedNetwork, list[str]]:
    """A reference model as one that encodes and is searched as ours are.

    Args:
        model: what the checkpoint describes.
        weights: by the reference's names.
        text_encoder: of the right shape, its weights not loaded yet.
        source: where that shape comes from.

    Returns:
        The network, and the names of weights that nothing has a use for.

    Raises:
        HcqError: the model cannot be searched.
        DamagedError: the weights do not fit.
    """
    network = ImportedNetwork(model_config(model, source), model.options, text_encoder)
    unused = load_official(network.reference, weights)
    for quantizer in network.quantizer.quantizers:
        quantizer.normalize_codebooks()
    return network, unused
