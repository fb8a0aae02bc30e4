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
    from hcq_cli.search.query import Hit, QueryResult

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
MOST_THUMBNAILS = 12
THUMBNAIL_SIDE = 240


def check_actions(searcher: Searcher, waiting: bool, folder: Path | None, rank: int | None) -> None:
    """Refuse what there are no clips of."""
    if folder is None and rank is None:
        return
    flag = "--save-clips" if folder is not None else "--open"
    if waiting:
        raise UsageError(f"{flag} is for one query, - reads many", f'hcq query "a man cooking" {flag} …')
    if searcher.kind != "videos":
        raise UsageError(f"{flag} is of videos, here sentences are found", "leave out --find texts")


def save(session: Session, answer: QueryResult, folder: Path | None) -> list[SavedClip]:
    """Save what was asked for; nothing where no folder is given."""
    return [] if folder is None else api.save_clips(answer, folder, progress=session.console)


def clips_document(clips: Sequence[SavedClip]) -> dict[str, Any]:
    """What was saved, as --json prints it; nothing where nothing was asked for."""
    found = [
        {"rank": clip.rank, "error": clip.error}
        if clip.path is None
        else {"rank": clip.rank, "path": str(clip.path), "copied": clip.copied}
        for clip in clips
    ]
    return {"clips": found} if found else {}


def show_thumbnails(session: Session, hits: Sequence[Hit]) -> None:
    """Show pictures of the first hits, below the table that they are numbered in."""
    pictures = api.thumbnails(hits[:MOST_THUMBNAILS], THUMBNAIL_SIDE)
    session.console.pictures([(f"{hit.rank:>2}", png) for hit, png in pictures])


def finish(session: Session, answer: QueryResult, clips: Sequence[SavedClip], rank: int | None) -> None:
    """Say what was saved, and open what was asked for; exit code 3 where a clip failed."""
    for clip in clips:
        if clip.path is not None:
            session.console.note(f"clip {printable(str(clip.path))}")
    if rank is not None:
        session.console.note(printable(api.open_hit(answer, rank)))
    if any(clip.error for clip in clips):
        raise typer.Exit(EXIT_SOME_FAILED)
