"""`hcq find`: from a folder of videos to the answer in one line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import hcq_cli as api
from hcq_cli.commands.answers import print_answer
from hcq_cli.commands.extract import Device, Workers
from hcq_cli.commands.extraction_report import counted_changes, extraction_document
from hcq_cli.commands.fit import Duals, Preset, Sources
from hcq_cli.commands.query import All, Hits, MinConfidence
from hcq_cli.commands.shared import VERBS, Session, command, listed
from hcq_cli.errors import UsageError

if TYPE_CHECKING:
    from hcq_cli.api.finding import Prepared

EXAMPLES = [
    'hcq find videos/ "a man cooking" --concepts onnx:mobilenet.onnx,onnx:yamnet.onnx',
    'hcq find videos/ "a man cooking"',
    'hcq find videos/ "a man cooking" --preset laptop',
    'hcq find videos/ "a man cooking" --watch',
]

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Of videos, with all folders in it.")]
Words = Annotated[list[str], typer.Argument(metavar="TEXT…", help="What to look for.")]
Encoder = Annotated[
    str | None,
    typer.Option(
        "--text-encoder",
        metavar="NAME|ID|FOLDER",
        help="The sentence encoder; default: the model's, else minilm.",
    ),
]

Watch = Annotated[bool, typer.Option("--watch", help="Stay, and answer again after every change; Ctrl-C ends it.")]


def register(app: typer.Typer) -> None:
    """Add `hcq find` to the command line."""
    command(app, "find", panel=VERBS, examples=EXAMPLES)(find)


def find(
    session: Session,
    folder: Folder,
    text: Words,
    k: Hits = 10,
    concepts: Sources = None,
    dual: Duals = None,
    preset: Preset = None,
    text_encoder: Encoder = None,
    min_confidence: MinConfidence = None,
    all_hits: All = False,
    workers: Workers = None,
    device: Device = "auto",
    watch: Watch = False,
) -> None:
    """Find videos in a folder: what is new is looked at, a model is fitted if there is none, the answer comes.

    No captions are needed. The networks to make the model of are named once; after that the folder and the text
    are enough, and only what has changed is looked at. It can be interrupted and run again at any moment; or it
    stays (--watch), and waits for files that are still being written.
    """
    query = " ".join(text)
    if not query.strip():
        raise UsageError("the query is empty", 'hcq find videos/ "a man cooking"')
    how: dict[str, Any] = {
        "concepts": listed(*concepts or ()),
        "dual": listed(*dual or ()),
        "preset": preset,
        "text_encoder": text_encoder,
        "workers": workers,
        "device": device,
        "progress": session.console,
    }

    def show(done: Prepared) -> None:
        searcher = api.Searcher(session.workspace)
        answer = api.sure_enough(searcher.text(query, k), min_confidence)
        document = _document(session, done, api.answer_document(searcher, answer))
        session.console.result(document, lambda: _print(session, done, searcher, answer, all_hits))

    if watch:
        for done in api.watch_searchable(session.workspace, folder, **how):
            show(done)
            session.publish()
        return
    done = api.make_searchable(session.workspace, folder, **how)
    show(done)
    if done.updated.extracted.exit_code:
        raise typer.Exit(done.updated.extracted.exit_code)


def _document(session: Session, done: Prepared, answer: dict[str, Any]) -> dict[str, Any]:
    extracted = extraction_document(done.updated.extracted, session.workspace.features)
    return {
        "query": answer,
        "extract": extracted,
        **{key: extracted[key] for key in ("new", "changed", "renamed", "deleted")},
        "fitted": done.fitted.metrics if done.fitted else None,
    }


def _print(session: Session, done: Prepared, searcher: Any, answer: Any, everything: bool) -> None:
    report = done.updated.extracted
    counts = counted_changes(report)
    if any(counts.values()):
        session.console.note(" · ".join(f"{count:,} {name}" for name, count in counts.items()))
    for failed in report.failed:
        session.console.warn(f"{failed.path}: {failed.error}")
    print_answer(session, searcher, answer, everything=everything)
