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


def _row(ask: str, package: str) -> dict[str, Any]:
    """One expert as a document; with `missing` or `error` in the place of its figures if it cannot be loaded."""
    from experts import registry
    from experts.neural.weights import WeightsError

    name, source = registry.named(ask)
    row: dict[str, Any] = {"name": name, "source": source, "package": package}
    row["presets"] = [preset for preset, members in registry.presets.items() if ask in members]
    try:
        expert = registry.load([ask])[0]
        return {**row, **_figures(expert)}
    except WeightsError as error:
        return {
            **row,
            **_absent(source),
            "missing": f"hcq models fetch {name}" if source else error.hint,
            "error": str(error),
        }
    except ValueError as error:
        return {**row, "error": str(error)}


def _figures(expert: Any) -> dict[str, Any]:
    asked = expert.sampling
    return {
        "dim": expert.dim,
        "sampling": {
            "frames_per_second": asked.frames_per_second,
            "max_side": asked.max_side if asked.frames_per_second else None,
            "audio_hz": asked.audio_hz,
        },
        "version": expert.version,
        "weights": expert.weights,
        "licence": getattr(expert, "licence", ""),
        "cost": getattr(expert, "cost", ""),
        "about": getattr(expert, "about", ""),
    }


def _absent(source: str) -> dict[str, Any]:
    """What is known of weights that are not here."""
    from experts.neural.sources import LICENCES

    licences = [LICENCES.get(part, "see its model card") for part in source.split("+")]
    return {"weights": "", "licence": " and ".join(licences)}


def register(app: typer.Typer) -> None:
    """Add `hcq experts`."""

    @command(app, "experts", panel=LOOKING, examples=["hcq experts", "hcq experts --json"])
    def experts(session: Session) -> None:
        """List what can see and hear: dimension, sampling, weights, their revision and licence, and what it costs."""
        from experts import registry
        from experts.neural.sources import ON_REQUEST
        from hcq_cli.errors import HcqError

        try:
            known = registry.announced()
        except ValueError as error:
            raise HcqError(str(error), "pip uninstall one of them") from error
        plain = [(each.name, each.package) for each in known.values() if each.name in registry.BUILT_IN]
        others = [(each.name, each.package) for each in known.values() if each.package != "hcq"]
        asks = [*registry.presets["neural"], *(f"{name}={source}" for name, source in ON_REQUEST.items())]
        rows = [_row(*each) for each in [*plain, *others]]
        networks = [_row(ask, "hcq") for ask in asks]
        for row in rows:
            if "error" in row:
                session.console.warn(row["error"] + (f" ({row['missing']})" if "missing" in row else ""))
        document = {"experts": rows, "networks": networks, "presets": registry.presets}
        session.console.result(document, lambda: _show(session, rows, networks))


def _show(session: Session, rows: list[dict[str, Any]], networks: list[dict[str, Any]]) -> None:
    console = session.console
    cells = [
        [row["name"], row["dim"], _sampling_text(row["sampling"]), row["version"], row["cost"], row["about"]]
        for row in rows
        if "dim" in row
    ]
    console.table(["expert", "dim", "sampling", "version", "cost", "what it sees or hears"], cells)
    cells = [
        [row["name"], row["source"].replace("+", " "), row.get("dim", ""), row["licence"], _state(row)]
        for row in networks
    ]
    console.table(["network", "weights", "dim", "licence", "on this machine"], cells)
    console.text("preset classic: appearance, motion, audio, face; preset neural: the networks, but for face")
    console.note("face is off in the preset neural until asked for by name: faces are biometric data")
    console.note("other networks: --experts NAME=SOURCE, a Hugging Face id, a folder, or onnx:FILE")
    console.note("an expert of your own: experts/base.py tells how, entry points in hcq.experts announce it")


def _state(row: dict[str, Any]) -> str:
    if "missing" in row:
        return str(row["missing"])
    return f"{row['weights'].rpartition('@')[2][:12]}; {row['cost']}"
