"""The options every command takes, before or after its name, those of several, and how a command is registered.

    @command(app, "encode", panel=VERBS, examples=["hcq encode --ckpt runs/a"])
    def encode(session: Session, features: Annotated[Path | None, typer.Argument(help="…")] = None) -> None: ...

The first parameter of a command is its `Session`: the console to print on and the workspace.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand

import hcq_cli as api
from hcq_cli.console import Console, Terminal
from hcq_cli.errors import HcqError, NotFoundError
from hcq_cli.settings import Settings
from hcq_cli.workspace import Workspace, is_address

if TYPE_CHECKING:
    from hcq_cli.api.searching import Searcher
    from hcq_cli.search.params import SearchSettings

VERBS = "Verbs"
LOOKING = "Looking into things"
MACHINE = "This machine"

WorkspaceOption = Annotated[
    str | None,
    typer.Option(
        "-w",
        "--workspace",
        metavar="DIR",
        show_envvar=False,
        help="Where hcq keeps its files, a folder or s3://… (HCQ_WORKSPACE; default .hcq).",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", show_envvar=False, help="Print JSON on stdout, and nothing else there.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", show_envvar=False, help="No notes and no progress.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", show_envvar=False, help="More details on stderr.")]
# Options of several commands.
IndexOption = Annotated[
    Path | None, typer.Option("--index", metavar="DIR", help="The index (default: the workspace's).")
]
CheckpointOption = Annotated[Path | None, typer.Option("--ckpt", metavar="CKPT", help="Default: the workspace's.")]
FeaturesOption = Annotated[Path | None, typer.Option("--features", metavar="DIR", help="Default: the workspace's.")]
RunOption = Annotated[Path | None, typer.Option("-o", "--output", metavar="RUN", help="The checkpoint folder.")]
TorchDeviceOption = Annotated[str, typer.Option(help="cpu or cuda.")]
ShardOption = Annotated[
    str | None,
    typer.Option(metavar="I/N", help="The I-th of N shares alone; other runs do the others.", show_default=False),
]
OnOption = Annotated[
    str | None, typer.Option(metavar="ray[:ADDRESS]", help="Workers on a Ray cluster.", show_default=False)
]
PRECEDENCE = ("DEFAULT", "DEFAULT_MAP", "ENVIRONMENT", "COMMANDLINE")
"""Where an option's value can come from, as the option parser names it; the later ones win."""
MAKERS = ("hcq train --captions", "hcq encode", "hcq index build")
"""Hints of errors about what one of the verbs makes."""
SHARED = {
    "workspace": (WorkspaceOption, None),
    "json_mode": (JsonOption, False),
    "quiet": (QuietOption, False),
    "verbose": (VerboseOption, False),
}


@dataclass(frozen=True)
class Visit:
    """A command that runs in a server, for a shell elsewhere (visits.py).

    Args:
        terminal: where it was typed.
        searcher: gives the server's searcher with the settings asked for, or raises `NotHere`.
    """

    terminal: Terminal
    searcher: Callable[[Workspace, SearchSettings], Searcher]


class NotHere(Exception):
    """The command is to be run by the shell's own process."""


@dataclass
class Session:
    """What every command starts from.

    Args:
        console: the printer, set to the mode asked for.
        place: the folder of the workspace, or its address.
        settings_error: what is wrong with hcq.toml; always None but for commands that do without it.
        visit: where it runs in a server for a shell elsewhere.
        reads: the parts of the workspace that are fetched from an address; None for all, and then what the command
            changes is put there when it ends.
    """

    console: Console
    place: str
    settings_error: HcqError | None = None
    visit: Visit | None = None
    reads: Sequence[str] | None = None

    @cached_property
    def workspace(self) -> Workspace:
        """The default places; at an address those of its mirror, fetched when a command first asks for them."""
        return self.open(self.place)

    def open(self, place: str) -> Workspace:
        """The workspace in a folder or at an address."""
        if not is_address(place):
            return Workspace(place)
        from hcq_cli.api.opening import fetched

        return fetched(place, self.reads, self.console)

    def publish(self) -> None:
        """Put what was changed where the workspace lies, if that is an address."""
        if is_address(self.place) and self.reads is None and "workspace" in vars(self):
            from hcq_cli.api.opening import publish

            publish(self.place, self.console)

    def fetch_more(self, error: NotFoundError) -> bool:
        """Fetch what an error is about that was not fetched before; False where that is no remedy."""
        if self.reads is None or not is_address(self.place):
            return False
        told = [part for part in ("model", "features") if str(self.workspace.root / part) in error.message]
        lacks = [part for part in told if part not in self.reads]
        if lacks:
            self.reads = (*self.reads, *lacks)
            self.open(self.place)
        return bool(lacks)

    def searcher(self, settings: SearchSettings, *, here: bool) -> Searcher:
        """The workspace's searcher.

        Args:
            settings: of the search.
            here: whether the command does more than search and print.

        Raises:
            NotHere: this is a visit, and the server cannot do what is asked.
        """
        if self.visit is None:
            return api.Searcher(self.workspace, settings)
        if here:
            raise NotHere
        searcher = self.visit.searcher(self.workspace, settings)
        self.console.detail(f"answered by the hcq serve that runs for {self.workspace.root} (process {os.getpid()})")
        return searcher


