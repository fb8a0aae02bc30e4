"""The names of the Python API: all there, and nothing heavy is imported before one is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import hcq_cli


def test_every_name_is_there_and_documented():
    for name in hcq_cli.__all__:
        value = getattr(hcq_cli, name)
        assert name == "__version__" or value.__doc__
    assert set(hcq_cli.__all__) <= set(dir(hcq_cli))
    with pytest.raises(AttributeError, match="no attribute 'extrct'"):
        _ = hcq_cli.extrct


def test_importing_it_takes_milliseconds():
    script = (
        "import sys, time; begun = time.process_time(); import hcq_cli; taken = time.process_time() - begun\n"
        "heavy = {'numpy', 'torch', 'typer', 'rich', 'transformers'} & set(sys.modules)\n"
        "print(taken); assert not heavy, heavy"
    )
    done = [subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True) for _ in "123"]
    assert min(float(each.stdout) for each in done) < 0.05
