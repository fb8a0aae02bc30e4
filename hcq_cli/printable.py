"""What people are shown: strangers' names on one line, in reading order, without what steers a terminal or a page;
counts with their noun, seconds as players write them; bytes in the unit that fits."""

from __future__ import annotations


def escaped(character: str) -> str:
    """A character as Python writes it in a string; an undecodable byte as `\\xff`."""
    if "\udc80" <= character <= "\udcff":  # surrogateescape
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def printable(text: str) -> str:
    """`text` with control characters and undecodable bytes escaped, so that a file name cannot break a line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else escaped(c) for c in text)


def whole_characters(text: str) -> str:
    """The same with a question mark for each half character (a lone surrogate), which is in no encoding: bytes of a
    file's name or of a terminal that are no UTF-8 come as such."""
    return text.encode("utf-8", "replace").decode()


def counted(number: int, noun: str) -> str:
    """`1 video`, `2,000 videos`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def clock(seconds: float) -> str:
    """Seconds as players write them: 0:07, 1:02:03."""
    hours, left = divmod(int(seconds), 3600)
    minutes, second = divmod(left, 60)
    return f"{hours}:{minutes:02}:{second:02}" if hours else f"{minutes}:{second:02}"


def size_text(nbytes: float) -> str:
    """Bytes for people: `17 bytes`, `4.2 MB`."""
    for unit in ("bytes", "KB", "MB", "GB", "TB"):
        if nbytes < 1000:
            return f"{nbytes:.0f} bytes" if unit == "bytes" else f"{nbytes:.1f} {unit}"
        nbytes /= 1000
    return f"{nbytes:.1f} PB"
