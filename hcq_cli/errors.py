"""The exception tree. Every error a user can meet carries a message, a hint (what to run next) and an exit code.

Library code raises these and never prints or exits; `app.main` is the one place that turns them into
messages and exit codes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_SOME_FAILED = 3
EXIT_DAMAGED = 4
EXIT_NOT_FOUND = 10
EXIT_LOCKED = 11
EXIT_INTERRUPTED = 130


def near(word: str, known: Iterable[str]) -> str:
    """That of the `known` names that a misspelt word most likely means, whatever its capitals; "" if none is near."""
    import difflib

    names = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), names)
    swapped = [name for name in found if sorted(name) == sorted(word.lower())]  # hqc is hcq, not hct
    return names[[*swapped, *found][0]] if found else ""


def sizes(shape: Iterable[int]) -> str:
    """A shape for a message: 3 × 4."""
    return " × ".join(map(str, shape))


class HcqError(Exception):
    """Something went wrong that a user can understand.

    Args:
        message: what happened, to which file.
        hint: the one thing to do or run next; empty if there is none.
    """

    exit_code = EXIT_FAILED
    excerpt: tuple[str, ...] = ()
    """Lines that are shown below the message: what was typed, and a mark at the place."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(HcqError):
    """The command was called with something it cannot take."""

    exit_code = EXIT_USAGE


class DamagedError(HcqError):
    """A file is damaged, foreign, or was written by a newer hcq."""

    exit_code = EXIT_DAMAGED


class NotFoundError(HcqError):
    """Something that an earlier command makes is not there yet (no index, no checkpoint…)."""

    exit_code = EXIT_NOT_FOUND


@contextmanager
def needing(missing: str, extra: str) -> Iterator[None]:
    """Around imports of what comes with an extra of hcq: raises NotFoundError with `missing` where they fail."""
    try:
        yield
    except ImportError:
        raise NotFoundError(missing, f'pip install "hcq[{extra}]"') from None


class LockedError(HcqError):
    """Another process is writing to the same place."""

    exit_code = EXIT_LOCKED


class ReplacedError(HcqError):
    """Another file took the place of one that was being opened; opening it again gives the new one."""


class ModelMismatchError(HcqError):
    """Codes of one model were about to be searched with a query of another."""

    exit_code = EXIT_DAMAGED
