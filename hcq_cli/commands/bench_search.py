"""`hcq bench search`: a search of any size, beside Faiss on the same codes and the time to read them once."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hcq_cli.commands.shared import Session, command
from hcq_cli.errors import UsageError

if TYPE_CHECKING:
    from hcq_cli.bench.search import SearchTimes
    from hcq_cli.codes.codefile import CodeFile
    from hcq_cli.search.ivf_training import TuningQueries

EXAMPLES = ["hcq bench search", "hcq bench search --videos 10000000 --threads 1 --plot search.png"]


def register(group: typer.Typer) -> None:
    """Add the command to `hcq bench`."""

    @command(group, "search", examples=EXAMPLES)
    def bench_search(
        session: Session,
        videos: Annotated[int, typer.Option(min=1, help="How many to search.")] = 1_000_000,
        threads: Annotated[int | None, typer.Option(min=1, help="Cores (default: all).", show_default=False)] = None,
        codes: Annotated[
            Path | None, typer.Option(metavar="FILE", help="The code file to start from (default: the workspace's).")
        ] = None,
        plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the table as a picture.")] = None,
        scratch: Annotated[
            Path | None, typer.Option(metavar="DIR", help="Where a temporary file of all codes fits.")
        ] = None,
    ) -> None:
        """Time searches of the model's codes, made as many as asked for, by queries that are captions."""
        from hcq_cli.bench.faiss_engines import COMMAND
        from hcq_cli.bench.search import measure
        from hcq_cli.codes.codefile import open_codes
        from hcq_cli.scan.kernels import default_threads

        if plot is not None and plot.suffix.lower() not in (".png", ".svg", ".pdf"):
            raise UsageError(f"{plot}: cannot draw such a file", "--plot FILE.png, .svg or .pdf")
        file = open_codes(codes or session.workspace.codes)
        queries = _queries(session, file)
        cores, note = threads or default_threads(), session.console.note
        measured = measure(
            file, queries.levels, queries.source, videos=videos, threads=cores, folder=scratch, note=note
        )
        if not measured.with_faiss:
            note(f"Faiss is not installed, so nothing stands beside: {COMMAND}")
        session.console.result(_document(measured), lambda: _print(session, measured))
        if plot is not None:
            from hcq_cli.evaluation.plots import draw_bars

            bars = [(_label(measured, row.engine, row.queries), row.ms_per_query) for row in measured.rows]
            title = f"{measured.videos:,} videos × {measured.bytes_per_video} bytes, {cores} threads"
            floor = ("reading the codes once", measured.bandwidth_floor_ms)
            draw_bars(plot, title, "milliseconds a query", bars, floor)


def _queries(session: Session, file: CodeFile) -> TuningQueries:
    """The workspace's captions as the model sees them, else videos with noise."""
    from hcq_cli.api.indexing import caption_queries
    from hcq_cli.search.ivf_training import noisy_videos

    found = caption_queries(session.workspace, file, session.console)
    return found or noisy_videos(file.codes[:64], file.codebooks, file.header.levels)


def _document(measured: SearchTimes) -> dict[str, object]:
    document = asdict(measured)
    for row in document["rows"]:
        row["ms_per_query"] = round(row["ms_per_query"], 4)
    return document | {"bandwidth_floor_ms": round(measured.bandwidth_floor_ms, 4)}


def _label(measured: SearchTimes, engine: str, queries: int) -> str:
    name = f"hcq ({measured.kernel})" if engine == "hcq" else engine
    return f"{name}, {queries} {'query' if queries == 1 else 'queries'}"


def _print(session: Session, measured: SearchTimes) -> None:
    ours = {row.queries: row.ms_per_query for row in measured.rows if row.engine == "hcq"}
    rows = []
    for row in measured.rows:
        scaled = "" if row.measured_videos == measured.videos else f"scaled from {row.measured_videos:,}"
        rows.append(
            [
                _label(measured, row.engine, row.queries),
                f"{row.ms_per_query:.2f}",
                f"{row.ms_per_query / ours[row.queries]:.2f}",
                f"{row.identical_top_k:.0%}",
                scaled,
            ]
        )
    rows.append(["reading the codes once", f"{measured.bandwidth_floor_ms:.2f}", "", "", ""])
    session.console.table(["engine", "ms a query", "times ours", "same top 10", ""], rows)
    session.console.text(
        f"{measured.videos:,} videos ({measured.real_videos:,} encoded, the others made from them) × "
        f"{measured.bytes_per_video} bytes, {measured.threads} threads, queries: {measured.queries_from}"
    )
