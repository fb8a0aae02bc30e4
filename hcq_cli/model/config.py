"""Everything that shapes a model, as plain dataclasses that read and write JSON and TOML tables."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hcq_cli.errors import HcqError, UsageError, near
from hcq_cli.headers import PLAIN
from hcq_cli.model.registry import KINDS, ModelKind

MAX_CODEWORDS = 256
"""A code is one byte."""
MOST_LAYERS = 1024
"""Of the text or the video encoder; the largest published encoders have some 100."""
MOST_TOKENS = 1 << 14
"""Of a caption, or of an expert's tokens of a video: a batch may be padded to it."""

READS = ("", "probabilities", "softmax", "sigmoid", "sentences", "joint")
"""What a fitted model takes an expert's features for: probabilities of classes, or what softmax or the sigmoid makes
such of; or sentence vectors; or vectors in the space of a dual encoder's texts. Trained models learn it."""

Table = TypeVar("Table")


@dataclass(frozen=True)
class TextConfig:
    """The text encoder.

    Args:
        encoder: `scratch`, `minilm`, a Hugging Face id that `hcq models fetch` has brought, or a local folder.
        revision: of a Hugging Face id; empty for its default branch.
        max_tokens: longest caption in tokens, [CLS] and [SEP] included; the rest is cut.
        vocabulary: most entries of the vocabulary learned from the captions (`scratch` only).
        layers, heads, width, ffn, dropout: the small BERT of `scratch`.
    """

    encoder: str = "scratch"
    revision: str = ""
    max_tokens: int = 32
    vocabulary: int = 8000
    layers: int = 2
    heads: int = 4
    width: int = 128
    ffn: int = 256
    dropout: float = 0.1


@dataclass(frozen=True)
class VideoConfig:
    """The multi-modal transformer.

    Args:
        layers, heads, ffn, dropout: its post-LN encoder, of the common width D.
        max_tokens: most feature tokens an expert gives to it.
        time_slots: rows of the time table: none, unknown, then whole seconds (later ones share the last).
        standardize: whether features are brought to mean 0 and deviation 1 of the training set first.
    """

    layers: int = 2
    heads: int = 4
    ffn: int = 512
    dropout: float = 0.1
    max_tokens: int = 30
    time_slots: int = 128
    standardize: bool = True


@dataclass(frozen=True)
class QuantizerConfig:
    """The trainable product quantizers, one a level.

    Args:
        codebooks: M, sub-codebooks a level.
        codewords: K, codewords a sub-codebook (at most 256: a code is one byte).
        alpha: sharpness of the soft attention over a codebook.
        gradient: what the backward pass goes through: `soft` attention, or `identity` (to the chunk and to
            the codeword that was chosen).
        rotation: `all` levels together before the cut into chunks, or `none` (the paper).
        hubness: how much of what makes a video near to every caption, or a caption to every video, is taken from it
            before it is quantized; 0 for nothing. Only with a rotation: the paper's chunks all have length 1.
    """

    codebooks: int = 32
    codewords: int = 256
    alpha: float = 10.0
    gradient: str = "identity"
    rotation: str = "none"
    hubness: float = 0.0


@dataclass(frozen=True)
class ExpertConfig:
    """One expert the model was trained on.

    Args:
        dim: width of its features.
        identity: expert, version, weights and sampling of those features, as the store names them.
        reads: of a fitted model, what the features are: one of `READS`; else empty.
        weight: of a fitted model, how much the expert counts.
    """

    dim: int
    identity: str = ""
    reads: str = ""
    weight: float = 1.0


