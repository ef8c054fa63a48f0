"""Values that hdmf-zarr pickled (text, references), read without ever running code.

Only NumPy's own constructors of arrays are allowed; everything else, a reference's class included,
becomes a plain dict.
"""

import io
import pickle
from typing import Any

import numpy as np
from numpy._core import multiarray

ARRAYS = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_reconstruct",): multiarray._reconstruct,
    ("scalar",): multiarray.scalar,
}
NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
REFERENCE = ("hdmf_zarr.utils", "ZarrReference")


class RestrictedDict(dict):
    """A dict that may carry attributes, as a reference does."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in ARRAYS:
            return ARRAYS[module, name]
        if module in NUMPY and (name,) in ARRAYS:
            return ARRAYS[(name,)]
        if (module, name) == REFERENCE:
            return RestrictedDict
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is not allowed in data")


def loads(stored: Any) -> Any:
    """The value in a pickle that holds nothing but arrays, text, numbers and mappings.

    Raises:
        ValueError: it holds anything else, or is no pickle.
    """
    try:
        return _Unpickler(io.BytesIO(bytes(stored))).load()
    except (pickle.UnpicklingError, EOFError, AttributeError, MemoryError) as error:
        raise ValueError(str(error) or type(error).__name__) from error
