"""The text encoder of a model in one file, run with onnxruntime and tokenizers: a query that waits for no torch.

weights    uint8, the network's large tensors one after another; the first thing in the file, because the graph
           says where in this very file each of them lies. They are mapped: a cold query reads only what it uses
graph      ONNX, optimised when it was exported: int64 ids and bool mask and special [B, T] -> float32 [B, L+1, D]
tokenizer  tokenizer.json of the tokenizers library
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from hcq_cli.codes.container import FIRST_SECTION, Container, ContainerWriter
from hcq_cli.errors import DamagedError, HcqError
from hcq_cli.model.tokenizer import CaptionTokenizer

FORMAT = "hcq-tower"
REMEDY = "hcq index build, or hcq query --ckpt CHECKPOINT"
PRECISIONS = ("float32", "int8")
TEXTS_AT_ONCE = 64


@dataclass(frozen=True)
class TextEncoderHeader:
    """What the file of an exported text encoder says of itself.

    Args:
        model_hash: of the model it belongs to.
        levels: L+1.
        width: D.
        max_tokens: longest text, special tokens included.
        pad_id, cls_id: of the vocabulary; None where no token stands for the sentence.
        pad_to: tokens that every text is padded to, for models on which padding has an effect; 0 for all others.
        pad_left: whether what pads comes first.
        precision: of its weights, one of `PRECISIONS`.
    """

    model_hash: str
    levels: int
    width: int
    max_tokens: int
    pad_id: int
    cls_id: int | None
    pad_to: int = 0
    precision: str = "float32"
    pad_left: bool = False

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> TextEncoderHeader:
        """Read what `asdict` wrote; raises ValueError or KeyError."""
        wanted = (known.name for known in fields(cls) if known.default is MISSING or known.name in document)
        side = cls(**{name: document[name] for name in wanted})
        numbers = (side.levels, side.width, side.max_tokens, side.pad_id, side.pad_to)
        if not all(type(number) is int and number >= 0 for number in numbers) or side.precision not in PRECISIONS:
            raise ValueError(f"a text side of {asdict(side)}")
        return side


def write_text_encoder(
    path: Path, header: TextEncoderHeader, tokenizer: str, graph: bytes, weights: np.ndarray
) -> None:
    """Write an exported text encoder.

    Args:
        path: of the file; its name is what `graph` calls the place of its weights.
        header: what it is.
        tokenizer: tokenizer.json.
        graph: ONNX, with external tensors at `FIRST_SECTION` + their place in `weights`.
        weights: uint8 [bytes].
    """
    with ContainerWriter(path, FORMAT, asdict(header)) as writer:
        # First, and in place: the graph names offsets in this file, which must be known before the file is written.
        writer.section("weights", "|u1", in_place=True).write(weights)
        writer.add("graph", np.frombuffer(graph, np.uint8), "|u1")
        writer.add("tokenizer", np.frombuffer(tokenizer.encode(), np.uint8), "|u1")


class ExportedTextEncoder:
    """A text encoder that needs no torch. Its header is known at once; graph and tokenizer come with `prepare`.

    Args:
        path: of the file.
        lasting: whether many texts will come: they are faster then, the first one a little slower.
        threads: cores to use.
        digest: that the manifest of the index says it has; empty for any.

    Raises:
        NotFoundError: no such file.
        DamagedError: damaged, foreign, of a newer version, or of another digest.
    """

    def __init__(self, path: Path, *, lasting: bool = False, threads: int = 1, digest: str = "") -> None:
        self._container, self.source = Container(path, FORMAT, REMEDY, digest), path
        try:
            self.header = TextEncoderHeader.from_json(self._container.meta)
            if self._container.sections["weights"].offset != FIRST_SECTION:
                raise ValueError("its weights lie elsewhere")
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedError(f"{path}: its header makes no sense ({error})", REMEDY) from error
        self.hash, self.lasting, self.threads = self.header.model_hash, lasting, threads
        self._session: Any = None

    @property
    def nbytes(self) -> int:
        """Bytes of all sections."""
        return sum(section.nbytes for section in self._container.sections.values())

    def verify(self, progress: Callable[[int], None] = lambda _: None) -> None:
        """Check every byte. Raises DamagedError."""
        self._container.verify(progress)

    def prepare(self) -> None:
        """Open graph and tokenizer; done once.

        Raises:
            HcqError: onnxruntime cannot run it.
        """
        if self._session is not None:
            return
        graph, text = (self._container.read(name, "|u1").tobytes() for name in ("graph", "tokenizer"))
        try:
            from onnxruntime import InferenceSession
            from tokenizers import Tokenizer

            tokenizer, header = Tokenizer.from_str(text.decode()), self.header
            self._tokenizer = CaptionTokenizer(tokenizer, header.max_tokens, header.pad_id, header.cls_id)
            self._session = InferenceSession(graph, self._options(), providers=["CPUExecutionProvider"])
            self._inputs = [given.name for given in self._session.get_inputs()]  # not every model uses all three
        except Exception as error:  # both libraries raise classes of their own
            raise HcqError(f"{self.source}: its text side cannot be run ({error})", REMEDY) from error

    def _options(self) -> Any:
        from onnxruntime import GraphOptimizationLevel, SessionOptions

        options = SessionOptions()
        options.graph_optimization_level = GraphOptimizationLevel.ORT_DISABLE_ALL  # done when it was exported
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        options.log_severity_level = 3  # only hcq_cli.console prints
        folder = str(self.source.resolve().parent)
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
        if not self.lasting:  # weights brought into another order would be read whole, and copied
            options.add_session_config_entry("session.disable_prepacking", "1")
        return options

    def count_tokens(self, texts: Sequence[str]) -> list[tuple[int, int]]:
        """Of each text how many tokens it has, and how many of these the vocabulary knows."""
        self.prepare()
        return [self._tokenizer.count(text) for text in texts]

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Texts → float32 [Q, L+1, D], ready for the table: the levels, rotated if the model's quantizer rotates."""
        self.prepare()
        # int8 scales what it multiplies by the largest number there, hence every text alone: its vector must not
        # depend on its neighbours.
        step = 1 if self.header.precision == "int8" or self.header.pad_left else TEXTS_AT_ONCE
        parts = [np.zeros((0, self.header.levels, self.header.width), np.float32)]
        for first in range(0, len(texts), step):
            tokens = self._tokenizer(texts[first : first + step])
            length = max(self.header.pad_to - tokens.ids.shape[1], 0)
            spare = ((0, 0), (length, 0) if self.header.pad_left else (0, length))
            padded = {
                "ids": np.pad(tokens.ids, spare, constant_values=self.header.pad_id),
                "mask": np.pad(tokens.mask, spare),
                "special": np.pad(tokens.special, spare, constant_values=True),
            }
            parts.append(self._session.run(["levels"], {name: padded[name] for name in self._inputs})[0])
        return np.concatenate(parts)
