"""hcq.toml: a person's own defaults, checked against the options there are.

workspace = "runs/a"        # a key at the top holds for every command that has such an option
device = "cuda"

[query]                     # a table holds for one command
k = 20

[index.build]               # … or for one of a group
partitions = "none"

Two files are read: hcq.toml in the working directory and, below it, the person's own, hcq/hcq.toml in
$XDG_CONFIG_HOME or ~/.config. What stands in both is taken from the first.

The person's own file may say anything. The one in the working directory may have come with somebody's videos, so
four kinds of keys are not taken from it; each is told with a warning, and the rest of the file holds:

- What names code to run: a decoder of the form package.module:Class. Its other values ("pyav") name what is built in.
  No other option can name code: experts are named as installed packages announce them, and recipes hold numbers,
  words and places.
- A place to write to outside the working directory (workspace, output…), or at an address: else `hcq encode` could be
  made to replace any file of the person's. Inside, a place may be chosen freely: that is the folder the file came
  with. Places that are only read may lie anywhere.
- A machine to connect to (`on = "ray:HOST:PORT"`): what comes from there is trusted. A plain "ray" means the cluster
  that this machine is a node of.
- What deletes or moves files (--fresh, --mend): a person says that each time.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hcq_cli.errors import HcqError, UsageError
from hcq_cli.workspace import is_address

FILE = Path("hcq.toml")
NOT_SETTINGS = {"help", "version", "install_completion", "show_completion", "context"}
NAMES_CODE = {"decoder"}
"""Options whose value is code to run where it has a colon in it."""
WRITTEN = {
    *("workspace", "output", "plot", "calibration", "scratch", "html", "save_clips"),
    *("index build index", "index add index", "index remove index", "index compact index"),
    *("demo folder", "features verify features", "import mmt captions", "models save folder"),
}
"""Options that name a place to write to, in every command or in one."""
DESTROYS = {"fresh", "mend"}
"""Options that delete or move files."""


@dataclass(frozen=True)
class Refused:
    """A key of the working directory's file that is not taken.

    Args:
        option: the option it was meant for.
        message: file, key, why, and what to do instead.
    """

    option: Any
    message: str


@dataclass(frozen=True)
class Settings:
    """What the files say.

    Args:
        defaults: as the option parser takes them.
        refused: what was left out.
        error: why the files cannot be used at all; None if they can.
    """

    defaults: dict[str, Any] = field(default_factory=dict)
    refused: tuple[Refused, ...] = ()
    error: HcqError | None = None

    def warnings(self, context: Any) -> list[str]:
        """What was left out that one command, or a group it stands in, would have taken.

        Args:
            context: of the command, as the option parser hands it out.
        """
        options: list[Any] = []
        while context is not None:
            options += context.command.params
            context = context.parent
        messages = [refused.message for refused in self.refused if any(refused.option is one for one in options)]
        return list(dict.fromkeys(messages))


def own_file(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Where the person's own file lies, whether it is there or not; None where no home is known.

    Args:
        environment: of the person; a home that it does not name is looked up for this process.
    """
    base = Path(environment.get("XDG_CONFIG_HOME", ""))
    if not base.is_absolute():  # a relative one counts as none: it would be found in the working directory
        try:
            base = Path(environment.get("HOME") or Path.home()) / ".config"
        except RuntimeError:
            return None
    return base / "hcq" / FILE if base.is_absolute() else None


def read_settings(program: Any) -> Settings:
    """The defaults in the two files.

    Args:
        program: the command line, as Typer built it.

    Raises:
        UsageError: a file cannot be read, is no TOML, or holds a key that no command has.
    """
    defaults: dict[str, Any] = {}
    refused: list[Refused] = []
    own = own_file()
    # The person's own first: what the working directory's file says as well is written over it.
    if own is not None and (table := _table(own)):
        _File(own, trusted=True, refused=refused).lay(program, table, defaults)
    same = False
    with suppress(OSError):  # one of the two is not there
        same = own is not None and FILE.samefile(own)
    if not same and (table := _table(FILE)):
        _File(FILE, trusted=False, refused=refused).lay(program, table, defaults)
    return Settings(defaults, tuple(refused))


