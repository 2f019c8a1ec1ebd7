"""What all reductions share: which calls a kernel takes, which go to NumPy, how a result ends."""

import warnings
from collections.abc import Callable
from functools import cache, wraps
from importlib import import_module
from math import inf, prod
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from ._backends import array_function, is_on_gpu, kernels
from ._reduce_least import ALWAYS_NUMPY, least
from ._reduce_short import FLOAT64, short_ways

P = ParamSpec("P")
R = TypeVar("R")

NO_VALUE: Any = np._NoValue  # NumPy's own mark of an argument that was not given

ACCURATE = "float16, bfloat16 and float32 are accumulated in float64 and rounded once. "
_COVERED = {np.dtype(code) for code in "?bBhHiIlLqQefd"}
_DOCUMENTATION = """    Parameters, result, errors and warnings are those of `{name}`, and:

    Parameters
    ----------
{parameters}    backend : str, optional
        Run on this backend, however few elements there are.

    Notes
    -----
    {notes}Results do not depend on the memory layout or on the number of threads. What no kernel
    covers goes to NumPy: `where` and `initial`; dtypes other than bool, integers, float16,
    bfloat16, float32 and float64; subclasses and what is not an array. On a GPU these go to CuPy,
    and nothing warns: what to warn of would have to be waited for.

"""


