"""What `hcq query` does with hits besides printing them: clips (--save-clips), thumbnails, a player (--open)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import hcq_cli as api
from hcq_cli.commands.shared import Session
from hcq_cli.console import printable
from hcq_cli.errors import EXIT_SOME_FAILED, UsageError

if TYPE_CHECKING:
    from hcq_cli.api.clips import SavedClip
    from hcq_cli.api.searching import Searcher
    from hcq_cli.search.query import QueryResult

SaveClips = Annotated[
    Path | None,
    typer.Option(
        "--save-clips",
        metavar="DIR",
        help="Write the moment of each hit that is shown into DIR, as a clip of its own.",
    ),
]
Open = Annotated[
    int | None,
    typer.Option("--open", metavar="N", min=1, help="Play hit N from its second, in a player of this machine."),
]

Thumbnails = Annotated[
    bool,
    typer.Option(
        "--thumbnails/--no-thumbnails",
        help="Show pictures of the hits in terminals that can (kitty, Ghostty, WezTerm, iTerm2); off anywhere else.",
    ),
]


def check_actions(searcher: Searcher, waiting: bool, folder: Path | None) -> None:
    """Refuse what there are no clips of; without a folder to save them in, one is to be opened."""
    flag = "--save-clips" if folder is not None else "--open"
    if waiting:
        raise UsageError(f"{flag} is for one query, - reads many", f'hcq query "a man cooking" {flag} …')
    if searcher.kind != "videos":
        raise UsageError(f"{flag} is of videos, here sentences are found", "leave out --find texts")


def clips_document(clips: Sequence[SavedClip]) -> list[dict[str, Any]]:
    """What was saved, as --json prints it."""
    return [
        {"rank": clip.rank, "error": clip.error}
        if clip.path is None
        else {"rank": clip.rank, "path": str(clip.path), "copied": clip.copied}
        for clip in clips
    ]


def finish(session: Session, answer: QueryResult, clips: Sequence[SavedClip], rank: int | None) -> None:
    """Say what was saved, and open what was asked for; exit code 3 where a clip failed."""
    for clip in clips:
        if clip.path is not None:
            session.console.note(f"clip {printable(str(clip.path))}")
    if rank is not None:
        session.console.note(printable(api.open_hit(answer, rank)))
    if any(clip.error for clip in clips):
        raise typer.Exit(EXIT_SOME_FAILED)
