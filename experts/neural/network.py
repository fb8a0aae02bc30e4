"""Runs a pretrained network: device and precision chosen, weights checked, rows taken in batches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from experts.neural.foreign import network_from_folder
from experts.neural.weights import Weights, WeightsError

if TYPE_CHECKING:
    import torch

Inputs = Mapping[str, NDArray[Any]]
"""What a network is called with, by the name of the argument; every array has the n rows along its first axis."""

Reader = Callable[[Any, "dict[str, torch.Tensor]"], "torch.Tensor"]
"""Calls a network and takes the vectors out of what it gives: (network, inputs) -> [n, …, dim]."""


class Network(Protocol):
    """Something that turns rows of inputs into vectors."""

    def run(self, inputs: Inputs) -> NDArray[np.float32]:
        """Inputs of n rows -> float32 [n, …, dim]."""
        ...


def rows_of(inputs: Inputs) -> int:
    """n of [n, …]: every array of some inputs has as many rows."""
    return len(next(iter(inputs.values())))


def choose_device(asked: str) -> str:
    """`auto` becomes the best device there is; anything else stays.

    Returns:
        "cuda", "mps", "cpu", or what was asked for.

    Raises:
        ValueError: the device asked for is not there.
    """
    import torch

    if asked == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    if asked.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError("there is no CUDA device here (--device cpu, or auto)")
    return asked


def choose_precision(device: str) -> torch.dtype:
    """bfloat16 or float16 on a GPU that has it, else float32."""
    import torch

    if device.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.float32


class TorchNetwork:
    """A network of transformers.

    Args:
        weights: on this machine.
        device: where it shall run; "auto" takes the best there is.
        reader: calls it.
        rows_at_once: how many rows a pass takes on a processor; a GPU takes eight times as many, or fewer if its
            memory does not hold them.

    Raises:
        WeightsError: the folder does not hold the whole network.
    """

    def __init__(self, weights: Weights, device: str, reader: Reader, rows_at_once: int) -> None:
        self.device = choose_device(device)
        self._reader = reader
        self._model = load_model(weights, self.device)
        self._rows = rows_at_once if self.device == "cpu" else rows_at_once * 8

    def run(self, inputs: Inputs) -> NDArray[np.float32]:
        """Inputs of n rows -> float32 [n, …, dim]."""
        parts, at, count = [], 0, rows_of(inputs)
        while at < count:
            try:
                parts.append(self._pass({name: array[at : at + self._rows] for name, array in inputs.items()}))
                at += self._rows
            except RuntimeError as error:  # torch.OutOfMemoryError is one
                if "out of memory" not in str(error).lower() or self._rows == 1:
                    raise
                self._rows = max(1, self._rows // 2)
        return np.concatenate(parts)

    def _pass(self, inputs: Inputs) -> NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            vectors = self._reader(self._model, {name: self._sent(array) for name, array in inputs.items()})
            found: NDArray[np.float32] = vectors.float().cpu().numpy()
        return found

    def _sent(self, array: NDArray[Any]) -> torch.Tensor:
        import torch

        tensor = torch.from_numpy(np.ascontiguousarray(array)).to(self.device, non_blocking=True)
        return tensor.to(self._model.dtype) if tensor.is_floating_point() else tensor


def load_model(weights: Weights, device: str) -> Any:
    """The network of a folder as `AutoModel` knows it, ready to run; `network.lacks` names what has no weights.

    Raises:
        WeightsError: it cannot be loaded, or numbers are missing.
    """
    from transformers import AutoModel

    if not any(weights.folder.glob("*.safetensors")):
        raise WeightsError(f"{weights.source}: holds no *.safetensors, which this expert needs", "hcq models list")
    try:
        with quiet_transformers():
            model, report = network_from_folder(
                AutoModel, weights.folder, dtype=choose_precision(device), output_loading_info=True
            )
    except Exception as error:  # safetensors and transformers have no common base
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WeightsError(f"{weights.source}: cannot be loaded: {reason}", "hcq models list") from error
    lacks = sorted(report["missing_keys"])
    wrong = [key for key in lacks if not _is_pooler(key)] + sorted(map(str, report["mismatched_keys"]))
    if wrong:
        raise WeightsError(
            f"{weights.source}: its weights lack {wrong[0]} and {len(wrong) - 1} more",
            "fetch or copy the folder again",
        )
    model.lacks_pooler = bool(lacks)
    return model.to(device).eval()


def _is_pooler(key: str) -> bool:
    """A pooler that was never trained is left out (`lacks_pooler`); anything else that is missing is an error."""
    return "pooler." in key


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers from printing: no progress bars, no advice."""
    from transformers.utils import logging as words

    before = words.get_verbosity()
    words.disable_progress_bar()
    words.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        words.set_verbosity(before)
