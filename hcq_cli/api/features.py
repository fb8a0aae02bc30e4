"""Looking into a feature store: `hcq features info`, `show`, `verify`, `export`, `remove`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hcq_cli.api.progress import SILENT, Progress
from hcq_cli.collection import RemovedVideo, change_collection
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
    """The row of a video by its id, its path, or where that is unambiguous its name without folder or ending.

    Raises:
        UsageError: several videos may be meant.
        NotFoundError: none is.
    """
    from hcq_cli.packed_strings import PackedStrings
    from hcq_cli.search.meant_ids import did_you_mean, ids_meant, several_meant, similar_ids

    row = store.row(name)
    if row is not None:
        return row
    at_path = store.rows_with("path", os.path.normpath(Path(name).absolute()))
    called = [store.ids[row] for row in at_path]
    if not called:
        ids = PackedStrings.of(list(store.ids))  # of all videos: read only where the index of paths does not help
        called = ids_meant(lambda: [ids], name, lambda id: _path(store, id))
        if not called:
            near = did_you_mean(similar_ids([ids], name))
            raise NotFoundError(f"{store.folder}: has no video {name!r}{near}", f"hcq extract {shlex.quote(name)}")
    if len(called) == 1 and (row := store.row(called[0])) is not None:
        return row
    raise UsageError(several_meant(name, called), "give the whole id")


def _path(store: FeatureStore, id: str) -> str:
    facts = store.facts_of(id)
    return facts.path if facts else ""


def remove_features(
    workspace: Workspace, names: Sequence[str], *, features: Path | None = None, progress: Progress = SILENT
) -> list[str]:
    """Take videos out of a feature store, and out of the collection until their files are named to `extract`.

    Args:
        names: ids, paths or names as `find_video` takes them.
        features: another store.

    Returns:
        the ids of those that were taken out.

    Raises:
        NotFoundError: there is no store, or none of the names means a video.
        UsageError: a name may mean several.
        LockedError: another process writes to the store.
    """
    from hcq_cli.features.writer import FeatureWriter

    store = open_features(workspace, features)
    found: dict[str, RemovedVideo] = {}
    unknown: list[NotFoundError] = []
    for name in names:
        try:
            facts = store.facts(find_video(store, name))
            found[facts.id] = RemovedVideo(facts.path, facts.content_hash)
        except NotFoundError as error:
            unknown.append(error)
    if not found and unknown:
        raise unknown[0]
    for missing in unknown:
        progress.warn(missing.message)
    with FeatureWriter(store.folder) as writer:
        # Noted first: a kill between the two leaves features of a video that is out, not one that comes back.
        change_collection(store.folder, lambda before: replace(before, removed={**before.removed, **found}))
        writer.remove(found)
    return list(found)


def verify_features(
    workspace: Workspace, features: Path | None = None, *, repair: bool = False, progress: Progress = SILENT
) -> tuple[Verification, list[Path]]:
    """Check every byte of a feature store.

    Args:
        features: another store.
        repair: take damaged files out, so that `extract` repeats their videos.

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
