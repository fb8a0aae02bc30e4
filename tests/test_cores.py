"""How many cores this process may use, which may be fewer than the machine has."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from hcq_cli.cores import cores


def test_at_least_one() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux alone lets a process give up cores")
def test_a_process_on_one_core_has_one() -> None:
    program = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        "from hcq_cli.cores import cores; print(cores())"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "1\n"


@pytest.mark.parametrize("given", [None, "ACTIVE"])
def test_threads_yield_before_torch_is_loaded_unless_it_is_said_otherwise(given: str | None) -> None:
    program = "import os, sys, hcq_cli; hcq_cli.train; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_WAIT_POLICY": given} if given else {}
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert ran.stdout == f"{given or 'PASSIVE'} False\n", ran.stderr
