"""A video opened in a player of this machine, at a second of it.

The player is started as it is, without a shell: no name of a file can become a command.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hcq_cli.errors import HcqError, NotFoundError
from hcq_cli.media.cutting import cut_clip, ending_of_clip, keeps_clock

PLAYERS: dict[str, Callable[[float], list[str]]] = {
    "mpv": lambda second: [f"--start={second:.1f}"],
    "vlc": lambda second: [f"--start-time={second:.1f}"],
    "ffplay": lambda second: ["-ss", f"{second:.1f}", "-autoexit"],
}
"""What starts at a second, the first that is there; with its arguments before the file."""
OPENERS = {"darwin": "open", "win32": "explorer"}
"""What opens a file in whatever the system has for it, from its beginning; elsewhere xdg-open."""
STRETCH_S = 60.0
INSTALL = "install mpv, or look at the path that hcq query prints"


def player_command(path: Path, second: float) -> tuple[list[str], bool]:
    """The command that plays a file, and whether it starts at the second.

    Args:
        path: absolute, so that no name is taken for an option.
        second: where to start.

    Raises:
        NotFoundError: there is no player.
    """
    for name, arguments in PLAYERS.items():
        if player := shutil.which(name):
            return [player, *arguments(second), str(path)], True
    name = OPENERS.get(sys.platform, "xdg-open")
    if opener := shutil.which(name):
        return [opener, str(path)], False
    raise NotFoundError(f"no player on this machine: neither {', '.join(PLAYERS)} nor {name}", INSTALL)


def play(path: Path, second: float) -> tuple[str, bool]:
    """Start a player and leave it to itself; gives its name, and whether it starts at the second.

    Of several recordings in one file players show the first, or their clock goes another way than that of hits: then
    a stretch is cut out for them, into a folder for temporary files.

    Args:
        path: of the video.
        second: where to start.

    Raises:
        NotFoundError: there is no such file, or no player.
    """
    if not path.is_file():
        raise NotFoundError(f"{path}: is not there (moved, or a drive that is not plugged in?)", "hcq update")
    if second:
        with suppress(HcqError):  # what hcq cannot read a player may yet
            if not keeps_clock(path, second):
                stretch = Path(tempfile.mkdtemp(prefix="hcq-open-")) / f"{second:.1f}s{ending_of_clip(path)}"
                cut_clip(path, second, second + STRETCH_S, stretch)
                path, second = stretch, 0.0
    command, at_second = player_command(path.absolute(), second)
    nowhere = subprocess.DEVNULL
    subprocess.Popen(command, stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True)
    return Path(command[0]).name, at_second
