"""What a running verb reports to: bars, notes and warnings, in one protocol for all verbs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Bar(Protocol):
    """How far one stage of a verb has come."""

    def advance(self, steps: float = 1, *, detail: str | None = None) -> None:
        """Move on by `steps`; `detail` is shown at the end of the line."""

    def update(self, completed: float | None = None, total: float | None = None, detail: str | None = None) -> None:
        """Set how much is done, how much there is, or the text at the end of the line."""

    def tell(self, line: str) -> None:
        """Show a line above the bar, where there is one; results hold the same."""


class Progress(Protocol):
    """Whoever wants to know what a verb is doing. The console of the command line is one; `Silent` is another."""

    def progress(self, label: str, total: float | None = None, unit: str = "") -> AbstractContextManager[Bar]:
        """A bar for one stage, shown while the block runs."""

    def note(self, line: str) -> None:
        """What may be skipped, a sentence."""

    def warn(self, line: str) -> None:
        """What the user should know, a sentence; results hold the same warnings."""


class Silent:
    """Reports to nobody: the default of every verb."""

    @contextmanager
    def progress(self, label: str, total: float | None = None, unit: str = "") -> Iterator[Bar]:
        """See `Progress.progress`."""
        yield NoBar()

    def note(self, line: str) -> None:
        """See `Progress.note`."""

    def warn(self, line: str) -> None:
        """See `Progress.warn`."""


class NoBar:
    """Shows nothing."""

    def advance(self, steps: float = 1, *, detail: str | None = None) -> None:
        """See `Bar.advance`."""

    def update(self, completed: float | None = None, total: float | None = None, detail: str | None = None) -> None:
        """See `Bar.update`."""

    def tell(self, line: str) -> None:
        """See `Bar.tell`."""


SILENT: Progress = Silent()
