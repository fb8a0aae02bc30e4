"""The text encoder of a model in one file, run without torch: by NumPy for one query, by onnxruntime for many.

weights    the networks' large tensors (model/graph_file.py)
graph      ONNX, optimised when it was exported: int64 ids and bool mask and special [B, T] -> float32 [B, L+1, D]
tokenizer  tokenizer.json of the tokenizers library
steps      the graph as NumPy takes it (model/graph_steps.py), where it can
generic    float16 [Q, L+1, D], generic sentences as `encode` gives them, where a model has confidences
made_up    float16 [M, L+1, D], made-up videos, where a model has some
graph1  tokenizer1  steps1  graph2…   further networks that read; the levels of a text are the sum
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import numpy as np

from hcq_cli.codes.container import ContainerWriter
from hcq_cli.errors import DamagedError
from hcq_cli.headers import Count, between, decode
from hcq_cli.model.confidence import ChanceScores
from hcq_cli.model.graph_file import GraphFile
from hcq_cli.model.graph_steps import GraphSteps
from hcq_cli.model.tokenizer import CaptionTokenizer, TokenIds

FORMAT = "hcq-tower"
REMEDY = "hcq index build, or hcq query --ckpt CHECKPOINT"
PRECISIONS = ("float32", "int8")
TEXTS_AT_ONCE = 64
Network = Callable[[dict[str, np.ndarray]], np.ndarray]
"""Ids, mask and special [B, T] → levels, float32 [B, L+1, D]."""
MOST_PADDED = 1 << 16
"""Tokens: far more than any network reads."""


@dataclass(frozen=True)
class TextReading:
    """How texts become the ids that a network reads.

    Args:
        max_tokens: longest text, special tokens included.
        pad_id, cls_id: of the vocabulary; None where no token stands for the sentence.
        pad_to: tokens that every text is padded to, for networks on which padding has an effect; 0 for all others.
        pad_left: whether what pads comes first.
    """

    max_tokens: Count
    pad_id: Count
    cls_id: int | None
    pad_to: Annotated[int, between(0, MOST_PADDED)] = 0
    pad_left: bool = False

    def padded(self, tokens: TokenIds) -> dict[str, np.ndarray]:
        """Ids, mask and special [B, T], at least `pad_to` long."""
        length = max(self.pad_to - tokens.ids.shape[1], 0)
        spare = ((0, 0), (length, 0) if self.pad_left else (0, length))
        return {
            "ids": np.pad(tokens.ids, spare, constant_values=self.pad_id),
            "mask": np.pad(tokens.mask, spare),
            "special": np.pad(tokens.special, spare, constant_values=True),
        }


@dataclass(frozen=True)
class TextEncoderHeader:
    """What the file of an exported text encoder says of itself.

    Args:
        model_hash: of the model it belongs to.
        levels: L+1.
        width: D.
        readings: of each network in it, in their order.
        precision: of its weights, one of `PRECISIONS`.
        null: its chance scores, under the name that files give them; None where the model does not say.
    """

    model_hash: str
    levels: int
    width: int
    readings: tuple[TextReading, ...]
    precision: str = "float32"
    null: ChanceScores | None = None

    @classmethod
    def from_json(cls, document: dict[str, Any], source: Path) -> TextEncoderHeader:
        """Read what `to_json` wrote. Raises DamagedError."""
        own, first = decode(_Meta, document, source, REMEDY), decode(TextReading, document, source, REMEDY)
        return cls(own.model_hash, own.levels, own.width, (first, *own.more), precision=own.precision, null=own.null)

    def to_json(self) -> dict[str, Any]:
        """The first network's reading stands where it always stood; others, if there are any, under `more`."""
        document = asdict(self)
        first, *others = document.pop("readings")
        if self.null is None:
            del document["null"]
        return {**document, **first, **({"more": others} if others else {})}


@dataclass(frozen=True)
class _Meta:
    """What the header says beside the first network's reading."""

    model_hash: str
    levels: Annotated[int, between(1, 1 << 16)]
    width: Annotated[int, between(1, 1 << 20)]
    precision: Literal["float32", "int8"] = "float32"
    more: list[TextReading] = field(default_factory=list)
    null: ChanceScores | None = None


def write_text_encoder(
    path: Path,
    header: TextEncoderHeader,
    networks: Sequence[tuple[str, bytes]],
    weights: np.ndarray,
    vectors: Mapping[str, np.ndarray | None] = MappingProxyType({}),
    steps: Sequence[GraphSteps | None] = (),
) -> None:
    """Write an exported text encoder.

    Args:
        path: of the file; its name is what the graphs call the place of their weights.
        header: what it is.
        networks: tokenizer.json of each, and its graph: ONNX, with external tensors at `FIRST_SECTION` + their place
            in `weights`.
        weights: uint8 [bytes].
        vectors: float32 [n, L+1, D] each, by the name of their section; None where the model has none.
        steps: of each network, None where NumPy cannot run it.
    """
    with ContainerWriter(path, FORMAT, header.to_json()) as writer:
        # First, and in place: the graph names offsets in this file, which must be known before the file is written.
        writer.section("weights", "|u1", in_place=True).write(weights)
        for number, (tokenizer, graph) in enumerate(networks):
            for name, body in zip(_sections(number)[:2], (graph, tokenizer.encode()), strict=True):
                writer.add(name, np.frombuffer(body, np.uint8), "|u1")
        for number, known in enumerate(steps):
            if known is not None:
                writer.add(_sections(number)[2], np.frombuffer(known.to_json(), np.uint8), "|u1")
        for name, levels in vectors.items():
            if levels is not None:  # as bytes, as all sections here are
                writer.add(name, np.frombuffer(levels.astype("<f2").tobytes(), np.uint8), "|u1")


