"""Registers the commands, and turns errors into messages and exit codes: the one try/except of the program."""

from __future__ import annotations

import importlib
import os
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from hcq_cli import __version__
from hcq_cli.commands.shared import JsonOption, QuietOption, Shared, VerboseOption, WorkspaceOption
from hcq_cli.console import Console
from hcq_cli.errors import EXIT_FAILED, EXIT_INTERRUPTED, HcqError, UsageError

COMMANDS: list[str] = ["extract", "index", "query", "features", "captions", "experts", "doctor", "bench"]
"""Modules of `hcq_cli.commands`, in the order of the help page; each has `register(app)`."""

HELP = """Search a folder of videos by plain text, at 256 bytes a video.

[cyan]hcq extract videos/[/] · [cyan]hcq train --captions captions.jsonl[/] · [cyan]hcq encode[/] ·
[cyan]hcq index build[/] · [cyan]hcq query "a man cooking"[/]

No videos at hand? [cyan]hcq demo[/] makes some and runs all five, offline."""


def _version(wanted: bool) -> None:
    if wanted:
        print(f"hcq {__version__}")
        raise typer.Exit


def _root(
    context: typer.Context,
    workspace: WorkspaceOption = None,
    json_mode: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, show_envvar=False, help="Print the version."),
    ] = False,
) -> None:
    context.obj = Shared(workspace, json_mode, quiet, verbose, settings_error=context.obj)


def build() -> typer.Typer:
    """The command line with every command on it."""
    app = typer.Typer(
        name="hcq",
        help=HELP,
        no_args_is_help=True,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name in COMMANDS:
        importlib.import_module(f"hcq_cli.commands.{name}").register(app)
    return app


def settings_file(path: Path = Path("hcq.toml")) -> dict[str, Any]:
    """Defaults from `hcq.toml` in the current folder: top-level keys for all, a table a command.

    Raises:
        UsageError: the file is no TOML.
    """
    if not path.is_file():
        return {}
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}", "mend the line, or move the file away") from error
    return {key.replace("-", "_"): value for key, value in values.items()}


def _run() -> None:
    program: Any = typer.main.get_command(build())
    settings, settings_error = {}, None
    try:
        settings = settings_file()
    except UsageError as error:  # raised by the command, so that --help and doctor work all the same
        settings_error = error
    # Precedence: flag > environment HCQ_* > hcq.toml > default, all of it done by the option parser.
    program.main(prog_name="hcq", auto_envvar_prefix="HCQ", default_map=settings, obj=settings_error)


def main() -> None:
    """Run the command line; never returns."""
    console = Console(json_mode="--json" in sys.argv[1:])
    try:
        _run()
    except HcqError as error:
        if os.environ.get("HCQ_DEBUG") == "1":
            raise
        console.error(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        console.warn("interrupted; run the same command again to go on")
        sys.exit(EXIT_INTERRUPTED)
    except Exception as error:
        if os.environ.get("HCQ_DEBUG") == "1":
            raise
        kind = type(error).__name__
        console.error(HcqError(f"{kind}: {error}", "HCQ_DEBUG=1 shows the traceback"))
        sys.exit(EXIT_FAILED)
    sys.exit(0)
