"""The options every command takes, before or after its name, and how a command is registered.

    @command(app, "encode", panel=VERBS, examples=["hcq encode --ckpt runs/a"])
    def encode(session: Session, features: Annotated[Path | None, typer.Argument(help="…")] = None) -> None: ...

The first parameter of a command is its `Session`: the console to print on and the workspace.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from hcq_cli.console import Console
from hcq_cli.errors import HcqError
from hcq_cli.workspace import Workspace

VERBS = "The five verbs"
LOOKING = "Looking into things"
MACHINE = "This machine"

WorkspaceOption = Annotated[
    Path | None,
    typer.Option(
        "-w",
        "--workspace",
        metavar="DIR",
        show_envvar=False,
        help="Where hcq keeps its files (HCQ_WORKSPACE; default .hcq).",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", show_envvar=False, help="Print JSON on stdout, and nothing else there.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", show_envvar=False, help="No notes and no progress.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", show_envvar=False, help="More details on stderr.")]
SHARED = {
    "workspace": (WorkspaceOption, None),
    "json_mode": (JsonOption, False),
    "quiet": (QuietOption, False),
    "verbose": (VerboseOption, False),
}


@dataclass
class Session:
    """What every command starts from.

    Args:
        console: the printer, set to the mode asked for.
        workspace: the default places.
        settings_error: what is wrong with hcq.toml; always None but for commands that do without it.
    """

    console: Console
    workspace: Workspace
    settings_error: HcqError | None = None


@dataclass
class Shared:
    """The shared options as given before the command's name, and what is wrong with hcq.toml."""

    workspace: Path | None = None
    json_mode: bool = False
    quiet: bool = False
    verbose: bool = False
    settings_error: HcqError | None = None


def _session(context: typer.Context, given: dict[str, Any], needs_settings: bool) -> Session:
    before = context.find_object(Shared) or Shared()
    if needs_settings and before.settings_error is not None:
        raise before.settings_error
    console = Console(
        json_mode=before.json_mode or given["json_mode"],
        quiet=before.quiet or given["quiet"],
        verbose=before.verbose or given["verbose"],
    )
    root = given["workspace"] or before.workspace or Path(".hcq")
    return Session(console, Workspace(root), before.settings_error)


def command(
    app: typer.Typer,
    name: str,
    *,
    panel: str | None = None,
    examples: Sequence[str] = (),
    needs_settings: bool = True,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as `hcq NAME`, adding the shared options and the examples at the end of its help.

    With `needs_settings=False` the command runs although hcq.toml cannot be read, and is told why it cannot.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(function, include_extras=True)
        own = [p.replace(annotation=hints[p.name]) for p in inspect.signature(function).parameters.values()][1:]

        @functools.wraps(function)
        def run(**arguments: Any) -> None:
            context = arguments.pop("context")
            given = {key: arguments.pop(key) for key in SHARED}
            function(_session(context, given, needs_settings), **arguments)

        keyword = inspect.Parameter.KEYWORD_ONLY
        context = inspect.Parameter("context", keyword, annotation=typer.Context)
        shared = [
            inspect.Parameter(key, keyword, annotation=kind, default=default)
            for key, (kind, default) in SHARED.items()
        ]
        own = [p.replace(kind=keyword) for p in own]
        run.__signature__ = inspect.Signature([context, *own, *shared])  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in [context, *own, *shared]}
        epilog = "\n\n".join(["Examples:", *(f"  {line}" for line in examples)]) if examples else None
        app.command(name, rich_help_panel=panel, epilog=epilog)(run)
        return function

    return register
