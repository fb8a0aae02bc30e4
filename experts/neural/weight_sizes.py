"""How much a safetensors file holds, from its header alone, and a limit on the networks that are built for it.

What a configuration asks for costs nothing to write: 100,000 layers are a number in a text file. So a network is
outlined first, on a device where numbers take no room, and that stops as soon as it asks for more than its weights
file has.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

LONGEST_HEADER = 100_000_000
"""Bytes; the limit of the format."""
SPARE_NUMBERS = 1 << 20
SPARE_TENSORS = 256
SPARE_SHARE = 1.25
"""What a network may have beyond its file: a pooler that was not saved, tables that are computed, not learned."""
MODULES_PER_TENSOR = 16
"""Parts of a network, most of which have no numbers of their own (activations, dropouts), for each of its tensors."""


class ForeignFileError(ValueError):
    """A file of a network asks for what no such file may have.

    Args:
        message: which file, and what it asks for.
        hint: what to do about it.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True)
class WeightSizes:
    """What the weights files of a network hold.

    Args:
        tensors: how many.
        numbers: in all of them.
        widest: the longest side of one.
    """

    tensors: int
    numbers: int
    widest: int

    def __add__(self, other: WeightSizes) -> WeightSizes:
        """Both together."""
        widest = max(self.widest, other.widest)
        return WeightSizes(self.tensors + other.tensors, self.numbers + other.numbers, widest)


NO_WEIGHTS = WeightSizes(0, 0, 0)


def read_weight_sizes(paths: Iterable[Path]) -> WeightSizes:
    """What safetensors files hold, from their headers.

    Raises:
        ForeignFileError: one has no such header.
    """
    return sum((_of_file(path) for path in paths), NO_WEIGHTS)


def weight_sizes_of(shapes: Iterable[tuple[int, ...]]) -> WeightSizes:
    """What tensors of these shapes hold; empty ones tell of no width."""
    filled = [shape for shape in shapes if prod(shape)]
    widest = max((side for shape in filled for side in shape), default=0)
    return WeightSizes(len(filled), sum(map(prod, filled)), widest)


def _of_file(path: Path) -> WeightSizes:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        text = file.read(min(length, LONGEST_HEADER))
    try:
        header = json.loads(text)
        shapes = [tuple(map(int, part["shape"])) for name, part in header.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        message = f"{path}: cannot be loaded: it is no safetensors file ({type(error).__name__})"
        raise ForeignFileError(message, "fetch or copy it again") from error
    held = weight_sizes_of(shapes)
    # A number takes a byte or more: a header that tells of more than the file has is not believed.
    return WeightSizes(held.tensors, min(held.numbers, max(size - 8 - length, 0)), held.widest)


def outline(build: Callable[[], Any], held: WeightSizes, place: object) -> None:
    """Build a network without its numbers, to see that it is no larger than what was saved of it.

    Args:
        build: makes the network.
        held: what its weights files hold.
        place: how to call them in a message.

    Raises:
        ForeignFileError: it has more tensors, numbers or parts.
    """
    import torch
    from torch.nn.modules import module as hooks

    count, mine = _Count(held, place), threading.get_ident()

    def seen(_: Any, name: str, what: Any) -> None:
        # The hooks are those of the whole process: another thread may be building a network of its own.
        if threading.get_ident() == mine:
            count.add(what)

    registered = [
        hooks.register_module_parameter_registration_hook(seen),
        hooks.register_module_buffer_registration_hook(seen),
        hooks.register_module_module_registration_hook(seen),
    ]
    try:
        # On the meta device a tensor has a shape and no memory: the largest network costs nothing to begin with.
        with torch.device("meta"):
            build()
    finally:
        for hook in registered:
            hook.remove()


class _Count:
    """What a network has shown of itself so far; raises ForeignFileError once that is too much."""

    def __init__(self, held: WeightSizes, place: object) -> None:
        self.held, self.place = held, place
        self.tensors, self.numbers, self.modules = 0, 0, 0

    def add(self, what: Any) -> None:
        """Count a parameter, a buffer or a module."""
        if hasattr(what, "numel"):
            self.tensors, self.numbers = self.tensors + 1, self.numbers + int(what.numel())
        else:
            self.modules += 1
        held = self.held
        if (
            self.numbers > SPARE_SHARE * held.numbers + SPARE_NUMBERS
            or self.tensors > SPARE_SHARE * held.tensors + SPARE_TENSORS
            or self.modules > MODULES_PER_TENSOR * (held.tensors + SPARE_TENSORS)
        ):
            message = (
                f"{self.place}: its configuration asks for a larger network than its weights are "
                f"({held.tensors:,} tensors, {held.numbers:,} numbers)"
            )
            raise ForeignFileError(message, "fetch or copy it again, or choose another network")
