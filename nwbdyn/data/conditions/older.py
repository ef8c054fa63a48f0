"""Older forms of a condition, as pandas reads them, in the words of the grammar.

They are rewritten for a message only and never evaluated: `&` as `and`, `column.isna()` as
`isna(column)`, `column.str.startswith("x")` as `startswith(column, "x")` and so on.
"""

import ast
import re

from nwbdyn.data.conditions.grammar import (
    LONGEST,
    GrammarError,
    checked,
    end_of_text,
    scanned,
    tree,
)

_BOOLEAN_MARKS = {"&": " and ", "|": " or ", "~": " not "}
_MISSING = {"isna": "isna", "isnull": "isna", "notna": "notna", "notnull": "notna"}
_METHODS: dict[str, type[ast.cmpop]] = {
    "eq": ast.Eq,
    "ne": ast.NotEq,
    "lt": ast.Lt,
    "le": ast.LtE,
    "gt": ast.Gt,
    "ge": ast.GtE,
}


def equivalent(text: str) -> str | None:
    """Condition in the grammar that equals an older one of pandas; None if there is none."""
    try:
        tree, names = _older(text)
        new = ast.unparse(_Newer().visit(_Quoted(names).visit(tree)))
        checked(new)
    except (GrammarError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return new


def _older(text: str) -> tuple[ast.expr, dict[int, str]]:
    """The tree of a text with `&`, `|` and `~`, which pandas reads as and, or, not."""
    made, position = "", 0
    while position < len(text):
        mark, stop = text[position], position + 1
        if mark in "'\"":
            stop = end_of_text(text, position)
        elif mark == "`":
            stop = text.find("`", stop) + 1 or len(text)
        piece = text[position:stop]
        made += _BOOLEAN_MARKS.get(piece, piece)
        position = stop
    if len(made) > LONGEST:
        raise GrammarError("it has no equivalent", 0)
    marks = re.sub(r"'[^']*'|\"[^\"]*\"|`[^`]*`", "", made)
    if any(mark in marks for mark in "@#;:\\$?^"):
        raise GrammarError("it has no equivalent", 0)
    listed = made.replace("{", "[").replace("}", "]") if "{" in marks else made
    source, names = scanned(listed, allowed="=")
    return tree(source), names


class _Quoted(ast.NodeTransformer):
    """Names in backticks again, so that the tree can be written out."""

    def __init__(self, names: dict[int, str]) -> None:
        self._names = names

    def visit_Name(self, node: ast.Name) -> ast.Name:
        name = self._names.get(node.col_offset)
        return node if name is None else ast.copy_location(ast.Name(f"`{name}`"), node)


class _Newer(ast.NodeTransformer):
    """Attributes and methods of pandas as the grammar's calls and comparisons."""

    def visit_Call(self, node: ast.Call) -> ast.expr:
        if not isinstance(node.func, ast.Attribute):
            return node
        owner, method, arguments = node.func.value, node.func.attr, list(node.args)
        of_text = isinstance(owner, ast.Attribute) and owner.attr == "str"
        column = owner.value if of_text else owner  # type: ignore[attr-defined]
        if not isinstance(column, ast.Name):
            return node
        first = arguments[0] if arguments else None
        if of_text and method in ("startswith", "contains") and isinstance(first, ast.Constant):
            literal = method == "startswith" or re.escape(str(first.value)) == str(first.value)
            plain = any(
                one.arg == "regex" and isinstance(one.value, ast.Constant) and not one.value.value
                for one in node.keywords
            )
            known = all(one.arg in ("na", "regex") for one in node.keywords)
            if (literal or plain) and known and len(arguments) == 1:
                return _called(method, column, first)
        if of_text or node.keywords:
            return node
        if method in _MISSING and not arguments:
            return _called(_MISSING[method], column)
        if method == "isin" and len(arguments) == 1:
            return ast.Compare(column, [ast.In()], arguments)
        if method == "between" and len(arguments) == 2:
            return ast.Compare(arguments[0], [ast.LtE(), ast.LtE()], [column, arguments[1]])
        if method in _METHODS and len(arguments) == 1:
            return ast.Compare(column, [_METHODS[method]()], arguments)
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        self.generic_visit(node)
        if len(node.ops) != 1:
            return node
        op, right = node.ops[0], node.comparators[0]
        if isinstance(node.left, ast.Name) and isinstance(right, ast.Constant):
            if right.value is None and isinstance(op, ast.Is | ast.Eq):
                return _called("isna", node.left)
            if right.value is None and isinstance(op, ast.IsNot | ast.NotEq):
                return _called("notna", node.left)
        if isinstance(right, ast.List | ast.Tuple) and isinstance(op, ast.Eq | ast.NotEq):
            return ast.Compare(
                node.left, [ast.In() if isinstance(op, ast.Eq) else ast.NotIn()], [right]
            )
        if isinstance(right, ast.Name) and isinstance(op, ast.In | ast.NotIn):
            return ast.Compare(
                right, [ast.Eq() if isinstance(op, ast.In) else ast.NotEq()], [node.left]
            )
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        square = isinstance(node.right, ast.Constant) and node.right.value == 2
        if isinstance(node.op, ast.Pow) and square and isinstance(node.left, ast.Name):
            return ast.BinOp(node.left, ast.Mult(), node.left)
        return node


def _called(name: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(name), list(arguments), [])
