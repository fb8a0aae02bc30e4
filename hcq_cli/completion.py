"""What completion offers for an option or an argument: the values there are, asked for at the moment of the tab key.

The help page of an option lists the values that never change (auto|cpu|cuda): those are offered without a word here.
`VALUES` has the others. Nothing that takes long may be asked: no network, no torch, no feature store.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Ask = Callable[[Path], Iterable[str]]
"""From the workspace folder to the values."""


def _recipes(workspace: Path) -> Iterable[str]:
    from hcq_cli.training.recipe import names

    return names()


def _experts(workspace: Path) -> Iterable[str]:
    from experts.registry import installed

    return installed()


def _presets(workspace: Path) -> Iterable[str]:
    from experts.registry import presets

    return presets


def _fitted_presets(workspace: Path) -> Iterable[str]:
    from experts.neural.hub import WITHOUT_CAPTIONS

    return WITHOUT_CAPTIONS


def _networks(workspace: Path) -> Iterable[str]:
    from experts.neural.hub import ON_REQUEST, PRESET
    from hcq_cli.weights import PRESETS

    return [*PRESETS, *PRESET, *ON_REQUEST]


def _checkpoints(workspace: Path) -> Iterable[str]:
    """Those that the workspace has replaced, as `hcq models list` names them."""
    kept = workspace / "model" / "earlier"
    return [each.name for each in kept.iterdir() if each.is_dir()] if kept.is_dir() else []


def _settings(workspace: Path) -> Iterable[str]:
    return [f"text.encoder={name}" for name in ("scratch", "minilm")]


VALUES: dict[str, Ask] = {
    "recipe": _recipes,
    "recipes name": _recipes,
    "experts": _experts,
    "check": _experts,
    "preset": _presets,
    "fit preset": _fitted_presets,
    "find preset": _fitted_presets,
    "fetch names": _networks,
    "encode ckpt": _checkpoints,
    "eval ckpt": _checkpoints,
    "settings": _settings,
}
"""By the option's name, or, before that, by the names of command and option."""
LISTS = ("experts", "compress")
"""Options that take several values with commas between them."""


def offer_values(command: Any) -> None:
    """Let completion offer values for the options of a command, and of all commands below it.

    Args:
        command: as Typer built it.
    """
    for parameter in command.params:
        ask = VALUES.get(f"{command.name} {parameter.name}") or VALUES.get(parameter.name)
        if ask is None and (listed := _listed(parameter.metavar or "")):
            ask = lambda _, known=listed: known  # noqa: E731
        if ask is not None:
            parameter._custom_shell_complete = _completer(ask, several=parameter.name in LISTS)
    for each in getattr(command, "commands", {}).values():
        offer_values(each)


def _listed(metavar: str) -> list[str]:
    """The values that a help page lists; none where it says what kind of thing is wanted (NAME|FILE)."""
    values = [value for value in metavar.replace(",", "|").split("|") if value.islower()]
    return values if len(values) > 1 else []


def _completer(ask: Ask, *, several: bool) -> Callable[[Any, Any, str], list[str]]:
    def complete(context: Any, parameter: Any, begun: str) -> list[str]:
        before, comma, last = begun.rpartition(",") if several else ("", "", begun)
        return [f"{before}{comma}{value}" for value in ask(_workspace(context)) if value.startswith(last)]

    return complete


def _workspace(context: Any) -> Path:
    """The workspace that the line has named so far."""
    while context is not None:
        if context.params.get("workspace"):
            return Path(context.params["workspace"])
        context = context.parent
    return Path(os.environ.get("HCQ_WORKSPACE") or ".hcq")
