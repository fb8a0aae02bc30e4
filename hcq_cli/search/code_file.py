"""A code file searched as it is, without an index: `hcq query --codes FILE`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hcq_cli.codes.codefile import CodeFile, open_codes
from hcq_cli.scan.blocks import RowMajorCodes
from hcq_cli.search.index import Index
from hcq_cli.search.manifest import IndexManifest, SegmentEntry
from hcq_cli.search.segment import HashTable, IndexSegment, TimeTable


class CodeFileSegment(IndexSegment):
    """The rows of a code file, as a segment of an index has them; its tables are made here, of all ids."""

    def __init__(self, file: CodeFile) -> None:
        self.path, self.videos, self.ids, self.paths = file.path, len(file), file.ids, file.paths
        self._by_id = HashTable.of(self.ids.hashes(), np.arange(self.videos, dtype=np.uint32))
        self._by_video = TimeTable.of_ids(self.ids)
        self.blocks, self.list_starts, self._slots = RowMajorCodes(file.codes, len(file)), None, None
        self.words = self.vectors = self.dead = None
        # Of a video that comes twice the later row counts, as where it is indexed.
        if len(replaced := self.replaced_within()):
            self.dead = np.isin(np.arange(self.videos), replaced)
        self.entry = SegmentEntry(file.path.name, self.videos, len(replaced))


class CodeFileIndex(Index):
    """A code file as an index of one segment, without lists, columns, words or a text side.

    Args:
        path: of the code file.

    Raises:
        NotFoundError, DamagedError: it is missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        file = open_codes(path)
        self.path, self.header, self.codebooks, self.scale = path, file.header, file.codebooks, file.scale
        segment = CodeFileSegment(file)
        self.manifest = IndexManifest(file.header, "", path.name, (segment.entry,))
        self.segments, self._firsts = [segment], [0, segment.videos]
        self.ivf, self.sentences, self.rows = None, 0, segment.videos - segment.entry.removed
        self.checkpoints = file.checkpoints

    def is_newest(self) -> bool:
        """A code file has no generations."""
        return True
