"""Strangers' names as they can be shown: on one line, in reading order, without what steers a terminal or a page."""

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
