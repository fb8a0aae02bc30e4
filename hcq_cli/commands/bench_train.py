"""`hcq bench train` and `hcq bench encode`: what the model costs beside its bare encoders."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hcq_cli.commands.shared import Session, command
from hcq_cli.errors import UsageError

if TYPE_CHECKING:
    from hcq_cli.bench.model_cost import Cost

RecipeName = Annotated[str, typer.Option("--recipe", metavar="NAME|FILE", help="See hcq recipes.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="On top of the recipe; may come often.")
]
Experts = Annotated[
    str | None, typer.Option(metavar="NAME:DIM,…", help="Experts and their widths (default: the paper's seven).")
]
Tokens = Annotated[int, typer.Option(min=1, help="Tokens an expert gives, in the mean.")]
Words = Annotated[int, typer.Option(min=1, help="Words of a caption.")]
Rounds = Annotated[int, typer.Option(min=1, help="Pairs to time.")]
Threads = Annotated[int, typer.Option(min=0, help="Threads (0: as torch likes).")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Videos encoded at once.")]


def register(group: typer.Typer) -> None:
    """Add both to `hcq bench`."""
    command(
        group, "train", examples=["hcq bench train", "hcq bench train --recipe paper --set text.encoder=scratch"]
    )(bench_train)
    command(group, "encode", examples=["hcq bench encode --recipe paper --set text.encoder=scratch"])(bench_encode)


def bench_train(
    session: Session,
    recipe: RecipeName = "default",
    settings: Settings = None,
    experts: Experts = None,
    tokens: Tokens = 15,
    words: Words = 12,
    rounds: Rounds = 10,
    threads: Threads = 0,
    device: Device = "cpu",
) -> None:
    """Time a whole training step beside the forward and backward pass of its two encoders, on made-up features."""
    from hcq_cli.bench.model_cost import made_up, measure_training
    from hcq_cli.training import recipe as recipes

    plan = recipes.load(recipe, settings or ())
    _limit(threads)
    data = made_up(plan.training.batch_size * 2, _experts(experts), tokens, words)
    with tempfile.TemporaryDirectory() as folder:
        cost = measure_training(data, plan, Path(folder), rounds, device)
    _report(session, cost, "training step", "its text and video encoder, forward and backward")


def bench_encode(
    session: Session,
    recipe: RecipeName = "default",
    settings: Settings = None,
    experts: Experts = None,
    tokens: Tokens = 15,
    batch_size: BatchSize = 64,
    rounds: Rounds = 10,
    threads: Threads = 0,
    device: Device = "cpu",
) -> None:
    """Time features to codes beside the bare video encoder, on made-up features and weights."""
    from hcq_cli.bench.model_cost import made_up, measure_encoding
    from hcq_cli.model import registry, text
    from hcq_cli.model.checkpoint import Model
    from hcq_cli.model.config import ExpertConfig
    from hcq_cli.training import recipe as recipes

    plan = recipes.load(recipe, [*(settings or ()), "text.encoder=scratch"])  # no text is encoded
    _limit(threads)
    widths = _experts(experts)
    data = made_up(batch_size * 3, widths, tokens, 3)
    config = plan.model.with_experts({name: ExpertConfig(dim) for name, dim in widths.items()})
    tower = text.build(config.text, data.train.sentences)
    model = Model(registry.network_class(config.kind)(config, tower.encoder).to(device), tower, "")
    _report(session, measure_encoding(model, data, batch_size, rounds), "encoding", "the bare video encoder")


def _experts(given: str | None) -> dict[str, int]:
    from hcq_cli.bench.model_cost import MMT_EXPERTS

    if given is None:
        return MMT_EXPERTS
    found = {}
    for part in given.split(","):
        name, _, dim = part.partition(":")
        if not name or not dim.isdigit() or int(dim) < 1:
            raise UsageError(f"--experts {part!r}: not of the form NAME:DIM", "--experts appearance:64,audio:32")
        found[name] = int(dim)
    return found


def _limit(threads: int) -> None:
    if threads:
        import torch

        torch.set_num_threads(threads)


def _report(session: Session, cost: Cost, what: str, bare: str) -> None:
    document = {
        "batch_size": cost.batch_size,
        "whole_s": cost.whole_s,
        "bare_s": cost.bare_s,
        "ratio": cost.ratio,
        "videos_per_second": cost.videos_per_second,
    }
    line = (
        f"{what}: {1000 * cost.whole_s:.0f} ms for {cost.batch_size} videos, {cost.videos_per_second:,.0f} a second; "
        f"{cost.ratio:.2f} times {bare}"
    )
    session.console.result(document, lambda: session.console.text(line))
