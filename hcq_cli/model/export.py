"""The text encoder of a model as an ONNX graph: tokenizer, transformer, gates and GhostVLAD in one file.

The network is traced (torch's TorchScript exporter: it takes every encoder that we could try, and a second), then
optimised by onnxruntime once and for all, and compared with the network itself before anybody relies on it.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from experts.neural.weights import first_line
from hcq_cli.codes.container import ALIGNMENT, FIRST_SECTION
from hcq_cli.errors import HcqError
from hcq_cli.model.exported_text_encoder import (
    ExportedTextEncoder,
    TextEncoderHeader,
    TextReading,
    write_text_encoder,
)
from hcq_cli.model.graph_steps import steps_of
from hcq_cli.model.text import text_tensors
from hcq_cli.model.trained_model import Model

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
    readings, tokenizers, graphs = [], [], []
    if model.caption_encoder.transformer.hidden:
        own, pad_to = model.caption_encoder.tokenizer, model.network.pads_texts_to
        readings.append(TextReading(own.max_tokens, 0 if pad_to else own.pad_id, own.cls_id, pad_to))
        tokenizers.append(own.tokenizer.to_str())
        graphs.append(_graph(model, pad_to, precision))
    for name, tower in model.towers.items():
        readings += tower.header.readings
        tokenizers.append(tower.file.section("tokenizer").decode())
        graphs.append(_tower_graph(model, name, precision))
    header = TextEncoderHeader(
        model_hash=model.hash,
        levels=model.config.levels + 1,
        width=model.config.embedding_width,
        readings=tuple(readings),
        precision=precision,
        null=model.network.chance_scores(),
    )
    bodies, weights = packed(graphs, path.name)
    networks, sentences = list(zip(tokenizers, bodies, strict=True)), [*SAMPLE, *sentences]
    vectors = {"generic": model.generic_queries(), "made_up": model.made_up_videos()}
    try:
        with suppress(HcqError):  # NumPy has another idea of one of its operators, then
            write_text_encoder(path, header, networks, weights, vectors, steps=[steps_of(graph) for graph in graphs])
            return _compare(model, path, sentences, hits)
        write_text_encoder(path, header, networks, weights, vectors)
        return _compare(model, path, sentences, hits)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _graph(model: Model, pad_to: int, precision: str) -> Any:
    """The network as an optimised `onnx.ModelProto`."""
    with tempfile.TemporaryDirectory(prefix="hcq-export-") as folder, silence():
        traced = Path(folder, "traced.onnx")
        try:
            tokens = model.caption_encoder.tokenizer(SAMPLE[:3])  # of different lengths, so that masks are traced too
            arguments = text_tensors(tokens, torch.device("cpu"))
            if pad_to:
                spare = (0, max(pad_to - tokens.ids.shape[1], 0))
                arguments = tuple(nn.functional.pad(part, spare) for part in arguments)  # type: ignore[assignment]
            trace(_TracedTextEncoder(model.network).eval(), arguments, traced, one_length=bool(pad_to))
            return optimised(_smaller(traced) if precision == "int8" else traced)
        except Exception as error:  # whatever a tracer meets in an encoder that nobody here has seen
            reason = first_line(error)
            raise HcqError(f"the text encoder {model.config.text.encoder} cannot be exported ({reason})") from error


def trace(network: nn.Module, arguments: tuple[Tensor, ...], path: Path, one_length: bool) -> None:
    """Write what a network does with its arguments as ONNX.

    Args:
        network: gives "levels", [B, levels, width].
        arguments: the first so many of `INPUTS`, each [B, T].
        path: of the file.
        one_length: whether T is always that of the arguments.
    """
    names = INPUTS[: len(arguments)]
    axes = {0: "B"} if one_length else {0: "B", 1: "T"}
    with torch.no_grad():
        torch.onnx.export(
            network,
            arguments,
            str(path),
            input_names=list(names),
            output_names=["levels"],
            dynamic_axes={**dict.fromkeys(names, axes), "levels": {0: "B"}},
            opset_version=OPSET,
            dynamo=False,  # TorchScript's exporter: see the head of this file
        )


def _tower_graph(model: Model, name: str, precision: str) -> Any:
    """A dual encoder's text encoder, and behind it what turns vectors into levels: an optimised `onnx.ModelProto`."""
    import onnx
    from onnx import helper, numpy_helper
    from onnx.external_data_helper import load_external_data_for_model

    tower = model.towers[name]
    network = onnx.load_model_from_string(tower.file.section("graph"))
    load_external_data_for_model(network, str(tower.source.parent))
    with tempfile.TemporaryDirectory(prefix="hcq-export-") as folder, silence():
        if precision == "int8":
            network = onnx.load(_smaller(_saved(network, Path(folder, "whole.onnx"))))
        # A linear map is what it does to the unit vectors. It comes last, and in float32 always.
        units = np.eye(tower.header.width, dtype=np.float32)
        turn = model.search_vectors(model.tower_levels(name, units[:, None]))
        body, shape = network.graph, np.array([-1, *turn.shape[1:]])
        for node in body.node:
            node.output[:] = ["tower" if output == "levels" else output for output in node.output]
        body.initializer.append(numpy_helper.from_array(turn.reshape(len(turn), -1), "turn"))
        body.initializer.append(numpy_helper.from_array(shape, "levels_shape"))
        body.node.append(helper.make_node("MatMul", ["tower", "turn"], ["turned"]))
        body.node.append(helper.make_node("Reshape", ["turned", "levels_shape"], ["levels"]))
        body.output[0].type.tensor_type.shape.dim[1].dim_value = turn.shape[1]
        body.output[0].type.tensor_type.shape.dim[2].dim_value = turn.shape[2]
        return optimised(_saved(network, Path(folder, "turned.onnx")))


