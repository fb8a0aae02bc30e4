"""hcq import: what others have made, in our formats."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hcq_cli.commands.shared import LOOKING, Session, command, listed
from hcq_cli.console import Console, counted
from hcq_cli.errors import UsageError

if TYPE_CHECKING:
    from hcq_cli.importers.mmt import MmtReport
    from hcq_cli.importers.mmt_source import ReadPosition

SHOWN = 20
"""Failures printed in full; --json lists all."""
MMT_EXAMPLES = [
    "hcq import mmt MSRVTT.tar.gz",
    "hcq import mmt data/MSRVTT --split 1k-B -o msrvtt/features --captions msrvtt/captions.jsonl",
    "hcq train --recipe msrvtt-1ka",
]


def register(app: typer.Typer) -> None:
    """Add `hcq import` with its commands."""
    group = typer.Typer(no_args_is_help=True, help="Bring in what others have made.")
    examples = [
        "hcq models fetch bert-base-cased",
        "hcq import official trained_model.pth --text-encoder bert-base-cased -o imported",
    ]
    command(group, "official", examples=examples)(official)
    command(group, "mmt", examples=MMT_EXAMPLES)(mmt)
    app.add_typer(group, name="import", rich_help_panel=LOOKING)


def _type_ids(text: str | None) -> dict[str, int]:
    pairs = [part.partition("=") for part in (text or "").split(",") if part]
    try:
        return {name.strip(): int(number) for name, _, number in pairs}
    except ValueError:
        raise UsageError(f"--type-ids {text!r} is not NAME=ID,…", "--type-ids s3d=1,vggish=2") from None


def official(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="CKPT", help="A .pth file of the published 2022 code.")],
    text_encoder: Annotated[
        str | None,
        typer.Option(
            metavar="ID|FOLDER",
            help="Its text encoder, a folder or an id fetched before (default: as its configuration says).",
        ),
    ] = None,
    type_ids: Annotated[
        str | None, typer.Option(metavar="NAME=ID,…", help="Token types of experts that are not the published ones.")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Where (default: the workspace's).")] = None,
) -> None:
    """Convert a checkpoint of the published code; it then gives that code's results, quirks included."""
    from hcq_cli.importers.official.importing import import_official

    console, folder = session.console, output or session.workspace.model
    done = import_official(file, folder, text_encoder, _type_ids(type_ids))
    for note in done.notes:
        console.warn(note)
    document: dict[str, Any] = {
        "checkpoint": folder,
        "architecture": done.architecture,
        "experts": done.experts,
        "bytes_per_video": done.bytes_per_video,
        "unused": done.unused,
    }

    def human() -> None:
        experts = ", ".join(done.experts)
        console.text(f"{done.architecture} with {experts}: {done.bytes_per_video} bytes a video, in {folder}")

    console.result(document, human)


def mmt(
    session: Session,
    path: Annotated[Path, typer.Argument(help="A tar file of MMT's features, or the folder it was unpacked to.")],
    dataset: Annotated[
        Literal["msrvtt", "lsmdc", "activitynet"] | None,
        typer.Option(case_sensitive=False, help="Default: told from the names of folders and split files."),
    ] = None,
    split: Annotated[
        Literal["1k-A", "1k-B", "full"] | None,
        typer.Option(case_sensitive=False, help="The split of captions.jsonl (default: the first that is there)."),
    ] = None,
    experts: Annotated[
        str | None, typer.Option(metavar="LIST", help="Experts to import (default: those of the paper).")
    ] = None,
    lists: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder with split files that are not in PATH.")
    ] = None,
    captions: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where captions go (default: the workspace's).")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FEATURES", help="The store (default: the workspace's).")
    ] = None,
) -> None:
    """Read the published features, captions and splits of MSR-VTT, LSMDC and ActivityNet.

    An archive is read as a stream and never unpacked. Run again after an interruption, it goes on. Exit code 3: done,
    but some files could not be read (each listed).
    """
    from hcq_cli.importers.mmt import MmtOptions, import_mmt

    named = listed(experts) if experts is not None else None
    if named is not None and not named:
        raise UsageError("--experts names no expert", "--experts s3d,vggish")
    place, store = captions or session.workspace.captions, output or session.workspace.features
    options = MmtOptions(store, place, dataset=dataset, split=split, experts=named, lists=lists)
    with session.console.progress("import", unit="videos") as task:

        def observe(report: MmtReport, position: ReadPosition) -> None:
            read = f"{position.done / position.total:.0%} read" if position.total else ""
            task.update(completed=report.videos, detail=f"{read}  {len(report.failed)} failed")

        report = import_mmt(path, options, observe)
    session.console.result(_mmt_document(report, options.store), lambda: _print_mmt(session.console, report))
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def _mmt_document(report: MmtReport, store: Path) -> dict[str, Any]:
    return {
        "dataset": report.dataset,
        "split": report.split,
        "recipe": report.recipe,
        "videos": report.videos,
        "imported": report.imported,
        "skipped": report.skipped,
        "failed": [{"path": failed.path, "error": failed.error} for failed in report.failed],
        "warnings": report.warnings,
        "experts_left_out": dict(report.left_out),
        "states": report.states,
        "captions": [
            {"file": file.path, "split": file.split, "videos": file.videos, "captions": file.captions}
            for file in report.captions
        ],
        "seconds": round(report.seconds, 3),
        "store": store,
    }


def _print_mmt(console: Console, report: MmtReport) -> None:
    about = " ".join(name for name in (report.dataset, report.split) if name) or "unknown data set"
    console.text(f"{about}: {counted(report.imported, 'video')} imported, {report.skipped:,} were there already")
    states = list(next(iter(report.states.values()), {}))
    shown = [state for state in states if any(counts[state] for counts in report.states.values())]
    rows = [(name, *(counts[state] for state in shown)) for name, counts in report.states.items()]
    if rows:
        console.table(("expert", *shown), rows)
    for file in report.captions:
        parts = ", ".join(f"{count:,} {part}" for part, count in sorted(file.videos.items()))
        console.text(f"{file.path}: {file.captions:,} captions of {parts or 'no'} videos")
    for name, count in report.left_out.items():
        console.note(f"not imported: {name} of {counted(count, 'video')} (--experts)")
    for warning in report.warnings:
        console.warn(warning)
    for failed in report.failed[:SHOWN]:
        console.warn(f"{failed.path}: {failed.error}")
    if len(report.failed) > SHOWN:
        console.warn(f"… and {len(report.failed) - SHOWN:,} more failed (--json lists all)")
    console.note(f"next: hcq train --recipe {report.recipe or 'NAME (hcq recipes)'}")
