"""`hcq update`: features, codes and index brought up to date in one go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

import hcq_cli as api
from hcq_cli.commands.encode import encoding_document
from hcq_cli.commands.extract import Exclude, HowToExtract
from hcq_cli.commands.extraction_report import counted_changes, extraction_document, print_extraction
from hcq_cli.commands.index import index_document
from hcq_cli.commands.shared import VERBS, Session, command, with_choice
from hcq_cli.console import counted

if TYPE_CHECKING:
    from hcq_cli.api.updating import Updated

EXAMPLES = ["hcq update", "hcq update videos/", "hcq update videos/ --watch", "hcq update --keep-missing --json"]

Folders = Annotated[
    list[str] | None, typer.Argument(metavar="[FOLDER]…", help="Default: all that were extracted before.")
]
Experts = Annotated[
    str | None, typer.Option(metavar="LIST", help="Default: those of the last time and of the model.")
]
Preset = Annotated[str | None, typer.Option(metavar="classic|neural", help="Default: the experts of the last time.")]
Segments = Annotated[
    bool | None, typer.Option("--segments/--no-segments", help="As hcq encode; default: as the codes are.")
]
Segment = Annotated[
    float | None, typer.Option("--segment-s", min=1, help="As hcq encode; default: as the codes are.")
]
Everything = Annotated[
    bool | None,
    typer.Option("--everything/--no-everything", help="Trash, previews, systems' copies; default: as last time."),
]
Watch = Annotated[bool, typer.Option("--watch", help="Stay, and do it again after every change; Ctrl-C ends it.")]


def register(app: typer.Typer) -> None:
    """Add `hcq update` to the command line."""

    @command(app, "update", panel=VERBS, examples=EXAMPLES)
    def update(
        session: Session,
        how: HowToExtract,
        folders: Folders = None,
        experts: Experts = None,
        preset: Preset = None,
        segments: Segments = None,
        segment_s: Segment = None,
        everything: Everything = None,
        exclude: Exclude = None,
        watch: Watch = False,
    ) -> None:
        """Bring features, codes and index up to date with what is new, changed, renamed and gone, in one go.

        Only what is needed is done, so it may run every night; or it stays (--watch), and waits for files that are
        still being written. Exit codes are those of hcq extract.
        """
        asked: dict[str, Any] = {
            "experts": experts,
            "preset": preset,
            "everything": everything,
            "exclude": exclude,
            "segments": segments,
            "segment_s": segment_s,
            "progress": session.console,
            **vars(how),
        }
        if watch:
            for done in api.watch(session.workspace, folders or (), **asked):
                _show(session, done)
                session.publish()
            return
        done = api.update(session.workspace, folders or (), **asked)
        _show(session, done)
        if done.extracted.exit_code:
            raise typer.Exit(done.extracted.exit_code)


def _show(session: Session, done: Updated) -> None:
    found = extraction_document(done.extracted, session.workspace.features)
    document = {
        **{key: found[key] for key in ("new", "changed", "renamed", "deleted", "missing", "failed", "warnings")},
        "extract": found,
        "encode": encoding_document(done.encoded) if done.encoded else None,
        "index": index_document(done.indexed) if done.indexed else None,
        "next": done.next,
    }
    session.console.result(document, lambda: _print(session, done))


def _print(session: Session, done: Updated) -> None:
    console, report = session.console, done.extracted
    print_extraction(console, report, session.workspace.features)
    console.text(" · ".join(f"{count:,} {name}" for name, count in counted_changes(report).items()))
    if done.next:
        console.note(f"next: {with_choice(done.next)}; then hcq update")
        return
    console.text(f"codes {'made anew: ' + counted(done.encoded.items, 'video') if done.encoded else 'as they were'}")
    console.text(f"index {'made anew: ' + counted(done.indexed.videos, 'video') if done.indexed else 'as it was'}")
    console.note('search it: hcq query "…"')
