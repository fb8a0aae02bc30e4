"""Sweeps: the values that a recipe's `[sweep]` table would have tried, one setting at a time."""

from __future__ import annotations

import json
from typing import Any

from hcq_cli.errors import UsageError
from hcq_cli.training.recipe import load, tables_of


def sweep(name: str) -> dict[str, list[Any]]:
    """The values a recipe lists for each setting, those of its ancestors included.

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
            changed = load(name, [written]).to_dict()
            if changed != whole:
                found.append(written)
    return found
