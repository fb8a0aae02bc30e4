"""`hcq query` asks the server that runs for the same workspace, if there is one: `hcq serve` has the model ready.

The command line goes as it was typed through a socket in the workspace, which is the person's own and ends with the
server; the server runs it as the command would, with a searcher that stays open (commands/visits.py), and sends back
what is to be printed. Whatever it cannot answer just so (other options, another workspace or hcq, any error) it
leaves to the command itself, and so does a socket that nobody or somebody else listens at. Imported before anything
else: starting Python and this takes less time than importing what parses a command line.
"""

import json
import os
import socket
import sys

SOCKET = "serving.sock"
"""The name of the socket in the workspace."""
LONGEST_ADDRESS = 100
"""Bytes of a socket's path; systems end at 104 or 108."""
CONNECT_S, ANSWER_S = 0.2, 2.0
"""A server that takes longer is overloaded, or stopped: the command answers by itself."""
PASSED_ON = (
    *("COLORTERM", "COLUMNS", "FORCE_COLOR", "HOME", "LINES", "NO_COLOR", "TERM", "TTY_COMPATIBLE"),
    *("TTY_INTERACTIVE", "XDG_CONFIG_HOME", "KITTY_WINDOW_ID", "LC_TERMINAL", "TERM_PROGRAM", "TMUX"),
)
"""Variables that what is printed depends on."""
KNOWN = {"HCQ_WORKSPACE", "HCQ_DEBUG"}
"""Variables HCQ_* that need no parser."""


def answered(arguments: list[str], version: str) -> int | None:
    """Let the running server answer, and print what it says.

    Args:
        arguments: of the command line, without the program.
        version: of this hcq; another one's server is not asked.

    Returns:
        the exit code; None where the command has to answer by itself, and nothing was printed.
    """
    streams = (sys.stdin, sys.stdout, sys.stderr)
    if any(stream is None or stream.encoding.lower().replace("-", "") != "utf8" for stream in streams[1:]):
        return None
    if any(name.startswith("HCQ_") and name not in KNOWN for name in os.environ):
        return None
    try:
        printed = _asked(os.path.join(_workspace(arguments), SOCKET), arguments, version)  # noqa: PTH118
        if printed is None:
            return None
        for number, text in printed:
            stream = streams[number]
            stream.buffer.write(text.encode("utf-8", "surrogateescape"))
            stream.buffer.flush()
    except BrokenPipeError:  # whoever read has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # the last three: no server of ours
        return None
    return 0


def socket_address(path: str) -> str:
    """The path of a socket, absolute or from the current folder, where one is as short as it must be; else empty."""
    found = min((path, os.path.abspath(path), os.path.relpath(path)), key=len)  # noqa: PTH100
    return found if len(os.fsencode(found)) <= LONGEST_ADDRESS else ""


def _workspace(arguments: list[str]) -> str:
    """Where the workspace seems to be. The server, which parses the line, says if it is another one."""
    found = os.environ.get("HCQ_WORKSPACE") or ".hcq"
    for each, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if each in ("-w", "--workspace"):
            found = following
        elif each.startswith("--workspace="):
            found = each.partition("=")[2]
    return found


def _asked(path: str, arguments: list[str], version: str) -> list[tuple[int, str]] | None:
    """What the server prints, each piece with the number of its stream; None where it leaves that to the command."""
    if not (address := socket_address(path)) or os.stat(address).st_uid != os.geteuid():  # noqa: PTH116
        return None
    question = {
        "hcq": version,
        "arguments": arguments,
        "folder": os.getcwd(),  # noqa: PTH109
        "terminals": [os.isatty(number) for number in (1, 2)],
        "environment": {**_size(), **{name: os.environ[name] for name in PASSED_ON if name in os.environ}},
        "workspace": os.environ.get("HCQ_WORKSPACE"),
    }
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(CONNECT_S)
        connection.connect(address)
        connection.settimeout(ANSWER_S)
        connection.sendall(json.dumps(question).encode())
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while received := connection.recv(1 << 16):
            answer += received
    return json.loads(answer)["printed"] if answer else None


def _size() -> dict[str, str]:
    """The size of the terminal, as rich looks for it."""
    for number in (0, 1, 2):
        try:
            size = os.get_terminal_size(number)
        except OSError:
            continue
        dumb = os.environ.get("TERM", "").lower() in ("dumb", "unknown")
        return {} if dumb else {"COLUMNS": str(size.columns), "LINES": str(size.lines)}
    return {}
