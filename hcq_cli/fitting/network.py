"""A dual encoder that needs no captions: a classifier's classes weigh the sentence vectors of their names.

ConSE (Norouzi et al., "Zero-Shot Learning by Convex Combination of Semantic Embeddings", ICLR 2014): a video is the
mean of the sentence vectors of what a classifier sees in it, a query the sentence vector of its words. A mean blurs
what a single class says clearly, so beside it stand the classes themselves: how much of each is seen in a video, and
how near each is to the query, the nearest counting by far the most. Both are inner products, so one vector holds
both, and a product quantizer takes it as it takes any.

The mean video is taken from every video, and a query's vector is divided by the score of a video that would show just
what the query names: the class nearest to it. Neither changes what comes first, and both make scores of different
queries comparable (model/confidence.py): 40 % of what can be reached is much, whether or not a class says just what
was asked for.

Letters: B texts or videos, T tokens, C classes, E width of a sentence vector, D of the whole vector.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hcq_cli.errors import DamagedError
from hcq_cli.fitting.adapter import TextAdapter
from hcq_cli.fitting.dual_space import DualSpace
from hcq_cli.model.confidence import MIDDLE, OVER_MADE_UP, SLOPE, SLOPE_OVER_MADE_UP, ChanceScores
from hcq_cli.model.config import ExpertConfig, ModelConfig
from hcq_cli.model.hcq import DualEncoder
from hcq_cli.model.quantizer import ProductQuantizer
from hcq_cli.model.text import TextTransformer
from hcq_cli.model.video import VideoTensors

MOST_CLASSES = 2048
"""Most axes that the classes of a classifier take; of more, several share one."""
BEST_CLASSES = 30
"""Classes that count in a video, the others are noise."""
COMMON = 0.05
"""A class that is seen as much as this in the average video of a collection counts half."""
TEMPERATURE = 0.06
"""Of the softmax over a query's likeness to the classes: towards 0 the nearest class counts alone."""
EARLIER_TEMPERATURE = 0.05
"""In models that were fitted before there were relative scores."""
LEAST_REACH = 0.1
"""Added to what a query could reach, so that what no class is near to is not blown up."""


class Concepts(nn.Module):
    """The classes of one classifier.

    Args:
        config: of the expert; its `dim` is C.
        hidden: E.
        relative: whether it is part of a model with relative scores (`ModelConfig.relative`).
    """

    names: Tensor
    rarity: Tensor
    signs: Tensor
    balance: Tensor
    unrelated: Tensor

    def __init__(self, config: ExpertConfig, hidden: int, relative: bool = True) -> None:
        super().__init__()
        self.reads, self.relative, classes = config.reads, relative, config.dim
        self.axes = min(classes, MOST_CLASSES)
        self.register_buffer("names", torch.zeros(classes, hidden))
        self.register_buffer("rarity", torch.ones(classes))
        self.register_buffer("balance", torch.ones(()))
        # Any fixed mixing of a class's number will do for the sign by which it is folded; this is the multiplier of
        # Knuth's hash.
        signs = 1.0 - 2.0 * ((torch.arange(classes) * 2654435761 >> 16) & 1)
        self.register_buffer("signs", signs, persistent=False)
        if relative:
            self.register_buffer("unrelated", torch.zeros(()))

    def seen(self, features: Tensor, mask: Tensor) -> Tensor:
        """How much of each class a video shows: [B, T, C], bool [B, T] → [B, C] in 0..1.

        The geometric mean of the mean over its tokens and of the largest: what is clear for a moment counts, too.
        """
        if self.reads == "softmax":
            features = features.softmax(-1)
        elif self.reads == "sigmoid":
            features = features.sigmoid()
        shown = features.clamp(0, 1) * mask[..., None]
        return (shown.sum(1) / mask.sum(1, keepdim=True).clamp_min(1) * shown.amax(1)).sqrt()

    def activations(self, seen: Tensor) -> Tensor:
        """What of it counts: the best classes alone, by the root, so that one sure class leaves others room.

        [B, C] → [B, C]; the length is what it happens to be.
        """
        strength = (seen * self.rarity).sqrt()
        best = strength.topk(min(BEST_CLASSES, strength.shape[1]), 1)
        return torch.zeros_like(strength).scatter(1, best.indices, best.values)

    def likeness(self, sentences: Tensor) -> Tensor:
        """Cosines of texts and names of classes: [B, E] → [B, C]."""
        return sentences @ self.names.T

    def nearest(self, likeness: Tensor) -> Tensor:
        """How much of each class a text asks for, of the nearest by far the most: [B, C] → [B, C].

        As long as the nearest class is near: a text that is nearly the name of one class asks for no more than a
        text between several, and what the sentence as a whole means counts alike in both. Likeness counts from what
        any text has with any class: some sentence encoders have nothing below a cosine of 0.7.
        """
        if not self.relative:
            return likeness * (likeness / EARLIER_TEMPERATURE).softmax(1)
        likeness = (likeness - self.unrelated) / (1 - self.unrelated).clamp_min(1e-3)
        shares = F.normalize(likeness * (likeness / TEMPERATURE).softmax(1), dim=1)
        return shares * likeness.amax(1, keepdim=True).clamp_min(0)

    def fold(self, classes: Tensor) -> Tensor:
        """[B, C] → [B, axes]: of more than `MOST_CLASSES` several share an axis, with signs, so that inner products
        stay what they were on average (feature hashing, Weinberger et al., ICML 2009).
        """
        count = classes.shape[1]
        if count <= MOST_CLASSES:
            return classes
        padded = F.pad(classes * self.signs, (0, -count % MOST_CLASSES))
        return padded.unflatten(1, (-1, MOST_CLASSES)).sum(1)


