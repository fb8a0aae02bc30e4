"""`hcq captions check`: says which line of a caption file is wrong, and which videos have no features."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import hcq_cli as api
from hcq_cli.commands.shared import LOOKING, Session, command
from hcq_cli.console import Console, counted, printable
from hcq_cli.errors import EXIT_SOME_FAILED

if TYPE_CHECKING:
    from hcq_cli.datasets.dataset import CaptionReport
    from hcq_cli.features.store import FeatureStore

SHOWN = 20
"""Problems printed in full; --json holds all of them."""


def register(app: typer.Typer) -> None:
    """Add `hcq captions` to the command line."""
    group = typer.Typer(no_args_is_help=True, help="Look into a caption file.")
    app.add_typer(group, name="captions", rich_help_panel=LOOKING)

    @command(
        group,
        "check",
        examples=["hcq captions check captions.jsonl", "hcq captions check captions.csv --features runs/features"],
    )
    def check(
        session: Session,
        file: Annotated[
            Path,
            typer.Argument(
                help="JSON Lines, CSV, or a data set's own (MSR-VTT, VATEX, WebVid, MSVD…).", show_default=False
            ),
        ],
        features: Annotated[
            Path | None,
            typer.Option(
                "--features", metavar="DIR", help="Feature store to look videos up in (default: the workspace's)."
            ),
        ] = None,
    ) -> None:
        """Say what a caption file holds, which line is wrong, which videos have no features.

        Exit code 0: clean; 3: some lines are wrong or some videos have no features; 4: no caption file; 10: no file.
        """
        report, store = api.check_captions(session.workspace, file, features=features, progress=session.console)
        place = features or session.workspace.features
        session.console.result(_document(report, store, place), lambda: _print(session.console, report, store, place))
        if not report.clean:
            raise typer.Exit(EXIT_SOME_FAILED)


def _document(report: CaptionReport, store: FeatureStore | None, place: Path) -> dict[str, Any]:
    captions, match = report.captions, report.match
    document: dict[str, Any] = {
        "file": captions.path,
        "format": captions.format,
        "videos": len(captions.videos),
        "captions": len(captions),
        "splits": captions.split_counts(),
        "used_as": {name: len(getattr(report.splits, name)) for name in ("train", "val", "test")},
        "words": captions.lengths(),
        "problems": [{"line": problem.line, "message": problem.message} for problem in captions.errors],
        "warnings": [{"line": problem.line, "message": problem.message} for problem in captions.warnings],
        "features": None,
    }
    if match is None or store is None:
        return document
    return document | {
        "features": place,
        "found": len(match.captioned),
        "without_features": [{"video": video.video, "line": video.line} for video in match.absent],
        "ambiguous": [{"video": video.video, "line": video.line, "ids": ids} for video, ids in match.ambiguous],
        "contradictory": [{"video": video.video, "line": video.line} for video in match.contradictory],
        "without_captions": [store.ids[row] for row in match.uncaptioned.tolist()],
    }


def _print(console: Console, report: CaptionReport, store: FeatureStore | None, place: Path) -> None:
    captions, words = report.captions, report.captions.lengths()
    console.text(
        f"{captions.path}: {captions.format}, {counted(len(captions.videos), 'video')}, "
        f"{counted(len(captions), 'caption')}"
    )
    least, most, mean, median = (words[name] for name in ("least", "most", "mean", "median"))
    console.text(f"words a caption: {least} to {most}, mean {mean:.1f}, median {median:g}")
    named = ", ".join(f"{count:,} {name}" for name, count in sorted(captions.split_counts().items()))
    console.text(f"splits in the file: {named or 'no videos'}")
    used = ", ".join(f"{len(getattr(report.splits, name)):,} {name}" for name in ("train", "val", "test"))
    console.text(f"training would use: {used}; {report.splits.explanation}")
    _print_lines(console, "wrong", [(problem.line, problem.message) for problem in captions.errors])
    _print_lines(console, "doubtful", [(problem.line, problem.message) for problem in captions.warnings], shown=3)
    if report.match is not None and store is not None:
        _print_match(console, report, store, place)
    console.text(
        "all is well" if report.clean else "not clean: see above", style="green" if report.clean else "yellow"
    )


def _print_lines(console: Console, label: str, lines: list[tuple[int, str]], shown: int = SHOWN) -> None:
    if not lines:
        return
    console.text(f"{label} ({len(lines):,}):")
    for number, message in lines[:shown]:
        console.text(f"  line {number}: {printable(message)}")
    if len(lines) > shown:
        console.text(f"  … and {len(lines) - shown:,} more (--json lists all)")


def _print_match(console: Console, report: CaptionReport, store: FeatureStore, place: Path) -> None:
    assert report.match is not None
    match = report.match
    console.text(
        f"features in {place}: {len(match.captioned):,} of {counted(len(report.captions.videos), 'video')} found"
    )
    _print_lines(console, "no features", [(video.line, repr(video.video)) for video in match.absent])
    several = [
        (video.line, f"{video.video!r} may be {', '.join(map(repr, ids[:4]))}") for video, ids in match.ambiguous
    ]
    _print_lines(console, "fits several videos", several)
    twice = [
        (video.line, f"{video.video!r} is another name of a video in another split") for video in match.contradictory
    ]
    _print_lines(console, "in two splits", twice)
    if len(match.uncaptioned):
        first = ", ".join(repr(store.ids[row]) for row in match.uncaptioned[:3].tolist())
        more = f" and {len(match.uncaptioned) - 3:,} more" if len(match.uncaptioned) > 3 else ""
        console.text(f"features without captions ({len(match.uncaptioned):,}): {first}{more}")
