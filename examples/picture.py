"""Draw query.svg for the README: `hcq demo && python examples/picture.py hcq-demo/.hcq`."""

# ruff: noqa

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from hcq_cli.process import python_command

QUERIES = ("the sound of a barking dog", "a green cross", "a man in glasses looks on")


def shown(command: list[str], width: int) -> str:
    """What a person at a terminal would see of a command, colours included."""
    env = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(width)}
    done = subprocess.run(python_command("hcq_cli", *command), capture_output=True, text=True, check=True, env=env)
    return done.stdout


def main(workspace: str, width: int = 84) -> None:
    """Draw what the queries answer in a workspace as query.svg, `width` characters wide."""
    console = Console(record=True, width=width, file=open(os.devnull, "w"))
    for query in QUERIES:
        console.print(Text(f'$ hcq query -w {workspace} "{query}" -k 3', style="bold"))
        console.print(Text.from_ansi(shown(["query", "-w", workspace, query, "-k", "3"], width).strip("\n")))
        console.print()
    console.save_svg(str(Path(__file__).with_name("query.svg")), title="hcq")


if __name__ == "__main__":
    main(*sys.argv[1:])
