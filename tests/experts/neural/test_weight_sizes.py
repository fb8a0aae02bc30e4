"""What safetensors files hold is read from their headers, and no larger network is built for them."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
from safetensors.numpy import save_file

from experts.neural.weight_sizes import (
    SPARE_NUMBERS,
    SPARE_TENSORS,
    ForeignFileError,
    WeightSizes,
    outline,
    read_weight_sizes,
    weight_sizes_of,
)


def test_files_are_added_up_from_their_headers(tmp_path):
    save_file({"a": np.zeros((3, 4), np.float32), "b": np.zeros(7, np.float32)}, tmp_path / "1.safetensors")
    save_file({"c": np.zeros((2, 2), np.float16)}, tmp_path / "2.safetensors")
    held = read_weight_sizes(sorted(tmp_path.iterdir()))
    assert held == WeightSizes(tensors=3, numbers=23, widest=7)
    assert weight_sizes_of([(3, 4), (7,), (2, 2), (0, 9)]) == held


def test_a_header_that_tells_of_more_than_the_file_has_is_cut_down(tmp_path):
    header = json.dumps({"a": {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 8]}}).encode()
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    assert read_weight_sizes([tmp_path / "a.safetensors"]).numbers == 8


@pytest.mark.parametrize("data", [b"", b"12345678", (4).to_bytes(8, "little") + b"[1]}"])
def test_what_is_no_safetensors_file_is_named(tmp_path, data):
    (tmp_path / "a.safetensors").write_bytes(data)
    with pytest.raises(ForeignFileError, match=r"a\.safetensors: cannot be loaded"):
        read_weight_sizes([tmp_path / "a.safetensors"])


def test_a_network_of_its_size_is_outlined_and_a_larger_one_is_refused():
    from torch import nn

    held = WeightSizes(tensors=2, numbers=1000, widest=100)
    outline(lambda: nn.Linear(30, 30), held, "net")
    with pytest.raises(ForeignFileError, match="net: its configuration asks for a larger network"):
        outline(lambda: nn.Linear(2000, SPARE_NUMBERS // 1000), held, "net")
    with pytest.raises(ForeignFileError, match="larger network"):
        outline(lambda: nn.ModuleList(nn.Linear(1, 1) for _ in range(SPARE_TENSORS)), held, "net")


def test_networks_of_other_threads_do_not_count():
    from torch import nn

    def build():
        other = threading.Thread(target=lambda: nn.Linear(2000, SPARE_NUMBERS // 1000, device="meta"))
        other.start()
        other.join()
        nn.Linear(3, 3)

    outline(build, WeightSizes(tensors=2, numbers=100, widest=10), "net")
