"""`hcq experts`: what can see and hear on this machine."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from hcq_cli.commands.shared import LOOKING, Session, command
from hcq_cli.console import printable
from hcq_cli.errors import EXIT_FAILED

EXAMPLE_CHECK = "hcq experts --check brightness"


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
    from experts.neural.hub import LICENCES
    from experts.neural.weights import WeightsError

    name, source = registry.split_source(ask)
    row: dict[str, Any] = {"name": name, "source": source, "package": package}
    row["presets"] = [preset for preset, members in registry.presets.items() if ask in members]
    try:
        expert = registry.load([ask])[0]
        return {**row, **_figures(expert)}
    except WeightsError as error:
        licences = [LICENCES.get(part, "see its model card") for part in source.split("+")]
        return {
            **row,
            "weights": "",
            "licence": " and ".join(licences),
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


def register(app: typer.Typer) -> None:
    """Add `hcq experts`."""

    @command(app, "experts", panel=LOOKING, examples=["hcq experts", "hcq experts --json", EXAMPLE_CHECK])
    def experts(
        session: Session,
        check: Annotated[
            str | None, typer.Option(metavar="NAME", help="Put one to the test of the contract; NAME or NAME=SOURCE.")
        ] = None,
    ) -> None:
        """List what can see and hear: dimension, sampling, weights, their revision and licence, and what it costs."""
        if check is None:
            _list(session)
        else:
            _check(session, check)


def _check(session: Session, ask: str) -> None:
    """Run the contract suite on an expert; exit code 1 if it breaks a promise."""
    from experts.contract import BrokenContract, check_expert
    from experts.neural.weights import WeightsError
    from hcq_cli.api.extraction import load_expert
    from hcq_cli.errors import HcqError, NotFoundError

    expert, broken = load_expert(ask), list[str]()
    try:
        check_expert(expert)
    except BrokenContract as error:
        broken = str(error).splitlines()[1:]
    except WeightsError as error:
        raise NotFoundError(str(error), error.hint) from error
    except Exception as error:  # whatever a foreign expert does while it is prepared
        raise HcqError(f"{ask}: cannot be prepared: {type(error).__name__}: {error}", "hcq doctor") from error
    document = {"expert": expert.name, "kept": not broken, "broken": broken}

    def human() -> None:
        kept = "breaks the contract (experts/base.py):" if broken else "keeps every promise of the contract"
        session.console.text(f"{expert.name} {kept}")
        for line in broken:
            session.console.text(f"  {printable(line)}")

    session.console.result(document, human)
    if broken:
        raise typer.Exit(EXIT_FAILED)


def _list(session: Session) -> None:
    from experts import registry
    from experts.neural.hub import ON_REQUEST
    from hcq_cli.errors import HcqError

    try:
        known = registry.installed()
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
        [
            row["name"],
            row["dim"],
            _sampling_text(row["sampling"]),
            row["version"],
            _weights(row),
            row["cost"],
            row["about"],
        ]
        for row in rows
        if "dim" in row
    ]
    console.table(["expert", "dim", "sampling", "version", "weights", "cost", "what it sees or hears"], cells)
    cells = [
        [row["name"], row["source"].replace("+", " "), row.get("dim", ""), row.get("licence", ""), _state(row)]
        for row in networks
    ]
    console.table(["network", "weights", "dim", "licence", "on this machine"], cells)
    console.text("preset classic: appearance, motion, audio, face; preset neural: the networks, but for face")
    console.note("face is off in the preset neural until asked for by name: faces are biometric data")
    console.note("other networks: --experts NAME=SOURCE, a Hugging Face id, a folder, or onnx:FILE")
    console.note("an expert of your own: experts/base.py tells how, entry points in hcq.experts announce it")


def _weights(row: dict[str, Any]) -> str:
    """What an expert stands on, and its licence."""
    if not row["weights"]:
        return "none"
    return str(row["weights"]) + (f" ({row['licence']})" if row["licence"] else "")


def _state(row: dict[str, Any]) -> str:
    if "error" in row:
        return str(row.get("missing") or row["error"])
    return f"{row['weights'].rpartition('@')[2][:12]}; {row['cost']}"
