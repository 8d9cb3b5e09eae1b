"""Texts as the operating system passes them on: arguments and variables need not be UTF-8."""

from __future__ import annotations


def is_utf8(text: str) -> bool:
    """Return whether an argument or a variable is UTF-8: Python keeps bytes that are not as surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(text: str) -> str:
    """Return `text` on one line: what a terminal does not show as a character is written as Python escapes it."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
