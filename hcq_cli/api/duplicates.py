"""Near-identical videos and shared parts: `hcq dedupe`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hcq_cli.api.progress import SILENT, Progress
from hcq_cli.collection import read_collection
from hcq_cli.errors import HcqError, UsageError
from hcq_cli.workspace import Workspace

if TYPE_CHECKING:
    from hcq_cli.duplicates.groups import Duplicates


def dedupe(
    workspace: Workspace,
    *,
    features: Path | None = None,
    threshold: float | None = None,
    progress: Progress = SILENT,
) -> Duplicates:
    """Find near-identical videos, and videos that share a part; nothing is deleted or changed.

    What is found in the workspace's own features is kept there, for `hcq serve` to show.

    Args:
        features: another store than the workspace's.
        threshold: how alike two videos must be, 0 to 1; default: `duplicates.groups.LEAST_SCORE`.

    Raises:
        NotFoundError: there are no features, or none of the expert `appearance`.
        UsageError: the threshold is not from 0 to 1.
    """
    from hcq_cli.duplicates.groups import LEAST_SCORE, find_duplicates, write_duplicates
    from hcq_cli.features.store import FeatureStore

    if threshold is not None and not 0 <= threshold <= 1:
        raise UsageError(f"--threshold {threshold}: it is from 0 to 1")
    store = FeatureStore.open(features or workspace.features)
    removed = read_collection(store.folder).removed
    with progress.progress("comparing", len(store), "videos") as bar:
        least = LEAST_SCORE if threshold is None else threshold
        found = find_duplicates(store, list(removed), least, bar.advance)
    if features is None:
        with suppress(OSError, HcqError):  # a workspace that is only read: what was found is given all the same
            write_duplicates(workspace.duplicates, found)
    return found
