"""A dual encoder as `onnx:FOLDER`: both sides give what the graphs give when they are run directly."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnx_duals
import pytest
from tokenizers import Tokenizer

from experts.base import Clip, Frames
from experts.neural.onnx_network import _tensors
from experts.neural.weights import RefusedError, WeightsError
from experts.registry import load
from hcq_cli.api.finding import make_searchable
from hcq_cli.errors import HcqError
from hcq_cli.fitting.dual import write_dual_text
from hcq_cli.model.exported_text_encoder import ExportedTextEncoder
from hcq_cli.workspace import Workspace


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return onnx_duals.save(tmp_path_factory.mktemp("onnx-duals"))


@pytest.fixture
def own(folder, tmp_path):
    """A copy that a test may change."""
    return Path(shutil.copytree(folder, tmp_path / "own"))


def test_pictures_and_texts_are_those_of_the_graphs(folder, tmp_path):
    from onnxruntime import InferenceSession

    expert = load([f"dual=onnx:{folder}"])[0]
    images = np.random.default_rng(1).integers(0, 255, (2, 32, 32, 3), np.uint8)
    clip = Clip(0.0, 2.0, True, False, {expert.sampling: Frames(images, np.array([0, 1], np.float32))})
    pixels = ((images.astype(np.float32) / 255 - 0.5) / 0.25).transpose(0, 3, 1, 2)
    (direct,) = InferenceSession(folder / "image.onnx").run(None, {"pixel_values": pixels})
    assert np.allclose(expert.extract(clip).features, direct, atol=1e-5)

    written = write_dual_text(f"onnx:{folder}", tmp_path / "text.hcq")
    assert (written.width, written.scale, written.bias) == (24, 100.0, -1.5)
    texts, found = ["a dog", "a man cooks"], []
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in texts:
        ids = np.array([tokenizer.encode(text).ids])
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        found.append(InferenceSession(folder / "text.onnx").run(None, feed)[0][0])
    direct = np.array(found) / np.linalg.norm(found, axis=1, keepdims=True)
    assert np.abs(ExportedTextEncoder(written.path).encode(texts)[:, 0] - direct).max() < 1e-5


def keep_apart(graph: Path) -> None:
    """Let a graph keep its numbers in a file beside it."""
    how = {"save_as_external_data": True, "size_threshold": 256, "convert_attribute": True}
    onnx.save(onnx.load(graph), graph, location=f"{graph.name}.data", **how)


@pytest.mark.parametrize("where", ["/etc/hostname", "../numbers.data"])
def test_numbers_from_elsewhere_are_refused(where, own, tmp_path):
    for name in ("text.onnx", "image.onnx"):
        keep_apart(own / name)
    assert write_dual_text(f"onnx:{own}", tmp_path / "text.hcq").width == 24  # beside it they may lie
    for name in ("text.onnx", "image.onnx"):
        model = onnx.load(own / name, load_external_data=False)
        for entry in next(tensor for tensor in _tensors(model) if tensor.external_data).external_data:
            if entry.key == "location":
                entry.value = where
        (own / name).write_bytes(model.SerializeToString())
    with pytest.raises(RefusedError, match=r"text\.onnx: its numbers would be read from .*not lie in its folder"):
        write_dual_text(f"onnx:{own}", tmp_path / "text.hcq")
    with pytest.raises(RefusedError, match=r"image\.onnx: its numbers would be read from"):
        load([f"dual=onnx:{own}"])[0].prepare("cpu")


def test_a_link_out_of_the_folder_is_refused(own, tmp_path):
    keep_apart(own / "text.onnx")
    (tmp_path / "elsewhere").mkdir()
    (own / "text.onnx.data").rename(tmp_path / "elsewhere" / "numbers.data")
    (own / "text.onnx.data").symlink_to(tmp_path / "elsewhere" / "numbers.data")
    with pytest.raises(RefusedError, match=r"from text\.onnx\.data"):
        write_dual_text(f"onnx:{own}", tmp_path / "text.hcq")


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ({"max_token": 3}, "'max_token' means nothing"),
        ({"max_tokens": "many"}, "'max_tokens' is 'many'"),
        ({"pad_left": 1}, "'pad_left' is 1"),
        ({"output": "sentence"}, "no output 'sentence'"),
    ],
)
def test_rules_that_make_no_sense_are_named(rules, says, own, tmp_path):
    (own / "text.json").write_text(json.dumps(rules))
    with pytest.raises(WeightsError, match=says):
        write_dual_text(f"onnx:{own}", tmp_path / "text.hcq")


@pytest.mark.parametrize("name", ["text.onnx", "tokenizer.json"])
def test_a_missing_file_is_named(name, own, tmp_path):
    (own / name).unlink()
    with pytest.raises(WeightsError, match=f"holds no {name}"):
        write_dual_text(f"onnx:{own}", tmp_path / "text.hcq")


def widen(folder: Path) -> None:
    """Let the text graph of `folder` give every number of its vectors twice."""
    graph = onnx.load(folder / "text.onnx")
    given = graph.graph.output[0].name
    graph.graph.node.append(onnx.helper.make_node("Concat", [given, given], ["wide"], axis=-1))
    graph.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("wide", onnx.TensorProto.FLOAT, ["B", 48]))
    onnx.save(graph, folder / "text.onnx")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (widen, "vectors of width 48, what it sees or hears of 24"),
        (lambda folder: (folder / "text.onnx").unlink(), "holds no text.onnx"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "cannot be read"),
    ],
)
def test_texts_that_cannot_be_read_are_told_before_videos_are_looked_at(spoil, says, own, tmp_path):
    spoil(own)
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "long.mp4").write_bytes(b"hours of it")
    workspace = Workspace(tmp_path / "made")
    with pytest.raises(HcqError, match=says):
        make_searchable(workspace, tmp_path / "videos", dual=[f"onnx:{own}"])
    assert not workspace.features.exists()
