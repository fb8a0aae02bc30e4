"""`hcq train`: captions and features -> a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import hcq_cli as api
from hcq_cli.commands.shared import VERBS, FeaturesOption, RunOption, Session, TorchDeviceOption, command
from hcq_cli.console import Console, counted

if TYPE_CHECKING:
    from hcq_cli.api.training import TrainResult

EXAMPLES = [
    "hcq train --captions captions.jsonl",
    "hcq train --captions captions.jsonl --set text.encoder=minilm",
    "hcq models fetch bert-base-cased",
    "hcq train --captions captions.jsonl --recipe paper --set text.encoder=bert-base-cased",
    "hcq train --recipe my.toml --set training.epochs=50 -o runs/a",
    "hcq train --model hct -o runs/dense",
    "hcq train --init .hcq/model --captions captions.jsonl",
]

CaptionsFile = Annotated[
    Path | None, typer.Option("--captions", metavar="FILE", help="Captions (default: the workspace's).")
]
RecipeName = Annotated[
    str | None,
    typer.Option(
        "--recipe", metavar="NAME|FILE", help="See hcq recipes (default: few for under 500 captioned videos)."
    ),
]
Kind = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="hcq|hct|jpq|dcmh",
        help="hct: dense vectors, no codes. jpq, dcmh: the coarse level alone, at the recipe's bytes.",
    ),
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="On top of the recipe; may come often.")
]
Init = Annotated[
    Path | None,
    typer.Option(
        "--init",
        metavar="CKPT",
        help="Start from a model: one that hcq fit made is adapted to the captions, a trained one is trained on.",
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run, or fail.")]


def register(app: typer.Typer) -> None:
    """Add `hcq train` to the command line."""

    @command(app, "train", panel=VERBS, examples=EXAMPLES)
    def train(
        session: Session,
        captions: CaptionsFile = None,
        features: FeaturesOption = None,
        recipe: RecipeName = None,
        model: Kind = None,
        settings: Settings = None,
        init: Init = None,
        resume: Resume = False,
        device: TorchDeviceOption = "cpu",
        output: RunOption = None,
    ) -> None:
        """Learn encoders and quantizers together. An interrupted run goes on when the command is run again.

        A finished one is not repeated, and a model that another one replaces is kept beside it (hcq models list).
        """
        done = api.train(
            session.workspace,
            captions,
            recipe=recipe,
            model=model,
            settings=settings or (),
            features=features,
            output=output,
            init=init,
            must_resume=resume,
            device=device,
            progress=session.console,
        )
        document = {**vars(done), "seconds": round(done.seconds, 2)}
        document |= {"new_videos": done.new_videos or None, "init": done.init or None}
        session.console.result(document, lambda: _print(session.console, done))


def _print(console: Console, done: TrainResult) -> None:
    from hcq_cli.api.training import clock, what_to_expect

    console.text(f"checkpoint {done.checkpoint}")
    if done.epochs:
        console.text(f"{counted(done.epochs, 'epoch')} in {clock(done.seconds)}; kept epoch {done.metrics['epoch']}")
    if done.new_videos:
        console.text(what_to_expect(done.new_videos))
    console.note("next: hcq encode")