@dataclass(frozen=True)
class ModelConfig:
    """A whole model.

    Args:
        kind: `hcq`, or a baseline: `hct` (dense), `jpq` (coarse level alone, one product quantizer), `dcmh` (coarse
            level alone, binary codes); or `fitted`, which was not trained (hcq_cli/fitting).
        width: D.
        levels: L, fine levels (active clusters).
        text_gates: gated units mixed into the coarse text embedding; 0 means one an expert.
        fine_norm: `l2` or `batch` normalisation of the fine embeddings.
        coarse_weight: weight of the coarse level in the score; 0 means 1/(L+1).
        relative: of a fitted model, whether its scores are shares of what a query could reach (fitting/network.py);
            those of earlier versions are not.
        experts: by name, in the order of the model's projections.
    """

    kind: str = "hcq"
    width: int = 256
    levels: int = 7
    text_gates: int = 0
    fine_norm: str = "l2"
    coarse_weight: float = 0.0
    relative: bool = False
    text: TextConfig = field(default_factory=TextConfig)
    video: VideoConfig = field(default_factory=VideoConfig)
    quantizer: QuantizerConfig = field(default_factory=QuantizerConfig)
    experts: dict[str, ExpertConfig] = field(default_factory=dict)

    @property
    def known_kind(self) -> ModelKind:
        """What its kind has and has not; of an unknown one, which `check` refuses, what HCQ has."""
        return KINDS.get(self.kind, KINDS["hcq"])

    @property
    def code_bytes(self) -> int:
        """S: one byte a code."""
        return (self.levels + 1) * self.quantizer.codebooks

    @property
    def bytes_per_video(self) -> int:
        """Of what is stored and searched: S; of HCT the float vectors."""
        return self.code_bytes if self.known_kind.has_codes else self.dense_bytes_per_video

    @property
    def embedding_width(self) -> int:
        """Width of a level's vector: D; DCMH's are as wide as its code has bits."""
        return 8 * self.quantizer.codebooks if self.known_kind.is_binary else self.width

    @property
    def dense_bytes_per_video(self) -> int:
        """4 · (L+1) · D: what a video takes as float32 vectors."""
        return 4 * (self.levels + 1) * self.embedding_width

    @property
    def level_weights(self) -> list[float]:
        """w_l of the hybrid score for the L+1 levels; they sum to 1."""
        coarse = self.coarse_weight or 1.0 / (self.levels + 1)
        return [coarse, *[(1.0 - coarse) / self.levels] * self.levels] if self.levels else [1.0]

    def known_experts(self, held: Collection[str]) -> list[str]:
        """Those of its experts that are `held`, in its own order; to the model the others are missing.

        Raises:
            HcqError: none is.
        """
        known = [name for name in self.experts if name in held]
        if not known:
            wanted = list(self.experts)
            raise HcqError(
                f"the features hold none of the model's experts ({', '.join(wanted)})",
                f"hcq extract VIDEOS --experts {','.join(wanted)}",
            )
        return known

    def check(self) -> ModelConfig:
        """Itself, if its numbers fit together.

        Raises:
            UsageError: they do not; the message names the setting.
        """
        # Kinds come first: their hint names one setting, where the ranges below would complain of its consequences.
        if self.levels and not self.known_kind.has_levels:
            raise UsageError(
                f"model.levels = {self.levels}: {self.kind} has the coarse level alone", "--set model.levels=0"
            )
        if self.known_kind.is_binary and self.quantizer.codewords != MAX_CODEWORDS:
            raise UsageError("dcmh's codewords are the 256 patterns of 8 bits", "--set quantizer.codewords=256")
        for name, value, low, high in _ranges(self):
            if not low <= value <= high:
                raise UsageError(f"{name} = {value} is out of range {low}…{high}", f"--set {name}=…")
        for name, width, parts in (
            ("quantizer.codebooks", self.embedding_width, self.quantizer.codebooks),
            ("video.heads", self.width, self.video.heads),
            ("text.heads", self.text.width, self.text.heads),
        ):
            if width % parts:
                raise UsageError(f"{name} = {parts} does not divide the width {width}", f"--set {name}=…")
        for name, text, known in (
            ("model.kind", self.kind, tuple(KINDS)),
            ("model.fine_norm", self.fine_norm, ("l2", "batch")),
            ("quantizer.gradient", self.quantizer.gradient, ("identity", "soft")),
            ("quantizer.rotation", self.quantizer.rotation, ("all", "none")),
            *((f"experts.{name}.reads", expert.reads, READS) for name, expert in self.experts.items()),
        ):
            if text not in known:
                raise UsageError(
                    f"{name} = {text!r}, known are {', '.join(known)}",
                    f"--set {name}={near(text, known) or known[0]}",
                )
        return self

    def with_experts(self, experts: Mapping[str, ExpertConfig]) -> ModelConfig:
        """Itself for these experts."""
        return dataclasses.replace(self, experts=dict(experts))

    def at_equal_bytes(self) -> ModelConfig:
        """Itself with what its kind needs: where it has no fine levels, the coarse one with all the bytes."""
        if self.known_kind.has_levels:
            return self
        words = MAX_CODEWORDS if self.known_kind.is_binary else self.quantizer.codewords
        quantizer = dataclasses.replace(self.quantizer, codebooks=self.code_bytes, codewords=words)
        return dataclasses.replace(self, levels=0, quantizer=quantizer)

    def to_dict(self) -> dict[str, Any]:
        """As nested plain values, for JSON."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(table: Mapping[str, Any]) -> ModelConfig:
        """Read back what `to_dict` wrote.

        Raises:
            UsageError: an unknown key, or a value of a wrong type.
        """
        body = dict(table)
        experts = {name: from_table(ExpertConfig, item, name) for name, item in body.pop("experts", {}).items()}
        return dataclasses.replace(from_table(ModelConfig, body, "model"), experts=experts).check()


def _ranges(config: ModelConfig) -> list[tuple[str, float, float, float]]:
    """Name, value, least and most of every number: bounds that no stranger's config passes."""
    big = 1 << 20
    return [
        ("model.width", config.width, 1, big),
        ("model.levels", config.levels, 0, 4096),
        ("model.experts", len(config.experts), 0, 1024),
        *((f"experts.{name}.dim", expert.dim, 1, big) for name, expert in config.experts.items()),
        *((f"experts.{name}.weight", expert.weight, 0.0, 100.0) for name, expert in config.experts.items()),
        ("model.text_gates", config.text_gates, 0, 1024),
        ("model.coarse_weight", config.coarse_weight, 0.0, 1.0),
        ("quantizer.codewords", config.quantizer.codewords, 1, MAX_CODEWORDS),
        ("quantizer.codebooks", config.quantizer.codebooks, 1, big),
        ("quantizer.hubness", config.quantizer.hubness, 0.0, 2.0),
        ("video.layers", config.video.layers, 0, MOST_LAYERS),
        ("video.heads", config.video.heads, 1, big),
        ("video.ffn", config.video.ffn, 1, big),
        ("video.max_tokens", config.video.max_tokens, 1, MOST_TOKENS),
        ("video.time_slots", config.video.time_slots, 3, big),
        ("video.dropout", config.video.dropout, 0.0, 0.99),
        ("text.layers", config.text.layers, 0, MOST_LAYERS),
        ("text.heads", config.text.heads, 1, big),
        ("text.width", config.text.width, 1, big),
        ("text.ffn", config.text.ffn, 1, big),
        ("text.vocabulary", config.text.vocabulary, 4, 1 << 24),
        ("text.max_tokens", config.text.max_tokens, 3, MOST_TOKENS),
        ("text.dropout", config.text.dropout, 0.0, 0.99),
    ]


