"""The only printer. Data goes to stdout; progress, notes and warnings go to stderr.

Three modes: for people (tables), `--json` (stdout holds exactly one document, or one a line), `--quiet`
(no notes, no progress). rich is imported at the first use, because `hcq --help` must not wait for it twice.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any, TextIO

from hcq_cli.errors import HcqError
from hcq_cli.printable import clock as clock
from hcq_cli.printable import counted as counted
from hcq_cli.printable import escaped
from hcq_cli.printable import printable as printable
from hcq_cli.printable import size_text as size_text
from hcq_cli.terminal_pictures import cell_size, protocol, side_by_side

if TYPE_CHECKING:
    from rich.console import Console as RichConsole


PIPE_WIDTH = 4096
"""Columns of what is no terminal."""


def plain(value: Any) -> Any:
    """What `json.dumps` cannot take, made plain: NumPy scalars and arrays, paths, enums; NaN becomes null."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return str(value) if isinstance(value, str) else value
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)


def _harmless(text: str) -> str:
    """`text` with what could steer a terminal escaped; line breaks, tabs and undecodable bytes stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" or "\udc80" <= c <= "\udcff" else escaped(c) for c in text)


@dataclass(frozen=True)
class Terminal:
    """Where a command was typed; that may not be where it runs (commands/visits.py).

    Args:
        out, err: take what is printed.
        environment: variables that say how wide, how colourful, and where home is.
        folder: the current one there.
    """

    out: TextIO
    err: TextIO
    environment: Mapping[str, str]
    folder: str


def discard(stream: TextIO) -> None:
    """Let what is printed from now on go nowhere: the last flush, when Python ends, must not fail again."""
    with suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)


@contextmanager
def standard_output() -> Iterator[None]:
    """Print within it: a stdout that takes nothing more is an error of its own, not one of some file.

    Raises:
        HcqError: nothing can be written there; whatever follows goes nowhere.
    """
    try:
        yield
    except BrokenPipeError:  # whoever read has gone; see `app.main`
        raise
    except OSError as error:
        discard(sys.stdout)
        reason = error.strerror or str(error)
        raise HcqError(
            f"standard output: {reason}", "free some space (hcq doctor says how much there is), or print elsewhere"
        ) from error


PIECE = re.compile(r"[^ /]*[ /]*")
"""What a line is not broken within: a word or a folder, with what follows it."""


def _column_widths(cells: Sequence[Sequence[str]], room: int) -> list[int]:
    """Widths of the columns of `cells` [rows][columns] that fit into `room`; no name is broken if that can be."""
    from rich.cells import cell_len

    columns = list(zip(*cells, strict=True))
    most = [max(map(cell_len, column)) for column in columns]
    least = [max(cell_len(piece) for cell in column for piece in PIECE.findall(cell)) for column in columns]
    missing, spare = sum(most) - room, sum(most) - sum(least)
    if missing <= 0:
        return most
    if missing <= spare:  # each gives up as much as it can spare in proportion; rounded up, so that the sum fits
        return [large - -(-(large - small) * missing // spare) for small, large in zip(least, most, strict=True)]
    while sum(least) > room and max(least) > 1:
        least[least.index(max(least))] -= 1
    return least


def _row_lines(cells: Sequence[str], widths: Sequence[int], flush_right: Sequence[bool]) -> list[str]:
    """A row of a table; a cell that is too wide is broken behind a space or a folder, or else where it must be."""
    from rich.cells import cell_len, chop_cells

    columns: list[list[str]] = []
    for cell, width in zip(cells, widths, strict=True):
        lines = [""]
        for piece in PIECE.findall(cell):
            if lines[-1] and cell_len(lines[-1] + piece.rstrip()) > width:
                lines.append("")
            lines[-1] += piece
        whole = (line.rstrip() for line in lines)  # a column may have no width, and then no text
        columns.append([part for line in whole for part in (chop_cells(line, width) if line else [""])])
    rows = []
    for parts in zip_longest(*columns, fillvalue=""):
        padded = []
        for part, width, right in zip(parts, widths, flush_right, strict=True):
            padding = " " * (width - cell_len(part))
            padded.append(f" {padding}{part} " if right else f" {part}{padding} ")
        rows.append(" ".join(padded))
    return rows


class Task:
    """A running progress bar, or nothing at all; `advance` and `total` may be called either way."""

    def __init__(self, bar: Any = None, task_id: Any = None) -> None:
        self._bar, self._task_id = bar, task_id

    def advance(self, steps: float = 1, **fields: Any) -> None:
        """Move on by `steps`; `detail="…"` changes the text at the end of the line."""
        if self._bar is not None:
            shown = {name: printable(str(value)) for name, value in fields.items()}
            self._bar.update(self._task_id, advance=steps, **shown)

    def update(self, completed: float | None = None, total: float | None = None, detail: str | None = None) -> None:
        """Set how much is done, how much there is, or the text at the end of the line."""
        if self._bar is not None:
            fields = {} if detail is None else {"detail": printable(detail)}
            self._bar.update(self._task_id, completed=completed, total=total, **fields)

    def tell(self, line: str) -> None:
        """Show a line above the bar."""
        if self._bar is not None:
            self._bar.console.print(printable(line), style="red", markup=False, highlight=False, soft_wrap=True)


class Console:
    """Where commands print.

    Args:
        json_mode: stdout holds JSON and nothing else.
        quiet: no notes and no progress; warnings and errors remain.
        verbose: show details that `detail` prints.
        terminal: where that is printed; default: where this process prints.
    """

    def __init__(
        self, json_mode: bool = False, quiet: bool = False, verbose: bool = False, terminal: Terminal | None = None
    ) -> None:
        self.json_mode, self.quiet, self.verbose = json_mode, quiet, verbose
        self.terminal = terminal or Terminal(sys.stdout, sys.stderr, os.environ, os.curdir)

    @cached_property
    def out(self) -> RichConsole:
        """rich on stdout, for people."""
        return self._rich(self.terminal.out)

    @cached_property
    def err(self) -> RichConsole:
        """rich on stderr."""
        return self._rich(self.terminal.err)

    def _rich(self, stream: TextIO) -> RichConsole:
        from rich.console import Console as RichConsole

        # Where nobody looks at them on a terminal lines stay as long as they are: no path is cut in two in a pipe.
        width: dict[str, Any] = {} if stream.isatty() else {"soft_wrap": True, "width": PIPE_WIDTH}
        return RichConsole(file=stream, highlight=False, emoji=False, _environ=self.terminal.environment, **width)

    def result(self, document: dict[str, Any], human: Callable[[], None] | None = None) -> None:
        """Print the outcome of a command: `document` in JSON mode, else whatever `human` prints."""
        if self.json_mode:
            self.json_line(document)
        elif human is not None:
            human()

    def json_line(self, document: dict[str, Any]) -> None:
        """Print one JSON document on one line of stdout."""
        with standard_output():
            self.terminal.out.write(json.dumps(plain(document), ensure_ascii=True) + "\n")
            self.terminal.out.flush()

    def text(self, line: str = "", style: str | None = None) -> None:
        """Print a line of data for people; nothing in JSON mode. `line` is not markup."""
        if not self.json_mode:
            with standard_output():
                self.out.print(_harmless(line), style=style, markup=False)

    @property
    def shows_pictures(self) -> str:
        """How pictures are shown where people read (`terminal_pictures.protocol`); empty for not at all."""
        if self.json_mode or self.quiet or not self.terminal.out.isatty():
            return ""
        return protocol(self.terminal.environment)

    def pictures(self, pictures: Sequence[tuple[str, bytes]]) -> None:
        """Show pictures, PNG each below a label of printable letters, where that can be done."""
        if by := self.shows_pictures:
            with standard_output():
                cell = cell_size(self.terminal.out)
                self.terminal.out.write(side_by_side(pictures, by, self.out.width, cell))
                self.terminal.out.flush()

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str | None = None) -> None:
        """Print a table for people; nothing in JSON mode. Numbers are set flush right; cells are not markup."""
        if self.json_mode:
            return
        # Not rich's own table, which makes the widest columns equally narrow, however long the names in them are.
        cells = [[printable(str(cell)) for cell in row] for row in (columns, *rows)]
        numeric = [bool(rows) and all(isinstance(row[at], int | float) for row in rows) for at in range(len(columns))]
        widths = _column_widths(cells, self.out.width - 3 * len(columns) + 1)
        head, *body = (_row_lines(row, widths, numeric) for row in cells)
        across = sum(widths) + 3 * (len(widths) - 1)
        blank, line = " " * (across + 2), f" {('-' if self.out.options.ascii_only else '─') * across} "
        with standard_output():
            if title is not None:
                self.out.print(title.ljust(across + 2), style="italic", markup=False, soft_wrap=True)
            self.out.print("\n".join([blank, *head]), style="bold", markup=False, soft_wrap=True)
            self.out.print("\n".join([line, *chain(*body), blank]), markup=False, soft_wrap=True)

    def _tell(self, line: str, style: str | None = None) -> None:
        """Print a line to stderr; where nobody can be told, the command goes on all the same."""
        try:
            self.err.print(line, style=style, markup=False)
        except OSError:
            discard(sys.stderr)

    def note(self, line: str) -> None:
        """Tell something that may be skipped (stderr; not with --quiet)."""
        if not self.quiet:
            self._tell(printable(line), style="dim")

    def detail(self, line: str) -> None:
        """Tell something for -v only (stderr)."""
        if self.verbose and not self.quiet:
            self._tell(printable(line), style="dim")

    def warn(self, line: str) -> None:
        """Tell something the user should know (stderr; also with --quiet)."""
        self._tell(f"warning: {printable(line)}", style="yellow")

    def error(self, error: HcqError) -> None:
        """Tell what failed, and what to run next (stderr; in JSON mode also as a document on stdout)."""
        self._tell(f"error: {printable(error.message)}", style="bold red")
        for line in error.excerpt:
            self._tell(f"  {printable(line)}")
        if error.hint:
            self._tell(f"  → {printable(error.hint)}")
        if not self.json_mode:
            return
        with suppress(HcqError, BrokenPipeError):  # where stdout takes nothing, stderr and the exit code have told
            self.json_line({"error": error.message, "hint": error.hint, "exit_code": error.exit_code})

    @property
    def draws_progress(self) -> bool:
        """Whether somebody looks at progress bars."""
        return not self.quiet and os.environ.get("TERM") != "dumb" and sys.stderr.isatty()

    @contextmanager
    def progress(self, label: str, total: float | None = None, unit: str = "") -> Iterator[Task]:
        """A progress bar with rate and time left on stderr; off where stderr is no terminal or with --quiet."""
        if not self.draws_progress:
            yield Task()
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        class Rate(TextColumn):
            """How many a second."""

            def __init__(self) -> None:
                super().__init__("")

            def render(self, task: Any) -> Any:
                from rich.text import Text

                speed = task.finished_speed or task.speed
                return Text(f"{speed:.1f} {unit}/s" if speed else "", style="progress.data.speed")

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            Rate(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
        )
        # Data on a piped stdout must stay there; rich would take it to where the bar is.
        with Progress(*columns, console=self.err, redirect_stdout=sys.stdout.isatty()) as bar:
            yield Task(bar, bar.add_task(label, total=total, detail=""))
