"""Values that hdmf-zarr pickled (text, references), read without ever running code.

Nothing that a pickle names is called: arrays, their types and a reference's class are rebuilt by
what is in this file. NumPy's own functions would take a type with fields outside of its values, or
make an array of whatever is in memory.
"""

import io
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np

NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
REFERENCE = ("hdmf_zarr.utils", "ZarrReference")
PLAIN = re.compile(r"[<>|=]?([biufc]\d{1,2}|[SU]\d{1,9}|O8?)")  # names of types without fields


class RestrictedDict(dict):
    """A dict that may carry attributes, as a reference does."""


class _Type:
    """A NumPy type without fields, by its name and byte order."""

    def __init__(self, name: object, align: object = False, copy: object = False) -> None:
        if not isinstance(name, str) or not PLAIN.fullmatch(name):
            raise pickle.UnpicklingError("it has a type that is not a plain one")
        self.dtype = np.dtype(name)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, order, shape, names, fields = state[:5]
        if any(part is not None for part in (shape, names, fields)):
            raise pickle.UnpicklingError("it has a type with fields")
        if order in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """A NumPy array, of the values that the pickle holds and no others."""

    def __init__(self) -> None:
        self.values = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, columns_first, stored = state
        dtype = _dtype(kind)
        if dtype.hasobject:
            flat = np.empty(len(stored), dtype=object)
            for position, item in enumerate(stored):
                flat[position] = item
        else:
            flat = np.frombuffer(stored, dtype)
        self.values = flat.reshape(shape, order="F" if columns_first else "C")


class _ArrayClass:
    """Stands for `numpy.ndarray` where a pickle hands it to `_reconstruct`; cannot be called."""


def _reconstruct(kind: object, shape: object, dtype: object) -> _Array:
    if kind is not _ArrayClass:
        raise pickle.UnpicklingError("it has an array of another class")
    return _Array()


def _scalar(kind: object, stored: object = b"") -> Any:
    dtype = _dtype(kind)
    if dtype.hasobject or not isinstance(stored, bytes) or len(stored) != dtype.itemsize:
        raise pickle.UnpicklingError("it has a number without a value")
    return np.frombuffer(stored, dtype)[0]


def _dtype(kind: object) -> np.dtype:
    if not isinstance(kind, _Type):
        raise pickle.UnpicklingError("it has an array without a type")
    return kind.dtype


REBUILT: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _ArrayClass,
    ("numpy", "dtype"): _Type,
    **{(module, "_reconstruct"): _reconstruct for module in NUMPY},
    **{(module, "scalar"): _scalar for module in NUMPY},
    REFERENCE: RestrictedDict,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return REBUILT[module, name]
        except KeyError:
            reason = f"it names {module}.{name}, which is not allowed in data"
            raise pickle.UnpicklingError(reason) from None


def loads(stored: Any) -> Any:
    """The value in a pickle that holds nothing but arrays, text, numbers and mappings.

    Raises:
        ValueError: it holds anything else, or is no pickle.
    """
    try:
        return _plain(_Unpickler(io.BytesIO(bytes(stored))).load())
    except (
        *(pickle.UnpicklingError, EOFError, AttributeError, MemoryError, TypeError, ValueError),
        *(LookupError, ArithmeticError, RecursionError),
    ) as error:  # whatever instructions that make no sense provoke
        raise ValueError(str(error) or type(error).__name__) from error


def _plain(value: Any) -> Any:
    """The value with arrays of NumPy in place of those of this file."""
    if isinstance(value, _Array):
        if value.values.dtype.hasobject:
            for index, item in np.ndenumerate(value.values):
                value.values[index] = _plain(item)
        return value.values
    if isinstance(value, _Type):
        return value.dtype
    if isinstance(value, list | tuple):
        return type(value)(_plain(item) for item in value)
    if isinstance(value, dict):
        for key, item in value.items():
            value[key] = _plain(item)
    return value
