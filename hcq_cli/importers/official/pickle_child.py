"""The child process that opens a pickle; pickle_reader.py starts it with the file and a folder.

Writes FOLDER/weights.safetensors and says {"config", "epoch"}, or {"error"} where something is wrong.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from hcq_cli.errors import DamagedError
from hcq_cli.importers.restricted_unpickler import Inert, PickledFile, PickledTensor, open_pickled, plain
from hcq_cli.process import ParentConnection, die_with_parent, limit_memory

WEIGHTS_FILE = "weights.safetensors"
SPARE_BYTES = 2 << 30
"""Memory that Python and NumPy may take besides copies of the file."""


def configuration(content: dict[Any, Any]) -> dict[str, Any]:
    """The reference pickles its parser object, which holds the configuration; a dictionary will do."""
    config = content.get("config")
    if isinstance(config, Inert):
        state = config.state[0] if isinstance(config.state, tuple) and config.state else config.state
        config = state.get("_config") if isinstance(state, dict) else None
    return plain(config) if isinstance(config, dict) else {}


def weights(file: PickledFile) -> dict[str, Any]:
    """Every tensor of the state, by name, less the `module.` that data-parallel training puts in front.

    Raises:
        DamagedError: there is no state of tensors.
    """
    state = file.content.get("state_dict") if isinstance(file.content, dict) else None
    if not isinstance(state, dict):
        raise DamagedError("holds no state_dict: not a checkpoint of the reference")
    tensors = {k: v for k, v in state.items() if isinstance(k, str) and isinstance(v, PickledTensor)}
    if not tensors:
        raise DamagedError("its state_dict holds no tensors")
    return {name.removeprefix("module."): file.array(tensor) for name, tensor in tensors.items()}


def convert(path: Path, folder: Path) -> dict[str, Any]:
    """Read one file and write its weights.

    Returns:
        its configuration and the epoch that it was saved in.

    Raises:
        DamagedError: it is damaged, or no checkpoint of the reference.
    """
    from safetensors.numpy import save_file

    file = open_pickled(path)
    save_file(weights(file), folder / WEIGHTS_FILE)
    epoch = file.content.get("epoch")
    return {"config": configuration(file.content), "epoch": epoch if isinstance(epoch, int) else None}


def main() -> None:
    """Convert what the arguments name, and say what came of it."""
    die_with_parent()
    parent = ParentConnection()
    path, folder = Path(sys.argv[1]), Path(sys.argv[2])
    os.umask(0o077)
    # Six copies of the file and some to spare: more is asked for only by a file made to exhaust memory.
    limit_memory(SPARE_BYTES + 6 * path.stat().st_size)
    try:
        said = convert(path, folder)
    except DamagedError as error:
        said = {"error": error.message}
    except MemoryError:
        said = {"error": "asks for far more memory than its size calls for"}
    parent.send(said)


if __name__ == "__main__":
    main()
