"""The restricted unpickler: what PyTorch writes is read, and nothing a file names is ever run."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hcq_cli.errors import DamagedError, NotFoundError
from hcq_cli.importers.official.pickle_reader import read_pickled_checkpoint
from hcq_cli.importers.restricted_unpickler import Inert, PickledTensor, open_pickled, plain


class Parser:
    """Like the reference's configuration parser: an object with the configuration in an attribute."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._config, self._save_dir = config, Path("exps")


class Trap:
    """Runs a command when it is unpickled by something that runs what it finds."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> Any:
        return self.reduced


def state() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(6, 4, generator=generator)
    return OrderedDict(
        plain=base,
        turned=base.T,
        view=base[2:4, 1:],
        half=base.half(),
        brain=base.bfloat16(),
        double=base.double(),
        whole=torch.arange(5),
        truth=torch.tensor([True, False]),
        scalar=torch.tensor(3.5),
        empty=torch.zeros(0, 3),
        parameter=torch.nn.Parameter(base + 1),
    )


@pytest.mark.parametrize("zipped", [True, False])
def test_every_kind_of_tensor(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "weird 'name'\n🎬.pth"
    content = {
        "epoch": 7,
        "state_dict": OrderedDict((f"module.{k}", v) for k, v in state().items()),
        "config": Parser({"arch": {"args": {"alpha": 1.0, "experts": ["a", "b"]}}, "path": Path("x"), "n": None}),
        "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]},
        "monitor_best": np.float64(3.0),
    }
    with path.open("wb") as stream:
        torch.save(content, stream, _use_new_zipfile_serialization=zipped)
    found = read_pickled_checkpoint(path)
    assert found.epoch == 7
    assert found.config == {"arch": {"args": {"alpha": 1.0, "experts": ["a", "b"]}}, "path": None, "n": None}
    assert set(found.weights) == set(state())
    for name, wanted in state().items():
        assert torch.equal(found.weights[name], wanted.float() if name == "brain" else wanted.detach()), name


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_is_run(tmp_path: Path, zipped: bool) -> None:
    marker = tmp_path / "ran"
    traps = [
        Trap(os.system, f"touch {marker}"),
        Trap(eval, f"open({str(marker)!r}, 'w')"),
        Trap(getattr, Trap(__import__, "os"), "system"),
        Trap(open, str(marker), "w"),
    ]
    content = {
        "state_dict": {"w": torch.ones(2)},
        "config": traps,
        "epoch": Trap(exec, f"open({str(marker)!r}, 'w')"),
    }
    path = tmp_path / "trap.pth"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    found = read_pickled_checkpoint(path)
    assert torch.equal(found.weights["w"], torch.ones(2))
    assert found.epoch is None and not found.config
    assert not marker.exists()
    inside = open_pickled(path).content["config"]
    assert all(isinstance(item, Inert) for item in inside) and inside[0].origin.endswith("system")


def test_in_this_process_too_nothing_is_imported(tmp_path: Path) -> None:
    body = b"cthis_module_does_not_exist\nThing\n(S'x'\ntR."
    from hcq_cli.importers.restricted_unpickler import RestrictedUnpickler

    assert isinstance(RestrictedUnpickler(io.BytesIO(body)).load(), Inert)


def write_zip(path: Path, pickled: bytes, data: bytes = b"", compress: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compress) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/data/0", data)
    return path


class Tensors(pickle.Pickler):
    """Writes `PickledTensor` as PyTorch would, whatever its numbers."""

    def persistent_id(self, obj: Any) -> Any:
        return ("storage", torch.FloatStorage, "0", "cpu", 4) if obj is STORAGE else None

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, PickledTensor):
            return torch._utils._rebuild_tensor_v2, (STORAGE, obj.offset, obj.size, obj.stride, False, {})
        return NotImplemented


STORAGE: Any = object()


@pytest.mark.parametrize(
    ("offset", "size", "stride", "message"),
    [
        (0, (5,), (1,), "beyond its storage"),
        (2, (2, 2), (2, 1), "beyond its storage"),
        (-1, (2,), (1,), "beyond its storage"),
        (3, (2,), (-1,), "beyond its storage"),
        (0, (1 << 40,), (0,), "larger than its storage"),
    ],
)
def test_tensors_that_lie(tmp_path: Path, offset: int, size: Any, stride: Any, message: str) -> None:
    body = io.BytesIO()
    Tensors(body, 2).dump({"state_dict": {"w": PickledTensor(STORAGE, offset, size, stride)}})
    path = write_zip(tmp_path / "lie.pth", body.getvalue(), np.arange(4, dtype=np.float32).tobytes())
    with pytest.raises(DamagedError, match=message):
        read_pickled_checkpoint(path)


def nested() -> bytes:
    """A list of lists of lists … each holding the one below ten times: small to store, endless to walk."""
    node: list[Any] = []
    for _ in range(40):
        node = [node] * 10
    return pickle.dumps({"state_dict": {}, "config": {"a": node}}, 2)


def test_damage_is_named(tmp_path: Path) -> None:
    good = tmp_path / "good.pth"
    torch.save({"state_dict": {"w": torch.ones(1000)}}, good)
    whole = good.read_bytes()
    files = {
        "cut.pth": whole[: len(whole) // 2],
        "text.pth": b"not a checkpoint at all",
        "empty.pth": b"",
        "memo.pth": b"\x80\x02]r\xff\xff\xff\x7f.",
        "recursion.pth": b"(" * 100_000,
    }
    for name, body in files.items():
        (tmp_path / name).write_bytes(body)
        with pytest.raises(DamagedError, match=name):
            read_pickled_checkpoint(tmp_path / name)
    with pytest.raises(DamagedError, match="no state_dict"):
        read_pickled_checkpoint(write_zip(tmp_path / "list.pth", pickle.dumps([1, 2], 2)))
    with pytest.raises(DamagedError, match="no tensors"):
        read_pickled_checkpoint(write_zip(tmp_path / "bare.pth", pickle.dumps({"state_dict": {"a": 1}}, 2)))
    with pytest.raises(DamagedError, match="not a PyTorch checkpoint"):
        with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
            archive.writestr("a.txt", "a")
        read_pickled_checkpoint(tmp_path / "other.zip")
    with pytest.raises(NotFoundError, match=r"gone\.pth"):
        read_pickled_checkpoint(tmp_path / "gone.pth")


def test_a_configuration_without_end(tmp_path: Path) -> None:
    content = open_pickled(write_zip(tmp_path / "deep.pth", nested())).content
    with pytest.raises(DamagedError, match="too large"):
        plain(content["config"])
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(DamagedError, match="too deep"):
        plain(cycle)


def test_the_deadline(tmp_path: Path) -> None:
    path = tmp_path / "slow.pth"
    torch.save({"state_dict": {"w": torch.ones(2)}}, path)
    with pytest.raises(DamagedError, match="not read within"):
        read_pickled_checkpoint(path, deadline_s=0.01)
