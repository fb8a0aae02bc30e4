"""What `hcq dedupe` found last, kept in the workspace for who looks at it: `hcq serve`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from hcq_cli.duplicates.groups import Duplicates
from hcq_cli.files import write_json
from hcq_cli.headers import decode_file

FORMAT, VERSION = "hcq-duplicates", 1


def write_duplicates(path: Path, found: Duplicates) -> None:
    """Replace what was found before. Raises OSError where it cannot be written."""
    write_json(path, {"format": FORMAT, "version": VERSION, **asdict(found)})


def read_duplicates(path: Path) -> Duplicates:
    """What was found last.

    Raises:
        NotFoundError: nothing was looked for yet.
        DamagedError: the file is damaged, foreign, or of a newer hcq.
    """
    absent = "duplicates were not looked for yet"
    return decode_file(Duplicates, path, "hcq dedupe", format_name=FORMAT, version=VERSION, absent=absent)
