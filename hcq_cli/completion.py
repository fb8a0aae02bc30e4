"""What completion offers for an option or an argument: the values there are, asked for at the moment of the tab key.

The help page of an option lists the values that never change (auto|cpu|cuda): those are offered without a word here.
`VALUES` has the others. Nothing that takes long may be asked: no network, no torch, and of features and index their
ids alone, which 100,000 videos give in a tenth of a second. What is damaged or not there offers nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hcq_cli.errors import HcqError

Ask = Callable[[Any, str], Iterable[str]]
"""From the context, which knows what the line has named so far, and how the value begins, to the values."""


def _recipes(context: Any, begun: str) -> Iterable[str]:
    from hcq_cli.training.recipe import names

    return names()


def _experts(context: Any, begun: str) -> Iterable[str]:
    from experts.registry import installed

    return installed()


def _presets(context: Any, begun: str) -> Iterable[str]:
    from experts.registry import presets

    return presets


def _fitted_presets(context: Any, begun: str) -> Iterable[str]:
    from experts.neural.hub import WITHOUT_CAPTIONS

    return WITHOUT_CAPTIONS


def _networks(context: Any, begun: str) -> Iterable[str]:
    from experts.neural.hub import ON_REQUEST, PRESET
    from hcq_cli.weights import PRESETS

    return [*PRESETS, *PRESET, *ON_REQUEST]


def _checkpoints(context: Any, begun: str) -> Iterable[str]:
    """Those that the workspace has replaced, as `hcq models list` names them."""
    kept = _place(context, "", "model") / "earlier"
    return [each.name for each in kept.iterdir() if each.is_dir()] if kept.is_dir() else []


def _settings(context: Any, begun: str) -> Iterable[str]:
    from hcq_cli.training.recipe import load

    tables = asdict(load())
    below = {key: value for key, value in tables["model"].items() if isinstance(value, dict) and key != "experts"}
    tables = {name: table for name, table in {**tables, **below}.items() if isinstance(table, dict)}
    keys = [f"{name}.{key}=" for name, table in tables.items() for key in table if key not in tables]
    return [*(f"text.encoder={name}" for name in ("scratch", "minilm")), *keys]


def _sources(context: Any, begun: str) -> Iterable[str]:
    from hcq_cli.words.sentences import SOURCES

    return SOURCES


def _indexed(context: Any, begun: str) -> Iterable[str]:
    from hcq_cli.search.index import Index
    from hcq_cli.search.meant_ids import ids_beginning

    return ids_beginning(Index.open(_place(context, "index", "index")).ids(), begun)


def _extracted(context: Any, begun: str) -> Iterable[str]:
    from hcq_cli.features.store import FeatureStore
    from hcq_cli.search.meant_ids import ids_beginning

    shards = FeatureStore.snapshot(_place(context, "features", "features")).shards
    return ids_beginning((shard.text("videos/id") for shard in shards), begun)


def _columns(context: Any, begun: str) -> Iterable[str]:
    from hcq_cli.search.index import Index

    return Index.open(_place(context, "index", "index")).columns.kinds


def _filter(context: Any, begun: str) -> Iterable[str]:
    """A filter with its last word made whole, where that may be a column."""
    before, word = re.split(r"(?=\w*\Z)", begun, maxsplit=1)
    return [before + name for name in _columns(context, word)]


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
    "save ckpt": _checkpoints,
    "push ckpt": _checkpoints,
    "init": _checkpoints,
    "settings": _settings,
    "source": _sources,
    "like": _indexed,
    "remove ids": _indexed,
    "export videos": _indexed,
    "show video": _extracted,
    "remove videos": _extracted,
    "where": _filter,
    "query columns": _columns,
}
"""By the option's name, or, before that, by the names of command and option."""
LISTS = ("experts", "compress", "columns", "source")
"""Options that take several values with commas between them."""


def offer_values(command: Any) -> None:
    """Let completion offer values for the options of a command, and of all commands below it.

    Args:
        command: as Typer built it.
    """
    for parameter in command.params:
        ask = VALUES.get(f"{command.name} {parameter.name}") or VALUES.get(parameter.name)
        if ask is None and (listed := _listed(parameter.metavar or "")):
            ask = lambda context, begun, known=listed: known  # noqa: E731
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
        try:
            values = [value for value in ask(context, last) if value.startswith(last) and value.isprintable()]
        except (HcqError, OSError):
            return []
        return [_typed(f"{before}{comma}{value}") for value in values]

    return complete


def _typed(value: str) -> str:
    """A value as it is typed: bash takes it as it is, and does not quote what is special in it."""
    line = os.environ.get("COMP_WORDS", "")
    if os.environ.get("_HCQ_COMPLETE") != "complete_bash" or line.count("'") % 2 or line.count('"') % 2:
        return value
    return re.sub(r"([\s!\"#$&'()*;<>?\[\\\]^`{|}~])", r"\\\1", value)


def _place(context: Any, option: str, part: str) -> Path:
    """What the line has named by an option so far, or that part of the workspace."""
    if context.params.get(option):
        return Path(context.params[option])
    while context is not None:
        if context.params.get("workspace"):
            return Path(context.params["workspace"], part)
        context = context.parent
    return Path(os.environ.get("HCQ_WORKSPACE") or ".hcq", part)