def numpy_function(
    original: Callable[..., Any], notes: str = "", parameters: str = ""
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Document a function as a faster `original`; let it take torch tensors, and short ways."""
    ways = short_ways(original.__name__)
    axis_second = original is not np.linalg.norm

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        name = f"{original.__module__}.{original.__name__}"
        summary, examples, code = (function.__doc__ or "").partition("    Examples\n")
        text = _DOCUMENTATION.format(name=name, notes=notes, parameters=parameters)
        function.__doc__ = f"{summary.rstrip()}\n\n{text}{examples}{code}"
        of_any_array = array_function(function)

        @wraps(function)
        def call(*args: P.args, **options: P.kwargs) -> R:
            a: Any = args[0] if args else None
            if type(a) is not np.ndarray:
                return of_any_array(*args, **options)
            if a.dtype in ways and len(args) + len(options) <= 2:
                below, short = ways[a.dtype]
                axis: Any = args[1] if axis_second and len(args) == 2 else options.get("axis")
                if axis is not None:
                    known = type(axis) is int and -a.ndim <= axis < a.ndim
                    below = ALWAYS_NUMPY if known else 0
                elif len(args) == 2 or options:
                    below = 0
                if 0 < a.size < below and a.flags.c_contiguous:
                    result = short(a, axis)
                    if result is not None:
                        return result  # type: ignore[no-any-return]
            return function(*args, **options)

        return call

    return decorate


def given(**options: Any) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not NO_VALUE}


def is_half(dtype: Any) -> bool:
    """Whether it is a float of less than float64's precision."""
    kind = dtype.kind
    return bool((kind == "f" and dtype.itemsize < 8) or (kind == "V" and dtype.name == "bfloat16"))


def is_covered(dtype: Any) -> bool:
    """Whether kernels know the dtype, in any byte order."""
    if dtype in _COVERED:
        return True
    if dtype.kind in "iuf":
        return dtype.newbyteorder("=") in _COVERED
    return bool(dtype.name == "bfloat16")


def in_order(a: Any) -> Any:
    """`a`, or a C-ordered copy: NumPy's sums would otherwise depend on the layout."""
    return a if a.flags.c_contiguous else a.copy()


def native(dtype: Any) -> Any:
    """The dtype in the machine's byte order, as results have it."""
    return dtype.newbyteorder("=")


def float_dtype(dtype: Any) -> Any:
    """The dtype of NumPy's mean and var."""
    return FLOAT64 if dtype.kind in "biu" else dtype.newbyteorder("=")


def sum_dtype(dtype: Any) -> Any:
    """The dtype of NumPy's sum and prod."""
    if dtype.kind in "bi":
        return np.dtype(np.int64)
    return np.dtype(np.uint64) if dtype.kind == "u" else dtype.newbyteorder("=")


def result_dtype(dtype: Any, default: Any) -> Any:
    """The dtype asked for, in place of `default`; None where NumPy would compute in less."""
    if dtype is None:
        return default
    try:
        dtype = np.dtype(dtype)
    except TypeError:
        return None
    if dtype == default:
        return default
    wider = dtype.kind == "f" and is_half(default) and dtype.itemsize > default.itemsize
    return dtype if wider and dtype in _COVERED else None


@cache
def _largest(dtype: Any) -> float:
    """The largest finite number of a float dtype."""
    if dtype.name == "bfloat16":
        return float(import_module("ml_dtypes").finfo(dtype).max)
    return float(np.finfo(dtype).max) if dtype.kind == "f" else inf


def precisely(
    function: Callable[..., Any],
    a: Any,
    axis: Any,
    dtype: Any,
    out: Any,
    options: dict[str, Any],
) -> Any:
    """NumPy's `function`, but in float64 of smaller floats, and alike for every layout."""
    if type(a) is not np.ndarray or a.dtype.kind not in "fV":
        return function(a, axis=axis, dtype=dtype, out=out, **options)
    if not is_half(a.dtype):
        return function(in_order(a), axis=axis, dtype=dtype, out=out, **options)
    target = result_dtype(dtype, native(a.dtype))
    if target is None or (out is not None and not fits(out, None, target)):
        return seeing_nan(function, a, axis=axis, dtype=dtype, out=out, **options)
    if function.__name__.startswith("nan"):  # they replace NaN in a copy of the array's own dtype
        a = a.astype(FLOAT64)
    wide = None if out is None else np.empty(out.shape)
    result = function(in_order(a), axis=axis, dtype=FLOAT64, out=wide, **options)
    if out is not None:
        out[...] = result
        return out
    return target.type(result) if type(result) is np.float64 else result.astype(target)


def seeing_nan(function: Callable[..., Any], a: Any, **options: Any) -> Any:
    """NumPy's `function`; one that skips NaN would take bfloat16's for numbers."""
    if (
        type(a) is not np.ndarray
        or a.dtype.kind != "V"
        or a.dtype.name != "bfloat16"
        or not function.__name__.startswith("nan")
    ):
        return function(a, **options)
    result = function(a.astype(np.float32), **options)
    if options.get("dtype") is None and options["out"] is None and result.dtype == np.float32:
        return result.astype(a.dtype)
    return result


class Reduction:
    """One call that a kernel takes: its array, its axes and what its result shall look like."""

    __slots__ = ("a", "axes", "dtype", "keepdims", "kernels", "on_gpu", "out", "warned")

    def __init__(
        self, a: Any, axes: tuple[int, ...], dtype: Any, keepdims: bool, out: Any, kernels: Any
    ):
        self.a, self.axes, self.dtype, self.keepdims, self.out = a, axes, dtype, keepdims, out
        self.kernels, self.warned, self.on_gpu = kernels, False, type(a) is not np.ndarray

    @property
    def count(self) -> int:
        """How many elements a result is of."""
        return prod([self.a.shape[axis] for axis in self.axes])

    def reduce(self, op: str, axes: tuple[int, ...] | None = None) -> Any:
        """The result of a kernel's operation over the axes, in the dtype it accumulates in."""
        return self.kernels.reduce(op, self.a, self.axes if axes is None else axes)

    def rounded(self, op: str, divisor: int = 1) -> Any:
        """The same, divided where it is in float64; in the dtype asked for if that costs less."""
        return self.kernels.reduce(op, self.a, self.axes, self.dtype, divisor)

    def warn_like(
        self,
        numpy_does: Callable[[], Any],
        result: Any,
        overflow: Callable[[Any], Any] = np.add.reduce,
    ) -> Any:
        """The result in its dtype; NumPy warns where that is infinite, or NaN, for a reason.

        `numpy_does` computes it all again, which takes long: only where there is inf in the array,
        or NaN comes from what is not.
        """
        if self.on_gpu:
            return result
        largest = _largest(self.dtype)
        if result.ndim == 0 and abs(result) <= largest:
            return result
        with np.errstate(over="ignore"):
            result = result.astype(self.dtype, copy=False)
        if np.isfinite(result).all():
            return result
        everything = tuple(range(self.a.ndim))
        infinite = self.reduce("any_inf", everything)
        if np.isinf(result).any() and not infinite:
            overflow(np.full(2, largest, self.dtype))
        elif infinite or self.reduce("count_numbers", everything) == self.a.size:
            numpy_does()
            self.warned = True
        return result

    def finish(self, result: Any) -> Any:
        """`result` in the dtype and shape that were asked for, in `out` or as a scalar."""
        if result.dtype != self.dtype:
            result = result.astype(self.dtype)
        if self.keepdims:
            result = np.expand_dims(result, self.axes)
        if self.out is not None:
            self.out[...] = result
            return self.out
        return result if result.ndim else result[()]


def reduction(
    a: Any,
    axis: Any,
    out: Any,
    options: dict[str, Any],
    backend: str | None,
    op: str,
    target: Callable[[Any], Any],
) -> Reduction | None:
    """The call for a kernel, or None where it is NumPy's: also what NumPy will refuse.

    options : those given; kernels know no other than keepdims
    op : decides from how many elements on a kernel is faster, unless a `backend` is asked for
    target : dtype of the result for that of `a`, or None where no kernel has it
    """
    on_gpu = False
    if type(a) is not np.ndarray and type(a) is not np.memmap:
        on_gpu = is_on_gpu(a)
        if not on_gpu:
            return None
    size = a.size
    if size < ALWAYS_NUMPY and backend is None and op != "logsumexp" and not on_gpu:
        return None
    if not size or not a.ndim or (options and options.keys() - {"keepdims"}):
        return None
    if not is_covered(a.dtype):
        return None
    dtype = target(a.dtype)
    if dtype is None:
        return None
    ndim = a.ndim
    if axis is None:
        axes = tuple(range(ndim))
    elif type(axis) is int and -ndim <= axis < ndim:
        axes = (axis % ndim,)
    else:
        listed = axis if type(axis) is tuple else (axis,)
        if any(isinstance(i, bool | list) for i in listed):
            return None
        try:
            axes = tuple(sorted(normalize_axis_tuple(axis, ndim)))
        except (TypeError, ValueError):
            return None
        if not axes:
            return None
    if (
        backend is None
        and not on_gpu
        and size < least(op, a.dtype, a.flags.c_contiguous, axes, a.shape)
    ):
        return None
    keepdims = options.get("keepdims", False) if options else False
    if not isinstance(keepdims, int):
        return None
    if out is not None:
        shape = [1 if i in axes else n for i, n in enumerate(a.shape) if keepdims or i not in axes]
        if not fits(out, tuple(shape), dtype):
            return None
    if type(a) is not np.ndarray and not on_gpu:
        a = a.view(np.ndarray)
    return Reduction(a, axes, dtype, bool(keepdims), out, kernels("reduce", a, backend))


def fits(out: Any, shape: tuple[int, ...] | None, dtype: Any) -> bool:
    """Whether `out` is an array in which a result of this dtype, and shape, can be put."""
    on_gpu = is_on_gpu(out)
    return (
        (type(out) is np.ndarray or on_gpu)
        and out.dtype == dtype
        and shape in (None, out.shape)
        and (on_gpu or out.flags.writeable)
    )


def warn(message: str, depth: int) -> None:
    """A RuntimeWarning from the line that called the public function, `depth` calls from here."""
    warnings.warn(message, RuntimeWarning, stacklevel=depth + 1)
