"""`hcq query` typed in a shell, run by the server of the same workspace (running_server.py is the other side).

The very command runs, on a searcher that stays open and prints to where the shell is. A visit answers all or nothing:
what is no plain success here, an error or an option that needs more than the open index, is left to the shell's own
process, which then says what it has to say.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

import hcq_cli as api
from hcq_cli.api.searched import CHANGED
from hcq_cli.commands import query
from hcq_cli.commands.shared import NotHere, Visit
from hcq_cli.console import Terminal
from hcq_cli.settings import FILE, own_file


class _Stream(io.StringIO):
    """One of the shell's streams: what is printed joins the other one's in the order of printing."""

    def __init__(self, number: int, terminal: bool, printed: list[tuple[int, str]]) -> None:
        super().__init__()
        self._number, self._terminal, self._printed = number, terminal, printed

    def write(self, text: str) -> int:
        self._printed.append((self._number, text))
        return len(text)

    def isatty(self) -> bool:
        return self._terminal


class ShellQueries:
    """Answers command lines of `hcq query`; of one thread.

    Args:
        searcher: the server's, with settings that no command asked for.
    """

    def __init__(self, searcher: api.Searcher) -> None:
        self._searcher = searcher
        # Without help and version: they would be printed here.
        app = typer.Typer(add_completion=False, context_settings={"help_option_names": []})
        query.register(app)
        self._program: Any = typer.main.get_command(app)

    def answer(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        """What a command line prints, `{"printed": [[1, "…"], …]}`; None where the shell's process is to run it.

        Args:
            asked: as `running_server.answered` sends it.
        """
        folder, environment = str(asked["folder"]), dict(asked["environment"])
        if asked["hcq"] != api.__version__ or _has_settings(Path(folder), environment):
            return None
        printed: list[tuple[int, str]] = []
        out, err = (_Stream(at, seen, printed) for at, seen in zip((1, 2), asked["terminals"], strict=True))
        visit = Visit(Terminal(out, err, environment, folder), self._ready(folder))
        usual = {"workspace": asked["workspace"]} if asked["workspace"] else {}
        arguments = [str(each) for each in asked["arguments"]]
        try:
            self._program.main(arguments, prog_name="hcq", standalone_mode=False, obj=visit, default_map=usual)
        except (Exception, SystemExit):  # the shell's own process will tell
            return None
        return {"printed": printed}

    def _ready(self, folder: str) -> Callable[[api.Workspace, api.SearchSettings], api.Searcher]:
        """Gives the open searcher to commands of this very workspace."""

        def searcher(workspace: api.Workspace, settings: api.SearchSettings) -> api.Searcher:
            usual = api.SearchSettings()
            rest = replace(settings, **{name: getattr(usual, name) for name in CHANGED})
            if rest != usual or not self._searcher.workspace.root.samefile(Path(folder) / workspace.root):
                raise NotHere
            self._searcher.change(**{name: getattr(settings, name) for name in CHANGED})
            self._searcher.refresh()
            if self._searcher.outdated:  # to be said with the places as they are called there
                raise NotHere
            return self._searcher

        return searcher


def _has_settings(folder: Path, environment: dict[str, str]) -> bool:
    """Whether the shell's process would read an hcq.toml."""
    own = own_file(environment)
    return own is None or own.exists() or (folder / FILE).exists()