def from_table(kind: type[Table], table: Mapping[str, Any], name: str) -> Table:
    """Build dataclass `kind` from a table, nested tables included.

    Args:
        name: what to call the table in messages.

    Raises:
        UsageError: an unknown key (the nearest known one is named), or a value of a wrong type.
    """
    # Annotations are strings here (`from __future__ import annotations`): this makes types of them again.
    hints = typing.get_type_hints(kind)
    known = {item.name: hints[item.name] for item in dataclasses.fields(kind)}  # type: ignore[arg-type]
    values = {}
    for key, value in table.items():
        if key not in known:
            meant = near(key, known)
            hint = f"did you mean {name}.{meant}?" if meant else f"known: {', '.join(known)}"
            raise UsageError(f"unknown setting {name}.{key}", hint)
        values[key] = _value(known[key], value, f"{name}.{key}")
    return kind(**values)


def _value(kind: Any, value: Any, name: str) -> Any:
    setting = name.removeprefix("recipe.")  # as `--set` takes it: a recipe is where tables lie, and no table itself
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, Mapping):
            raise UsageError(f"{name} must be a table, not {value!r}", f"--set {setting}.KEY=VALUE")
        return from_table(kind, value, name)
    if typing.get_origin(kind) in (dict, types.UnionType):
        return value
    # TOML and --set write 1 where 1.0 is meant; a bool is an int to Python, but no number to a person.
    if kind is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63:
        return float(value)
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        wanted = PLAIN.get(kind, kind.__name__)
        raise UsageError(f"{name} = {repr(value)[:60]} is not {wanted}", f"--set {setting}=…")
    return value
