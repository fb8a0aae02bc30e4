"""Ids that leave the store: of deleted files, of renamed files (in the store under a new id), second ids of one file.

Features are dear, so a file is taken for deleted only where a folder that holds it was searched and its place is seen
to be empty: a drive that is not plugged in, a link that leads nowhere or a folder that cannot be read proves nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from hcq_cli.collection import path_below
from hcq_cli.features.store import FeatureStore


@dataclass
class Vanished:
    """Ids that leave the store.

    Args:
        deleted: of files that are gone.
        renamed: of files whose bytes lie elsewhere now, each with the new id.
        second_ids: of files that have another id, too.
    """

    deleted: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    second_ids: list[str] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        """All of them: what a store should no longer hold."""
        return [*self.deleted, *self.renamed, *self.second_ids]


def find_vanished(
    store: FeatureStore,
    seen: Set[str],
    folders: Mapping[str, Sequence[str]],
    *,
    moved: Mapping[str, str],
    second_ids: Set[str],
) -> Vanished:
    """The ids of a store that are to leave it.

    Args:
        store: as it is after a run.
        seen: ids of the files of the run.
        folders: that were searched, each with what of it could not be listed.
        moved: ids whose files are gone, each with the id of a new file with the same bytes.
        second_ids: of files that have another id, too.
    """
    found = Vanished(second_ids=sorted(second_ids - seen))
    found.renamed = {old: new for old, new in moved.items() if old not in seen}
    for row, id in enumerate(store.ids):
        if id in seen or id in second_ids or id in found.renamed:
            continue
        path = store.facts(row).path
        searched = next((folder for folder in folders if path_below(path, folder) is not None), None)
        unlisted = folders[searched] if searched is not None else [path]
        if all(path_below(path, folder) is None for folder in unlisted) and _is_deleted(path):
            found.deleted.append(id)
    return found


def is_gone(path: str) -> bool:
    """Whether there is no file at `path`, for certain: one that cannot be reached may be there."""
    try:
        Path(path).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def same_place(path: str, other: str) -> bool:
    """Whether two paths lead to one place, through links."""
    return os.path.realpath(path) == os.path.realpath(other)


def _is_deleted(path: str) -> bool:
    """Whether a file is gone and the folder it lay in can be looked into, or is gone in the same way."""
    place = Path(path)
    while is_gone(str(place)):
        place = place.parent
        if place.is_dir():
            return True
    return False  # a link that leads nowhere, a folder without permission
