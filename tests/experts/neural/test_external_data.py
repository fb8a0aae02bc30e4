"""Where an ONNX file may keep its numbers."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from experts.neural.onnx_network import check_external_data, external_files
from experts.neural.weights import RefusedError


def graph(folder, location: str | None, inside: bool = False):
    """A graph with one tensor; `inside` an attribute of a node, or among the initializers."""
    tensor = numpy_helper.from_array(np.ones(4, np.float32), "ones")
    if location is not None:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", location
    nodes = [helper.make_node("Constant", [], ["y"], value=tensor)] if inside else []
    out = [helper.make_tensor_value_info("y" if inside else "ones", TensorProto.FLOAT, [4])]
    body = helper.make_graph(nodes, "g", [], out, [] if inside else [tensor])
    path = folder / "g.onnx"
    path.write_bytes(helper.make_model(body).SerializeToString())
    return path


@pytest.mark.parametrize("inside", [False, True])
def test_files_beside_a_graph_are_allowed_and_others_refused(tmp_path, inside) -> None:
    path = graph(tmp_path, "g.data", inside)
    assert external_files(path) == {"g.data"}
    check_external_data(path)
    for elsewhere in ("/etc/hostname", "../g.data", "sub/../../g.data"):
        with pytest.raises(RefusedError, match="would be read from"):
            check_external_data(graph(tmp_path, elsewhere, inside))


def test_graphs_that_hold_their_numbers_and_what_is_none_pass(tmp_path) -> None:
    assert external_files(graph(tmp_path, None)) == set()
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "noise.onnx").write_bytes(b"location, but no graph")
    for name in ("empty.onnx", "noise.onnx"):
        check_external_data(tmp_path / name)  # whoever opens it says what is wrong


def test_links_may_lead_where_the_graph_itself_does(tmp_path) -> None:
    """As in the cache of the hub, where all files of a network are links to one folder."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots"
    blobs.mkdir()
    snapshot.mkdir()
    graph(blobs, "g.data").rename(blobs / "one")
    (blobs / "two").write_bytes(b"1234")
    (snapshot / "g.onnx").symlink_to(blobs / "one")
    (snapshot / "g.data").symlink_to(blobs / "two")
    check_external_data(snapshot / "g.onnx")
    (snapshot / "g.data").unlink()
    (snapshot / "g.data").symlink_to("/etc/hostname")
    with pytest.raises(RefusedError):
        check_external_data(snapshot / "g.onnx")
    assert onnx.load(snapshot / "g.onnx", load_external_data=False)
