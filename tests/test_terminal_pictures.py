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

import numpy as np
import pytest
from handmade import random_codes, write_codes
from indexes import build
from PIL import Image
from sample_videos import film

from hcq_cli.console import Console
from hcq_cli.console import Terminal as Where
from hcq_cli.terminal_pictures import CELL, CHUNK, COLUMNS, ROWS, cell_size, protocol, side_by_side

KITTY, ITERM = {"TERM": "xterm-kitty"}, {"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}
SIXEL = {"TERM": "foot"}
HOSTILE = "\x1b_Ga=d\x1b\\\x1b]0;owned\x07.mp4"
PICTURE = {
    "kitty": re.compile(rb"(?:\x1b_G[^;]*m=1;[^\x1b]*\x1b\\)*\x1b_G[^;]*m=0;[^\x1b]*\x1b\\"),
    "iterm2": re.compile(rb"\x1b\]1337;File=inline=1;[^:]*:[^\x07]*\x07"),
    "sixel": re.compile(rb"\x1bP0;1q[\"#$!;\d?-~-]*\x1b\\"),
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
        (SIXEL, "sixel"),
        ({"TERM": "mlterm-256color"}, "sixel"),
        ({"TERM": "xterm-sixel"}, "sixel"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "mintty"}, "sixel"),
        ({**SIXEL, "TMUX": "socket,1,0"}, ""),
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


def _pixels(sixels: str) -> np.ndarray:
    """What a terminal draws of a picture in sixels, float64 [H, W, 3] from 0 to 100; NaN where nothing is."""
    width, high = map(int, re.match(r"1;1;(\d+);(\d+)", sixels.partition('"')[2]).groups())  # type: ignore[union-attr]
    drawn, palette, top, x, colour = np.full((high + 5, width, 3), np.nan), {}, 0, 0, -1
    for word in re.findall(
        r"#\d+(?:;\d+){4}|#\d+|!\d+[?-~]|[$-]|[?-~]", sixels.partition("#")[1] + sixels.partition("#")[2]
    ):
        if word[0] == "#":
            colour, *rest = map(int, word[1:].split(";"))
            palette |= {colour: rest[1:]} if rest else {}
        elif word in "$-":
            top, x = top + 6 * (word == "-"), 0
        else:
            again = int(word[1:-1]) if word[0] == "!" else 1
            for row in range(6):
                if (ord(word[-1]) - 63) >> row & 1:
                    drawn[top + row, x : x + again] = palette[colour]
            x += again
    return drawn[:high]


@pytest.mark.parametrize(("size", "cell"), [((200, 90), (8, 16)), ((90, 161), (9, 20)), ((7, 5), (8, 16))])
def test_sixels_draw_the_picture_within_its_cells(size: tuple[int, int], cell: tuple[int, int]) -> None:
    columns, rows = np.meshgrid(np.arange(size[0]) // 20 * 25 % 256, np.arange(size[1]) // 30 * 40 % 256)
    picture = Image.fromarray(np.stack([columns, rows, np.full_like(rows, 90)], axis=2).astype(np.uint8))
    picture.save(file := io.BytesIO(), "PNG")
    (shown,) = PICTURE["sixel"].findall(side_by_side([("1", file.getvalue())], "sixel", 80, cell).encode())
    drawn = _pixels(shown.decode())
    wide, high = COLUMNS * cell[0], ROWS * cell[1]
    assert drawn.shape[1] == wide or drawn.shape[0] == high
    assert drawn.shape[1] <= wide and drawn.shape[0] <= high and not np.isnan(drawn).any()
    expected = np.asarray(picture.resize(drawn.shape[1::-1]), float) * 100 / 255
    assert np.abs(drawn - expected).mean() < 2


def test_a_terminal_says_how_large_its_cells_are() -> None:
    ours, theirs = os.openpty()
    with open(theirs, "w") as terminal:
        assert cell_size(terminal) == CELL
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 80, 80 * 11, 30 * 23))
        assert cell_size(terminal) == (11, 23)
    os.close(ours)
    assert cell_size(io.StringIO()) == CELL


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
@pytest.mark.parametrize(
    ("environment", "by"), [(KITTY, "kitty"), (ITERM, "iterm2"), (SIXEL, "sixel")], ids=["kitty", "iterm2", "sixel"]
)
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
        assert (
            b"gone.mp4" in printed and b"\x1b_G" not in printed and b"1337" not in printed and b"\x1bP" not in printed
        )
