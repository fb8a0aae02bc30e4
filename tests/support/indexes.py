"""Indexes of code files that are named by their paths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hcq_cli.codes.codefile import open_codes
from hcq_cli.search import index_writer
from hcq_cli.search.index_writer import IndexChange


def build(folder: Path, paths: Sequence[Path], **how: Any) -> IndexChange:
    return index_writer.build(folder, [open_codes(path) for path in paths], **how)


def add(folder: Path, paths: Sequence[Path], **how: Any) -> IndexChange:
    return index_writer.add(folder, [open_codes(path) for path in paths], **how)
