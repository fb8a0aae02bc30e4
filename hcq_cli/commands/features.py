"""hcq features: looks into a feature store."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import hcq_cli as api
from hcq_cli.commands.shared import LOOKING, Session, command, listed
from hcq_cli.console import counted, printable, size_text
from hcq_cli.errors import EXIT_DAMAGED, EXIT_SOME_FAILED, DamagedError

if TYPE_CHECKING:
    from hcq_cli.features.records import VideoRecord
    from hcq_cli.features.store import FeatureStore

StoreArgument = Annotated[
    Path | None, typer.Argument(metavar="[FEATURES]", help="The store (default: the workspace's).")
]
SPARKS = "▁▂▃▄▅▆▇█"
SPARK_WIDTH = 40
EXPORT_SOME = "hcq features export -o sound.parquet --experts audio,speech"


def register(app: typer.Typer) -> None:
    """Add `hcq features` with its commands."""
    group = typer.Typer(no_args_is_help=True, help="Look into a feature store.")
    command(group, "info", examples=["hcq features info", "hcq features info runs/features --json"])(info)
    command(group, "show", examples=["hcq features show clips/cat.mp4"])(show)
    command(group, "verify", examples=["hcq features verify", "hcq features verify --mend"])(verify)
    command(group, "remove", examples=["hcq features remove clips/cat.mp4", "hcq features remove cat"])(remove)
    command(group, "export", examples=["hcq features export -o features.npz", EXPORT_SOME])(export)
    app.add_typer(group, name="features", rich_help_panel=LOOKING)


def info(session: Session, features: StoreArgument = None) -> None:
    """Count videos, experts with their states, shards and bytes."""
    folder, console = features or session.workspace.features, session.console
    store = api.open_features(session.workspace, features)
    states, failures = store.states(), store.failures()
    experts = {name: {**asdict(e), "version": e.version, "states": states[name]} for name, e in store.experts.items()}
    document: dict[str, Any] = {
        "store": folder,
        "videos": len(store),
        "incoming": store.incoming,
        "shards": len(store.shards) - store.incoming,
        "bytes": sum(shard.nbytes for shard in store.shards),
        "generation": store.manifest.generation,
        "experts": experts,
        "failed": [asdict(failure) for failure in failures],
        "warnings": store.warnings,
    }

    def human() -> None:
        number = document["shards"]
        shards = counted(number, "shard")
        if store.incoming:  # files of single videos, which the next extraction puts together
            shards += f" and {counted(store.incoming, 'file')} of single videos"
        console.text(f"{folder}: {counted(len(store), 'video')}, {size_text(document['bytes'])} in {shards}")
        names = [state for state in next(iter(states.values()), {}) if any(row[state] for row in states.values())]
        rows = [[e.name, e.dim, e.version, *(states[e.name][s] for s in names)] for e in store.experts.values()]
        console.table(["expert", "dim", "version", *(name.replace("_", " ") for name in names)], rows)
        for failure in failures[:20]:
            console.text(f"failed: {failure.path}: {failure.error}")
        if len(failures) > 20:
            console.text(f"… and {len(failures) - 20} more in {folder / 'failures.jsonl'}")
        for warning in store.warnings:
            console.warn(warning)

    console.result(document, human)


def _spark(features: Any) -> str:
    """How far each token is from the video's mean: a flat line for a still video, peaks where it changes."""
    import numpy as np

    if not len(features):
        return ""
    strength = np.linalg.norm(features - features.mean(0), axis=1)
    strength = np.array([part.max() for part in np.array_split(strength, min(SPARK_WIDTH, len(strength)))])
    low, high = np.nanmin(strength), np.nanmax(strength)
    level = (strength - low) / (high - low) if high > low else np.zeros_like(strength)
    return "".join(SPARKS[int(value * (len(SPARKS) - 1) + 0.5)] for value in np.nan_to_num(level))


def _experts(store: FeatureStore, row: int, record: VideoRecord) -> dict[str, dict[str, Any]]:
    shown = {}
    for name, result in record.results.items():
        tokens = store.read([row], [name])[name]
        shown[name] = {
            "state": result.state,
            "tokens": len(tokens.times),
            "dim": tokens.features.shape[1],
            "identity": result.identity,
            "times": tokens.times,
            "spark": _spark(tokens.features),
        }
    return shown


