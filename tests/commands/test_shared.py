"""The options that every command takes, before or after its name, and sizes for people."""

from __future__ import annotations

from pathlib import Path

import pytest
from in_process import program, run_here

from hcq_cli.commands.shared import SHARED
from hcq_cli.console import size_text


def test_shared_options_stand_on_either_side_of_the_name(kept: Path, tmp_path: Path) -> None:
    behind = run_here("features", "info", "-w", kept, "--json").json
    assert run_here("-w", kept, "--json", "features", "info").json == behind
    assert run_here("features", "-w", tmp_path / "none", "info", "-w", kept, "--json").json == behind


def leaves(command, words=()):
    for name, sub in getattr(command, "commands", {}).items():
        yield from leaves(sub, (*words, name))
    if not getattr(command, "commands", {}):
        yield " ".join(words), command


def test_every_command_takes_them_and_shows_an_example() -> None:
    for name, command in leaves(program()):
        assert set(SHARED) <= {option.name for option in command.params}, name
        assert f"hcq {name}" in (command.epilog or ""), name


@pytest.mark.parametrize(
    ("nbytes", "text"), [(17, "17 bytes"), (1500, "1.5 KB"), (4.2e6, "4.2 MB"), (7e9, "7.0 GB"), (3e12, "3.0 TB")]
)
def test_sizes_for_people(nbytes: float, text: str) -> None:
    assert size_text(nbytes) == text
