"""Write COMMANDS.md, every command's help page, from the program itself: `python examples/command_pages.py`.

A test holds the file to what this writes.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from hcq_cli.app import build
from hcq_cli.commands.shared import SHARED

PAGES = Path(__file__).with_name("COMMANDS.md")
HEAD = """# Commands

Written from the program by `python examples/command_pages.py`; `hcq COMMAND --help` shows the same. Every command
takes these, before or after its name:

{shared}

An option can also stand in `hcq.toml`, or in the environment as `HCQ_COMMAND_OPTION` (`HCQ_QUERY_K=20`). What
`--json` prints is described in [schemas.json](schemas.json), as JSON Schema. Exit codes: 0 done, 1 failed, 2 wrong
use, 3 done but for some files, 4 a damaged or foreign file, 10 not there yet, 11 another writer, 130 interrupted.
"""


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its name in full (`index build`), in the order of the help page."""
    below = getattr(command, "commands", {})
    if not below:
        yield " ".join(words), command
    for name in command.list_commands(None) if below else ():
        yield from commands(below[name], (*words, name))


def examples(command: Any) -> list[str]:
    """The commands at the end of a help page."""
    return [line.strip() for line in (command.epilog or "").splitlines() if line.startswith("  ")]


def page(name: str, command: Any) -> str:
    """One command: what it does, how it is called, its options, examples."""
    parameters = [each for each in command.params if each.name not in SHARED]
    arguments = [each for each in parameters if each.param_type_name == "argument"]
    options = [each for each in parameters if each.param_type_name == "option"]
    called = " ".join(["hcq", name, *(_argument(each) for each in arguments)])
    lines = [f"## hcq {name}", "", inspect.cleandoc(command.help or ""), "", f"`{called}`", ""]
    lines += [f"- `{_argument(each)}`: {each.help}" for each in arguments if each.help]
    lines += [_option(each) for each in options]
    return "\n".join([*lines, "", "```", *examples(command), "```", ""])


def _argument(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _option(option: Any) -> str:
    takes = "" if option.is_flag else f" {option.metavar or option.type.name.split()[0].upper()}"
    names = ", ".join([*option.opts, *option.secondary_opts])
    told = isinstance(option.default, str | int | float) and not option.is_flag and option.show_default
    needed = " Must be given." if option.required else ""
    return f"- `{names}{takes}`: {option.help or ''}{f' Default: {option.default}.' if told else ''}{needed}"


def document() -> str:
    """All of COMMANDS.md."""
    program = typer.main.get_command(build())
    shared = [each for each in program.params if each.name in SHARED]
    pages = [page(name, command) for name, command in commands(program)]
    return "\n".join([HEAD.format(shared="\n".join(map(_option, shared))), *pages])


if __name__ == "__main__":
    PAGES.write_text(document(), "utf-8")
