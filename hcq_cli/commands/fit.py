"""`hcq fit`: a checkpoint without captions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

import hcq_cli as api
from hcq_cli.commands.shared import VERBS, FeaturesOption, OnOption, RunOption, Session, command, listed
from hcq_cli.console import Console, counted

if TYPE_CHECKING:
    from hcq_cli.api.fitting import FitResult

EXAMPLES = [
    "hcq extract videos/ --experts objects=onnx:mobilenet.onnx,sounds=onnx:yamnet.onnx",
    "hcq fit --concepts onnx:mobilenet.onnx,onnx:yamnet.onnx",
    "hcq fit --concepts onnx:mobilenet.onnx --bytes 128 -o runs/a",
    "hcq fit --dual google/siglip2-base-patch16-224",
    "hcq fit --preset laptop",
]

Sources = Annotated[
    list[str] | None,
    typer.Option(
        "--concepts",
        metavar="SOURCE",
        help="A classifier whose classes have names: a folder, an id, or onnx:FILE with a labels file beside it. "
        "Several with commas, or by giving the option again.",
    ),
]
Duals = Annotated[
    list[str] | None,
    typer.Option(
        "--dual",
        metavar="SOURCE",
        help="A dual encoder: a folder or id of CLIP, SigLIP, X-CLIP, CLAP and the like, or onnx:FOLDER. Several as "
        "with --concepts.",
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        "--preset", metavar="NAME", help="Sources that suit a machine: light, laptop or gpu (hcq models list)."
    ),
]
Weights = Annotated[
    list[str] | None,
    typer.Option("--weight", metavar="EXPERT=NUMBER", help="How much an expert counts (objects 1, the others 0.5)."),
]
TextEncoder = Annotated[
    str, typer.Option("--text-encoder", metavar="NAME|ID|FOLDER", help="The sentence encoder; its language is yours.")
]
Bytes = Annotated[int, typer.Option("--bytes", metavar="N", help="Bytes a video.")]


def register(app: typer.Typer) -> None:
    """Add `hcq fit` to the command line."""

    @command(app, "fit", panel=VERBS, examples=EXAMPLES)
    def fit(
        session: Session,
        concepts: Sources = None,
        dual: Duals = None,
        preset: Preset = None,
        weight: Weights = None,
        text_encoder: TextEncoder = "minilm",
        code_bytes: Bytes = 64,
        features: FeaturesOption = None,
        on: OnOption = None,
        output: RunOption = None,
    ) -> None:
        """Make a model without captions: of classifiers that have looked at the videos, and a sentence encoder.

        Runs on this machine, also with --on: it looks at 16,384 videos, evenly spread, however many there are.
        """
        done = api.fit(
            session.workspace,
            concepts=listed(*concepts or ()),
            dual=listed(*dual or ()),
            preset=preset,
            weights=weight or (),
            text_encoder=text_encoder,
            code_bytes=code_bytes,
            features=features,
            output=output,
            on=on,
            progress=session.console,
        )
        document = {
            "checkpoint": str(done.checkpoint),
            "epochs": 0,
            "seconds": round(done.seconds, 2),
            "metrics": done.metrics,
            "experts": done.experts,
            "videos": done.videos,
            "bytes_per_video": done.bytes_per_video,
            "warnings": done.warnings,
        }
        session.console.result(document, lambda: _print(session.console, done))


def _print(console: Console, done: FitResult) -> None:
    console.text(f"checkpoint {done.checkpoint}")
    made_of = ", ".join(f"{name} {weight:g}" for name, weight in done.experts.items())
    console.text(
        f"{counted(done.videos, 'video')}, {done.bytes_per_video} bytes each; {made_of}; {done.seconds:.1f} s"
    )
    console.note("next: hcq encode")
