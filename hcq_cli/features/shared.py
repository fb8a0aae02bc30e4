"""A store that several runs write to at once, on one machine or on many that see the same folder, without the lock.

What each of them finishes goes into `incoming/`, which takes any number of writers; what fails is noted in a log of
its own. The next `FeatureWriter` puts both where they belong.

    folder/logs/failures-2-of-3.jsonl   files that gave nothing to the second of three runs
    folder/logs/hashes-2-of-3.jsonl     content hashes that it found
"""

from __future__ import annotations

import os
from pathlib import Path

from hcq_cli import files
from hcq_cli.features.failures import FAILURES, HASHES, PathLog
from hcq_cli.features.known import KnownVideos
from hcq_cli.features.manifest import INCOMING, LOGS, make_folders, need_store


class SharedWriter(KnownVideos):
    """Answers as `FeatureWriter` does, and notes what failed, while others do the same.

    Args:
        folder: the store; made if missing.
        name: of this run among those that share the store, as a part of file names.

    Raises:
        DamagedError: the store is damaged, or of a newer hcq.
        UsageError: the folder holds something else.
        HcqError: the folder cannot be written.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = Path(folder)
        need_store(self.folder)
        make_folders(self.folder)
        (self.folder / LOGS).mkdir(exist_ok=True)
        files.remove_abandoned(self.folder / INCOMING)
        self._failures, self._hashes = (
            PathLog(self.folder / LOGS / f"{Path(log).stem}-{name}.jsonl", base=self.folder / log)
            for log in (FAILURES, HASHES)
        )
        self.refresh()

    def set_path(self, id: str, path: str) -> None:
        """That a finished video lies elsewhere is for the run with the lock to note; nothing is done here."""


def take_in_notes(folder: Path, log: PathLog) -> None:
    """Put what runs without the lock have noted into the log that lies in the store itself; needs the writer lock.

    Args:
        folder: the store.
        log: of failures, or of hashes.
    """
    begin = f"{log.path.stem}-"
    place = folder / LOGS
    names = sorted(os.listdir(place)) if place.is_dir() else []
    for name in names:
        if name.startswith(begin) and name.endswith(".jsonl"):
            log.take_in(place / name)
