"""Small integers for floats: per tensor, per axis, per block."""

from __future__ import annotations

from operator import is_
from secrets import randbits
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ._arguments import as_index, check_one_of, check_out, check_range, is_room, placed
from ._backends import array_function, as_array, beside, kernels
from ._calibrate import Calibrator as Calibrator
from ._calibrate import check_finite, check_method, fitted_range
from ._dtypes import as_float, name_of
from ._int4 import pack_int4 as pack_int4
from ._int4 import unpack_int4 as unpack_int4
from ._quantize_linear import dequantize_linear as dequantize_linear
from ._quantize_linear import dynamic_quantize_linear as dynamic_quantize_linear
from ._quantize_linear import quantize_linear as quantize_linear
from ._quantized import QuantizedArray as QuantizedArray
from ._quantized import data_of, quantized, scale_shape
from ._quantized import dequantize as dequantize
from ._rows import normalize_axis
from ._scales import Scheme, scheme_of


@array_function
def quantize(
    x: ArrayLike,
    *,
    dtype: DTypeLike | str = "int8",
    axis: int | None = None,
    block_size: int | None = None,
    symmetric: bool = True,
    method: str = "absmax",
    scale: ArrayLike | None = None,
    zero_point: ArrayLike | None = None,
    rounding: str = "half_even",
    seed: int | None = None,
    compat: str | None = None,
    nan: str = "zero_point",
    percentile: float = 99.99,
    offset: int | ArrayLike | None = None,
    out: NDArray[Any] | None = None,
    backend: str | None = None,
) -> QuantizedArray:
    """Small integers q that stand for x: q = clip(round_half_even(x / scale) + zero_point).

    Parameters
    ----------
    x : array, any shape, float16, bfloat16, float32, float64; integers and bools as float64
        float16 and bfloat16 are computed in float32.
    dtype : "int8", "uint8", "int4" or "uint4"
    axis : int, optional
        The axis that keeps its own scales, one for each index along it: axis=0 of a weight
        (out, in) gives a scale an output channel. One scale for the whole array if None.
    block_size : int, optional
        One scale for so many entries in a row along `axis`, the last axis if that is None. The
        last block may be shorter.
    symmetric : bool
        True: the zero point is 0 (128 for uint8, 8 for uint4) and the range is symmetric about it:
        -127..127, 1..255, -7..7, 1..15. False: the zero point is fitted too, to the full range.
    method : "absmax", "percentile", "mse" or "entropy"
        Which range of values, with 0 in it, the integers cover; what is beyond is clipped. absmax:
        all that occur. percentile: `percentile` percent of the magnitudes (if not symmetric: of the
        values, as many cut at each end), to within 2**-10 of the largest magnitude. mse: of the
        whole range shrunk to 100, 99, ... 21 percent, the one with the least sum of squared errors
        (in a tie to within rounding, one of them). entropy: magnitudes up to where as few levels as
        the integers have lose the least information, which is the Kullback-Leibler divergence of a
        histogram of 2048 bins. percentile and entropy are not for blocks.
    scale : array of floats, optional
        Given scales instead of fitted ones: shape () without an axis, (n,) with one, and with
        blocks that of `x` with ceil(n / block_size) in the place of n. One number stands for all.
    zero_point : array of integers, optional
        Given zero points in the range of `dtype`, of the same shape, or one number for all; 0 if
        None. Needs symmetric=False.
    rounding : "half_even" or "stochastic"
        stochastic: up with a probability equal to the fraction, down else. The random number
        depends on `seed` and the number of the entry alone: Philox4x32-10, 24 bits.
    seed : int in 0..2**64-1, optional
        Of stochastic rounding. Other numbers in each call if None.
    compat : "onnx", "torch", "compressed-tensors" or "torchao", optional
        Scales, zero points, ranges and rounding as that library has them, bit for bit (but NaN
        follows `nan`); see Notes.
    nan : "zero_point" or "raise"
        NaN becomes the zero point, so 0.0, and is counted in the result's `nan_count`; or is a
        ValueError.
    percentile : float in (0, 100]
        For method="percentile".
    offset : int, or array of integers of shape x.shape[:-1], optional
        Of stochastic rounding: the number of the first entry of `x`, or of each of its rows; the
        others follow in C order. 0 if None. Pieces of an array are rounded as the whole is where
        their entries have the numbers that they have there.
    out : array of integers, optional
        Where to write the integers, `data` of the result: of the shape of `x`, but uint8 of
        ceil(n / 2) entries along the last axis for the 4-bit dtypes. It saves a fresh array, which
        the system has to clear: for a large one that can take half of the time.
    backend : str, optional
        Run on this backend instead of the one that owns `x`.

    Returns
    -------
    QuantizedArray
        Scales are float32, of float64 input float64. Infinities take the end of the range where
        the scale is given. Nothing but zeros, or nothing at all, has the scale 1.

    Raises
    ------
    TypeError
        `dtype`, or the dtype of `x`, `scale` or `zero_point`, is none of those above; an option
        is of another type (a bool is no number).
    ValueError
        A scale is given that is not positive and finite, or has another shape, or a zero point
        that is out of range; x has an infinity and its scale is to be fitted; nan="raise" and x has
        NaN; `out` or `offset` has another shape; options that exclude each other.

    Notes
    -----
    The default scale is max(abs(x)) / 127, and (max - min) / 255 if not symmetric, with 0 counted
    in; the others (steps: 15 or 255; their int8 range is -128..127):

    - onnx: as onnxruntime's quantizer; the same for int8, but 2 * absmax / steps for the others.
    - torch: its MinMaxObserver; absmax / (steps / 2), at least 2**-23, and
      round(x * (1 / scale) + zero_point), which without an axis is a fused multiply-add (as
      quantize_per_tensor is on x86). float32 only.
    - compressed-tensors: absmax / (steps / 2), round(clip(x / scale + zero_point)), every step in
      the dtype of x, which is then also that of the scales.
    - torchao: the same scale, round(x * (1 / scale)) + zero_point, every step in the dtype of x.

    Examples
    --------
    >>> q = tersor.quantize([[1.0, -2.0], [0.25, 0.0]], axis=0)
    >>> q.data
    array([[  64, -127],
           [ 127,    0]], dtype=int8)
    >>> tersor.quantize([0.0, 1.0, 5.1], dtype="uint8", symmetric=False).zero_point
    array(0, dtype=uint8)

    Stochastic rounding of the second half of an array, as the whole would have it:

    >>> options = dict(scale=1.0, rounding="stochastic", seed=1)
    >>> x = np.array([0.5, 1.5, 2.5, 3.5])
    >>> whole, half = tersor.quantize(x, **options), tersor.quantize(x[2:], offset=2, **options)
    >>> whole.data[2:] == half.data
    array([ True,  True])
    """
    rest = (rounding, seed, compat, nan, percentile, offset, out, backend)
    are_defaults = map(
        is_, (dtype, axis, block_size, symmetric, method, zero_point, *rest), _DEFAULTS
    )
    if type(x) is np.ndarray and x.dtype == np.float32 and all(are_defaults):
        q = _shortly(x, scale)
        if q is not None:
            return q
    a: Any = as_float(as_array(x, "x"), "x")
    check_method(method, percentile)
    plan = _plan(a, dtype, axis, block_size, symmetric, rounding, seed, offset, compat, nan)
    scheme, axis, block_size = plan.scheme, plan.axis, plan.block_size
    module = kernels("quantize", a, backend)
    room = None
    if out is not None:
        check_out(out, *data_of(a.shape, scheme.kind))
        room = out if scheme.kind.bits == 8 and nan != "raise" and is_room(out, a) else None
    fused = scheme.compat is None and symmetric and scheme.middle == 0 and plan.order == "divide"
    limits = scheme.kind.storage, scheme.low, scheme.high
    if fused and method == "absmax" and scale is None and zero_point is None:
        data, scale, nan_count = module.quantize_absmax(a, axis, block_size, *limits, room)
        check_finite(scale)
    else:
        scale, zero_point = _parameters(a, plan, method, percentile, scale, zero_point, module)
        how = plan.order, plan.seed, plan.starts, room
        data, nan_count = module.quantize(a, scale, zero_point, axis, block_size, *limits, *how)
    if nan == "raise" and nan_count:
        raise ValueError(f"x must not be NaN with nan='raise', got {nan_count} of {a.size}")
    if scheme.kind.bits == 4:
        data = module.pack_nibbles(data)
    return quantized(
        placed(data, out),
        beside(a, scale),
        beside(a, zero_point),
        shape=a.shape,
        dtype=scheme.name,
        axis=axis,
        block_size=block_size,
        source_dtype=name_of(a.dtype),
        nan_count=nan_count,
    )


