"""The text encoder of a model as an ONNX graph: tokenizer, transformer, gates and GhostVLAD in one file.

The network is traced (torch's TorchScript exporter: it takes every encoder that we could try, and a second), then
optimised by onnxruntime once and for all, and compared with the network itself before anybody relies on it.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hcq_cli.codes.container import ALIGNMENT, FIRST_SECTION
from hcq_cli.errors import HcqError
from hcq_cli.model.checkpoint import Model
from hcq_cli.model.exported_text_encoder import ExportedTextEncoder, TextEncoderHeader, write_text_encoder
from hcq_cli.model.text import text_tensors

if TYPE_CHECKING:
    from onnx import TensorProto

INPUTS = ("ids", "mask", "special")
OPSET = 17
LARGE_BYTES = 1024
"""Tensors from this size on lie outside the graph."""
TOLERANCE = 1e-4
"""How far a float32 text encoder may be from the network, in any number of its unit vectors."""
SAMPLE = [
    "a man cooking",
    "dog",
    "two people dance in the snow while a third one plays the violin",
    "Ein Kind lacht, und dann?",
    "a red ball rolls down the stairs, " * 20,
]


Hits = Callable[[NDArray[np.float32], NDArray[np.float32]], tuple[float, float] | None]
"""Given a network's query vectors and an export's, both [Q, L+1, D]: `Checked`'s two figures of a search, if any."""


class _TracedTextEncoder(nn.Module):
    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, ids: Tensor, mask: Tensor, special: Tensor) -> Tensor:
        levels: Tensor = self.network.embed_texts(ids, mask, special)
        coder = self.network.quantizer  # None where a model has dense vectors alone
        return levels if coder is None else coder.rotate(levels)


