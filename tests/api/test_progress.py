"""The progress that reports to nobody, and that the console of the command line is one, too."""

from __future__ import annotations

import inspect

from hcq_cli.api.progress import SILENT, Progress, Silent
from hcq_cli.console import Console


def test_silence(capsys):
    SILENT.note("a note")
    SILENT.warn("a warning")
    with SILENT.progress("stage", 3, "videos") as bar:
        bar.advance(2, detail="x")
        bar.update(completed=3, total=3)
    assert capsys.readouterr() == ("", "")


def test_the_console_takes_what_the_protocol_says():
    for name in ("progress", "note", "warn"):
        wanted = list(inspect.signature(getattr(Progress, name)).parameters)
        assert list(inspect.signature(getattr(Console, name)).parameters) == wanted
        assert list(inspect.signature(getattr(Silent, name)).parameters) == wanted
