"""A process that has imported all of hcq and forks a copy of itself for each command.

`python fork_server.py SOCKET OWNER` serves until the process OWNER ends.

Importing torch and its company costs a command three seconds of processor time, and most tests that run `hcq` run
it for what it does, not for how it starts. The copy is a process of its own all the same: its own working directory,
environment, standard streams and exit code, and `hcq_cli.app.main` from its first line to its last.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import select
import socket
import sys
import tempfile
import threading
import traceback
from contextlib import redirect_stderr, redirect_stdout, suppress
from typing import Any

LIBRARIES = ["torch", "onnx", "onnxruntime", "cv2", "av", "h5py", "safetensors.torch", "tokenizers", "PIL.ImageOps"]
LIBRARIES += ["rich.progress", "torch.onnx", "transformers.models.bert.modeling_bert"]
NOT_IMPORTED = ("hcq_cli.__main__", "hcq_cli.start", "hcq_cli.importers.official.pickle_child")


def import_everything() -> None:
    for name in LIBRARIES:
        with suppress(ImportError):  # an extra that is not installed here
            importlib.import_module(name)
    import experts
    import hcq_cli

    for package in (hcq_cli, experts):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name not in NOT_IMPORTED:
                with suppress(ImportError):
                    importlib.import_module(module.name)


def warm_up() -> None:
    """Run a command that ends at once, because much is imported and compiled at the first use only."""
    from typer.main import get_command

    app, console, errors = (sys.modules[f"hcq_cli.{name}"] for name in ("app", "console", "errors"))
    arguments = ["recipes", "show", "none of this name"]
    with open(os.devnull, "w") as nothing, redirect_stdout(nothing), redirect_stderr(nothing):
        try:  # not `main`, which starts a thread
            get_command(app.build()).main(arguments, prog_name="hcq", standalone_mode=False)
        except Exception as error:
            console.Console().error(errors.HcqError(str(error), "a hint"))


def become_command(request: dict[str, Any], streams: list[int]) -> None:
    """Run one command in this copy, with stdin, stdout and stderr as given; never returns."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    folders = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [folder for folder in folders if folder and folder not in sys.path]
    tempfile.tempdir = None
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    sys.argv = [os.path.join(os.path.dirname(sys.modules["hcq_cli"].__file__ or ""), "__main__.py")]
    sys.argv += request["arguments"]
    code: Any = 1
    try:
        sys.modules["hcq_cli.app"].main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    atexit._run_exitfuncs()
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def main() -> None:
    del sys.path[0]  # the tests' helpers are no part of what a command can import
    import_everything()
    warm_up()
    os.fsync = lambda handle: None  # as in conftest.py
    assert threading.active_count() == 1, "a fork copies one thread"
    gc.collect()
    gc.freeze()  # a collection in the copy would touch, and so copy, every page
    listening, owner = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET), os.pidfd_open(int(sys.argv[2]))
    listening.bind(sys.argv[1])
    listening.listen()
    print("ready", flush=True)
    running: dict[int, tuple[int, socket.socket]] = {}
    while True:
        ready = select.select([listening, owner, *running], [], [])[0]
        if owner in ready:  # the tests are over
            break
        for handle in ready:
            if handle is listening:
                connection, _ = listening.accept()
                message, streams, _, _ = socket.recv_fds(connection, 1 << 20, 3)
                if not (pid := os.fork()):
                    listening.close()
                    connection.close()
                    become_command(json.loads(message), streams)
                for stream in streams:
                    os.close(stream)
                connection.sendall(f"{pid}\n".encode())
                running[os.pidfd_open(pid)] = pid, connection
            else:
                pid, connection = running.pop(handle)
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                os.close(handle)
                with suppress(OSError), connection:  # whoever asked may have given up
                    connection.sendall(f"{code}\n".encode())
    for leftover in (sys.argv[1], f"{sys.argv[1]}.lock"):
        with suppress(OSError):
            os.unlink(leftover)


if __name__ == "__main__":
    main()
