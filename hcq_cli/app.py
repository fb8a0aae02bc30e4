"""Registers the commands, and turns errors into messages and exit codes: the one try/except of the program."""

from __future__ import annotations

import errno
import importlib
import io
import os
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hcq_cli import __version__, interrupts
from hcq_cli.commands.shared import JsonOption, QuietOption, VerboseOption, WorkspaceOption
from hcq_cli.console import Console, discard, standard_output
from hcq_cli.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, HcqError, NotFoundError, UsageError
from hcq_cli.settings import FILE, Settings, own_file, read_settings

COMMANDS: list[str] = [
    "find",
    "extract",
    "update",
    "train",
    "fit",
    "encode",
    "index",
    "query",
    "dedupe",
    "serve",
    "mcp",
    "eval",
    "demo",
    "plan",
    "report",
    "features",
    "words",
    "captions",
    "experts",
    "models",
    "recipes",
    "doctor",
    "bench",
    "import_",
]
"""Modules of `hcq_cli.commands`, in the order of the help page; each has `register(app)`."""

HOW_TO_TRACE = "HCQ_DEBUG=1 shows the traceback"
OS_HINTS = {
    errno.ENOSPC: "free some space; hcq doctor says how much there is",
    errno.EACCES: "choose a place you may read and write, or change its permissions",
    errno.EPERM: "choose a place you may read and write, or change its permissions",
    errno.EROFS: "choose a place that is not read-only",
    errno.ENOENT: "check the path",
    errno.EISDIR: "give a file, not a folder",
    errno.ENOTDIR: "give a folder, not a file",
    errno.ENAMETOOLONG: "choose a shorter name",
}

HELP = """Search a folder of videos by plain text, at 64 to 256 bytes a video.

[cyan]hcq extract videos/[/] · [cyan]hcq train --captions captions.jsonl[/] · [cyan]hcq encode[/] ·
[cyan]hcq index build[/] · [cyan]hcq query "a man cooking"[/]

No videos at hand? [cyan]hcq demo[/] makes some and runs all of these, offline."""


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
    pass  # commands look the shared options up in the context (shared.py)


class InOrder(TyperGroup):
    """Commands and groups of commands in the order of `COMMANDS`; Typer would put groups last."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, in the order of the help page."""
        return sorted(super().list_commands(ctx), key=[name.rstrip("_") for name in COMMANDS].index)


def build(names: Sequence[str] = COMMANDS) -> typer.Typer:
    """The command line with these commands on it; by default all."""
    app = typer.Typer(
        name="hcq",
        cls=InOrder,
        help=HELP,
        no_args_is_help=True,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name in names:
        importlib.import_module(f"hcq_cli.commands.{name}").register(app)
    return app


def _run() -> int:
    arguments, completes = sys.argv[1:], "_HCQ_COMPLETE" in os.environ
    if completes:  # bash and the other shells each name what was typed in their own way
        arguments = (os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")).split()[1:]
    has_settings = any(path is not None and os.path.lexists(path) for path in (FILE, own_file()))
    # Only the command that is named is imported, where nothing speaks of the others.
    alone = not has_settings and bool(arguments) and arguments[0] in COMMANDS
    program: Any = typer.main.get_command(build(arguments[:1] if alone else COMMANDS))
    if completes:
        from hcq_cli.completion import offer_values

        offer_values(program)
    try:
        settings = read_settings(program) if has_settings else Settings()
    except HcqError as error:  # raised by the command, so that --help and doctor work all the same
        settings = Settings(error=error)
    # Exceptions come to us instead of ending the process (standalone_mode); "obj" reaches every command's context.
    # Precedence: flag > environment HCQ_* > hcq.toml > default, all of it done by the option parser.
    options: dict[str, Any] = {"auto_envvar_prefix": "HCQ", "default_map": settings.defaults, "obj": settings}
    code = program.main(prog_name="hcq", standalone_mode=False, **options)
    with standard_output():
        sys.stdout.flush()
    return code if isinstance(code, int) else EXIT_OK


def _folder_is_there() -> bool:
    try:
        return bool(Path.cwd())
    except OSError:
        return False


def _understood(error: Exception) -> HcqError:
    """What a person is told of an exception that is none of ours."""
    if hasattr(error, "format_message"):  # the option parser's; Typer carries its own copy of Click's classes
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "hcq"
        told = re.sub(r"a valid int(eger)?( range)?\b", "a whole number", error.format_message())
        told = re.sub(r"a valid float( range)?\b", "a number", told)
        # A word of a query or a file may begin with a dash.
        or_not = f"{command} -- -NAME where that is no option, or " if hasattr(error, "possibilities") else ""
        return UsageError(told, f"{or_not}{command} --help")
    if isinstance(error, OSError) and error.errno == errno.ENOENT and not _folder_is_there():
        return NotFoundError("the folder you are in is no longer there", "cd to another one")
    if isinstance(error, OSError) and error.strerror:
        place = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else "input or output"
        return HcqError(f"{place}: {error.strerror}", OS_HINTS.get(error.errno or 0, HOW_TO_TRACE))
    return HcqError(f"{type(error).__name__}: {error}", HOW_TO_TRACE)


def _ready_streams() -> None:
    """Services may start hcq without standard streams: what is printed goes nowhere, and no file is theirs.

    File names may hold bytes that are no UTF-8: they leave as they came.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            # The lowest number that is free, which is the stream's own.
            stream = Path(os.devnull).open("r" if name == "stdin" else "w")  # noqa: SIM115
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)
    if isinstance(sys.stdout, io.TextIOWrapper):
        utf8 = sys.stdout.encoding.lower().replace("-", "") == "utf8"
        sys.stdout.reconfigure(errors="surrogateescape" if utf8 else "backslashreplace")


def _report_error(error: Exception, console: Console) -> int:
    """Tell what failed; gives the exit code."""
    if type(error).__name__ == "NoArgsIsHelpError":
        from typer.rich_utils import rich_format_error

        rich_format_error(error)  # type: ignore[arg-type]  # prints the help page
        return EXIT_USAGE
    if os.environ.get("HCQ_DEBUG") == "1":
        traceback.print_exc()
    known = error if isinstance(error, HcqError) else _understood(error)
    console.error(known)
    return known.exit_code


def main() -> None:
    """Run the command line; never returns."""
    interrupts.end_in_time()
    # Whatever a library may start (a pool, a compiler) leaves the current folder alone; ours do so anyway.
    os.environ["PYTHONSAFEPATH"] = "1"
    _ready_streams()
    console = Console(json_mode="--json" in sys.argv[1:])
    try:
        code = _run()
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except BrokenPipeError:  # whoever read has gone, as `head` does; what is still buffered goes nowhere
        discard(sys.stdout)
        code = EXIT_FAILED
    except Exception as error:
        # After an interrupt: a library may turn what it does not expect into an error of its own.
        code = EXIT_INTERRUPTED if interrupts.happened else _report_error(error, console)
    if code == EXIT_INTERRUPTED:
        console.warn(interrupts.MESSAGE)
    interrupts.leave_at_once()  # what is left is to close what libraries have opened
    sys.exit(code)
