"""Indexes of code files that are named by their paths, and of whatever `IndexSources` names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hcq_cli.codes.codefile import open_codes
from hcq_cli.search import index_writer
from hcq_cli.search.index_writer import IndexChange, IndexSources

HOW = ("lists", "queries", "wait_s", "elsewhere")


def build(folder: Path, paths: Sequence[Path], **given: Any) -> IndexChange:
    return _write(index_writer.build, folder, paths, given)


def add(folder: Path, paths: Sequence[Path], **given: Any) -> IndexChange:
    return _write(index_writer.add, folder, paths, given)


def _write(
    action: Callable[..., IndexChange], folder: Path, paths: Sequence[Path], given: dict[str, Any]
) -> IndexChange:
    how = {name: given.pop(name) for name in HOW if name in given}
    return action(folder, [open_codes(path) for path in paths], IndexSources(**given), **how)
