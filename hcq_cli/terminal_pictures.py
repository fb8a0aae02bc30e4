"""Pictures in terminals that can show them: kitty's graphics protocol, and iTerm2's inline images.

Sixel is left out: it needs an encoder, and the terminals that know nothing else are few. Pictures are
written in base64, so that nothing in them can steer a terminal.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

ROWS, COLUMNS = 6, 22
"""Cells of a picture; a cell is about twice as high as wide."""
GAP = 2
CHUNK = 4096
"""Bytes of base64 that kitty takes at once."""
KITTY_PROGRAMS, ITERM_PROGRAMS = {"ghostty", "wezterm"}, {"iterm.app", "iterm2"}


def protocol(environment: Mapping[str, str]) -> str:
    """How a terminal shows pictures: "kitty", "iterm2", or not at all: empty.

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
    return "iterm2" if {program, environment.get("LC_TERMINAL", "").lower()} & ITERM_PROGRAMS else ""


def side_by_side(pictures: Sequence[tuple[str, bytes]], by: str, width: int) -> str:
    """What a terminal shows as pictures in rows, each below its label.

    Args:
        pictures: a label of printable letters and a PNG, each.
        by: see `protocol`.
        width: columns of the terminal.
    """
    each = max(1, (width + GAP) // (COLUMNS + GAP))
    written = []
    for start in range(0, len(pictures), each):
        row = pictures[start : start + each]
        written.append("".join(label.ljust(COLUMNS + GAP) for label, _ in row).rstrip())
        # Room first, so that nothing scrolls while pictures are put there; each from where the cursor is kept.
        written.append("\n" * (ROWS + 1) + f"\x1b[{ROWS}A")
        for at, (_, png) in enumerate(row):
            right = f"\x1b[{at * (COLUMNS + GAP)}C" if at else ""
            written.append(f"\x1b7{right}{_kitty(png) if by == 'kitty' else _iterm(png)}\x1b8")
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
