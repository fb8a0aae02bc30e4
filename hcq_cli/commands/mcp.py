"""hcq mcp: read-only tools for agents."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

import hcq_cli as api
from hcq_cli.commands.shared import VERBS, Session, command
from hcq_cli.errors import UsageError

EXAMPLES = ["hcq mcp --print-config", "hcq mcp", "hcq mcp holiday=runs/a/.hcq work=runs/b/.hcq"]


def register(app: typer.Typer) -> None:
    """Put the command on the command line."""

    @command(app, "mcp", panel=VERBS, examples=EXAMPLES, reads=("index", "texts-index", "model"))
    def mcp(
        session: Session,
        workspaces: Annotated[
            list[str] | None,
            typer.Argument(metavar="[NAME=WORKSPACE]…", help="What may be asked (default: the workspace alone)."),
        ] = None,
        print_config: Annotated[
            bool, typer.Option("--print-config", help="Print what a client wants in its configuration, and end.")
        ] = False,
    ) -> None:
        """Give agents tools to search with, over the Model Context Protocol on stdin and stdout; a client starts it.

        They read what is in the indexes of the named workspaces, and nothing else; nothing can be changed.
        """
        named = _named(workspaces) if workspaces else {"default": session.place}
        if print_config:
            config = api.agents_config(str(Path(sys.argv[0]).absolute()), named)
            session.console.result(config, lambda: session.console.text(json.dumps(config, indent=2)))
        else:
            api.serve_agents({name: session.open(place) for name, place in named.items()}, api.__version__)


def _named(given: list[str]) -> dict[str, str]:
    named = dict[str, str]()
    for each in given:
        name, _, root = each.partition("=")
        if not name.isidentifier() or not root or name in named:
            raise UsageError(f"{each}: not a new NAME=WORKSPACE", "hcq mcp holiday=runs/a/.hcq")
        named[name] = root
    return named
