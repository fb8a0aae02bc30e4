"""`hcq bench`: measures on this machine, side by side with what one would compare it with."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hcq_cli.commands.shared import MACHINE, Session, TorchDeviceOption, command
from hcq_cli.errors import UsageError

if TYPE_CHECKING:
    from hcq_cli.bench.extraction import ExtractionTimes
    from hcq_cli.bench.model_cost import Cost
    from hcq_cli.bench.search import SearchTimes

EXAMPLES = {
    "search": ["hcq bench search", "hcq bench search --videos 10000000 --threads 1 --plot search.png"],
    "train": ["hcq bench train", "hcq bench train --recipe paper --set text.encoder=scratch"],
    "encode": ["hcq bench encode --recipe paper --set text.encoder=scratch"],
    "extract": [
        "hcq bench extract videos/",
        "hcq bench extract videos/ --alone",
        "hcq bench extract videos/ --preset neural",
    ],
}

Videos = Annotated[int, typer.Option(min=1, help="How many to search.")]
Cores = Annotated[int | None, typer.Option("--threads", min=1, help="Cores (default: all).", show_default=False)]
Codes = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The code file to start from (default: the workspace's).")
]
Plot = Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the table as a picture.")]
Scratch = Annotated[Path | None, typer.Option(metavar="DIR", help="Where a temporary file of all codes fits.")]

RecipeName = Annotated[str, typer.Option("--recipe", metavar="NAME|FILE", help="See hcq recipes.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="On top of the recipe; may come often.")
]
Widths = Annotated[
    str | None,
    typer.Option("--experts", metavar="NAME:DIM,…", help="Experts and their widths (default: the paper's seven)."),
]
Tokens = Annotated[int, typer.Option(min=1, help="Tokens an expert gives, in the mean.")]
Words = Annotated[int, typer.Option(min=1, help="Words of a caption.")]
Rounds = Annotated[int, typer.Option(min=1, help="Pairs to time.")]
Threads = Annotated[int, typer.Option(min=0, help="Threads (0: as torch likes).")]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Videos encoded at once.")]


@dataclass(frozen=True)
class TimedModel:
    """What a model is timed with, on made-up features."""

    recipe: RecipeName = "default"
    settings: Settings = None
    experts: Widths = None
    tokens: Tokens = 15
    rounds: Rounds = 10
    threads: Threads = 0
    device: TorchDeviceOption = "cpu"

    def given(self) -> dict[str, Any]:
        """The same, as `hcq_cli.bench.model_cost` takes it."""
        return {**vars(self), "settings": self.settings or (), "experts": _widths(self.experts)}


Paths = Annotated[list[str], typer.Argument(metavar="PATH…", help="Folders, files or globs.")]
Experts = Annotated[str | None, typer.Option(metavar="LIST", help="Experts by name, with commas.")]
Preset = Annotated[str, typer.Option(metavar="classic|neural", help="As in hcq extract.")]
NetworkDevice = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda|mps", help="Where networks run.")]
Decoder = Annotated[str, typer.Option(metavar="auto|decord|pyav", help="As in hcq extract.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes (default: one a core).", show_default=False)]
Alone = Annotated[bool, typer.Option("--alone", help="Time each expert alone, too.")]


def register(app: typer.Typer) -> None:
    """Add `hcq bench` with its commands."""
    group = typer.Typer(no_args_is_help=True, help="Measure on this machine.")
    app.add_typer(group, name="bench", rich_help_panel=MACHINE)
    for name, function in (("search", search), ("train", train), ("encode", encode), ("extract", extract)):
        command(group, name, examples=EXAMPLES[name])(function)


def search(
    session: Session,
    videos: Videos = 1_000_000,
    threads: Cores = None,
    codes: Codes = None,
    plot: Plot = None,
    scratch: Scratch = None,
) -> None:
    """Time searches of the model's codes, made as many as asked for, by queries that are captions."""
    from hcq_cli.bench.faiss_engines import COMMAND
    from hcq_cli.bench.search import bench_search

    if plot is not None and plot.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UsageError(f"{plot}: cannot draw such a file", "--plot FILE.png, .svg or .pdf")
    console = session.console
    measured = bench_search(
        session.workspace, videos=videos, codes=codes, threads=threads, scratch=scratch, progress=console
    )
    if not measured.with_faiss:
        console.note(f"Faiss is not installed, so nothing stands beside: {COMMAND}")
    document = asdict(measured)
    for row in document["rows"]:
        row["ms_per_query"] = round(row["ms_per_query"], 4)
    document["bandwidth_floor_ms"] = round(measured.bandwidth_floor_ms, 4)
    console.result(document, lambda: _print_search(session, measured))
    if plot is not None:
        measured.plot(plot)