def _saved(network: Any, path: Path) -> Path:
    """Write an `onnx.ModelProto`, its numbers beside it, since it may be over 2 GB; returns `path`."""
    import onnx

    onnx.save(network, path, save_as_external_data=True, location=f"{path.stem}.data")
    return path


def _smaller(graph: Path) -> Path:
    """The graph with weights of 8 bits, beside it."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    small = graph.with_name("small.onnx")
    # Unsigned: where a processor has AVX2 but no VNNI, products with signed weights overflow 16 bits.
    quantize_dynamic(graph, small, weight_type=QuantType.QUInt8, per_channel=True)
    return small


def optimised(graph: Path) -> Any:
    """What onnxruntime makes of a graph once and for all, so that whoever opens it need not: an `onnx.ModelProto`."""
    import onnx
    from onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions

    fast, options = graph.with_name("fast.onnx"), SessionOptions()
    # Not further: the last level writes layouts that only this very processor takes.
    options.graph_optimization_level = GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath, options.log_severity_level = str(fast), 3
    InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    return onnx.load(fast)


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


def packed(networks: Sequence[Any], location: str) -> tuple[list[bytes], NDArray[np.uint8]]:
    """The graphs without their large tensors, and those one after another, uint8 [bytes].

    Args:
        networks: `onnx.ModelProto` each; they are changed.
        location: name of the file that all will lie in.
    """
    from onnx import numpy_helper

    parts: list[NDArray[np.uint8]] = []
    at = 0
    for tensor in (tensor for network in networks for tensor in network.graph.initializer):
        # Numbers lie in one of six fields, by their type and by who wrote them; raw bytes are taken as they are.
        raw = tensor.raw_data if tensor.HasField("raw_data") else numpy_helper.to_array(tensor).tobytes()
        body = np.frombuffer(raw, np.uint8)
        if body.nbytes < LARGE_BYTES:
            continue
        padding = -at % ALIGNMENT
        parts += [np.zeros(padding, np.uint8), body]
        _refer(tensor, location, FIRST_SECTION + at + padding, body.nbytes)
        at += padding + body.nbytes
    return [network.SerializeToString() for network in networks], np.concatenate([np.zeros(0, np.uint8), *parts])


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
    for_one, for_many = ExportedTextEncoder(path), ExportedTextEncoder(path, lasting=True)
    exact = np.concatenate([model.search_vectors(model.encode_texts([sentence])) for sentence in sentences])
    alone = np.concatenate([for_one.encode([sentence]) for sentence in sentences])
    found = [alone, for_one.encode(sentences), for_many.encode(sentences)]
    deviation = float(max(np.abs(exact - each).max() for each in found))
    if not deviation <= TOLERANCE and for_one.header.precision == "float32":
        raise HcqError(f"exported, the text encoder {model.config.text.encoder} is off by {deviation:.1g}")
    recall, score_deviation = (hits and hits(exact, alone)) or (None, None)
    return Checked(len(sentences), deviation, recall, score_deviation)
