"""Conditions on a neurons' table: a small grammar, so that no text from a file or a person is run.

Python's own parser makes a tree of a condition, and every node of it has to be one of these: names
of columns (backticks quote names with spaces), numbers, text, True and False; comparisons, also
chained; `and`, `or`, `not`; `in` and `not in` a list; `+ - * / // %`; and the calls `isna(column)`,
`notna(column)`, `startswith(column, text)`, `contains(column, text)`. Anything else is refused with
its position.
"""

import ast
import math
import operator
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from nwbdyn.errors import ConfigError

LONGEST = 20_000  # characters; a list of ids may be long
DEEPEST = 40  # levels of nesting
MOST_DIGITS = 20  # of a whole number: those of the largest unsigned one
CALLS = {"isna": 1, "notna": 1, "startswith": 2, "contains": 2}  # name -> number of arguments
MEMBERSHIP = (ast.In, ast.NotIn)
COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_SHOWN = 160  # characters of a condition in a message
COMPARISONS = ("==", "!=", "<=", ">=")
_REFUSED_MARKS = {
    "=": "'=' is written `==`",
    "@": "'@' reads a variable; write the value itself",
    "#": "'#' begins a comment",
    ";": "';' separates statements",
    ":": "':' has no meaning in a condition",
    "\\": "a backslash outside of text has no meaning",
    "$": "'$' has no meaning in a condition",
    "?": "'?' has no meaning in a condition",
    "^": "'^' has no meaning in a condition; write `a != b`",
    "{": "'{' has no meaning in a condition; write a list in [ ]",
    "}": "'}' has no meaning in a condition; write a list in [ ]",
    "&": "'&' is written `and`",
    "|": "'|' is written `or`",
    "~": "'~' is written `not`",
}
_NODES = {  # refused syntax -> its name in messages
    ast.Attribute: "an attribute",
    ast.Subscript: "an index",
    ast.Lambda: "a lambda",
    ast.JoinedStr: "a formatted text",
    ast.IfExp: "a conditional expression",
    ast.NamedExpr: "an assignment",
    ast.Starred: "an unpacked list",
    ast.ListComp: "a comprehension",
    ast.GeneratorExp: "a comprehension",
    ast.Await: "an await",
    ast.Yield: "a yield",
    ast.YieldFrom: "a yield",
}


class GrammarError(Exception):
    """Fault of a part of a condition; the text of the condition is added later."""

    def __init__(self, reason: str, at: int) -> None:
        super().__init__(reason)
        self.reason, self.at = reason, at  # at: character, counted from 0


class ConditionError(ConfigError):
    """A condition outside the grammar.

    Attributes:
        equivalent: the same in the grammar, where there is one.
    """

    def __init__(self, message: str, equivalent: str | None = None) -> None:
        super().__init__(message)
        self.equivalent = equivalent


@dataclass(frozen=True)
class Condition:
    """A condition that is in the grammar."""

    text: str
    columns: tuple[str, ...]  # that it names, in order, each once
    tree: ast.expr = field(repr=False, compare=False)
    source: bytes = field(repr=False, compare=False)  # that the positions in `tree` count
    names: dict[int, str] = field(repr=False, compare=False)  # position of a quoted name -> it

    def column(self, node: ast.Name) -> str:
        """The column that a node names."""
        return column_name(node, self.source, self.names)

    def position(self, node: ast.AST) -> int:
        """The character at which a node begins, counted from 0."""
        return position(node, self.source)


