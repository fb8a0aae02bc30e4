"""Pictures in terminals that can show them: kitty's graphics protocol, iTerm2's inline images, and sixels.

Pictures are written in base64, or as sixels of their pixels, so that nothing in them can steer a terminal.
"""

from __future__ import annotations

import base64
import fcntl
import io
import re
import struct
import termios
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TextIO

ROWS, COLUMNS = 6, 22
"""Cells of a picture; a cell is about twice as high as wide."""
GAP = 2
CHUNK = 4096
"""Bytes of base64 that kitty takes at once."""
CELL = (8, 16)
"""Pixels of a cell, wide and high, where the terminal does not say: few terminals have smaller ones."""
COLOURS = 64
"""Of a picture in sixels; any terminal that shows them knows as many."""
SIXEL_TERMINALS, SIXEL_PROGRAMS = ("foot", "mlterm", "contour", "yaft"), {"mintty", "contour"}
_AGAIN = re.compile(r"(.)\1{3,}")
KITTY_PROGRAMS, ITERM_PROGRAMS = {"ghostty", "wezterm"}, {"iterm.app", "iterm2"}


def protocol(environment: Mapping[str, str]) -> str:
    """How a terminal shows pictures: "kitty", "iterm2", "sixel", or not at all: empty.

    Args:
        environment: its variables; what a terminal says of itself stands there, so that nothing has to be asked.
    """
    terminal = environment.get("TERM", "")
    # What multiplexes terminals passes no pictures on, and keeps the variables of the one that it was started in.
    multiplexed = "TMUX" in environment or terminal.startswith(("screen", "tmux"))
    if multiplexed or terminal in ("", "dumb"):
        return ""
    program = environment.get("TERM_PROGRAM", "").lower()
    if "KITTY_WINDOW_ID" in environment or terminal in ("xterm-kitty", "xterm-ghostty") or program in KITTY_PROGRAMS:
        return "kitty"
    if {program, environment.get("LC_TERMINAL", "").lower()} & ITERM_PROGRAMS:
        return "iterm2"
    knows_sixels = terminal.startswith(SIXEL_TERMINALS) or "sixel" in terminal or "MLTERM" in environment
    return "sixel" if knows_sixels or program in SIXEL_PROGRAMS else ""


def cell_size(out: TextIO) -> tuple[int, int]:
    """Pixels of a cell of the terminal that `out` writes to, wide and high; `CELL` where it does not say."""
    with suppress(OSError, ValueError):  # no terminal
        size = fcntl.ioctl(out.fileno(), termios.TIOCGWINSZ, bytes(8))
        rows, columns, wide, high = struct.unpack("HHHH", size)
        if 0 < columns <= wide and 0 < rows <= high:
            return wide // columns, high // rows
    return CELL


def side_by_side(pictures: Sequence[tuple[str, bytes]], by: str, width: int, cell: tuple[int, int] = CELL) -> str:
    """What a terminal shows as pictures in rows, each below its label.

    Args:
        pictures: a label of printable letters and a PNG, each.
        by: see `protocol`.
        width: columns of the terminal.
        cell: pixels of one of its cells, wide and high.
    """
    shown = {"kitty": _kitty, "iterm2": _iterm, "sixel": lambda png: _sixel(png, cell)}[by]
    each = max(1, (width + GAP) // (COLUMNS + GAP))
    written = []
    for start in range(0, len(pictures), each):
        row = pictures[start : start + each]
        written.append("".join(label.ljust(COLUMNS + GAP) for label, _ in row).rstrip())
        # Room first, so that nothing scrolls while pictures are put there; each from where the cursor is kept.
        written.append("\n" * (ROWS + 1) + f"\x1b[{ROWS}A")
        for at, (_, png) in enumerate(row):
            right = f"\x1b[{at * (COLUMNS + GAP)}C" if at else ""
            written.append(f"\x1b7{right}{shown(png)}\x1b8")
        written.append(f"\x1b[{ROWS}B\r")
    return "".join(written)


def _kitty(png: bytes) -> str:
    """https://sw.kovidgoyal.net/kitty/graphics-protocol: as wide or high as there is room; no answer is wanted."""
    wide, high = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))
    size = f"c={COLUMNS}" if wide * ROWS * 2 > high * COLUMNS else f"r={ROWS}"
    data = base64.standard_b64encode(png).decode()
    chunks = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]
    keys = [f"a=T,f=100,q=2,C=1,{size},", *[""] * (len(chunks) - 1)]
    more = [1] * (len(chunks) - 1) + [0]
    return "".join(f"\x1b_G{key}m={m};{chunk}\x1b\\" for key, m, chunk in zip(keys, more, chunks, strict=True))


def _iterm(png: bytes) -> str:
    """https://iterm2.com/documentation-images.html"""
    data = base64.standard_b64encode(png).decode()
    return f"\x1b]1337;File=inline=1;size={len(png)};width={COLUMNS};height={ROWS};preserveAspectRatio=1:{data}\x07"


def _sixel(png: bytes, cell: tuple[int, int]) -> str:
    """https://vt100.net/docs/vt3xx-gp/chapter14.html: a palette in percent, then bands of six rows of pixels, colour
    after colour, a letter for which of six pixels have it; a letter that comes again is counted."""
    import numpy as np
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(png), formats=["PNG"]) as file:
        room = (COLUMNS * cell[0], ROWS * cell[1])
        picture = ImageOps.contain(file.convert("RGB"), room).quantize(COLOURS)
    palette = np.array(picture.getpalette()).reshape(-1, 3) * 100 // 255
    colours = "".join(f"#{at};2;{red};{green};{blue}" for at, (red, green, blue) in enumerate(palette.tolist()))
    pixels, bands = np.asarray(picture), []
    for top in range(0, picture.height, 6):
        band = pixels[top : top + 6]
        bits = 1 << np.arange(len(band))[:, None]
        lines = ((at, bytes(63 + ((band == at) * bits).sum(0, dtype=np.uint8))) for at in np.unique(band))
        counted = (f"#{at}" + _AGAIN.sub(lambda run: f"!{len(run[0])}{run[1]}", line.decode()) for at, line in lines)
        bands.append("$".join(counted))
    return f'\x1bP0;1q"1;1;{picture.width};{picture.height}{colours}{"-".join(bands)}\x1b\\'
