"""hcq import: what others have made, in our formats."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hcq_cli.commands.shared import LOOKING, Session, command
from hcq_cli.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add `hcq import` with its commands."""
    group = typer.Typer(no_args_is_help=True, help="Bring in what others have made.")
    examples = ["hcq import official trained_model.pth --text-encoder bert-base-cased -o imported"]
    command(group, "official", examples=examples)(official)
    app.add_typer(group, name="import", rich_help_panel=LOOKING)


def _type_ids(text: str | None) -> dict[str, int]:
    pairs = [part.partition("=") for part in (text or "").split(",") if part]
    try:
        return {name.strip(): int(number) for name, _, number in pairs}
    except ValueError:
        raise UsageError(f"--type-ids {text!r} is not NAME=ID,…", "--type-ids s3d=1,vggish=2") from None


def official(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="CKPT", help="A .pth file of the published 2022 code.")],
    text_encoder: Annotated[
        str | None, typer.Option(metavar="ID|FOLDER", help="Its text encoder (default: as its configuration says).")
    ] = None,
    type_ids: Annotated[
        str | None, typer.Option(metavar="NAME=ID,…", help="Token types of experts that are not the published ones.")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Where (default: the workspace's).")] = None,
) -> None:
    """Convert a checkpoint of the published code; it then gives that code's results, quirks included."""
    from hcq_cli.legacy.importing import import_official

    console, folder = session.console, output or session.workspace.model
    done = import_official(file, folder, text_encoder, _type_ids(type_ids))
    for note in done.notes:
        console.warn(note)
    document: dict[str, Any] = {
        "checkpoint": folder,
        "architecture": done.architecture,
        "experts": done.experts,
        "bytes_per_video": done.bytes_per_video,
        "unused": done.unused,
    }

    def human() -> None:
        experts = ", ".join(done.experts)
        console.text(f"{done.architecture} with {experts}: {done.bytes_per_video} bytes a video, in {folder}")

    console.result(document, human)