def _print_search(session: Session, measured: SearchTimes) -> None:
    ours = {row.queries: row.ms_per_query for row in measured.rows if row.engine == "hcq"}
    rows = []
    for row in measured.rows:
        scaled = "" if row.measured_videos == measured.videos else f"scaled from {row.measured_videos:,}"
        times_ours = f"{row.ms_per_query / ours[row.queries]:.2f}"
        rows.append(
            [measured.label(row), f"{row.ms_per_query:.2f}", times_ours, f"{row.identical_top_k:.0%}", scaled]
        )
    rows.append(["reading the codes once", f"{measured.bandwidth_floor_ms:.2f}", "", "", ""])
    session.console.table(["engine", "ms a query", "times ours", "same top 10", ""], rows)
    session.console.text(
        f"{measured.videos:,} videos ({measured.real_videos:,} encoded, the others made from them) × "
        f"{measured.bytes_per_video} bytes, {measured.threads} threads, queries: {measured.queries_from}"
    )


def train(session: Session, model: TimedModel, words: Words = 12) -> None:
    """Time a whole training step beside the forward and backward pass of its two encoders, on made-up features."""
    from hcq_cli.bench.model_cost import bench_training

    cost = bench_training(words=words, **model.given())
    _report_cost(session, cost, "training step", "its text and video encoder, forward and backward")


def encode(session: Session, model: TimedModel, batch_size: BatchSize = 64) -> None:
    """Time features to codes beside the bare video encoder, on made-up features and weights."""
    from hcq_cli.bench.model_cost import bench_encoding

    cost = bench_encoding(batch_size=batch_size, **model.given())
    _report_cost(session, cost, "encoding", "the bare video encoder")


def _widths(given: str | None) -> dict[str, int]:
    """Widths by expert out of NAME:DIM,…; the paper's where nothing was given."""
    from hcq_cli.bench.model_cost import MMT_EXPERTS

    if given is None:
        return MMT_EXPERTS
    found = {}
    for part in given.split(","):
        name, _, dim = part.partition(":")
        if not name or not dim.isdigit() or int(dim) < 1:
            raise UsageError(f"--experts {part!r}: not of the form NAME:DIM", "--experts appearance:64,audio:32")
        found[name] = int(dim)
    return found


def _report_cost(session: Session, cost: Cost, what: str, bare: str) -> None:
    line = (
        f"{what}: {1000 * cost.whole_s:.0f} ms for {cost.batch_size} videos, {cost.videos_per_second:,.0f} a second; "
        f"{cost.ratio:.2f} times {bare}"
    )
    session.console.result(asdict(cost), lambda: session.console.text(line))


def extract(
    session: Session,
    paths: Paths,
    experts: Experts = None,
    preset: Preset = "classic",
    device: NetworkDevice = "auto",
    decoder: Decoder = "auto",
    workers: Workers = None,
    alone: Alone = False,
) -> None:
    """Time extraction, and decoding alone with as many workers; the features are thrown away."""
    from hcq_cli.bench.extraction import bench_extraction

    measured = bench_extraction(
        paths,
        experts,
        preset,
        device=device,
        decoder=decoder,
        workers=workers,
        alone=alone,
        progress=session.console,
    )
    document = {
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
    session.console.result(document, lambda: _print_extraction(session, measured))


def _print_extraction(session: Session, measured: ExtractionTimes) -> None:
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
