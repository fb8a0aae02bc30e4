"""hcq report: a workspace on one page."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

import hcq_cli as api
from hcq_cli.commands.shared import LOOKING, Session, command
from hcq_cli.console import counted, size_text

EXAMPLES = ["hcq report", "hcq report -o runs/a/report.html -w runs/a", "hcq report --json"]


def register(app: typer.Typer) -> None:
    """Put the command on the command line."""

    @command(app, "report", panel=LOOKING, examples=EXAMPLES)
    def report(
        session: Session,
        output: Annotated[
            Path | None, typer.Option("-o", "--output", metavar="FILE", help="The page (default: report.html).")
        ] = None,
    ) -> None:
        """Write a page on a workspace: what is in it, what failed and why, how training went, and what it costs."""
        found, path = api.report(session.workspace), output or Path("report.html")
        api.write_report(found, path)
        document = {**asdict(found), "costs": found.costs(), "page": path}

        def human() -> None:
            session.console.text(
                f"{counted(found.videos, 'video')}, {found.hours:,.1f} hours, {size_text(found.index_bytes)} index"
            )
            session.console.text(f"page {path}")

        session.console.result(document, human)
