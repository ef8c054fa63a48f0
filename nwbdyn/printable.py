r"""Texts from files and addresses as a terminal, a log or a page may show them.

A name in a file may hold escape sequences that clear the screen or set a window's title, and marks
that turn the direction of writing. They are written out instead (`\x1b`, `\u202e`).
"""

import unicodedata

_ESCAPED = ("Cc", "Cf", "Cs", "Zl", "Zp")  # Unicode categories: control, format, surrogate, lines
_JOINERS = (
    "\u200c\u200d"  # of scripts and of emoji; they change nothing but the letters beside them
)


def printable(text: str, *, lines: bool = False) -> str:
    """The text with every control character written out.

    Args:
        lines: keep the ends of lines.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        letter if _is_shown(letter) or (lines and letter == "\n") else _written_out(letter)
        for letter in text
    )


def folder_name(text: str, *, longest: int = 120) -> str:
    """A text as one name in a folder: no separators, no control characters, not `.` or `..`."""
    letters = (letter if _is_shown(letter) and letter not in "/\\" else "-" for letter in text)
    name = "".join(letters)[:longest]
    return name if name.strip(".") else "recording"


def _is_shown(letter: str) -> bool:
    return letter in _JOINERS or unicodedata.category(letter) not in _ESCAPED


def _written_out(letter: str) -> str:
    code = ord(letter)
    short = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}.get(letter)
    if short is not None:
        return short
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
