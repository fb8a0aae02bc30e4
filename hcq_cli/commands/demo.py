"""`hcq demo`: the whole journey, offline, on clips it renders itself."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hcq_cli.commands.shared import MACHINE, Session, command
from hcq_cli.console import printable

if TYPE_CHECKING:
    from hcq_cli.demo.journey import Answered, DemoReport, Found

EXAMPLES = ["hcq demo", "hcq demo try --seed 7", "hcq demo --fresh --json"]
VIDEOS = 720
WHAT = {
    "render": "clips with sound, drawn from the seed",
    "extract": "appearance, motion, audio, face",
    "train": "both encoders and the quantizers together",
    "encode": "features to uint8 codes",
    "index": "codes to a searchable index",
    "query": "test captions, and the queries below",
}

Folder = Annotated[Path, typer.Argument(metavar="[DIR]", help="Where the clips and the workspace go.")]
Videos = Annotated[int, typer.Option(min=1, help="How many clips to render.")]
Seed = Annotated[int, typer.Option(min=0, help="Another seed, another collection.")]
Fresh = Annotated[bool, typer.Option("--fresh/--keep", help="Start over, or go on with what is there.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="On top of the recipe demo."),
]


def register(app: typer.Typer) -> None:
    """Add `hcq demo` to the command line."""
    command(app, "demo", panel=MACHINE, examples=EXAMPLES)(demo)


def demo(
    session: Session,
    folder: Folder = Path("hcq-demo"),
    videos: Videos = VIDEOS,
    seed: Seed = 0,
    fresh: Fresh = False,
    settings: Settings = None,
) -> None:
    """Render clips, learn from them, and search them: the whole journey in a few minutes, offline.

    It has a workspace of its own, DIR/.hcq; yours is left alone.
    """
    from hcq_cli.demo.journey import Journey

    journey = Journey(folder, videos, seed, fresh=fresh, settings=settings or (), progress=session.console)
    report = journey.run()
    session.console.result(_document(report), lambda: _print(session, report))


def _document(report: DemoReport) -> dict[str, Any]:
    return {
        "videos": report.videos,
        "test_videos": report.test_videos,
        "test_captions": report.queries,
        "seconds": {**report.seconds, "all": round(sum(report.seconds.values()), 2)},
        "R1": report.R1,
        "R10": report.R10,
        "bytes_per_video": report.bytes_per_video,
        "states": report.states,
        "queries": [_answer(answer) for answer in report.answers],
        "workspace": str(report.workspace),
    }


def _answer(answer: Answered) -> dict[str, Any]:
    hits = [dataclasses.asdict(hit) for hit in answer.hits]
    return {
        "query": answer.question.text,
        "needs": answer.question.needs,
        "right": answer.right,
        "right_hits": answer.right_hits,
        "share_right": round(answer.share, 4),
        "hits": hits,
    }


def _print(session: Session, report: DemoReport) -> None:
    console = session.console
    total = sum(report.seconds.values())
    rows = [(stage, f"{seconds:.1f}", WHAT[stage]) for stage, seconds in report.seconds.items()]
    console.table(["stage", "seconds", ""], [*rows, ("all", f"{total:.1f}", f"{report.videos} clips")])
    console.text(
        f"R@1 {report.R1:.1f} %   R@10 {report.R10:.1f} %   ({report.queries} captions of {report.test_videos} test "
        f"clips, each showing a combination never seen in training; {report.bytes_per_video} bytes a clip)"
    )
    console.text()
    console.table(
        ["query", "needs", "first hit shows", "", "right of 10", "by luck"],
        [
            (
                answer.question.text,
                answer.question.needs,
                _seen(answer.hits[0]),
                "right" if answer.right else "wrong",
                answer.right_hits,
                round(10 * answer.share, 1),
            )
            for answer in report.answers
        ],
    )
    where = shlex.quote(printable(str(report.workspace)))
    console.text(f"clips: {report.workspace.parent / 'clips'}   next:", style="bold")
    for line in (
        f'hcq query -w {where} "a red star falls before the sea"',
        f'hcq query -w {where} "a bell" -k 3 --json',
        f"hcq features info -w {where}",
    ):
        console.text(f"  {line}")


def _seen(hit: Found) -> str:
    """What a clip shows, in a few words."""
    thing, rest = f"{hit.shows['colour']} {hit.shows['object']}", ("motion", "background", "sound", "person")
    return " · ".join([thing, *(hit.shows[name] for name in rest)])