def _given(context: typer.Context, name: str) -> Any:
    """A shared option wherever it was given: flag > environment > hcq.toml > default; of equals the last one."""
    # The parser keeps an option that stands before the command's name in the context of the program, one that stands
    # behind it in that of the command: both are asked, from the inside out.
    best, value = -1, None
    at: Any = context
    while at is not None:
        source = at.get_parameter_source(name)
        rank = PRECEDENCE.index(source.name) if source is not None and source.name in PRECEDENCE else -1
        if rank > best:
            best, value = rank, at.params[name]
        at = at.parent
    return value


def _session(context: typer.Context, needs_settings: bool, reads: Sequence[str] | None) -> Session:
    settings = context.find_object(Settings) or Settings()
    if needs_settings and settings.error is not None:
        raise settings.error
    visit = context.find_object(Visit)
    json_mode, quiet, verbose = (bool(_given(context, name)) for name in ("json_mode", "quiet", "verbose"))
    console = Console(json_mode, quiet, verbose, visit.terminal if visit else None)
    place = str(_given(context, "workspace") or ".hcq")
    for message in settings.warnings(context) if settings.refused else ():
        console.warn(message)
    return Session(console, place, settings.error, visit, reads)


def _run(session: Session, function: Callable[..., None], arguments: dict[str, Any]) -> None:
    try:
        function(session, **arguments)
    except NotFoundError as error:
        if not session.fetch_more(error):
            raise _with_first_step(error, session.workspace) from error
        _run(session, function, arguments)


def _with_first_step(error: NotFoundError, workspace: Workspace) -> NotFoundError:
    """An error about something of the workspace that is not there, with the first command that it waits for: where
    there are no features, it helps nobody to be sent from the index to the codes and from there to the model."""
    for part in (workspace.model, workspace.codes, workspace.index):
        if error.message.startswith(f"{part}:") and error.hint.startswith(MAKERS):
            return NotFoundError(error.message, with_choice(workspace.step_towards(part)))
    return error


def listed(*given: str | None) -> list[str]:
    """The items of an option that holds several with commas, or of one that may come again."""
    return [item.strip() for each in given for item in (each or "").split(",") if item.strip()]


def with_choice(step: str) -> str:
    """A next step as people read it: a model is trained where there are captions, and fitted where there are none."""
    return f"{step}, or without captions: hcq fit" if step.startswith("hcq train --captions") else step


def shared_options(
    context: typer.Context,
    workspace: WorkspaceOption = None,
    json_mode: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """The options of the program and of every group; commands look them up in the context."""


def _own_options(function: Callable[..., None]) -> tuple[dict[str, Any], list[inspect.Parameter]]:
    """The dataclasses that a command takes options in, by parameter; and its options, a field of those each."""
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, Any] = {name: of for name, of in hints.items() if is_dataclass(of) and of is not Session}
    own: list[inspect.Parameter] = []
    for parameter in [*inspect.signature(function).parameters.values()][1:]:
        holder = groups.get(parameter.name)
        hints |= get_type_hints(holder, include_extras=True) if holder else {}
        own += inspect.signature(holder).parameters.values() if holder else [parameter]
    return groups, [p.replace(annotation=hints[p.name], kind=inspect.Parameter.KEYWORD_ONLY) for p in own]


def command(
    app: typer.Typer,
    name: str,
    *,
    panel: str | None = None,
    examples: Sequence[str] = (),
    needs_settings: bool = True,
    offline: bool = True,
    kind: type[TyperCommand] | None = None,
    reads: Sequence[str] | None = None,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as `hcq NAME`, adding the shared options and the examples at the end of its help.

    With `needs_settings=False` the command runs although hcq.toml cannot be read, and is told why it cannot. With
    `offline=True` the hub's client stays off the network, in this process and in all it starts, whatever it is asked.
    `kind` is the class that parses its arguments, where that is another than Typer's; `reads` is as in `Session`. A
    parameter that is a dataclass stands for its fields, an option each.
    """

    if app.registered_callback is None:
        app.callback()(shared_options)

    def register(function: Callable[..., None]) -> Callable[..., None]:
        groups, own = _own_options(function)

        @functools.wraps(function)
        def run(**arguments: Any) -> None:
            own_arguments = {key: value for key, value in arguments.items() if key not in ("context", *SHARED)}
            for name, holder in groups.items():
                own_arguments[name] = holder(
                    **{field.name: own_arguments.pop(field.name) for field in fields(holder)}
                )
            if offline:  # read when the client is imported, which no command does before it runs
                os.environ["HF_HUB_OFFLINE"] = "1"
            session = _session(arguments["context"], needs_settings, reads)
            try:
                _run(session, function, own_arguments)
            except typer.Exit:  # done, though some inputs may have failed
                session.publish()
                raise
            session.publish()

        # Typer reads options off a function's signature. The wrapper gets one that has the command's own options and
        # the shared ones, so that no command need name these.
        keyword = inspect.Parameter.KEYWORD_ONLY
        context = inspect.Parameter("context", keyword, annotation=typer.Context)
        shared = [
            inspect.Parameter(key, keyword, annotation=kind, default=default)
            for key, (kind, default) in SHARED.items()
        ]
        run.__signature__ = inspect.Signature([context, *own, *shared])  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in [context, *own, *shared]}
        epilog = "\n\n".join(["Examples:", *(f"  {line}" for line in examples)]) if examples else None
        app.command(name, cls=kind, rich_help_panel=panel, epilog=epilog)(run)
        return function

    return register
