"""`hcq plan`: what a folder of videos would take, before anything long begins."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

import hcq_cli as api
from hcq_cli.commands.extract import Device, Experts, Workers
from hcq_cli.commands.shared import LOOKING, Session, command
from hcq_cli.console import Console, counted, size_text

if TYPE_CHECKING:
    from hcq_cli.api.planning import CollectionPlan

EXAMPLES = ["hcq plan videos/", "hcq plan videos/ --experts appearance,motion", "hcq plan videos/ --json"]
Paths = Annotated[list[str], typer.Argument(metavar="PATH…", help="Folders, files or globs.")]


def register(app: typer.Typer) -> None:
    """Add `hcq plan` to the command line."""

    @command(app, "plan", panel=LOOKING, examples=EXAMPLES)
    def plan(
        session: Session, paths: Paths, experts: Experts = None, workers: Workers = None, device: Device = "auto"
    ) -> None:
        """Say how many hours of video there are, and the time and the disk that extraction takes on this machine, for
        every preset of experts. The pace is measured on some seconds of some of the videos; nothing is kept.
        """
        planned = api.plan_collection(
            session.workspace, paths, experts=experts, workers=workers, device=device, progress=session.console
        )
        session.console.result(asdict(planned), lambda: _print(session.console, planned))


def _print(console: Console, planned: CollectionPlan) -> None:
    console.text(f"{counted(planned.videos, 'video')}, {_duration(planned.media_s)}, {size_text(planned.bytes)}")
    rows = [
        [
            cost.preset or "as asked",
            cost.videos,
            _duration(cost.media_s),
            "-" if cost.seconds is None else _duration(cost.seconds),
            size_text(cost.feature_bytes),
            size_text(cost.code_bytes),
        ]
        for cost in planned.costs
        if not cost.missing
    ]
    if rows:
        console.table(["preset", "to extract", "of video", "takes about", "features", "codes"], rows)
    for cost in planned.costs:
        if cost.missing:
            console.text(f"{cost.preset}: {cost.missing}")


def _duration(seconds: float) -> str:
    """`38 s`, `12 min`, `3.5 h`, `4.2 days`."""
    for most, unit, name in ((120, 1, "s"), (7200, 60, "min")):
        if seconds < most:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
