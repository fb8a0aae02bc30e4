"""`hcq experts`: what can see and hear on this machine."""

from __future__ import annotations

from typing import Any

import typer

from hcq_cli.commands.shared import LOOKING, Session, command


def _sampling_text(sampling: dict[str, Any]) -> str:
    parts = []
    if sampling["frames_per_second"]:
        parts.append(f"{sampling['frames_per_second']:g} frames/s, {sampling['max_side']} px")
    if sampling["audio_hz"]:
        parts.append(f"{sampling['audio_hz'] / 1000:g} kHz sound")
    return ", ".join(parts)


def _row(name: str, package: str) -> dict[str, Any]:
    """One expert as a document; with `error` in the place of its figures if it cannot be loaded."""
    from experts import registry

    row: dict[str, Any] = {"name": name, "package": package}
    row["presets"] = [preset for preset, members in registry.presets.items() if name in members]
    try:
        expert = registry.load([name])[0]
    except ValueError as error:
        return {**row, "error": str(error)}
    asked = expert.sampling
    return {
        **row,
        "dim": expert.dim,
        "sampling": {
            "frames_per_second": asked.frames_per_second,
            "max_side": asked.max_side if asked.frames_per_second else None,
            "audio_hz": asked.audio_hz,
        },
        "version": expert.version,
        "weights": expert.weights,
        "licence": getattr(expert, "licence", ""),
        "about": getattr(expert, "about", ""),
    }


def register(app: typer.Typer) -> None:
    """Add `hcq experts`."""

    @command(app, "experts", panel=LOOKING, examples=["hcq experts", "hcq experts --json"])
    def experts(session: Session) -> None:
        """List what can see and hear: dimension, sampling, weights and their licence."""
        from experts import registry
        from hcq_cli.errors import HcqError

        try:
            known = registry.announced()
        except ValueError as error:
            raise HcqError(str(error), "pip uninstall one of them") from error
        rows = [_row(source.name, source.package) for source in known.values()]
        for row in rows:
            if "error" in row:
                session.console.warn(row["error"])
        console = session.console
        console.result({"experts": rows, "presets": registry.presets}, lambda: _show(session, rows, registry.presets))


def _show(session: Session, rows: list[dict[str, Any]], presets: dict[str, list[str]]) -> None:
    cells = [
        [row["name"], row["dim"], _sampling_text(row["sampling"]), row["version"], _weights_text(row), row["about"]]
        for row in rows
        if "error" not in row
    ]
    columns = ["expert", "dim", "sampling", "version", "weights (licence)", "what it sees or hears"]
    session.console.table(columns, cells)
    for name, members in presets.items():
        session.console.text(f"preset {name}: {', '.join(members)}")
    session.console.note("an expert of your own: experts/base.py tells how, entry points in hcq.experts announce it")


def _weights_text(row: dict[str, Any]) -> str:
    licence = f" ({row['licence']})" if row["licence"] else ""
    return f"{row['weights']}{licence}" if row["weights"] else "none"
