"""`hcq bench`: measures on this machine, side by side with what one would compare it with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hcq_cli.commands import bench_search, bench_train
from hcq_cli.commands.shared import MACHINE, Session, command

if TYPE_CHECKING:
    from hcq_cli.media.measuring import Measured

EXTRACT_EXAMPLES = [
    "hcq bench extract videos/",
    "hcq bench extract videos/ --alone",
    "hcq bench extract videos/ --preset neural",
]


def register(app: typer.Typer) -> None:
    """Add `hcq bench` to the command line."""
    group = typer.Typer(no_args_is_help=True, help="Measure on this machine.")
    app.add_typer(group, name="bench", rich_help_panel=MACHINE)
    bench_search.register(group)
    bench_train.register(group)

    @command(group, "extract", examples=EXTRACT_EXAMPLES)
    def bench_extract(
        session: Session,
        paths: Annotated[list[str], typer.Argument(metavar="PATH…", help="Folders, files or globs.")],
        experts: Annotated[str | None, typer.Option(metavar="LIST", help="Experts by name, with commas.")] = None,
        preset: Annotated[str, typer.Option(metavar="classic|neural", help="As in hcq extract.")] = "classic",
        device: Annotated[str, typer.Option(metavar="auto|cpu|cuda|mps", help="Where networks run.")] = "auto",
        decoder: Annotated[str, typer.Option(metavar="auto|decord|pyav", help="As in hcq extract.")] = "auto",
        workers: Annotated[
            int | None, typer.Option(min=1, help="Processes (default: one a core).", show_default=False)
        ] = None,
        alone: Annotated[bool, typer.Option("--alone", help="Time each expert alone, too.")] = False,
    ) -> None:
        """Time extraction, and decoding alone with as many workers; the features are thrown away."""
        from hcq_cli.api.extraction import expert_names
        from hcq_cli.media.engine import Options
        from hcq_cli.media.inputs import find_inputs
        from hcq_cli.media.measuring import measure

        options = Options(session.workspace.features, decoder, workers, device)
        names = expert_names(experts, preset)
        measured = measure(find_inputs(paths), names, options, session.console.note, alone)
        session.console.result(_document(measured), lambda: _print(session, measured))


def _document(measured: Measured) -> dict[str, object]:
    return {
        "videos": measured.videos,
        "failed": measured.failed,
        "media_seconds": round(measured.media_s, 3),
        "frames": measured.frames,
        "workers": measured.workers,
        "decode_only": vars(measured.decode_only),
        "extract": vars(measured.extract),
        "ratio": measured.ratio,
        "alone": {name: vars(pace) for name, pace in measured.alone.items()},
        "together": measured.together,
        "videos_per_second": measured.videos / measured.extract.seconds,
        "networks_busy": measured.networks_s / measured.extract.seconds,
    }


def _print(session: Session, measured: Measured) -> None:
    alone = [(f"{name} alone", pace) for name, pace in measured.alone.items()]
    passes = [("decode only", measured.decode_only), ("extract", measured.extract), *alone]
    rows = [[name, round(pace.seconds, 2), round(pace.times_real_time, 1)] for name, pace in passes]
    session.console.table(["pass", "seconds", "times real time"], rows)
    session.console.text(
        f"{measured.videos} videos, {measured.media_s:.0f} s, {measured.workers} workers: "
        f"extraction takes {measured.ratio:.2f} times as long as decoding alone"
    )
    if measured.together is not None:
        session.console.text(
            f"all experts in one pass take one decoding and {measured.together:.2f} times the slowest expert alone"
        )
    if measured.networks_s:
        busy = 100 * measured.networks_s / measured.extract.seconds
        session.console.text(
            f"networks ran {busy:.0f} % of the time; {measured.videos / measured.extract.seconds:.1f} videos a second"
        )