def shown(text: str) -> str:
    """A condition in a message, without the end of a long one."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def checked(text: str) -> Condition:
    """The condition in `text`; GrammarError where it is not in the grammar."""
    if len(text) > LONGEST:
        raise GrammarError(f"it has {len(text):,} characters, {LONGEST:,} at most", LONGEST)
    source, names = scanned(text)
    root, counted = tree(source), source.encode("utf-8", "replace")
    check = _Check(counted, names)
    check.node(root, 0)
    if not check.columns:
        raise GrammarError("it names no column", 0)
    return Condition(text, tuple(dict.fromkeys(check.columns)), root, counted, names)


def scanned(text: str, *, allowed: str = "") -> tuple[str, dict[int, str]]:
    """Python's source of a condition, as long as `text`, and its quoted names by byte offset.

    A quoted name becomes underscores, and every kind of white space a blank.

    Args:
        allowed: marks that are let through although the grammar has no use for them.
    """
    made: list[str] = []
    names: dict[int, str] = {}
    position = offset = 0  # in characters, in bytes
    while position < len(text):
        mark, stop = text[position], position + 1
        if mark in "'\"":
            stop = end_of_text(text, position)
            piece = text[position:stop]
        elif mark == "`":
            stop = text.find("`", stop) + 1
            if not stop or stop == position + 2:
                raise GrammarError("a name in backticks has no end, or is empty", position)
            names[offset] = text[position + 1 : stop - 1]
            piece = "_" * (stop - position)
        elif mark.isspace():
            piece = " "
        elif text[position : position + 2] in COMPARISONS:
            stop = position + 2
            piece = text[position:stop]
        else:
            if mark not in allowed:
                _check_mark(mark, position)
            piece = mark
        made.append(piece)
        offset += len(piece.encode("utf-8", "surrogatepass"))
        position = stop
    return "".join(made), names


def _check_mark(mark: str, position: int) -> None:
    if mark in _REFUSED_MARKS:
        raise GrammarError(_REFUSED_MARKS[mark], position)
    if not (mark.isalnum() or f"a{mark}".isidentifier() or mark in "<>()[],.+-*/%"):
        raise GrammarError(f"{mark!r} has no meaning in a condition", position)


def end_of_text(text: str, start: int) -> int:
    """The position behind the closing quote."""
    position = start + 1
    while position < len(text):
        if text[position] in "\n\r\0":
            raise GrammarError(f"{text[position]!r} is not allowed in text", position)
        if text[position] == "\\":
            position += 1
        elif text[position] == text[start]:
            return position + 1
        position += 1
    raise GrammarError("the text has no closing quote", start)


def tree(source: str) -> ast.expr:
    """Python's tree of a condition; positions in it are bytes of `source`."""
    bare = source.lstrip(" ")
    if not bare:
        raise GrammarError("it is empty", 0)
    ahead = len(source) - len(bare)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in text that Python does not know
            tree = ast.parse(bare, mode="eval").body
    except SyntaxError as error:
        at = min(error.offset - 1 + ahead if error.offset else len(source), len(source))
        raise GrammarError(f"it is no expression ({error.msg})", at) from None
    except (ValueError, MemoryError, RecursionError):
        raise GrammarError(f"it is no text, or nested deeper than {DEEPEST} levels", 0) from None
    todo = [tree]
    while todo:  # not `ast.walk`: only what has a position
        node = todo.pop()
        if hasattr(node, "col_offset"):
            node.col_offset += ahead
            node.end_col_offset = (node.end_col_offset or 0) + ahead
        todo += ast.iter_child_nodes(node)  # type: ignore[arg-type]
    return tree


