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
from typing import TYPE_CHECKING, Any, TextIO

from hcq_cli.errors import HcqError
from hcq_cli.printable import clock as clock
from hcq_cli.printable import counted as counted
from hcq_cli.printable import escaped
from hcq_cli.printable import printable as printable
from hcq_cli.printable import size_text as size_text
from hcq_cli.terminal_pictures import protocol, side_by_side

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.table import Table


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


class _Cell:
    """The text of a table's cell: a line that is too long is broken behind a space or a folder, not within a name.

    A name that is itself longer than its column has to be broken all the same.
    """

    def __init__(self, text: str) -> None:
        self.text, self.pieces = text, re.findall(r"[^ /]*[ /]*", text)

    def __rich_measure__(self, console: Any, options: Any) -> Any:
        from rich.cells import cell_len
        from rich.measure import Measurement

        return Measurement(max(map(cell_len, self.pieces)), cell_len(self.text))

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        from rich.cells import cell_len
        from rich.text import Text

        lines = [""]
        for piece in self.pieces:
            if lines[-1] and cell_len(lines[-1] + piece.rstrip()) > options.max_width:
                lines.append("")
            lines[-1] += piece
        yield from (Text(line.rstrip(), overflow="fold") for line in lines)


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
                self.terminal.out.write(side_by_side(pictures, by, self.out.width))
                self.terminal.out.flush()

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str | None = None) -> None:
        """Print a table for people; nothing in JSON mode. Numbers are set flush right; cells are not markup."""
        if self.json_mode:
            return
        from rich import box
        from rich.table import Table

        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        for at, column in enumerate(columns):
            numeric = bool(rows) and all(isinstance(row[at], int | float) for row in rows)
            table.add_column(column, justify="right" if numeric else "left", overflow="fold")
        cells = [[_Cell(printable(str(cell))) for cell in row] for row in rows]
        for row_of_cells in cells:
            table.add_row(*row_of_cells)
        self._fit(table, cells)
        with standard_output():
            self.out.print(table)

    def _fit(self, table: Table, rows: Sequence[Sequence[_Cell]]) -> None:
        """Give the columns of a table that is too wide widths in which no name is broken, if there are any.

        Left alone, rich makes its widest columns equally narrow, however long the names in them are.
        """
        options = self.out.options.update(max_width=sys.maxsize)
        least = most = [len(str(column.header)) for column in table.columns]
        for row in rows:
            cells = [cell.__rich_measure__(self.out, options) for cell in row]
            least = [max(width, cell.minimum) for width, cell in zip(least, cells, strict=True)]
            most = [max(width, cell.maximum) for width, cell in zip(most, cells, strict=True)]
        natural = self.out.measure(table, options=options).maximum
        missing, between = natural - self.out.width, sum(most) - sum(least)
        if 0 < missing <= between:
            for column, small, large in zip(table.columns, least, most, strict=True):
                # Each gives up as much as it can spare in proportion; rounded up, so that the sum fits.
                column.width = large - -(-(large - small) * missing // between)

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
