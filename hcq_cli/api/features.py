"""Looking into a feature store: `hcq features info`, `show`, `verify`, `export`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hcq_cli.api.progress import SILENT, Progress
from hcq_cli.errors import NotFoundError, UsageError
from hcq_cli.workspace import Workspace

if TYPE_CHECKING:
    from hcq_cli.features.export import FeatureExport
    from hcq_cli.features.store import FeatureStore
    from hcq_cli.features.verification import Verification


def open_features(workspace: Workspace, features: Path | None = None) -> FeatureStore:
    """The feature store as it is now.

    Raises:
        NotFoundError: there is none.
        DamagedError: it is damaged, foreign, or of a newer hcq.
    """
    from hcq_cli.features.store import FeatureStore

    return FeatureStore.open(features or workspace.features)


def find_video(store: FeatureStore, name: str) -> int:
    """The row of a video by its id, its path, or its file name where that is unambiguous.

    Raises:
        UsageError: several videos may be meant.
        NotFoundError: none is.
    """
    row = store.row(name)
    if row is not None:
        return row
    found = list(store.catalog.rows_at_path(str(Path(name).absolute())))
    if not found:
        found = [row for row, id in enumerate(store.ids) if id.rsplit("/", 1)[-1] == name or id.endswith(f"/{name}")]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(store.ids[row] for row in found[:5])
        raise UsageError(f"{name!r} may be any of {len(found)} videos: {ids}", "give the whole id")
    raise NotFoundError(f"{store.folder}: has no video {name!r}", f"hcq extract {name}")


def verify_features(
    workspace: Workspace, features: Path | None = None, *, repair: bool = False, progress: Progress = SILENT
) -> tuple[Verification, list[Path]]:
    """Check every byte of a feature store.

    Args:
        workspace: whose store is checked.
        features: another store.
        repair: take damaged files out, so that `extract` repeats their videos.
        progress: told of the bytes read.

    Returns:
        what was found, and the files that were set aside.

    Raises:
        NotFoundError: there is no store.
        DamagedError: its manifest cannot be read, and may not be repaired.
        LockedError: another process writes to it, and it is to be repaired.
    """
    from hcq_cli.features import verification

    folder = features or workspace.features
    moved = verification.repair_manifest(folder) if repair else []
    with progress.progress("verify", unit="bytes") as bar:
        found = verification.verify(folder, lambda done, total: bar.update(done, total))
    if repair and found.damaged:
        moved += verification.take_out(folder, [damage.path for damage in found.damaged])
    return found, moved


def export_features(
    workspace: Workspace,
    output: Path,
    *,
    features: Path | None = None,
    experts: Sequence[str] | None = None,
    progress: Progress = SILENT,
) -> FeatureExport:
    """Hand features to NumPy (.npz) or to pandas (.parquet: a row a token, with its second).

    Args:
        workspace: whose store is exported.
        output: the file; its ending says which format.
        features: another store.
        experts: by name; None for all.
        progress: told how far it has come, and of what is doubtful.

    Raises:
        UsageError: no such format or expert.
        NotFoundError, DamagedError: as `open_features`.
    """
    from hcq_cli.features import export

    store = open_features(workspace, features)
    with progress.progress("export") as bar:
        done = export.export(store, output, experts, lambda at, total: bar.update(at, total))
    for warning in store.warnings:
        progress.warn(warning)
    return done