class _Check:
    """Check that every node is in the grammar, and collect the columns."""

    def __init__(self, source: bytes, names: dict[int, str]) -> None:
        self.columns: list[str] = []
        self._bytes = source
        self._names = names

    def node(self, node: ast.AST, depth: int) -> None:
        if depth > DEEPEST:
            raise self.problem(node, f"it is nested deeper than {DEEPEST} levels")
        match node:
            case ast.Name():
                self.columns.append(column_name(node, self._bytes, self._names))
                return
            case ast.Constant():
                self._literal(node)
                return
            case ast.BoolOp():
                parts: list[ast.AST] = list(node.values)
            case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.UAdd()):
                parts = [node.operand]
            case ast.BinOp() if type(node.op) in ARITHMETIC:
                parts = [node.left, node.right]
            case ast.BinOp(op=ast.Pow()):
                raise self.problem(node, "powers are not allowed")
            case ast.Compare():
                self._compare(node, depth)
                return
            case ast.Call():
                self._call(node)
                return
            case ast.List() | ast.Tuple():
                raise self.problem(node, "a list stands only behind `in` and `not in`")
            case _:
                name = _NODES.get(type(node), f"{type(node).__name__}")
                raise self.problem(node, f"{name} is not allowed")
        for part in parts:
            self.node(part, depth + 1)

    def _compare(self, node: ast.Compare, depth: int) -> None:
        self.node(node.left, depth + 1)
        for op, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(op, MEMBERSHIP):
                self._list(right)
            elif type(op) not in COMPARE:
                raise self.problem(node, "`is` is not allowed; use isna(column) or notna(column)")
            else:
                self.node(right, depth + 1)
        for one in (node.left, *node.comparators):
            if isinstance(one, ast.Constant) and one.value is None:
                raise self.problem(one, "nothing equals None; use isna(column) or notna(column)")

    def _list(self, node: ast.expr) -> None:
        if not isinstance(node, ast.List | ast.Tuple):
            raise self.problem(node, "`in` takes a list of values, as in [1, 2]")
        for item in node.elts:
            bare = item.operand if isinstance(item, ast.UnaryOp) else item
            signed = isinstance(item, ast.UnaryOp) and isinstance(item.op, ast.USub | ast.UAdd)
            if not isinstance(bare, ast.Constant) or (bare is not item and not signed):
                raise self.problem(item, "a list holds numbers and texts only")
            self._literal(bare)
            if signed and isinstance(bare.value, bool | str | None):
                raise self.problem(item, "a sign stands before numbers only")

    def _call(self, node: ast.Call) -> None:
        name = node.func.id if isinstance(node.func, ast.Name) else None
        if name not in CALLS:
            reason = f"{name!r} is no function here" if name else "this call is not allowed"
            raise self.problem(node.func, f"{reason}; there are: {', '.join(CALLS)}")
        if node.keywords or len(node.args) != CALLS[name]:
            takes = "a column" if CALLS[name] == 1 else "a column and a text"
            raise self.problem(node, f"{name} takes {takes}")
        if not isinstance(node.args[0], ast.Name):
            raise self.problem(node.args[0], f"{name} takes the name of a column first")
        self.columns.append(column_name(node.args[0], self._bytes, self._names))
        for text in node.args[1:]:
            if not isinstance(text, ast.Constant) or not isinstance(text.value, str):
                raise self.problem(text, f"{name} takes a text in quotes second")

    def _literal(self, node: ast.Constant) -> None:
        value = node.value
        if not isinstance(value, bool | int | float | str | None):
            raise self.problem(node, f"{_KINDS.get(type(value), 'this value')} is not allowed")
        if isinstance(value, float) and not math.isfinite(value):
            raise self.problem(node, "this number is too large")
        if isinstance(value, int) and abs(value) >= 10**MOST_DIGITS:
            raise self.problem(node, f"a whole number has at most {MOST_DIGITS} digits")

    def problem(self, node: ast.AST, reason: str) -> GrammarError:
        return GrammarError(reason, position(node, self._bytes))


_KINDS = {complex: "an imaginary number", bytes: "a text of bytes", type(...): "'...'"}


def position(node: ast.AST, source: bytes) -> int:
    """The character at which a node begins."""
    offset: int = getattr(node, "col_offset", 0)
    return len(source[:offset].decode("utf-8", "replace"))


def column_name(node: ast.Name, source: bytes, names: dict[int, str]) -> str:
    """As it is written: Python's parser would give some letters another form."""
    if node.col_offset in names:
        return names[node.col_offset]
    return source[node.col_offset : node.end_col_offset].decode("utf-8", "replace")
