"""An answer as `hcq query` and `hcq find` print it for people, a table of its hits; and what else is done with these:
clips (--save-clips), a player (--open)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

import hcq_cli as api
from hcq_cli.commands.shared import Session
from hcq_cli.console import Terminal, clock, counted, printable
from hcq_cli.errors import EXIT_SOME_FAILED, UsageError

if TYPE_CHECKING:
    from hcq_cli.api.clips import SavedClip
    from hcq_cli.api.searching import Searcher
    from hcq_cli.search.query import Hit, QueryResult
    from hcq_cli.words.sentences import Sentence

LONGEST_SENTENCE = 80
"""Letters of a sentence that the table shows."""


def print_answer(
    session: Session,
    searcher: Searcher,
    answer: QueryResult,
    timing: dict[str, float] | None = None,
    *,
    heading: bool = False,
    everything: bool = False,
) -> None:
    """Print what was found, as people read it.

    Args:
        timing: what took how long, milliseconds, in place of the text's.
        heading: whether the query is printed first.
        everything: print all hits where nothing fits, too.
    """
    hits, unsure = api.worth_showing(answer, everything=everything)
    if heading:
        session.console.text(printable(answer.query), style="bold")
    if unsure:
        more = " (--all shows more)" if len(answer.hits) > len(hits) else ""
        session.console.text(f"{answer.note}; the best {len(hits)} of it{more}:")
    elif answer.note:
        session.console.note(answer.note)
    columns = _columns(hits, searcher.kind, session.console.terminal)
    session.console.table(list(columns), list(zip(*columns.values(), strict=True)))
    took = ", ".join(f"{name} {value:,.0f} ms" for name, value in (timing or {"text": answer.text_ms}).items())
    searched = counted(answer.videos_searched, searcher.kind.removesuffix("s"))
    session.console.note(f"{searched} searched ({took}, scan {answer.scan_ms:.1f} ms)")


def _columns(hits: Sequence[Hit], kind: str, terminal: Terminal) -> dict[str, Sequence[str | int]]:
    """The columns of the table, by their headings, each with a cell a hit: what is known of no hit has none."""
    columns: dict[str, Sequence[str | int]] = {"rank": [hit.rank for hit in hits]}
    columns["score"] = [f"{hit.score:.3f}" for hit in hits]
    if any(hit.confidence is not None for hit in hits):
        columns["confidence"] = ["" if hit.confidence is None else f"{hit.confidence:.2f}" for hit in hits]
    for name in (hits[0].columns or {}) if hits else ():
        columns[name] = [_value_text((hit.columns or {})[name]) for hit in hits]
    if kind == "texts":
        return {**columns, "sentence": [hit.path for hit in hits], "caption": [hit.id for hit in hits]}
    if any(hit.time_s is not None for hit in hits):
        columns["at"] = ["" if hit.time_s is None else clock(hit.time_s) for hit in hits]
    columns["video"] = [_path_text(hit.path, terminal) if hit.path else hit.id for hit in hits]
    if any(hit.words is not None for hit in hits):
        columns["words"] = ["" if hit.words is None else _sentence_text(hit.words) for hit in hits]
    return columns


def _sentence_text(sentence: Sentence) -> str:
    """A sentence on one line of a table, and where it comes from; the name stands in the table anyway."""
    if sentence.source == "name":
        return "(its name)"
    text = sentence.text
    return f"{text[:LONGEST_SENTENCE]}{'…' if len(text) > LONGEST_SENTENCE else ''} ({sentence.source})"


def _value_text(value: float | bool | str | None) -> str:
    if value is None or isinstance(value, bool):
        return {None: "", True: "yes", False: "no"}[value]
    return f"{value:.1f}" if isinstance(value, float) else printable(str(value))


def _path_text(path: str, terminal: Terminal) -> str:
    """A path as seen from the current folder or from home, where that is shorter."""
    candidates = [path]
    with suppress(RuntimeError):  # of somebody without a home, as in many a container
        home = terminal.environment.get("HOME") or str(Path.home())
        if path == home or path.startswith(home + os.sep):
            candidates.append("~" + path[len(home) :])
    if Path(path).is_absolute():
        with suppress(OSError):  # the current folder is gone
            candidates.append(os.path.relpath(path, terminal.folder))
    return min(candidates, key=len)


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
