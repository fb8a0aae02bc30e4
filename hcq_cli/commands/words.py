"""hcq words: what is said, shown and told of the videos of an index."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

import hcq_cli as api
from hcq_cli.commands.shared import LOOKING, IndexOption, Session, command, listed
from hcq_cli.console import counted, size_text
from hcq_cli.errors import UsageError


def register(app: typer.Typer) -> None:
    """Put the command group on the command line."""
    group = typer.Typer(no_args_is_help=True, help="Look into what is said and shown, and hand it on.")
    command(group, "info", examples=["hcq words info", "hcq words info --json"])(info)
    examples = [
        "hcq words export talk.mp4 > talk.srt",
        "hcq words export --format vtt -o subtitles/",
        "hcq words export talk.mp4 --language de -o talk.de.srt",
        "hcq words export --format jsonl --source speech,ocr -o words.jsonl",
    ]
    command(group, "export", examples=examples)(export)
    app.add_typer(group, name="words", rich_help_panel=LOOKING)


def info(session: Session, index: IndexOption = None) -> None:
    """Count the sentences of the index, by where they come from."""
    found = api.words_info(session.workspace, index)

    def human() -> None:
        total = sum(found.sentences.values())
        session.console.text(
            f"{found.index}: {counted(total, 'sentence')} of {counted(found.videos, 'video')}, "
            f"{size_text(found.bytes)}"
        )
        session.console.table(["source", "sentences"], list(found.sentences.items()))
        if found.languages:
            session.console.table(["language", "sentences"], list(found.languages.items()))

    session.console.result(asdict(found), human)


def export(
    session: Session,
    videos: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]…", help="Ids, paths or short names (default: all videos).")
    ] = None,
    format: Annotated[
        str, typer.Option("--format", metavar="srt|vtt|jsonl", help="Subtitles, or a line of JSON a sentence.")
    ] = "srt",
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="LIST", help="Of these alone: speech, ocr, subtitles, caption, name."),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option("--language", metavar="LIST", help="In these alone, as subtitles are named: de, pt or pt-BR."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="PATH", help="A file for one video or jsonl; else a folder."),
    ] = None,
    index: IndexOption = None,
) -> None:
    """Write what is said, shown and told of videos, as subtitles or as JSON."""
    if session.console.json_mode and output is None:
        raise UsageError("--json says what was written to a file", f"hcq words export --format {format} -o PATH")
    done = api.export_words(
        session.workspace,
        videos or (),
        format=format,
        sources=listed(source),
        languages=listed(language),
        output=output,
        stream=sys.stdout if output is None else None,
        index=index,
        progress=session.console,
    )
    line = f"{counted(done.sentences, 'sentence')} of {counted(done.videos, 'video')} -> {done.output}"
    if output is not None:
        session.console.result(asdict(done), lambda: session.console.text(line))
