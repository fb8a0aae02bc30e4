"""A child process of hcq: the command that starts one, in which nothing that lies in the current folder runs.

`python -m` looks for every module in the current folder first, the standard library's included: in a folder of
downloads a file `cv2.py` or `zipfile.py` would run. So each child is started by the command given here, and by no
other.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

START = Path(__file__).with_name("start.py")


def python_command(module: str, *arguments: str | os.PathLike[str]) -> list[str]:
    """The command that runs a module of hcq in a process of its own, whatever the current folder holds.

    Args:
        module: its full name; it is run as `python -m` would run it.
        arguments: what it finds in `sys.argv[1:]`.
    """
    # -P: neither the current folder nor that of start.py, which holds such names as `codes`, comes on the path.
    return [sys.executable, "-P", os.fspath(START), module, *(os.fspath(each) for each in arguments)]
