"""NumPy's namespace with tersor's reductions and selections: `import tersor.numpy as np`.

Everything else is NumPy's own, `np.linalg.norm` excepted, which is `tersor.norm`.
"""

import sys as _sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as _numpy

import tersor as _tersor

if TYPE_CHECKING:
    # The replaced functions have NumPy's signatures, so checkers may read NumPy's own.
    from numpy import *  # noqa: F403

    from .select import top_k as top_k

_REPLACED = frozenset(_tersor._EXPORTS["reduce"] + _tersor._EXPORTS["select"]) - {
    "norm",
    "logsumexp",
}


class _Linalg(ModuleType):
    """numpy.linalg with our norm."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_tersor if name == "norm" else _numpy.linalg, name)

    def __dir__(self) -> list[str]:
        return dir(_numpy.linalg)


linalg = _Linalg("tersor.numpy.linalg", _numpy.linalg.__doc__)
_sys.modules[linalg.__name__] = linalg  # for `import tersor.numpy.linalg`


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return sorted({*_numpy.__all__, *_REPLACED})
    if name == "__path__":  # NumPy's would have its modules imported once more by our names
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(_tersor if name in _REPLACED else _numpy, name)
    except AttributeError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*dir(_numpy), *_REPLACED})
