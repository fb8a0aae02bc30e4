"""What `hcq dedupe` found last, kept in the workspace for who looks at it: `hcq serve`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from hcq_cli.duplicates.groups import Duplicates
from hcq_cli.errors import NotFoundError
from hcq_cli.files import read_regular, write_json
from hcq_cli.headers import decode

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
    try:
        text = read_regular(path)
    except FileNotFoundError:
        raise NotFoundError("duplicates were not looked for yet", "hcq dedupe") from None
    return decode(Duplicates, text, path, "hcq dedupe", format_name=FORMAT, version=VERSION)