def show(
    session: Session,
    video: Annotated[str, typer.Argument(metavar="ID", help="A video's id, path, or unique file name.")],
    features: StoreArgument = None,
) -> None:
    """Show one video: its tokens and times per expert, and where they change."""
    from hcq_cli.api.features import find_video

    console = session.console
    store = api.open_features(session.workspace, features)
    row = find_video(store, video)
    record = store.video(row)
    experts = _experts(store, row, record)
    words = store.transcripts(row)
    facts = record.facts

    def human() -> None:
        console.text(printable(facts.id), style="bold")
        console.text(printable(facts.path))
        console.text(f"{facts.duration_s:.2f} s, {size_text(facts.size)}, decoded by {facts.decoder or 'nothing'}")
        rows = []
        for name, e in experts.items():
            known = [time_s for time_s in e["times"] if time_s == time_s]  # NaN where a published file says none
            span = f"{known[0]:.2f}–{known[-1]:.2f} s" if known else ""
            rows.append([name, e["state"].replace("_", " "), e["tokens"], e["dim"], span, e["spark"]])
        console.table(["expert", "state", "tokens", "dim", "times", "change"], rows)
        for name, said in words.items():
            for time_s, text in said:
                console.text(f"{name} {time_s:8.2f} s  {printable(text)}")
        for warning in facts.warnings:
            console.warn(warning)

    console.result({**vars(facts), "experts": experts, "words": words}, human)


def verify(
    session: Session,
    features: StoreArgument = None,
    mend: Annotated[
        bool, typer.Option("--mend", help="Take damaged files out; hcq extract then repeats them.")
    ] = False,
) -> None:
    """Check every byte of the store; exit code 4 if a file is damaged."""
    folder, console = features or session.workspace.features, session.console
    found, moved = api.verify_features(session.workspace, features, repair=mend, progress=console)
    damaged = [{"file": damage.path, "reason": damage.reason} for damage in found.damaged]
    document = {"store": folder, "files": found.files, "bytes": found.nbytes, "damaged": damaged, "moved": moved}

    def human() -> None:
        for damage in found.damaged:
            console.warn(damage.reason)
        if moved:
            console.text(
                f"moved aside: {counted(len(moved), 'file')}, to {folder / 'set-aside'}; now run hcq extract again"
            )
        elif not damaged:
            console.text(f"{folder}: {counted(found.files, 'file')}, all whole ({size_text(found.nbytes)})")

    console.result(document, human)
    if damaged and not mend:
        if console.json_mode:
            raise typer.Exit(EXIT_DAMAGED)
        raise DamagedError(
            f"{len(damaged)} of {found.files} files of {folder} are damaged", "hcq features verify --mend"
        )


def remove(
    session: Session,
    videos: Annotated[list[str], typer.Argument(metavar="ID…", help="Ids, paths, or unique names of videos.")],
    features: Annotated[
        Path | None, typer.Option("--features", metavar="FEATURES", help="The store (default: the workspace's).")
    ] = None,
) -> None:
    """Take videos out of the store, for good: extract brings one back only where its file is named itself."""
    removed = api.remove_features(session.workspace, videos, features=features, progress=session.console)
    folder = features or session.workspace.features
    document = {"store": folder, "removed": removed, "unknown": len(set(videos)) - len(removed)}

    def human() -> None:
        session.console.text(f"{folder}: {len(removed)} removed")
        session.console.note("codes and index follow: hcq update")

    session.console.result(document, human)
    if len(removed) < len(set(videos)):
        raise typer.Exit(EXIT_SOME_FAILED)


def export(
    session: Session,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="What to write: .npz or .parquet.")],
    features: StoreArgument = None,
    experts: Annotated[
        str | None, typer.Option(metavar="LIST", help="Experts by name, with commas (default: all).")
    ] = None,
) -> None:
    """Hand the features to NumPy (.npz) or to pandas (.parquet: a row a token, with its second)."""
    console = session.console
    names = None if experts is None else listed(experts)
    done = api.export_features(session.workspace, output, features=features, experts=names, progress=console)
    document = {"output": done.path, "videos": done.videos, "bytes": done.nbytes, "tokens": done.tokens}

    def human() -> None:
        console.table(["expert", "tokens"], [[name, count] for name, count in done.tokens.items()])
        console.text(f"{counted(done.videos, 'video')} -> {done.path} ({size_text(done.nbytes)})")

    console.result(document, human)
