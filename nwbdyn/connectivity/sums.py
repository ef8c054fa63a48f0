"""Sums of forms over the same windows, and every form by its name.

A model on a closed-form core has a constant coupling beside a changing part. A file may hold any
sum of components; it comes back as the form "sum", whose arrays and attributes are called
`<component>/<name>`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from nwbdyn.connectivity.forms import (
    BASIS,
    STATES,
    BasisForm,
    DenseForm,
    Form,
    GainForm,
    NetFormerForm,
    StateForm,
    StaticForm,
    without_diagonal,
)
from nwbdyn.recording import Array

CORE = "weight"  # array of a form with a changing part: the constant coupling of a closed-form core
SUM = "sum"  # name of the form of any components
FORM, ZERO_DIAGONAL = "form", "zero_diagonal"  # attributes of each component of a sum

Value = TypeVar("Value")


class SumForm:
    """The sum of forms over the same windows."""

    def __init__(self, parts: Sequence[Form]) -> None:
        self._parts = tuple(parts)
        self.num_neurons = parts[0].num_neurons

    def matrices(self, windows: np.ndarray) -> np.ndarray:
        return np.sum([part.matrices(windows) for part in self._parts], axis=0)

    def total(self, windows: np.ndarray) -> np.ndarray:
        return np.sum([part.total(windows) for part in self._parts], axis=0)

    def entries(self, windows: np.ndarray, post: np.ndarray, pre: np.ndarray) -> np.ndarray:
        return np.sum([part.entries(windows, post, pre) for part in self._parts], axis=0)

    def groups(self, windows: np.ndarray, member: np.ndarray) -> np.ndarray:
        return np.sum([part.groups(windows, member) for part in self._parts], axis=0)


class ZeroDiagonalForm:
    """A form whose diagonal counts as 0, whatever its arrays give."""

    def __init__(self, whole: Form) -> None:
        self._whole = whole
        self.num_neurons = whole.num_neurons

    def matrices(self, windows: np.ndarray) -> np.ndarray:
        return without_diagonal(self._whole.matrices(windows))

    def total(self, windows: np.ndarray) -> np.ndarray:
        return without_diagonal(self._whole.total(windows))

    def entries(self, windows: np.ndarray, post: np.ndarray, pre: np.ndarray) -> np.ndarray:
        return np.where(post == pre, 0, self._whole.entries(windows, post, pre))

    def groups(self, windows: np.ndarray, member: np.ndarray) -> np.ndarray:
        return self._whole.groups(windows, member)  # of pairs i != j anyway


def netformer(arrays: Mapping[str, Array], attributes: Mapping[str, object]) -> Form:
    """A(t), or with `weight` (N, N) the sum of this constant and of A(t) without its diagonal."""
    dynamic = NetFormerForm(arrays, attributes)
    if CORE not in arrays:
        return dynamic
    return SumForm([StaticForm(arrays, attributes), ZeroDiagonalForm(dynamic)])


def gain(arrays: Mapping[str, Array], attributes: Mapping[str, object]) -> Form:
    """g(t) A, or with `weight` (N, N) the sum of this constant and of g(t) A."""
    own = GainForm(arrays, attributes)
    return SumForm([StaticForm(arrays, attributes), own]) if CORE in arrays else own


def components(arrays: Mapping[str, Array], attributes: Mapping[str, object]) -> Form:
    """The sum of any components."""
    parts: list[Form] = []
    values = _by_component(attributes)
    for name, own in _by_component(arrays).items():
        part = FORMS[str(values[name][FORM])](own, values[name])
        parts.append(ZeroDiagonalForm(part) if values[name].get(ZERO_DIAGONAL) else part)
    return SumForm(parts)


def _by_component(values: Mapping[str, Value]) -> dict[str, dict[str, Value]]:
    nested: dict[str, dict[str, Value]] = {}
    for key, value in values.items():
        component, _, name = key.partition("/")
        nested.setdefault(component, {})[name] = value
    return nested


FORMS: dict[str, Callable[[Mapping[str, Array], Mapping[str, object]], Form]] = {
    "netformer": netformer,
    "gain": gain,
    "attention": DenseForm,
    "static": StaticForm,
    "dense": DenseForm,
    BASIS: BasisForm,
    STATES: StateForm,
    SUM: components,
}
