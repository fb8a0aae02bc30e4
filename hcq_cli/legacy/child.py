"""The child process that opens a pickle: `python -P -m hcq_cli.legacy.child FILE FOLDER`.

Writes FOLDER/weights.safetensors and FOLDER/about.json; what goes wrong is one JSON line on stdout.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

from hcq_cli.errors import DamagedError
from hcq_cli.legacy.pickles import Inert, PickledFile, PickledTensor, open_pickled, plain

WEIGHTS_FILE, ABOUT_FILE = "weights.safetensors", "about.json"
SPARE_BYTES = 2 << 30
"""Address space that Python and NumPy may take besides copies of the file."""


def limit_memory(path: Path) -> None:
    """Six copies of the file and some to spare; more is asked for only by a file made to exhaust memory."""
    bound = SPARE_BYTES + 6 * path.stat().st_size
    with contextlib.suppress(ValueError, OSError):  # macOS has no such limit
        resource.setrlimit(resource.RLIMIT_AS, (bound, bound))


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


def convert(path: Path, folder: Path) -> None:
    """Read one file and write what is wanted of it.

    Raises:
        DamagedError: it is damaged, or no checkpoint of the reference.
    """
    from safetensors.numpy import save_file

    file = open_pickled(path)
    arrays = weights(file)
    epoch = file.content.get("epoch")
    about = {"config": configuration(file.content), "epoch": epoch if isinstance(epoch, int) else None}
    save_file(arrays, folder / WEIGHTS_FILE)
    (folder / ABOUT_FILE).write_text(json.dumps(about), "utf-8")


def main() -> None:
    """Convert what the arguments name; exit code 0, or 1 with a line that says why."""
    path, folder = Path(sys.argv[1]), Path(sys.argv[2])
    os.umask(0o077)
    limit_memory(path)
    try:
        convert(path, folder)
    except DamagedError as error:
        print(json.dumps({"error": error.message}))
        sys.exit(1)
    except MemoryError:
        print(json.dumps({"error": "asks for far more memory than its size calls for"}))
        sys.exit(1)


if __name__ == "__main__":
    main()
