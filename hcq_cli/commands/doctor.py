"""`hcq doctor`: whether everything hcq stands on works here, and the command that mends what does not."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import typer

from hcq_cli.commands.shared import MACHINE, Session, command
from hcq_cli.console import Console, printable
from hcq_cli.errors import EXIT_FAILED

if TYPE_CHECKING:
    from hcq_cli.doctor import Finding

STYLES = {"ok": "green", "missing": "yellow", "broken": "bold red"}


def register(app: typer.Typer) -> None:
    """Add `hcq doctor` to the command line."""

    @command(
        app,
        "doctor",
        panel=MACHINE,
        examples=["hcq doctor", "hcq doctor --json", "hcq -w runs/a doctor"],
        needs_settings=False,
        offline=False,  # it tells whether `hcq models fetch` may use the network
    )
    def doctor(session: Session) -> None:
        """Say whether packages, devices, kernels, caches and the workspace are well, and what mends what is not.

        Every package is tried for real, in a process of its own. Exit code 0: all that is required works; 1: not.
        """
        from hcq_cli.doctor.examine import examine
        from hcq_cli.doctor.package_checks import packages

        with session.console.progress("trying packages", total=len(packages())) as task:
            findings = examine(session.workspace, session.settings_error, task.advance)
        well = not any(finding.is_blocking for finding in findings)
        session.console.result(
            {"ok": well, "findings": [_document(finding) for finding in findings]},
            lambda: _print(session.console, findings, well),
        )
        if not well:
            raise typer.Exit(EXIT_FAILED)


def _document(finding: Finding) -> dict[str, object]:
    return {
        "part": finding.part,
        "name": finding.name,
        "state": finding.health,
        "detail": finding.detail,
        "required": finding.required,
        "mend": finding.repair,
    }


def _print(console: Console, findings: list[Finding], well: bool) -> None:
    width = max(len(finding.name) for finding in findings)
    for part, members in groupby(findings, lambda finding: finding.part):
        console.text(part, style="bold")
        for finding in members:
            line = f"  {finding.health:<8} {finding.name:<{width}}  {printable(finding.detail)}"
            console.text(line, style=None if finding.health == "ok" else STYLES[finding.health])
            if finding.repair and finding.health != "ok":
                console.text(f"  {'':<8} {'':<{width}}  → {printable(finding.repair)}")
    hindering = sum(finding.is_blocking for finding in findings)
    if well:
        console.text("all that is required works", style=STYLES["ok"])
    else:
        console.text(f"required and not working: {hindering}", style=STYLES["broken"])
