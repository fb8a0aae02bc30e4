"""`hcq eval`: how well the codes retrieve, and the dense vectors beside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hcq_cli.commands.shared import LOOKING, Session, command
from hcq_cli.commands.train import caption_file
from hcq_cli.console import Console
from hcq_cli.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from hcq_cli.evaluation.retrieval import Retrieval
    from hcq_cli.training.collection import Collection
    from hcq_cli.training.dataset import Part

SPLITS = ("train", "val", "test", "all")

Checkpoint = Annotated[Path | None, typer.Option("--ckpt", metavar="CKPT", help="Default: the workspace's.")]
CaptionsFile = Annotated[
    Path | None, typer.Option("--captions", metavar="FILE", help="Default: those the checkpoint was trained on.")
]
Features = Annotated[Path | None, typer.Option("--features", metavar="DIR", help="Default: the workspace's.")]
Split = Annotated[
    str | None, typer.Option(metavar="|".join(SPLITS), help="Default: test, or all where nothing is marked test.")
]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]


def register(app: typer.Typer) -> None:
    """Add `hcq eval` to the command line."""

    @command(app, "eval", panel=LOOKING, examples=["hcq eval", "hcq eval --ckpt runs/a --split val --json"])
    def evaluate_command(
        session: Session,
        ckpt: Checkpoint = None,
        captions: CaptionsFile = None,
        features: Features = None,
        split: Split = None,
        device: Device = "cpu",
    ) -> None:
        """Recall of every caption's video, and of every video's captions, by table look-up over the uint8 codes."""
        from hcq_cli.data.captions import read_captions
        from hcq_cli.features.store import FeatureStore
        from hcq_cli.model.checkpoint import load, read_header

        if split is not None and split not in SPLITS:
            raise UsageError(f"--split {split}: known are {', '.join(SPLITS)}", "hcq eval --split test")
        folder = ckpt or session.workspace.model
        trained_on = read_header(folder).about.get("captions", "")
        given = captions or (Path(trained_on) if trained_on and Path(trained_on).is_file() else None)
        store = FeatureStore.open(features or session.workspace.features)
        read = read_captions(caption_file(session, given))
        model = load(folder, device)

        from hcq_cli.evaluation.retrieval import evaluate
        from hcq_cli.training.collection import collect

        collection = collect(store, read)
        for warning in collection.warnings:
            session.console.warn(warning)
        name, part = _part(session.console, collection, split)
        with session.console.progress("encoding", total=len(part), unit="videos") as bar:
            measured = evaluate(model, store, part, bar.advance)
        document = {
            **measured.quantized.to_dict(),
            "dense": measured.dense.to_dict(),
            "bytes_per_video": measured.bytes_per_video,
            "videos": measured.videos,
            "texts": measured.texts,
            "split": name,
        }
        session.console.result(document, lambda: _print(session.console, measured, name))


def _part(console: Console, collection: Collection, split: str | None) -> tuple[str, Part]:
    name = split or ("test" if len(collection.parts["test"]) else "all")
    if split is None and name == "all":
        console.warn("no caption is marked as test: measured on all videos, those trained on included")
    part = collection.everything if name == "all" else collection.parts[name]
    if not len(part):
        raise NotFoundError(f"no captioned video is in split {name}", "hcq eval --split all")
    return name, part


def _print(console: Console, measured: Retrieval, name: str) -> None:
    columns = ("", "bytes", "R@1", "R@5", "R@10", "R@50", "MedR", "MeanR", "GM")
    quantized, dense = measured.quantized, measured.dense
    floats = measured.dense_bytes_per_video
    rows = [
        (label, size, *(round(value, 1) for value in metrics.to_dict().values()))
        for label, size, metrics in (
            ("text→video, codes", measured.bytes_per_video, quantized.t2v),
            ("text→video, dense", floats, dense.t2v),
            ("video→text, codes", measured.bytes_per_video, quantized.v2t),
            ("video→text, dense", floats, dense.v2t),
        )
    ]
    console.table(columns, rows, f"{measured.videos:,} videos, {measured.texts:,} captions ({name})")
