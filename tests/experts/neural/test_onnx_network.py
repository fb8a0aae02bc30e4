"""Networks a person brings as ONNX: sidecars, identity, and what is refused."""

from __future__ import annotations

import shutil

import onnx
import pytest
from onnx import TensorProto, helper

from experts.contract import check_expert, example_clip
from experts.neural.weights import WeightsError
from experts.registry import load


def test_onnx_experts_keep_the_contract(squeezenet, detector):
    check_expert(load([f"appearance=onnx:{squeezenet}"])[0])
    check_expert(load([f"face=onnx:{detector}"])[0])


def test_the_sidecar_takes_another_output_and_is_part_of_the_identity(shared, squeezenet):
    plain = load([f"appearance=onnx:{squeezenet}"])[0].weights
    squeezenet.with_suffix(".json").write_text('{"output": "logits", "size": 227, "fit": "stretch"}')
    other = load([f"appearance=onnx:{squeezenet}"])[0]
    other.prepare("cpu")
    assert other.extract(example_clip(other.sampling, 1.0)).features.shape == (1, 1000)
    assert other.weights != plain
    squeezenet.with_suffix(".json").unlink()
    moved = shutil.copytree(squeezenet.parent, squeezenet.parent / "elsewhere") / squeezenet.name
    assert load([f"appearance=onnx:{moved}"])[0].weights == plain  # where it lies does not count


def test_a_size_that_the_network_does_not_take_is_refused(squeezenet):
    squeezenet.with_suffix(".json").write_text('{"size": [64, 227]}')
    with pytest.raises(WeightsError, match=r"the size is \[64, 227\], but the network takes \[227, 227\]"):
        load([f"appearance=onnx:{squeezenet}"])[0].prepare("cpu")


def test_an_output_that_is_not_there_is_named(squeezenet):
    squeezenet.with_suffix(".json").write_text('{"output": "vectors"}')
    with pytest.raises(WeightsError, match="no output 'vectors'") as caught:
        load([f"appearance=onnx:{squeezenet}"])[0].prepare("cpu")
    assert "features, logits" in caught.value.hint


def test_what_is_no_onnx_is_refused(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"not a network")
    with pytest.raises(WeightsError, match="onnxruntime cannot open it"):
        load([f"appearance=onnx:{tmp_path / 'net.onnx'}"])[0].prepare("cpu")
    with pytest.raises(WeightsError, match="no such file"):
        load([f"appearance=onnx:{tmp_path / 'other.onnx'}"])


def test_what_a_network_takes_and_what_is_wanted_is_said(tmp_path):
    def takes(kind, shape):
        nodes = [helper.make_node("Identity", ["given"], ["taken"])]
        given, taken = (helper.make_tensor_value_info(name, kind, shape) for name in ("given", "taken"))
        onnx.save(helper.make_model(helper.make_graph(nodes, "g", [given], [taken])), tmp_path / "net.onnx")
        return f"onnx:{tmp_path / 'net.onnx'}"

    for expert, kind, shape, said, hint in (
        (
            "appearance",
            TensorProto.INT8,
            ["n", 3, 8, 8],
            "the kind int8, not float or float16 or uint8",
            "takes float",
        ),
        ("audio", TensorProto.FLOAT, ["n", 1, 96, 64], r"given \[n, 1, 96, 64\]", r"windows of sound [n, samples]"),
        ("audio", TensorProto.INT16, ["n", 1600], "the kind int16, not float", "takes float"),
    ):
        with pytest.raises(WeightsError, match=said) as caught:
            load([f"{expert}={takes(kind, shape)}"])[0].prepare("cpu")
        assert hint in caught.value.hint