class FittedEncoder(DualEncoder):
    """Sentence vectors on one side, what classifiers and listeners found on the other, in one vector.

    Args:
        config: its shape; no fine levels, and `reads` said of each expert.
        text_encoder: a sentence encoder, whose vector is the mean over all tokens.

    Raises:
        DamagedError: the shape is none that it can have.
    """

    quantizer: ProductQuantizer
    centre: Tensor
    chance: Tensor
    made_up: Tensor | None
    query_scale: Tensor

    def __init__(self, config: ModelConfig, text_encoder: TextTransformer) -> None:
        super().__init__(config, text_encoder)
        self.register_buffer("centre", torch.zeros(config.width))
        self.register_buffer("chance", torch.zeros(2))
        self.register_buffer("made_up", None)
        if config.relative:
            self.register_buffer("query_scale", torch.ones(()))
        named = {name: each for name, each in config.experts.items() if each.reads not in ("sentences", "joint")}
        self.concepts = nn.ModuleDict(
            {name: Concepts(each, text_encoder.hidden, config.relative) for name, each in named.items()}
        )
        self.named_axes = text_encoder.hidden + sum(part.axes for part in self.parts().values())
        joint = {name: each.dim for name, each in config.experts.items() if each.reads == "joint"}
        self.spaces = nn.ModuleDict({name: DualSpace(dim) for name, dim in joint.items()})
        ends = np.cumsum([self.named_axes, *joint.values()]).tolist()
        self.places = {name: slice(*ends[at : at + 2]) for at, name in enumerate(joint)}
        used = ends[-1]
        if config.levels or used > config.width or not all(expert.reads for expert in config.experts.values()):
            raise DamagedError(f"a fitted model of width {config.width} cannot hold {used} axes", "hcq fit")
        self.adapter: TextAdapter | None = None
        self.quantize_by_products()

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        """Whether captions have adapted it, by a map of which rank, and what was made up: its weights say it."""
        made_up = state_dict.get(f"{prefix}made_up")
        shape = (*made_up.shape[:1], 1, self.config.width) if made_up is not None else ()
        self.made_up = None if made_up is None else made_up.new_empty(shape)
        stored = state_dict.get(f"{prefix}adapter.down")
        self.adapter = None if stored is None else TextAdapter(self.config.width, len(stored))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def parts(self) -> dict[str, Concepts]:
        """Its classifiers, by expert."""
        return {name: part for name, part in self.concepts.items() if isinstance(part, Concepts)}

    def chance_scores(self) -> ChanceScores | None:
        """See `DualEncoder.chance_scores`."""
        if self.made_up is not None:
            return ChanceScores(0.0, float(self.query_scale), OVER_MADE_UP, SLOPE_OVER_MADE_UP)
        mean, deviation = self.chance.tolist()
        return ChanceScores(mean, deviation, MIDDLE, SLOPE) if self.config.relative else ChanceScores(mean, deviation)

    def generic_queries(self) -> Tensor | None:
        """See `DualEncoder.generic_queries`: they lie where they are held against hubs."""
        bank = self.hubness.videos if self.hubness is not None else None
        return bank.bank[: int(bank.filled)].float() if bank is not None and int(bank.filled) else None

    def made_up_videos(self) -> Tensor | None:
        """See `DualEncoder.made_up_videos`; [M, 1, D], kept in half precision."""
        return None if self.made_up is None else self.made_up.float()

    def joint_spaces(self) -> dict[str, DualSpace]:
        """Its dual encoders, by expert."""
        return {name: part for name, part in self.spaces.items() if isinstance(part, DualSpace)}

    def _query_length(self) -> Tensor:
        """Of a text's vector: that of what the text encoder reads is 1, to which the dual encoders add theirs."""
        own = torch.tensor(1.0 if self.text_encoder.hidden else 0.0)
        return (own + sum(space.reach().square() for space in self.joint_spaces().values())).sqrt()

    def tower_levels(self, name: str, vectors: Tensor) -> Tensor:
        """See `DualEncoder.tower_levels`; with what the others add, the whole query is of length 1."""
        read = self.joint_spaces()[name].texts(vectors) / self._query_length()
        return self._adapted(self._whole(F.pad(read, (self.places[name].start, 0))))

    def _adapted(self, texts: Tensor) -> Tensor:
        """The part of texts that an encoder reads, [..., D], as captions have taught it; linear."""
        return texts if self.adapter is None else self.adapter(texts)

    def _whole(self, filled: Tensor) -> Tensor:
        """Vectors with zeros behind them: [B, axes] → [B, 1, D]."""
        return F.pad(filled, (0, self.config.width - filled.shape[1]))[:, None]

    def embed_sentences(self, ids: Tensor, mask: Tensor, special: Tensor) -> Tensor:
        """Texts → their sentence vectors [B, E], of length 1: the mean over all tokens, as MiniLM was trained."""
        states = self.text_encoder(ids, mask, special).tokens
        return F.normalize((states * mask[..., None].to(states.dtype)).sum(1), dim=-1)

    def embed_texts(self, ids: Tensor, mask: Tensor, special: Tensor) -> Tensor:
        """See `DualEncoder.embed_texts`; [B, 1, D]."""
        return self.query(self.embed_sentences(ids, mask, special))

    def query(self, sentences: Tensor) -> Tensor:
        """The whole vector of texts of which the sentence vectors are known: [B, E] → [B, 1, D].

        But for the part of dual encoders, whose text encoders read texts by themselves (`tower_levels`). Of length 1
        in the mean over generic sentences, or with dual encoders always: what those could reach nobody knows.
        Captions may adapt it further.
        """
        asked, reach = self.asked(sentences)
        if not self.has_relative_scores:
            return self._adapted(F.normalize(asked, dim=1)[:, None] / self._query_length())
        stands_out = reach - asked @ self.centre  # less what any video of the collection has
        per_score = self.query_scale / (stands_out + LEAST_REACH).clamp_min(LEAST_REACH)
        return self._adapted((asked * per_score[:, None])[:, None])

    def asked(self, sentences: Tensor) -> tuple[Tensor, Tensor]:
        """What texts ask for, and what they could reach, before anything brings them to a length.

        [B, E] → [B, D] and [B]: the best score of a video in which one class is seen and nothing else; 1 where there
        is no classifier.
        """
        parts, scores = [sentences], []
        for name, concepts in self.parts().items():
            likeness = concepts.likeness(sentences)
            near = concepts.nearest(likeness) * self.config.experts[name].weight
            # Balanced: where queries vary less, so may the codes err more; what is taken here is given to the videos.
            parts.append(concepts.fold(near / concepts.balance))
            scores.append((likeness + near).amax(1))
        if not scores:
            return self._whole(sentences)[:, 0], torch.ones(len(sentences))
        return self._whole(torch.cat(parts, 1))[:, 0], torch.stack(scores).amax(0)

    @property
    def has_relative_scores(self) -> bool:
        """Whether scores are shares of what a query could reach, which only names of classes can tell."""
        return self.config.relative and bool(self.concepts) and not self.spaces

    def learn_query_scale(self, sentences: Tensor) -> None:
        """Bring generic sentences [Q, E] to length 1 in the mean; once the mean video is known."""
        if self.has_relative_scores:
            self.query_scale.fill_(1.0)
            self.query_scale.copy_(1 / self.query(sentences)[:, 0].norm(dim=1).mean().clamp_min(1e-6))

    def embed_videos(self, videos: VideoTensors) -> Tensor:
        """See `DualEncoder.embed_videos`; [B, 1, D], less the mean video."""
        return (self.found(videos) - self.centre)[:, None]

    def found(self, videos: VideoTensors, made_up: torch.Generator | None = None) -> Tensor:
        """What the experts found in videos: [B, D]. Of an expert that a video lacks nothing is known: zeros.

        With `made_up` what classifiers might have found in others: as much of other classes, which it draws.
        """
        meaning, shares, joint = torch.zeros(()), [], []
        for name, expert in self.config.experts.items():
            features, mask = videos.features[name], videos.mask[name]
            if name in self.concepts:
                concepts = self.parts()[name]
                active = concepts.activations(concepts.seen(features, mask))
                if made_up is not None:
                    active = active.gather(1, torch.rand(active.shape, generator=made_up).argsort(1))
                vector = active @ concepts.names
                shares.append(concepts.fold(F.normalize(active, dim=1)) * concepts.balance)
            elif made_up is not None:
                continue
            elif name in self.spaces:
                joint.append(self.joint_spaces()[name].videos(features, mask))
                continue
            else:
                vector = (F.normalize(features, dim=-1) * mask[..., None]).sum(1)
            meaning = meaning + expert.weight * F.normalize(vector, dim=1)
        own = [F.normalize(meaning, dim=1), *shares] if self.named_axes else []
        return self._whole(torch.cat([*own, *joint], 1))[:, 0]
