"""`python -m hcq_cli` is the same program as `hcq`, and like it runs nothing that lies in the current folder.

Python puts the current folder first on the path of `python -m`. It is taken off here before anything is imported, but
not before Python itself has looked there for `hcq_cli` and for the modules by which `-m` works (`functools`,
`contextlib` and a few others, by the version of Python). In a folder with Python files of strangers, use the `hcq`
script, or `python -P -m hcq_cli`: neither looks there at all.
"""

import os
import sys


def _leave_current_folder() -> None:
    """Take the current folder off the path, where Python put it there."""
    if sys.flags.safe_path or not sys.path:
        return
    folder = sys.path[0]
    try:
        here = os.getcwd()  # noqa: PTH109  # pathlib is not to be imported yet
    except FileNotFoundError:  # it was deleted: nothing lies in it
        return
    if folder not in ("", here):
        return
    if os.path.dirname(os.path.dirname(os.path.abspath(__file__))) == here:  # noqa: PTH100, PTH120
        import experts  # noqa: F401  # a clone that is not installed: it lies beside us, and is not found later
    del sys.path[0]


def run() -> None:
    """Run the command line; the `hcq` script calls it, too. An interrupt ends it while the slow imports run."""
    if sys.platform == "win32":  # before what fails there without a word on why: locks, limits, polling of pipes
        sys.exit("error: hcq needs Linux or macOS\n  → on Windows it runs in WSL 2: wsl --install")
    from hcq_cli import interrupts

    interrupts.leave_at_once()
    if {"query", "find", "serve"} & set(sys.argv):
        # The products of one text are small: threads of OpenBLAS, which spin while they wait, cost more than they do,
        # beside other work thirty times more. Read once, when NumPy is loaded.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if "query" in sys.argv:
        from hcq_cli import __version__
        from hcq_cli.running_server import answered

        if (code := answered(sys.argv[1:], __version__)) is not None:
            sys.exit(code)
    from hcq_cli.app import main

    main()


if __name__ == "__main__":
    _leave_current_folder()
    run()
