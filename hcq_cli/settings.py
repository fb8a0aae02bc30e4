"""hcq.toml: a person's own defaults, checked against the options there are.

workspace = "runs/a"        # a key at the top holds for every command that has such an option
device = "cuda"

[query]                     # a table holds for one command
k = 20

[index.build]               # … or for one of a group
partitions = "none"
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any

from hcq_cli.errors import UsageError

FILE = Path("hcq.toml")
NOT_SETTINGS = {"help", "version", "install_completion", "show_completion", "context"}


def read_settings(program: Any, path: Path = FILE) -> dict[str, Any]:
    """The defaults in `path`, as the option parser takes them; none where there is no such file.

    Args:
        program: the command line, as Typer built it.
        path: the file.

    Raises:
        UsageError: it cannot be read, is no TOML, or holds a key that no command has.
    """
    if not path.exists():
        return {}
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path}: {error}", "mend the line, or move the file away") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})", "move it away") from error
    common = {key: value for key, value in table.items() if not isinstance(value, dict)}
    known = _every_name(program)
    for key in common:
        if _plain(key) not in known:
            raise UsageError(f"{path}: no command has an option {key!r}", _hint(key, known))
    return _defaults(program, table, common, path)


def _plain(key: str) -> str:
    return key.replace("-", "_")


def _options(command: Any) -> dict[str, Any]:
    """Every name under which a file may set an option (`workspace`, `w`, `sample_fps`), and the option."""
    found = {}
    for option in command.params:
        if option.name not in NOT_SETTINGS:
            for name in (option.name, *option.opts):
                found[_plain(name.lstrip("-"))] = option
    return found


def _commands(command: Any) -> dict[str, Any]:
    return getattr(command, "commands", {})


def _every_name(command: Any) -> set[str]:
    return set(_options(command)).union(*map(_every_name, _commands(command).values()))


def _hint(key: str, known: set[str]) -> str:
    near = difflib.get_close_matches(_plain(key), sorted(known), 1)
    return f"did you mean {near[0]!r}?" if near else "take the key out; hcq COMMAND --help lists the options"


def _defaults(command: Any, table: dict[str, Any], common: dict[str, Any], path: Path) -> dict[str, Any]:
    """What one command, or a group with its commands, takes from its table and from the keys for all."""
    options, commands = _options(command), _commands(command)
    own = {key: value for key, value in table.items() if not isinstance(value, dict)}
    for key, value in table.items():
        if isinstance(value, dict) and key not in commands:
            raise UsageError(f"{path}: there is no command [{key}]", _hint(key, set(commands)))
        if not isinstance(value, dict) and key not in common and _plain(key) not in options:
            raise UsageError(f"{path}: hcq {command.name} has no option {key!r}", _hint(key, set(options)))
    found: dict[str, Any] = {}
    for key, value in {**common, **own}.items():
        option = options.get(_plain(key))
        if option is not None:
            several = getattr(option, "multiple", False) or option.nargs == -1
            found[option.name] = [value] if several and not isinstance(value, list) else value
    for name, sub in commands.items():
        below = table.get(name, {})
        found[name] = _defaults(sub, below if isinstance(below, dict) else {}, common, path)
    return found
