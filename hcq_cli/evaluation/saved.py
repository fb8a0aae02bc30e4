"""What `hcq eval` measured last, kept in the workspace for `hcq report`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from hcq_cli.evaluation.retrieval import RecallPoint
from hcq_cli.files import write_json
from hcq_cli.headers import decode_file

FORMAT, VERSION = "hcq-evaluation", 1


@dataclass(frozen=True)
class SavedEvaluation:
    """Recall against bytes.

    Args:
        title: how many videos and captions of which split.
        model: its hash.
        points: codes, dense vectors, and what was compared with them.
    """

    title: str
    model: str
    points: tuple[RecallPoint, ...]


def write_evaluated(path: Path, found: SavedEvaluation) -> None:
    """Replace what was measured before. Raises OSError where it cannot be written."""
    write_json(path, {"format": FORMAT, "version": VERSION, **asdict(found)})


def read_evaluated(path: Path) -> SavedEvaluation:
    """What was measured last.

    Raises:
        NotFoundError: nothing was.
        DamagedError: the file is damaged, foreign, or of a newer hcq.
    """
    absent = "the model was not evaluated yet"
    return decode_file(SavedEvaluation, path, "hcq eval", format_name=FORMAT, version=VERSION, absent=absent)