def _table(path: Path) -> dict[str, Any]:
    """A file's keys and tables; none where it is not there."""
    try:
        # The ordinary case, no file, is found out before what reads one is imported: every command starts here.
        try:
            path.stat()
        except PermissionError:  # in a folder of somebody else's, as where a container keeps root's HOME
            return {}
        import tomllib

        from hcq_cli.files import read_regular

        return tomllib.loads(read_regular(path, links=True).decode("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8
        raise UsageError(f"{path}: {error}", "mend the line, or move the file away") from error
    except HcqError as error:  # a pipe or a device, which might never end
        raise UsageError(error.message, "move it away") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})", "move it away") from error


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


def _every_name(command: Any) -> set[str]:
    return set(_options(command)).union(*map(_every_name, getattr(command, "commands", {}).values()))


def _hint(key: str, known: set[str]) -> str:
    import difflib

    near = difflib.get_close_matches(_plain(key), sorted(known), 1)
    return f"did you mean {near[0]!r}?" if near else "take the key out; hcq COMMAND --help lists the options"


def _danger(words: tuple[str, ...], name: str, value: Any) -> str:
    """Why a value is not taken from the working directory's file; empty if it may be.

    Args:
        words: the command's, without "hcq".
        name: of the option.
        value: as the file has it.
    """
    if name in NAMES_CODE and not (isinstance(value, str) and ":" not in value):
        return "names code to run"
    if (name in WRITTEN or " ".join((*words, name)) in WRITTEN) and _leads_out(value):
        return "names a place to write to outside the working directory"
    if name == "on" and value not in ("ray", "ray:local"):
        return "names a machine to connect to"
    return "deletes or moves files" if name in DESTROYS and value else ""


def _leads_out(value: Any) -> bool:
    here = os.path.realpath(os.curdir)
    if isinstance(value, str) and is_address(value):
        return True
    try:
        return os.path.commonpath([here, os.path.realpath(str(value))]) != here
    except (OSError, ValueError):
        return True


class _File:
    """One file of defaults.

    Args:
        path: the file.
        trusted: whether it is the person's own.
        refused: takes what is left out.
    """

    def __init__(self, path: Path, trusted: bool, refused: list[Refused]) -> None:
        self.path, self.trusted, self.refused = path, trusted, refused

    def lay(self, program: Any, table: dict[str, Any], defaults: dict[str, Any]) -> None:
        """Write what the program takes from the file's `table` into `defaults`."""
        common = {key: value for key, value in table.items() if not isinstance(value, dict)}
        known = _every_name(program)
        for key in common:
            if _plain(key) not in known:
                raise UsageError(f"{self.path}: no command has an option {key!r}", _hint(key, known))
        self._command((), program, table, common, defaults)

    def _command(
        self,
        words: tuple[str, ...],
        command: Any,
        table: dict[str, Any],
        common: dict[str, Any],
        defaults: dict[str, Any],
    ) -> None:
        """What one command, or a group with its commands, takes from its table and from the keys for all."""
        options, commands = _options(command), getattr(command, "commands", {})
        own = {key: value for key, value in table.items() if not isinstance(value, dict)}
        for key, value in table.items():
            if isinstance(value, dict) and key not in commands:
                raise UsageError(f"{self.path}: there is no command [{key}]", _hint(key, set(commands)))
            if not isinstance(value, dict) and key not in common and _plain(key) not in options:
                raise UsageError(f"{self.path}: hcq {command.name} has no option {key!r}", _hint(key, set(options)))
        for key, value in {**common, **own}.items():
            option = options.get(_plain(key))
            if option is not None and self._takes(words, option, key, value, key in own):
                several = getattr(option, "multiple", False) or option.nargs == -1
                defaults[option.name] = [value] if several and not isinstance(value, list) else value
        for name, sub in commands.items():
            below = table.get(name, {})
            self._command(
                (*words, name),
                sub,
                below if isinstance(below, dict) else {},
                common=common,
                defaults=defaults.setdefault(name, {}),
            )

    def _takes(self, words: tuple[str, ...], option: Any, key: str, value: Any, in_table: bool) -> bool:
        """Whether a value holds; else it is noted in `refused`."""
        danger = "" if self.trusted else _danger(words, option.name, value)
        if danger:
            place = f"[{'.'.join(words)}] {key}" if in_table and words else key
            flag, own = max(option.opts, key=len), own_file()
            instead = f"give {flag if flag.startswith('-') else flag.upper()} on the command line"
            instead += f", or write it into {own}" if own is not None else ""
            message = f"{self.path}: {place} = {value!r} is left out, because it {danger}; {instead}"
            self.refused.append(Refused(option, message))
        return not danger
