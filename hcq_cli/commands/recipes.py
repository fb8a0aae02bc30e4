"""`hcq recipes`: which recipes there are, what one of them sets, and the sweeps over it."""

from __future__ import annotations

import shlex
from typing import Annotated, Any

import typer

from hcq_cli.commands.shared import LOOKING, Session, command

EXAMPLES = ["hcq recipes", "hcq recipes msrvtt-1ka", "hcq recipes msrvtt-1ka --sweep", "hcq recipes --json"]

Name = Annotated[str | None, typer.Argument(metavar="[NAME|FILE]", help="Show all that this recipe sets.")]
Sweep = Annotated[
    bool, typer.Option("--sweep", help="Print the options of hcq train for each run of its sweep, one a line.")
]


def register(app: typer.Typer) -> None:
    """Add `hcq recipes` to the command line."""

    @command(app, "recipes", panel=LOOKING, examples=EXAMPLES)
    def recipes(session: Session, name: Name = None, sweep: Sweep = False) -> None:
        """List the recipes that hcq train knows by name, or show one."""
        from hcq_cli.api.training import describe_recipe, recipe_names

        documents = [describe_recipe(each) for each in ([name] if name else recipe_names())]
        if sweep:
            # The options of hcq train for every run: each recipe as it is, then its variants.
            runs = [
                ["--recipe", document["name"], *(["--set", variant] if variant else [])]
                for document in documents
                for variant in ("", *document["variants"])
            ]
            session.console.result({"runs": runs}, lambda: session.console.text("\n".join(map(shlex.join, runs))))
        else:
            human = _print_one if name else _print_all
            session.console.result({"recipes": documents}, lambda: human(session, documents))


def _print_all(session: Session, documents: list[dict[str, Any]]) -> None:
    rows = [
        (
            document["name"],
            document["bytes_per_video"],
            document["model"]["width"],
            document["model"]["text"]["encoder"],
            document["training"]["epochs"],
            1 + len(document["variants"]),
            document["description"],
        )
        for document in documents
    ]
    session.console.table(("recipe", "bytes", "width", "text encoder", "epochs", "runs", "for"), rows)


def _print_one(session: Session, documents: list[dict[str, Any]]) -> None:
    document = documents[0]
    below = {key: value for key, value in document["model"].items() if isinstance(value, dict) and key != "experts"}
    model = {key: value for key, value in document["model"].items() if not isinstance(value, dict)}
    tables = {"model": model, **below}
    tables |= {key: document[key] for key in ("training", "loss", "codebook")}
    session.console.text(document["description"])
    rows = [(f"{name}.{key}", repr(value)) for name, table in tables.items() for key, value in table.items()]
    session.console.table(("setting", "value"), rows)
    if document["sweep"]:
        rows = [(key, ", ".join(map(str, values))) for key, values in document["sweep"].items()]
        session.console.table(("sweep", "values"), rows)
