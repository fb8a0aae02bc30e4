"""Golden vectors of the published implementation: the folder HCQ_GOLDEN, or `golden` of the shared data.

Every size comes from the folder's config.json and from the arrays, so that any other such folder serves as well.
"""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch


class Golden:
    """The arrays of a folder, and how to compare with them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        self.files: dict[str, dict[str, np.ndarray]] = {}

    def arrays(self, file: str) -> dict[str, np.ndarray]:
        if file not in self.files:
            with np.load(self.folder / f"{file}.npz", allow_pickle=False) as loaded:
                self.files[file] = dict(loaded)
        return self.files[file]

    def under(self, file: str, prefix: str) -> dict[str, np.ndarray]:
        """Arrays whose name starts with `prefix`, by the rest of it."""
        return {name[len(prefix) :]: array for name, array in self.arrays(file).items() if name.startswith(prefix)}

    def groups(self, file: str) -> list[str]:
        return list(dict.fromkeys(name.split("/")[0] for name in self.arrays(file)))

    def documented(self, file: str, name: str) -> dict[str, Any] | None:
        """The options that the folder's README gives for an array, if it has a README and gives some."""
        readme = self.folder / "README.md"
        text = readme.read_text() if readme.is_file() else ""
        section = re.search(rf"^## {re.escape(file)}\.npz$(.*?)(?=^## |\Z)", text, re.M | re.S)
        row = re.search(rf"^\| `{re.escape(name)}` .*?(\{{.*\}})", section[1], re.M) if section else None
        return ast.literal_eval(row[1]) if row else None


@pytest.fixture(scope="session")
def golden() -> Golden:
    shared = Path(os.environ.get("HCQ_SHARED", Path(__file__).resolve().parents[3] / "shared"))
    folder = Path(os.environ.get("HCQ_GOLDEN", shared / "golden"))
    if not (folder / "config.json").is_file():
        pytest.skip(f"no golden vectors at {folder} (set HCQ_GOLDEN)")
    return Golden(folder)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As the vectors were made: the order of summation is part of the last digit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
