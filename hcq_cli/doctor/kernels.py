"""Tries every scan kernel on a few codes. Run in a process of its own: compiled code may end it.

    python -P -m hcq_cli.doctor.kernels

The last line printed is `MARK` and a JSON document: {"used", "right", "wrong"} or {"error", "hint"}.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from hcq_cli.doctor.trials import MARK
from hcq_cli.errors import HcqError


def try_kernels() -> dict[str, Any]:
    """Which kernels give the plain sum and its order, which do not, and which one is used.

    Raises:
        HcqError: the environment asks for one that is not there.
    """
    import numpy as np

    from hcq_cli.scan.blocks import WIDTH, Blocks
    from hcq_cli.scan.kernels import kernel, kernels

    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (3, 8, WIDTH), dtype=np.uint8)
    tables = rng.normal(size=(2, 8, 256)).astype(np.float32)
    rows = codes.transpose(0, 2, 1).reshape(-1, 8)
    sums = np.stack([table[np.arange(8), rows].astype(np.float64).sum(1) for table in tables])
    wanted = np.argsort(-sums, axis=1, kind="stable")[:, :10]
    right: list[str] = []
    wrong: list[str] = []
    for name, candidate in kernels().items():
        found = candidate.topk(Blocks(codes, len(rows)), tables, 10)
        same = np.array_equal(found.rows, wanted) and np.allclose(found.scores, np.take_along_axis(sums, wanted, 1))
        (right if same else wrong).append(name)
    return {"used": kernel().name, "right": right, "wrong": wrong}


if __name__ == "__main__":
    try:
        outcome = try_kernels()
    except HcqError as error:
        outcome = {"error": error.message, "hint": error.hint}
    except Exception as error:
        outcome = {"error": f"{type(error).__name__}: {error}"}
    sys.stdout.write("\n" + MARK + json.dumps(outcome) + "\n")
