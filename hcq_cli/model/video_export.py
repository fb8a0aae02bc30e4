"""The video side of a model as an ONNX graph: from experts' tokens to levels and codes, in one file.

Traced, optimised and compared with the network as the text side is (model/export.py).
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from experts.neural.weights import first_line
from hcq_cli.codes.container import ContainerWriter
from hcq_cli.datasets.batches import VideoBatch
from hcq_cli.errors import HcqError
from hcq_cli.files import atomic_open
from hcq_cli.model.checkpoint import VIDEO_FILE, read_header
from hcq_cli.model.config import ExpertConfig, ModelConfig
from hcq_cli.model.export import OPSET, TOLERANCE, optimised, packed, silence
from hcq_cli.model.exported_video_encoder import (
    FORMAT,
    PARTS,
    ExportedVideoEncoder,
    VideoEncoderHeader,
    graph_inputs,
)
from hcq_cli.model.trained_model import Model
from hcq_cli.model.video import VideoTensors

OUTPUTS = ("levels", "turned", "codes")


class _TracedVideoEncoder(nn.Module):
    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network, self.names = network, list(network.config.experts)

    def forward(self, *given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        count, network = len(self.names), self.network
        parts = (dict(zip(self.names, given[at * count :], strict=False)) for at in range(len(PARTS)))
        levels = network.embed_videos(VideoTensors(*parts))
        corrected = levels if network.hubness is None else network.hubness.correction("videos")(levels)
        codes = network.quantizer.codes(corrected).flatten(1).to(torch.uint8)
        return levels, network.quantizer.rotate(levels), codes


def export_video_encoder(model: Model, folder: Path) -> ExportedVideoEncoder:
    """Write the video side of `model` beside the files of its checkpoint, and open it.

    Args:
        model: on the CPU, with codes.
        folder: of the checkpoint; where nobody may write there it is opened all the same, and gone afterwards.

    Raises:
        HcqError: its network cannot be exported, or the export does not do what the network does.
    """
    # Made elsewhere and compared there, so that beside the checkpoint lies none that is wrong, or half of one.
    with TemporaryDirectory(prefix="hcq-export-") as aside:
        made = Path(aside, VIDEO_FILE)
        _write(model, made)
        _compare(model, ExportedVideoEncoder(made, read_header(folder), folder))
        with suppress(HcqError, OSError):
            with atomic_open(folder / VIDEO_FILE) as out, made.open("rb") as source:
                shutil.copyfileobj(source, out)
            made = folder / VIDEO_FILE
        return ExportedVideoEncoder(made, read_header(folder), folder)


def _write(model: Model, path: Path) -> None:
    bodies, weights = packed([_graph(model, path.parent)], path.name)
    books = model.codebooks
    count, codewords, chunk = books.shape
    pads = model.network.pads_videos
    header = VideoEncoderHeader(
        model.hash, codebooks=count, codewords=codewords, chunk=chunk, nearness=model.nearness, pads=pads
    )
    with ContainerWriter(path, FORMAT, asdict(header)) as writer:
        # First, and in place: the graph names offsets in this file, which must be known before the file is written.
        writer.section("weights", "|u1", in_place=True).write(weights)
        writer.add("graph", np.frombuffer(bodies[0], np.uint8), "|u1")
        writer.add("codebooks", books, "<f4")
        writer.add("scale", model.scale, "<f4")


def _graph(model: Model, folder: Path) -> Any:
    """The network as an optimised `onnx.ModelProto`."""
    one_length = model.network.pads_videos
    given = graph_inputs(sample(model.config, 4), model.config, one_length)
    axes = {name: {0: "B"} if one_length else {0: "B", 1: f"T{name}"} for name in given}
    traced = folder / "traced.onnx"
    with silence(), torch.no_grad():
        try:
            torch.onnx.export(
                _TracedVideoEncoder(model.network).eval(),
                tuple(map(torch.from_numpy, given.values())),
                str(traced),
                input_names=list(given),
                output_names=list(OUTPUTS),
                dynamic_axes={**axes, **{name: {0: "B"} for name in OUTPUTS}},
                opset_version=OPSET,
                dynamo=False,
            )
            return optimised(traced)
        except Exception as error:  # whatever a tracer meets in a network that nobody here has seen
            raise HcqError(f"the model's video side cannot be exported ({first_line(error)})") from error


def sample(config: ModelConfig, videos: int) -> VideoBatch:
    """Made-up tokens as the experts of a model may give them: of some videos none, and some without a time."""
    random = np.random.default_rng(0)
    batch = VideoBatch({}, {}, {})
    for number, (name, expert) in enumerate(config.experts.items()):
        tokens = min(3 + 2 * number, config.video.max_tokens)
        counts = random.integers(0, tokens + 1, videos)
        counts[-1] = tokens
        batch.mask[name] = mask = np.arange(tokens) < counts[:, None]
        batch.features[name] = _features(expert, random, (videos, tokens)) * mask[..., None]
        times = np.where(random.random(mask.shape) < 0.2, np.nan, random.random(mask.shape) * 200)
        batch.times[name] = np.where(mask, times, 0).astype(np.float32)
    return batch


def _features(expert: ExpertConfig, random: np.random.Generator, shape: tuple[int, int]) -> Any:
    made = random.standard_normal((*shape, expert.dim), np.float32)
    return np.square(made) / 10 if expert.reads == "probabilities" else made


def _compare(model: Model, exported: ExportedVideoEncoder) -> None:
    """Raise HcqError where the levels of an export differ from the network's; one alone, and some side by side."""
    for videos in (1, 3, 16):
        batch = sample(model.config, videos)
        pairs = [
            (model.encode_videos(batch), exported.encode_videos(batch)),
            (model.encode_video_queries(batch), exported.encode_video_queries(batch)),
        ]
        deviation = max(float(np.abs(mine - theirs).max()) for mine, theirs in pairs)
        if not deviation <= TOLERANCE:
            raise HcqError(f"exported, the model's video side is off by {deviation:.1g}")
