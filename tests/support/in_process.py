"""Runs a command of hcq in the process of the test: what needs no process of its own saves its start."""

from __future__ import annotations

import io
import json
import os
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from typing import Any

import typer

from hcq_cli.app import build
from hcq_cli.errors import EXIT_OK, HcqError


class Printed:
    """What a command printed, and how it ended; of an error the message and the hint stand for what `hcq` prints."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@cache
def program() -> Any:
    return typer.main.get_command(build())


def run_here(*arguments: str | os.PathLike[str], code: int = EXIT_OK) -> Printed:
    """Run `hcq ARGUMENTS` and assert its exit code; paths must be absolute."""
    out, err, found = io.StringIO(), io.StringIO(), EXIT_OK
    with redirect_stdout(out), redirect_stderr(err):
        try:
            found = (
                program().main([os.fspath(a) for a in arguments], prog_name="hcq", standalone_mode=False) or EXIT_OK
            )
        except HcqError as error:
            found, message = error.exit_code, f"{error.message}\n{error.hint}\n"
            err.write(message)
    assert found == code, f"exit {found}\n{out.getvalue()}\n{err.getvalue()}"
    return Printed(found, out.getvalue(), err.getvalue())