@dataclass(frozen=True)
class Checked:
    """How an exported text encoder compares with the network.

    Args:
        sentences: that were compared, each alone and beside longer ones.
        deviation: the largest difference in any number of their unit vectors.
        recall_at_10: share of the network's ten best videos that it finds too; None where no codes were at hand.
        score_deviation: the largest difference in the score of one of those ten.
    """

    sentences: int
    deviation: float
    recall_at_10: float | None = None
    score_deviation: float | None = None

    def to_json(self) -> dict[str, float]:
        """What was measured."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def export_text_encoder(
    model: Model,
    path: Path,
    precision: str = "float32",
    sentences: Sequence[str] = (),
    hits: Hits | None = None,
) -> Checked:
    """Write the text encoder of `model` to a file that `ExportedTextEncoder` opens.

    Args:
        model: on the CPU.
        path: of the file; its name must stay, since the graph holds it.
        precision: float32, or int8 for a quarter of the size.
        sentences: what to compare it with the model on, beside a few of our own.
        hits: searches with the vectors of both, where there are codes of the model to search.

    Raises:
        HcqError: its encoder cannot be exported, or the export does not do what the network does.
    """
    config, tokenizer = model.config, model.caption_encoder.tokenizer
    pad_to = model.network.pads_texts_to
    pad_id = 0 if pad_to else tokenizer.pad_id
    header = TextEncoderHeader(
        model_hash=model.hash,
        levels=config.levels + 1,
        width=config.embedding_width,
        max_tokens=tokenizer.max_tokens,
        pad_id=pad_id,
        cls_id=tokenizer.cls_id,
        pad_to=pad_to,
        precision=precision,
    )
    graph, weights = packed(_graph(model, pad_to, precision), path.name)
    write_text_encoder(path, header, tokenizer.tokenizer.to_str(), graph, weights)
    try:
        return _compare(model, path, [*SAMPLE, *sentences], hits)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _graph(model: Model, pad_to: int, precision: str) -> Any:
    """The network as an optimised `onnx.ModelProto`."""
    import onnx

    with tempfile.TemporaryDirectory(prefix="hcq-export-") as folder, silence():
        traced, small, fast = (Path(folder, name) for name in ("traced.onnx", "small.onnx", "fast.onnx"))
        try:
            _trace(model, pad_to, traced)
            if precision == "int8":
                from onnxruntime.quantization import QuantType, quantize_dynamic

                # Unsigned: where a processor has AVX2 but no VNNI, products with signed weights overflow 16 bits.
                quantize_dynamic(traced, small, weight_type=QuantType.QUInt8, per_channel=True)
            optimise(small if precision == "int8" else traced, fast)
            return onnx.load(fast)
        except Exception as error:  # whatever a tracer meets in an encoder that nobody here has seen
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise HcqError(
                f"the text encoder {model.config.text.encoder} cannot be exported ({reason[0]})"
            ) from error


def _trace(model: Model, pad_to: int, path: Path) -> None:
    tokens = model.caption_encoder.tokenizer(SAMPLE[:3])  # of different lengths, so that the masks are traced too
    arguments = text_tensors(tokens, torch.device("cpu"))
    length = {} if pad_to else {1: "T"}
    if pad_to:
        spare = (0, max(pad_to - tokens.ids.shape[1], 0))
        arguments = tuple(nn.functional.pad(part, spare) for part in arguments)  # type: ignore[assignment]
    with torch.no_grad():
        torch.onnx.export(
            _TracedTextEncoder(model.network).eval(),
            arguments,
            str(path),
            input_names=list(INPUTS),
            output_names=["levels"],
            dynamic_axes={**{name: {0: "B", **length} for name in INPUTS}, "levels": {0: "B"}},
            opset_version=OPSET,
            dynamo=False,  # TorchScript's exporter: see the head of this file
        )


def optimise(source: Path, target: Path) -> None:
    """Let onnxruntime rewrite a graph once and for all: nothing is left to do when it is opened."""
    from onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions

    options = SessionOptions()
    # Not further: the last level writes layouts that only this very processor takes.
    options.graph_optimization_level = GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath, options.log_severity_level = str(target), 3
    InferenceSession(str(source), options, providers=["CPUExecutionProvider"])


@contextmanager
def silence() -> Iterator[None]:
    """Keep the exporters' warnings and log lines to themselves; only the console prints."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def packed(network: Any, location: str) -> tuple[bytes, NDArray[np.uint8]]:
    """The graph without its large tensors, and those one after another, uint8 [bytes].

    Args:
        network: an `onnx.ModelProto`; it is changed.
        location: name of the file that both will lie in.
    """
    from onnx import numpy_helper

    parts: list[NDArray[np.uint8]] = []
    at = 0
    for tensor in network.graph.initializer:
        # Numbers lie in one of six fields, by their type and by who wrote them; raw bytes are taken as they are.
        raw = tensor.raw_data if tensor.HasField("raw_data") else numpy_helper.to_array(tensor).tobytes()
        body = np.frombuffer(raw, np.uint8)
        if body.nbytes < LARGE_BYTES:
            continue
        padding = -at % ALIGNMENT
        parts += [np.zeros(padding, np.uint8), body]
        _refer(tensor, location, FIRST_SECTION + at + padding, body.nbytes)
        at += padding + body.nbytes
    return network.SerializeToString(), np.concatenate([np.zeros(0, np.uint8), *parts])


def _refer(tensor: TensorProto, location: str, offset: int, length: int) -> None:
    """Let a tensor say where its numbers lie instead of holding them (ONNX's "external data")."""
    for name in ("raw_data", "float_data", "int32_data", "int64_data", "double_data"):
        tensor.ClearField(name)  # type: ignore[arg-type]
    tensor.data_location = type(tensor).EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


def _compare(model: Model, path: Path, sentences: Sequence[str], hits: Hits | None) -> Checked:
    """How far the file is from the network.

    Raises:
        HcqError: too far for float32.
    """
    exported = ExportedTextEncoder(path)
    exact = np.concatenate([model.search_vectors(model.encode_texts([sentence])) for sentence in sentences])
    together, alone = (
        exported.encode(sentences),
        np.concatenate([exported.encode([sentence]) for sentence in sentences]),
    )
    deviation = float(max(np.abs(exact - found).max() for found in (together, alone)))
    if not deviation <= TOLERANCE and exported.header.precision == "float32":
        raise HcqError(f"exported, the text encoder {model.config.text.encoder} is off by {deviation:.1g}")
    recall, score_deviation = (hits and hits(exact, alone)) or (None, None)
    return Checked(len(sentences), deviation, recall, score_deviation)
