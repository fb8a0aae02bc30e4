"""A dual encoder among the sources of a model without captions: what reads in it."""

from __future__ import annotations

from pathlib import Path

from experts.neural.dual import onnx_folder
from experts.neural.weights import locate
from hcq_cli.fitting.dual_onnx import write_onnx_text
from hcq_cli.fitting.dual_text import DualText, write_network_text


def write_dual_text(source: str, path: Path) -> DualText:
    """Write the side of a dual encoder that reads.

    Args:
        source: a folder, an id, or `onnx:FOLDER`, as the expert `dual` takes it.
        path: of the file; its name must stay, since the graph holds it.

    Raises:
        WeightsError: the network is not there, or cannot be read.
        HcqError: it cannot be exported, or the export does not do what the network does.
    """
    if folder := onnx_folder(source):
        return write_onnx_text(source, folder, path)
    return write_network_text(source, locate(source), path)
