"""Runs a pretrained network: device and precision chosen, weights checked, rows taken in batches.

Nothing here imports torch or transformers before a network is loaded. Letters: n rows (frames, windows, clips), dim
the width of a vector.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from experts.neural.foreign import from_folder, network_from_folder
from experts.neural.weights import Weights, WeightsError, first_line

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


def count_rows(inputs: Inputs) -> int:
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
        head: what transformers calls such networks.

    Raises:
        WeightsError: the folder does not hold the whole network.
    """

    def __init__(
        self, weights: Weights, device: str, reader: Reader, rows_at_once: int, head: str = "AutoModel"
    ) -> None:
        self.device = choose_device(device)
        self._reader = reader
        self._model = load_model(weights, self.device, head)
        self._rows = rows_at_once if self.device == "cpu" else rows_at_once * 8

    def run(self, inputs: Inputs) -> NDArray[np.float32]:
        """Inputs of n rows -> float32 [n, …, dim]."""
        parts, at, count = [], 0, count_rows(inputs)
        while at < count:
            try:
                parts.append(self._pass({name: array[at : at + self._rows] for name, array in inputs.items()}))
                at += self._rows
            except RuntimeError as error:
                # Of a GPU's memory nobody knows beforehand what others leave: halved until it fits, and kept so.
                # torch.OutOfMemoryError is a RuntimeError; other backends raise plain ones that say the same.
                if "out of memory" not in str(error).lower() or self._rows == 1:
                    raise
                self._rows = max(1, self._rows // 2)
        return np.concatenate(parts)

    def _pass(self, inputs: Inputs) -> NDArray[np.float32]:
        """One pass of the network over a few rows."""
        import torch

        sent = {}
        for name, array in inputs.items():
            tensor = torch.from_numpy(np.ascontiguousarray(array)).to(self.device, non_blocking=True)
            # Pixels and sound in the network's precision; ids and masks are whole numbers and stay so.
            sent[name] = tensor.to(self._model.dtype) if tensor.is_floating_point() else tensor
        with torch.inference_mode():
            found: NDArray[np.float32] = self._reader(self._model, sent).float().cpu().numpy()
        return found


def load_pretrained(kind: Any, folder: Path, **options: Any) -> Any:
    """A configuration, tokenizer or processor of a folder, by `experts.neural.foreign` and without a word.

    Args:
        kind: a class of transformers, such as AutoTokenizer.
        folder: as `save_pretrained` writes it.
        options: handed on.

    Raises:
        ForeignFileError: the folder asks for more than a network may have.
        Exception: whatever transformers raises; its kinds have no common base.
    """
    with quiet_transformers():
        return from_folder(kind, folder, **options)


def read_config(found: Weights) -> Any:
    """The configuration with all its defaults, as transformers knows it.

    Raises:
        WeightsError: transformers does not know this kind of network.
    """
    from transformers import AutoConfig

    try:
        return load_pretrained(AutoConfig, found.folder)
    except (OSError, ValueError, KeyError) as error:
        what = f"{found.source}: transformers does not know it: {first_line(error)}"
        raise WeightsError(what, "hcq models list") from error


def load_model(weights: Weights, device: str, head: str = "AutoModel") -> Any:
    """The network of a folder as `AutoModel`, or another such class, knows it, ready to run.

    Returns:
        The network; its `lacks_pooler` tells whether the folder has no weights for its pooler.

    Raises:
        WeightsError: it cannot be loaded, or numbers are missing.
    """
    import transformers

    if not any(weights.folder.glob("*.safetensors")):
        raise WeightsError(f"{weights.source}: holds no *.safetensors, which this expert needs", "hcq models list")
    options = {"dtype": choose_precision(device), "output_loading_info": True}
    try:
        with quiet_transformers():
            model, report = network_from_folder(getattr(transformers, head), weights.folder, **options)
    except Exception as error:  # safetensors and transformers have no common base
        raise WeightsError(f"{weights.source}: cannot be loaded: {first_line(error)}", "hcq models list") from error
    # transformers fills what is missing with random numbers and goes on. A pooler that was never trained can be left
    # out (`lacks_pooler`); anything else would make features of noise.
    lacks = sorted(report["missing_keys"])
    wrong = [key for key in lacks if "pooler." not in key] + sorted(map(str, report["mismatched_keys"]))
    if wrong:
        what = f"{weights.source}: its weights lack {wrong[0]} and {len(wrong) - 1} more"
        raise WeightsError(what, "fetch or copy the folder again")
    model.lacks_pooler = bool(lacks)
    return model.to(device).eval()


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers from printing: no progress bars, no advice."""
    from transformers.utils import logging as transformers_logging

    before = transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)
