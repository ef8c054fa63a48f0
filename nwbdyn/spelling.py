"""Options in a message as the interface in use spells them: `--overwrite`, or `overwrite=True`.

A message names the option that mends a mistake, and is written once, with the command line's
spelling. The command line prints it so. In Python the same message names the keyword argument.
Texts between backticks are commands to type in a shell and stay as they are.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_ON_COMMAND_LINE: ContextVar[bool] = ContextVar("on_command_line", default=False)

FLAGS = ("overwrite", "resume", "full", "enrich", "replace", "dense", "quiet")  # take no value
KEYWORDS = {  # option -> keyword argument, where the two differ by more than "-" and "_"
    "covariate": "covariates",
    "events": "covariates",
    "set": "options",
}
_WORDS = ("none", "cpu", "cuda", "auto", "ms", "ray", "table")  # values in small letters
_NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")
_PAIR = re.compile(r"--(set|subject) (\w+|%s)=(\w[\w.+-]*\b)?")
_OPTION = re.compile(r"--([a-z][a-z-]*)(?: ([\w:=*.+-]*\w))?")
_OUTPUT = (  # of the command line; in Python a path is an argument, and edges are in the fit
    ("all in edges.csv", "all in fit.edges"),
    ("or -o with ", "or "),
    ("pass -o with ", "pass "),
    ("Pass -o with ", "Pass "),
    ("another -o", "another path"),
)


@contextmanager
def on_command_line() -> Iterator[None]:
    """Spell options as the command line does, inside the block."""
    token = _ON_COMMAND_LINE.set(True)
    try:
        yield
    finally:
        _ON_COMMAND_LINE.reset(token)


def spelled(text: str) -> str:
    """The text with its options as the interface in use spells them."""
    return text if _ON_COMMAND_LINE.get() else in_python(text)


def in_python(text: str) -> str:
    """The text with keyword arguments instead of options of the command line."""
    parts = text.split("`")
    for i in range(0, len(parts), 2):
        part = _PAIR.sub(_pair, parts[i])
        for option, argument in _OUTPUT:
            part = part.replace(option, argument)
        parts[i] = _OPTION.sub(_argument, part)
    return "`".join(parts)


def _pair(match: re.Match[str]) -> str:
    """One entry of a dictionary: `--set layers=2` is `options={"layers": 2}`."""
    option, name, value = match.groups()
    keyword = KEYWORDS.get(option, option)
    return f'{keyword}={{"{name}": {"X" if value is None else _literal(value)}}}'


def _argument(match: re.Match[str]) -> str:
    option, value = match.groups()
    name = KEYWORDS.get(option, option.replace("-", "_"))
    if option in FLAGS:
        return f"{name}=True" if value is None else f"{name}=True {value}"
    if value is None:
        return name
    return f"{name}={_literal(value)}" if _is_value(value) else f"{name} {value}"


def _is_value(text: str) -> bool:
    """A value has a capital, a digit or a sign in it, or is one of few words; else it is prose."""
    return text in _WORDS or bool(re.search(r"[A-Z0-9:=_*]", text))


def _literal(value: str) -> str:
    """A value as Python writes it; capitals alone stand for what the user knows."""
    if _NUMBER.fullmatch(value) or (value.isupper() and value.isalpha()):
        return value
    if value in ("True", "False", "None"):
        return value
    return f'"{value}"'
