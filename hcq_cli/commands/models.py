"""`hcq models`: pretrained networks for offline work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from hcq_cli.commands.shared import MACHINE, Session, command

if TYPE_CHECKING:
    from hcq_cli.weights import FetchedNetwork, KnownNetwork

FETCH_EXAMPLES = [
    "hcq models fetch neural",
    "hcq models fetch laptop",
    "hcq models fetch face",
    "hcq models fetch google/siglip2-base-patch16-224",
    "hcq models fetch bert-base-cased",
    "hcq models fetch openai/clip-vit-base-patch32@refs/pr/1",
]
Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[PRESET|EXPERT|ID[@REVISION]]…", help="What to fetch (default: neural); text encoders by their id."
    ),
]


def register(app: typer.Typer) -> None:
    """Add `hcq models` with its commands."""
    group = typer.Typer(no_args_is_help=True, help="Fetch and list pretrained networks.")
    command(group, "fetch", examples=FETCH_EXAMPLES, offline=False)(fetch)
    command(group, "list", examples=["hcq models list", "hcq models list --json"])(list_)
    app.add_typer(group, name="models", rich_help_panel=MACHINE)


def fetch(session: Session, names: Names = None) -> None:
    """Fetch networks from Hugging Face, so that everything else works offline.

    The commit that a revision has now is written down, and extraction and training use exactly that one until it is
    fetched anew.
    Only safetensors or ONNX, and what goes with them; never pickles. No other command downloads anything.
    """
    from hcq_cli import weights

    hubs = weights.networks_asked_for(names or [])
    fetched = [weights.fetch(hub, session.console.note) for hub in hubs]

    def human() -> None:
        session.console.table(["network", "commit", "licence", "MB"], [_row(each) for each in fetched])

    session.console.result({"models": [_fetched(each) for each in fetched]}, human)


def _row(each: FetchedNetwork) -> list[Any]:
    return [each.hub.id, each.commit[:12], each.licence or "see its model card", round(each.nbytes / 1e6, 1)]


def _fetched(each: FetchedNetwork) -> dict[str, Any]:
    return {
        "id": each.hub.id,
        "revision": each.hub.revision,
        "commit": each.commit,
        "licence": each.licence,
        "bytes": each.nbytes,
        "folder": str(each.folder),
    }


def list_(session: Session) -> None:
    """List the networks of the presets and those fetched (commit, licence, size, or how to get them), and the models
    that the workspace has trained, the newest first: --ckpt takes their names."""
    from hcq_cli.api.training import trained_models
    from hcq_cli.weights import list_models

    found, trained = list_models(), trained_models(session.workspace)

    def human() -> None:
        _show(session, found)
        if trained:
            shown = ("checkpoint", "kind", "recipe", "text_encoder", "videos")
            rows = [[each[key] for key in shown] for each in trained]
            session.console.table(["trained here", "kind", "recipe", "text encoder", "videos"], rows)

    session.console.result({"models": [_listed(each) for each in found], "trained": trained}, human)


def _listed(each: KnownNetwork) -> dict[str, Any]:
    return {
        "id": each.hub.id,
        "revision": each.hub.revision,
        "experts": each.experts,
        "presets": each.presets,
        "commit": each.commit,
        "licence": each.licence,
        "bytes": each.nbytes,
        "about_bytes": each.about_bytes,
        "missing": each.hint,
    }


def _show(session: Session, found: list[KnownNetwork]) -> None:
    rows = [
        [
            each.hub.id,
            ", ".join(each.experts),
            ", ".join(each.presets),
            each.licence or "see its model card",
            each.commit[:12] or "not here",
            _megabytes(each),
        ]
        for each in found
    ]
    session.console.table(["network", "expert", "preset", "licence", "commit", "MB"], rows)
    for each in found:
        if each.hint:
            session.console.note(each.hint)


def _megabytes(each: KnownNetwork) -> str:
    """How large it is; about, where it is not here, and nothing where that is not known."""
    if each.nbytes:
        return f"{each.nbytes / 1e6:.1f}"
    return f"about {each.about_bytes / 1e6:.0f}" if each.about_bytes else ""