@array_function
def fake_quantize(
    x: ArrayLike,
    *,
    dtype: DTypeLike | str = "int8",
    axis: int | None = None,
    block_size: int | None = None,
    symmetric: bool = True,
    method: str = "absmax",
    scale: ArrayLike | None = None,
    zero_point: ArrayLike | None = None,
    rounding: str = "half_even",
    seed: int | None = None,
    compat: str | None = None,
    nan: str = "zero_point",
    percentile: float = 99.99,
    offset: int | ArrayLike | None = None,
    backend: str | None = None,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """`x` as it comes back from `quantize`, in one pass, and where its gradient goes through.

    Parameters and errors are those of `quantize`; compat="torch" is torch.fake_quantize_per_*,
    which adds the zero point after rounding.

    Returns
    -------
    values : array of the shape and dtype of `x`
        dequantize(quantize(x, ...)).
    mask : bool array of the same shape
        The straight-through gradient is `mask * grad`: True where round(x / scale) + zero_point
        was in range before clipping, False where it was not and for NaN.

    Examples
    --------
    >>> tersor.fake_quantize([0.2, 1.0, 70.0], scale=0.5)
    (array([ 0. ,  1. , 63.5]), array([ True,  True, False]))
    """
    a: Any = as_float(as_array(x, "x"), "x")
    check_method(method, percentile)
    plan = _plan(a, dtype, axis, block_size, symmetric, rounding, seed, offset, compat, nan)
    module = kernels("quantize", a, backend)
    scale, zero_point = _parameters(a, plan, method, percentile, scale, zero_point, module)
    if nan == "raise" and (nan_count := module.min_max(a, None, None)[2]):
        raise ValueError(f"x must not be NaN with nan='raise', got {nan_count} of {a.size}")
    order = "multiply" if compat == "torch" else plan.order
    where, limits = (plan.axis, plan.block_size), (plan.scheme.low, plan.scheme.high)
    values, mask = module.fake_quantize(
        a, scale, zero_point, *where, *limits, order, plan.seed, plan.starts
    )
    return values, mask


# Of quantize, but for the scale: the very objects, which other ones may only equal.
_DEFAULTS = (
    *("int8", None, None, True, "absmax", None),
    *("half_even", None, None, "zero_point", 99.99, None, None, None),
)


def _shortly(x: NDArray[Any], scale: Any) -> QuantizedArray | None:
    """What `quantize` makes of a float32 array with no options but a scale, without the checks of
    the others; None where the scale is none to be taken as it is."""
    module: Any = kernels("quantize", x)
    if scale is None:
        data, scale, nans = module.quantize_absmax(x, None, None, np.int8, -127, 127)
        check_finite(scale)
    elif type(scale) in (float, np.float32) and 1e-37 < scale < 1e37:
        scale = np.array(scale, np.float32)
        limits = np.int8, -127, 127
        data, nans = module.quantize(x, scale, None, None, None, *limits, "divide", None)
    else:
        return None
    return quantized(
        data,
        scale,
        None,
        shape=x.shape,
        dtype="int8",
        axis=None,
        block_size=None,
        source_dtype="float32",
        nan_count=nans,
    )


class _Plan(NamedTuple):
    """The options of a call, checked."""

    scheme: Scheme
    axis: int | None
    block_size: int | None
    order: str
    seed: int | None
    starts: Any  # numbers of the first entries of rows, of stochastic rounding


def _plan(
    x: Any,
    dtype: Any,
    axis: Any,
    block_size: Any,
    symmetric: bool,
    rounding: str,
    seed: Any,
    offset: Any,
    compat: str | None,
    nan: str,
) -> _Plan:
    scheme = scheme_of(dtype, symmetric, compat)
    scheme.check_source(x.dtype)
    check_one_of(nan, ("zero_point", "raise"), "nan")
    check_one_of(rounding, ("half_even", "stochastic"), "rounding")
    order, starts = scheme.order, None
    if rounding == "stochastic":
        if compat is not None:
            raise ValueError(f"rounding='stochastic' has no compat, got {compat!r}")
        order, seed = "stochastic", randbits(64) if seed is None else as_index(seed, "seed")
        if not 0 <= seed < 2**64:
            raise ValueError(f"seed must be in 0..2**64-1, got {seed}")
        starts = None if offset is None else _starts(offset, x.shape)
    elif seed is not None:
        raise ValueError("seed needs rounding='stochastic'")
    elif offset is not None:
        raise ValueError("offset needs rounding='stochastic'")
    if block_size is not None:
        block_size = as_index(block_size, "block_size")
        if not 1 <= block_size < 2**63:
            raise ValueError(f"block_size must be in 1..2**63-1, got {block_size}")
        axis = -1 if axis is None else axis
        if x.ndim == 0:
            raise ValueError("block_size needs an axis, got a 0-d array")
    axis = None if axis is None else normalize_axis(axis, x.ndim, "x")
    if order == "fma" and axis is not None:
        order = "multiply_add"
    return _Plan(scheme, axis, block_size, order, seed, starts)


def _starts(offset: Any, shape: tuple[int, ...]) -> Any:
    """The number of the first entry of all, or of each row."""
    offset = as_array(offset, "offset")
    if offset.dtype.kind not in "iu":
        raise TypeError(f"offset must be integers, got {offset.dtype}")
    if offset.shape not in ((), shape[:-1]):
        raise ValueError(f"offset must have shape () or {shape[:-1]}, got {offset.shape}")
    check_range(offset, 0, 2**62, "offset", "numbers of entries")
    return offset.astype(np.int64).reshape(-1)


def _parameters(
    x: Any, plan: _Plan, method: str, percentile: float, scale: Any, zero_point: Any, module: Any
) -> tuple[Any, Any]:
    """Scale and zero point, given or fitted."""
    scheme, axis, block_size = plan.scheme, plan.axis, plan.block_size
    if scale is not None:
        if method != "absmax":
            raise ValueError(f"method must be left out where scale is given, got {method!r}")
        shape = scale_shape(x.shape, axis, block_size)
        dtype = scheme.working_dtype(x.dtype)
        given: tuple[Any, Any] = scheme.given(scale, zero_point, shape, dtype)
        return given
    if zero_point is not None:
        raise ValueError("zero_point needs a scale")
    low, high = fitted_range(x, scheme, axis, block_size, method, percentile, module)
    return scheme.scales(low, high, x.dtype, module)
