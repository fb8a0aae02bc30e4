"""Everything there is to say about a caption file before it is trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hcq_cli.datasets.captions import Captions, read_captions
from hcq_cli.datasets.matching import Match, VideoIds, match
from hcq_cli.datasets.splits import Splits, split_videos


@dataclass(frozen=True)
class CaptionReport:
    """What a check of a caption file found.

    Args:
        captions: what the file holds, and its problems.
        splits: how training would use it (without regard to features).
        match: its videos found in a feature store; None if there was no store to look in.
    """

    captions: Captions
    splits: Splits
    match: Match | None

    @property
    def clean(self) -> bool:
        """Whether every line is right and, if there was a store, every video has features."""
        return not self.captions.errors and not (self.match and self.match.problems())


def check_captions(path: Path, store: VideoIds | None = None) -> CaptionReport:
    """Read a caption file and look its videos up in a feature store.

    Raises:
        NotFoundError, UsageError, DamagedError: see `read_captions`.
    """
    captions = read_captions(path)
    return CaptionReport(
        captions, split_videos(captions.videos), match(captions, store) if store is not None else None
    )
