"""`hcq models`: pretrained networks for offline work, and models of one's own for others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import hcq_cli as api
from hcq_cli.commands.shared import MACHINE, CheckpointOption, Session, command
from hcq_cli.console import size_text

if TYPE_CHECKING:
    from hcq_cli.api.publishing import PublishedModel
    from hcq_cli.weights import FetchedNetwork, KnownNetwork

FETCH_EXAMPLES = [
    "hcq models fetch neural",
    "hcq models fetch laptop",
    "hcq models fetch face",
    "hcq models fetch google/siglip2-base-patch16-224",
    "hcq models fetch bert-base-cased",
    "hcq models fetch openai/clip-vit-base-patch32@refs/pr/1",
]
SAVE_EXAMPLES = ["hcq models save hcq-beach --licence apache-2.0 --dataset '2,000 clips of beaches'"]
PUSH_EXAMPLES = ["hcq models push owner/hcq-beach --licence apache-2.0"]
Public = Annotated[bool, typer.Option("--public", help="A repository that is made can be seen by everybody.")]
Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[PRESET|EXPERT|ID[@REVISION]]…", help="What to fetch (default: neural); text encoders by their id."
    ),
]


@dataclass(frozen=True)
class ForOthers:
    """What a model is saved and pushed with (`api.save_pretrained`)."""

    licence: Annotated[
        str, typer.Option("--licence", metavar="ID", help="Of the weights, as the hub writes it: apache-2.0, other…")
    ]
    dataset: Annotated[
        str,
        typer.Option(metavar="TEXT", help="A phrase for the model card: of what videos and captions it was made."),
    ] = ""
    ckpt: CheckpointOption = None
    captions: Annotated[
        Path | None,
        typer.Option("--captions", metavar="FILE", help="To measure it with. Default: those it was trained on."),
    ] = None

    def given(self) -> dict[str, Any]:
        """The same, as the verbs take it."""
        return {"licence": self.licence, "dataset": self.dataset, "checkpoint": self.ckpt, "captions": self.captions}


def register(app: typer.Typer) -> None:
    """Add `hcq models` with its commands."""
    group = typer.Typer(no_args_is_help=True, help="Fetch and list networks; save and push models.")
    command(group, "fetch", examples=FETCH_EXAMPLES, offline=False)(fetch)
    command(group, "list", examples=["hcq models list", "hcq models list --json"])(list_)
    command(group, "save", examples=SAVE_EXAMPLES)(save)
    command(group, "push", examples=PUSH_EXAMPLES, offline=False)(push)
    app.add_typer(group, name="models", rich_help_panel=MACHINE)


def fetch(session: Session, names: Names = None) -> None:
    """Fetch networks from Hugging Face, so that everything else works offline.

    The commit that a revision has now is written down, and extraction and training use exactly that one until it is
    fetched anew.
    Only safetensors or ONNX, and what goes with them; never pickles. No other command downloads anything.
    A model that hcq models push has put there is fetched by its id, too, and named by it: --ckpt OWNER/NAME.
    """
    from hcq_cli import weights

    hubs = weights.networks_asked_for(names or [])
    _hush(session)
    fetched = [weights.fetch(hub, session.console.note) for hub in hubs]

    def human() -> None:
        session.console.table(["network", "commit", "licence", "MB"], [_row(each) for each in fetched])

    session.console.result({"models": [_fetched(each) for each in fetched]}, human)


def _hush(session: Session) -> None:
    """The hub's client draws progress bars of its own: not where hcq draws none."""
    if not session.console.draws_progress:
        from huggingface_hub.utils import disable_progress_bars

        disable_progress_bars()


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
    from hcq_cli.api.checkpoints import trained_models
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


def save(session: Session, folder: Annotated[Path, typer.Argument(help="A new folder.")], model: ForOthers) -> None:
    """Write a model into a folder for others: safetensors, and a model card (README.md) with what was measured.

    It is measured where there are features and captions, as by hcq eval. Its vocabulary comes from your captions.
    """
    _tell(session, api.save_pretrained(session.workspace, folder, **model.given(), progress=session.console))


def push(
    session: Session,
    hub_id: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="On the Hugging Face hub.")],
    model: ForOthers,
    public: Public = False,
) -> None:
    """Put a model on the Hugging Face hub, as hcq models save writes it. hf auth login comes first.

    A repository that is made can be seen by its owner alone, unless you say --public.
    """
    _hush(session)
    done = api.push_to_hub(session.workspace, hub_id, private=not public, **model.given(), progress=session.console)
    _tell(session, done)


def _tell(session: Session, done: PublishedModel) -> None:
    document = {"place": done.place, "model": done.hash, "files": done.files, "bytes": done.nbytes}
    if done.measured is not None:
        document["measured"] = done.measured.measured.quantized.to_dict()

    def human() -> None:
        session.console.text(f"{done.place}: {len(done.files)} files, {size_text(done.nbytes)}")

    session.console.result(document, human)