def _sections(number: int) -> tuple[str, str, str]:
    """The names of graph, tokenizer and steps of a network; those of the first have no number."""
    return f"graph{number or ''}", f"tokenizer{number or ''}", f"steps{number or ''}"


class ExportedTextEncoder:
    """A text encoder that needs no torch. Its header is known at once; graph and tokenizer come with `prepare`.

    Args:
        path: of the file.
        lasting: whether many texts will come: onnxruntime encodes them then, at once, and holds all weights.
        threads: cores to use.
        digest: that the manifest of the index says it has; empty for any.

    Attributes:
        file: the open file.

    Raises:
        NotFoundError: no such file.
        DamagedError: damaged, foreign, of a newer version, or of another digest.
    """

    def __init__(self, path: Path, *, lasting: bool = False, threads: int = 1, digest: str = "") -> None:
        self.file, self.source = GraphFile(path, FORMAT, REMEDY, what="text side", digest=digest), path
        self.header = TextEncoderHeader.from_json(self.file.meta, path)
        self.hash, self.lasting, self.threads = self.header.model_hash, lasting, threads
        self.chance_scores = self.header.null
        self._networks: list[tuple[TextReading, CaptionTokenizer, Network]] = []
        self._last: tuple[str, np.ndarray] | None = None

    def prepare(self) -> None:
        """Open graph and tokenizer, and check every byte of the weights; done once.

        Raises:
            DamagedError: a byte is another.
            ReplacedError: another file has taken its place meanwhile, or it is gone.
            HcqError: onnxruntime cannot run it.
        """
        if self._networks:
            return
        with self.file.opening():
            from tokenizers import Tokenizer

            networks = []
            for number, reading in enumerate(self.header.readings):
                tokenizer = Tokenizer.from_str(self.file.section(_sections(number)[1]).decode())
                cut = CaptionTokenizer(tokenizer, reading.max_tokens, reading.pad_id, reading.cls_id)
                networks.append((reading, cut, self._open_network(number)))
        self._networks = networks

    def _open_network(self, number: int) -> Network:
        """What gives levels for padded texts."""
        graph, _, steps = _sections(number)
        if steps in self.file.sections and not self.lasting:
            read = decode(GraphSteps, self.file.section(steps), self.source, REMEDY)
            return lambda padded: self.file.take_steps(read, padded)
        session = self.file.session(self.file.section(graph), lasting=self.lasting, threads=self.threads)
        inputs = [given.name for given in session.get_inputs()]  # not every model uses all three
        return lambda padded: session.run(["levels"], {name: padded[name] for name in inputs})[0]

    def generic_queries(self) -> np.ndarray | None:
        """Generic sentences as `encode` gives them, float32 [Q, L+1, D]; None in a file that has none.

        Raises:
            DamagedError: they are damaged, or not so many numbers as there must be.
        """
        return self._vectors("generic")

    @cached_property
    def made_up(self) -> np.ndarray | None:
        """Made-up videos, float32 [M, L+1, D], for confidences, or None. Raises as `generic_queries` does."""
        return self._vectors("made_up")

    def _vectors(self, name: str) -> np.ndarray | None:
        """A section of vectors, float32 [n, L+1, D]; None without it."""
        if name not in self.file.sections:
            return None
        numbers = np.frombuffer(self.file.section(name), "|u1")
        row = 2 * self.header.levels * self.header.width
        if not len(numbers) or len(numbers) % row:
            raise DamagedError(f"{self.source}: its vectors {name!r} are cut off", REMEDY)
        return numbers.view("<f2").reshape(-1, self.header.levels, self.header.width).astype(np.float32)

    @property
    def most_tokens(self) -> int:
        """Of a text that are read, by the network that reads most."""
        self.prepare()
        return max(cut.most_tokens for _, cut, _ in self._networks)

    def count_tokens(self, texts: Sequence[str]) -> list[tuple[int, int]]:
        """Of each text how many tokens it has, and how many of these are known; by the vocabulary that knows most."""
        self.prepare()
        counted = ([cut.count(text) for _, cut, _ in self._networks] for text in texts)
        return [max(each, key=lambda tokens_known: tokens_known[1]) for each in counted]

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Texts → float32 [Q, L+1, D], ready for the table: the levels, rotated if the model's quantizer rotates."""
        self.prepare()
        last = self._last
        if last is not None and [last[0]] == list(texts):  # a query is asked of the model, and then of captions
            return last[1]
        levels = np.zeros((len(texts), self.header.levels, self.header.width), np.float32)
        for reading, cut, network in self._networks:
            # int8 scales what it multiplies by the largest number there, hence every text alone: its vector must not
            # depend on its neighbours. Nor may what pads come before a text's own tokens in a row of others.
            step = 1 if self.header.precision == "int8" or reading.pad_left else TEXTS_AT_ONCE
            for first in range(0, len(texts), step):
                padded = reading.padded(cut(texts[first : first + step]))
                levels[first : first + step] += network(padded)
        if len(texts) == 1:
            self._last = texts[0], levels
        return levels
