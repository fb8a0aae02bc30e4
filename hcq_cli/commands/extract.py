"""`hcq extract`: folders, files, globs or a list of videos -> features."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import hcq_cli as api
from hcq_cli.commands.extraction_report import extraction_document, print_extraction, vanished_document
from hcq_cli.commands.shared import VERBS, OnOption, Session, ShardOption, command, with_choice
from hcq_cli.console import printable
from hcq_cli.errors import EXIT_OK, EXIT_SOME_FAILED, NotFoundError, UsageError

if TYPE_CHECKING:
    from hcq_cli.extraction.report import ExtractReport
    from hcq_cli.workspace import Workspace

EXAMPLES = [
    "hcq extract videos/",
    "hcq extract videos/ --exclude 'raw/*' --exclude '*.proxy.mp4'",
    "hcq extract talks/*.mkv --experts appearance,audio",
    "hcq extract videos/ --preset neural",
    "hcq extract videos/ --experts appearance=onnx:squeezenet.onnx,motion,audio=openai/whisper-base",
    "hcq extract videos/ --shard 2/3  # beside 1/3 and 3/3, anywhere; then hcq extract videos/",
    "hcq extract videos/ --on ray  # on a machine of a Ray cluster",
    "hcq extract videos/ --on ray --claim worker=gib:2 --claim appearance=gpus:0.5,cpus:2",
    "find /media -name '*.mp4' -print0 | hcq extract --from -",
]

Paths = Annotated[list[str] | None, typer.Argument(metavar="PATH…", help="Folders, files or globs.")]
From = Annotated[str | None, typer.Option("--from", metavar="LIST|-", help="File with a name a line (or NUL-ended).")]
Experts = Annotated[str | None, typer.Option(metavar="LIST", help="NAME or NAME=SOURCE, with commas; hcq experts.")]
Preset = Annotated[str, typer.Option(metavar="classic|neural", help="A named set of experts.")]
Decoder = Annotated[str, typer.Option(metavar="auto|decord|pyav", help="Or package.module:Class, from PYTHONPATH.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes (default: one a core).", show_default=False)]
Device = Annotated[str, typer.Option(metavar="auto|cpu|cuda|mps", help="Where networks run.")]
Timeout = Annotated[float | None, typer.Option(min=0.1, help="Deadline of a video.", show_default=False)]
SampleFps = Annotated[float | None, typer.Option(min=0.001, help="Frames a second for all.", show_default=False)]
MaxSeconds = Annotated[float | None, typer.Option(min=0.001, help="Leave out what is later.", show_default=False)]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Try known broken files again.")]
KeepMissing = Annotated[
    bool, typer.Option("--keep-missing", help="Keep videos whose files are gone: a drive may be unplugged.")
]
Everything = Annotated[
    bool, typer.Option("--everything", help="Take in trash, previews and systems' own copies, too.")
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(metavar="GLOB", help="Leave out of folders, by name or path below the root; may be repeated."),
]
Claims = Annotated[
    list[str] | None,
    typer.Option(
        "--claim",
        metavar="WHO=WHAT:N",
        help="With --on: what a worker, or an expert, sets aside on its node: cpus, gpus, gib, or a resource of the "
        "cluster's own; several with commas, and by giving the option again.",
    ),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="List what would be done.")]
Output = Annotated[Path | None, typer.Option("-o", "--output", metavar="FEATURES", help="The feature store.")]


@dataclass(frozen=True)
class HowToExtract:
    """What `hcq extract` and `hcq update` hand on as it is (`ExtractionSettings`)."""

    workers: Workers = None
    device: Device = "auto"
    timeout_s: Timeout = None
    retry_failed: RetryFailed = False
    keep_missing: KeepMissing = False


def register(app: typer.Typer) -> None:
    """Add `hcq extract` to the command line."""
    command(app, "extract", panel=VERBS, examples=EXAMPLES)(extract)


def extract(
    session: Session,
    how: HowToExtract,
    paths: Paths = None,
    from_list: From = None,
    experts: Experts = None,
    preset: Preset = "classic",
    decoder: Decoder = "auto",
    sample_fps: SampleFps = None,
    max_seconds: MaxSeconds = None,
    everything: Everything = False,
    exclude: Exclude = None,
    shard: ShardOption = None,
    on: OnOption = None,
    claim: Claims = None,
    dry_run: DryRunOption = False,
    output: Output = None,
) -> None:
    """Decode every video once and let the experts write its features. Finished videos are skipped, and of files
    with the same bytes one is decoded. A renamed file keeps its features; videos whose files are no longer below
    a folder leave the store. One that was removed stays out until its file is named here itself.

    Exit code 0: done; 3: done, but some files gave nothing (each listed); 10: no videos found.
    """
    if dry_run and shard is not None:
        raise UsageError("--dry-run is of all videos, --shard of a share of them", "hcq extract VIDEOS --dry-run")
    asked: dict[str, Any] = {
        "listed": _listed(from_list) if from_list is not None else (),
        "everything": everything,
        "exclude": exclude or (),
        "experts": experts,
        "preset": preset,
        "store": output or session.workspace.features,
        "decoder": decoder,
        "sample_fps": sample_fps,
        "max_seconds": max_seconds,
        **vars(how),
    }
    if dry_run:
        code = _plan(session, paths or [], asked)
    else:
        code = _extract(session, paths or [], {**asked, "shard": shard, "on": on, "claims": claim or ()})
    if code:
        raise typer.Exit(code)


def _listed(source: str) -> list[str]:
    """The names in the file of --from, or on standard input."""
    from hcq_cli.api.extraction import names_in_list

    if source == "-":
        return names_in_list(sys.stdin.buffer.read())
    try:
        return names_in_list(Path(source).read_bytes())
    except OSError as error:
        raise NotFoundError(f"{source}: {error.strerror}", "give --from a file with a name a line") from error


def _extract(session: Session, paths: Sequence[str], asked: dict[str, Any]) -> int:
    console, store = session.console, asked["store"]
    report = api.extract(session.workspace, paths, progress=console, **asked)
    step = ""
    if report.share is not None:
        step = "the same without --shard, when all shares are done"
    elif store == session.workspace.features:
        step = _next_step(session.workspace, report)

    def show() -> None:
        print_extraction(console, report, store)
        if step:
            console.note(f"next: {with_choice(step)}")

    console.result({**extraction_document(report, store), "next": step}, show)
    return report.exit_code


def _next_step(workspace: Workspace, report: ExtractReport) -> str:
    """What is to be run after an extraction; empty where codes and index are of these very videos."""
    if not workspace.has(workspace.model):
        return workspace.step_towards(workspace.model)
    changed = report.new or report.changed or report.restored or report.vanished.ids
    return "hcq update" if changed or not workspace.has(workspace.index) else ""


def _plan(session: Session, paths: Sequence[str], asked: dict[str, Any]) -> int:
    planned = api.plan_extraction(session.workspace, paths, **asked)
    document = {
        "videos": planned.videos,
        "todo": [{"path": item.path, "id": item.id, "experts": item.experts} for item in planned.todo],
        "duplicates": planned.duplicates,
        "skipped": len(planned.finished),
        "failed": [{"path": failed.path, "error": failed.error} for failed in planned.failed],
        "removed_before": planned.removed,
        **vanished_document(planned.vanished),
        "store": str(asked["store"]),
    }

    def show() -> None:
        for item in planned.todo:
            session.console.text(f"extract  {printable(item.path)}  ({', '.join(item.experts)})")
        for path in planned.duplicates:
            session.console.text(f"copy     {printable(path)}  (the same bytes as another)")
        for failed in planned.failed:
            session.console.text(f"failed   {printable(failed.path)}: {printable(failed.error)}")
        for old, new in planned.vanished.renamed.items():
            session.console.text(f"rename   {printable(old)} -> {printable(new)}")
        for id in planned.vanished.deleted:
            session.console.text(f"drop     {printable(id)}  (its file is gone)")
        counts = (len(planned.todo), len(planned.finished), len(planned.failed))
        session.console.text("{} to extract, {} finished, {} failed".format(*counts))

    session.console.result(document, show)
    return EXIT_SOME_FAILED if planned.failed else EXIT_OK
