"""Pictures are shown by terminals that can, and nothing of them anywhere else; seen through a pseudo-terminal."""

from __future__ import annotations

import base64
import fcntl
import io
import os
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from pathlib import Path

import pytest
from handmade import random_codes, write_codes
from PIL import Image
from sample_videos import film

from hcq_cli.console import Console
from hcq_cli.console import Terminal as Where
from hcq_cli.search.index_writer import build
from hcq_cli.terminal_pictures import CHUNK, COLUMNS, ROWS, protocol, side_by_side

KITTY, ITERM = {"TERM": "xterm-kitty"}, {"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}
HOSTILE = "\x1b_Ga=d\x1b\\\x1b]0;owned\x07.mp4"
PICTURE = {
    "kitty": re.compile(rb"(?:\x1b_G[^;]*m=1;[^\x1b]*\x1b\\)*\x1b_G[^;]*m=0;[^\x1b]*\x1b\\"),
    "iterm2": re.compile(rb"\x1b\]1337;File=inline=1;[^:]*:[^\x07]*\x07"),
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "by"),
    [
        (KITTY, "kitty"),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "ghostty"}, "kitty"),
        (ITERM, "iterm2"),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, "iterm2"),
        ({"TERM": "xterm-256color"}, ""),
        ({"TERM": "dumb", "KITTY_WINDOW_ID": "1"}, ""),
        ({}, ""),
        ({**KITTY, "TMUX": "socket,1,0"}, ""),
        ({"TERM": "screen-256color", "TERM_PROGRAM": "iTerm.app"}, ""),
    ],
    ids=str,
)
def test_what_a_terminal_can_it_says_itself(environment: Mapping[str, str], by: str) -> None:
    assert protocol(environment) == by
    for out, shown in ((Terminal(), by), (io.StringIO(), "")):
        assert Console(terminal=Where(out, out, environment, ".")).shows_pictures == shown


def _png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((width, height), 50).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("width", [10, 80, 200])
@pytest.mark.parametrize("by", ["kitty", "iterm2"])
def test_pictures_lie_side_by_side_and_are_whole(by: str, width: int) -> None:
    pngs = [_png(200, 90), _png(90, 160), _png(8, 8)]
    written = side_by_side([(f"{at}", png) for at, png in enumerate(pngs)], by, width).encode()
    shown = PICTURE[by].findall(written)
    payloads = [b"".join(re.findall(rb"[;:]([A-Za-z0-9+/=]+)(?:\x1b\\|\x07)", each)) for each in shown]
    assert [base64.b64decode(payload) for payload in payloads] == pngs
    each_row = max(1, (width + 2) // (COLUMNS + 2))
    assert written.count(b"\r") == -(-3 // each_row) and written.count(b"\x1b7") == written.count(b"\x1b8") == 3
    if by == "kitty":
        assert [b"c=22" in each.partition(b";")[0] for each in shown] == [True, False, False]
        assert all(len(part) <= CHUNK for each in shown for part in re.findall(rb";([^\x1b]*)", each))
        assert all(b"q=2" in each for each in shown)  # the terminal does not answer into the next command line
    rest = PICTURE[by].sub(b"", written)
    assert not re.sub(rb"\x1b[78]|\x1b\[\d+[ABC]|[\d \n\r]", b"", rest), "nothing else steers the terminal"
    assert rest.count(b"\x1b[%dB" % ROWS) == rest.count(b"\x1b[%dA" % ROWS)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of four videos: two are there, one has a hostile name, and one is gone."""
    folder = tmp_path_factory.mktemp("pictures")
    ids = ["a.mp4", "b.mp4", HOSTILE.replace("/", "_"), "gone.mp4"]
    for name in ids[:3]:
        film(folder / "film.mp4", [0.0, 0.1, 0.2]).rename(folder / name)
    codes = write_codes(folder / "codes.hcq", ids, random_codes(4), folder=str(folder))
    build(folder / ".hcq" / "index", [codes])
    return folder


def seen(workspace: Path, environment: Mapping[str, str], *options: str, terminal: bool = True) -> bytes:
    """What `hcq query` prints on a terminal of 80 columns, or into a pipe."""
    usual = {name: value for name, value in os.environ.items() if not name.startswith(("HCQ_", "TERM", "TMUX"))}
    command = [sys.executable, "-m", "hcq_cli", "query", "--like", "a.mp4", "--exact", *options]
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 80, 0, 0))
    streams = dict.fromkeys(("stdin", "stderr"), theirs)
    out = theirs if terminal else subprocess.PIPE
    process = subprocess.Popen(command, cwd=workspace, env={**usual, **environment}, stdout=out, **streams)
    os.close(theirs)
    printed = b"" if terminal else process.communicate()[0]
    try:
        while more := os.read(ours, 1 << 16):
            printed += more if terminal else b""
    except OSError:  # the end of a terminal
        os.close(ours)
    assert process.wait() == 0
    return printed


@pytest.mark.long
@pytest.mark.parametrize(("environment", "by"), [(KITTY, "kitty"), (ITERM, "iterm2")], ids=["kitty", "iterm2"])
def test_a_query_shows_pictures_of_its_hits(workspace: Path, environment: Mapping[str, str], by: str) -> None:
    printed = seen(workspace, environment)
    assert len(PICTURE[by].findall(printed)) == 2 and b"gone.mp4" in printed
    assert HOSTILE.encode() not in printed and b"\x1b]0;" not in printed and b"a=d" in printed.replace(b"\\x1b", b"")
    table = PICTURE[by].split(printed)[0]
    assert table.index(b"gone.mp4") < len(table), "pictures come below the table"


@pytest.mark.long
def test_and_nowhere_else(workspace: Path) -> None:
    for printed in (
        seen(workspace, {"TERM": "xterm-256color"}),
        seen(workspace, {**KITTY, "TERM": "dumb"}),
        seen(workspace, KITTY, "--no-thumbnails"),
        seen(workspace, KITTY, "--json"),
        seen(workspace, KITTY, "-q"),
        seen(workspace, KITTY, terminal=False),
    ):
        assert b"gone.mp4" in printed and b"\x1b_G" not in printed and b"1337" not in printed
