"""The first lines of every child process: `python -P start.py MODULE ARGUMENT...`, as `python_command` gives it.

It does what `python -P -m MODULE` does, and finds the packages beside this very file as well: a child runs the code
of its parent, also where hcq is not installed and the parent has it from the current folder.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path


def take_packages(folder: str) -> None:
    """Import hcq's two packages from the folder that holds them, and nothing else.

    Modules inside an imported package are found without the path. So the folder leaves it again: it may hold more
    than the two, and would come before the standard library.
    """
    sys.path.insert(0, folder)
    import experts  # noqa: F401
    import hcq_cli  # noqa: F401

    sys.path.remove(folder)


def main() -> None:
    """Run the module that the first argument names."""
    take_packages(str(Path(__file__).parent.parent))
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
