"""Cases of top-k, partitions and order statistics: every size, axis and layout, five dtypes."""

from math import prod

import numpy as np

import tersor

from ..case import Case, optional

_SMALL = ((10,), (100,), (1_000,), (10_000,))
_SIZES = (*_SMALL, (100_000,), (1_000_000,), (10_000_000,), (100_000_000,))
_SQUARE, _TALL, _FLAT, _MIDDLE = (4096, 4096), (1_250_000, 8), (8, 1_250_000), (64, 4096, 64)
_DTYPES = ("float64", "int8", "int32", "float16")
_PERCENTILES = np.linspace(0, 1, 101)


def _inputs(shape, dtype, rng):
    if dtype.kind == "i":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    return rng.standard_normal(shape, np.float32).astype(dtype)


def _every_second(shape, dtype, rng):
    return _inputs((*shape[:-1], 2 * shape[-1]), dtype, rng)[..., ::2]


def _wide(x):
    """NumPy 2.4 sorts subnormal float16 wrongly by AVX-512."""
    return x.astype(np.float32) if x.dtype == np.float16 else x


def _case(op, shape, dtype, contenders, check, inputs=_inputs, **options):
    return Case(
        op=f"select.{op}",
        shape=shape,
        toy=tuple(min(n, 40) for n in shape),
        dtype=dtype,
        inputs=inputs,
        contenders=contenders,
        bytes=lambda shape, itemsize: itemsize * prod(shape),
        check=check,
        **options,
    )


def _median(name, axis):
    ours, numpys = getattr(tersor, name), getattr(np, name)

    def by_torch(x):
        torch = optional("torch")
        n = x.size if axis is None else x.shape[axis]
        if torch is None or n % 2 == 0 or x.dtype == np.float16:
            return None  # it takes the lower of two, and has no float16 here
        tensor = torch.from_numpy(x)
        if axis is None:
            return lambda: getattr(torch, name)(tensor)
        return lambda: getattr(torch, name)(tensor, axis).values

    def by_bottleneck(x):
        bottleneck = optional("bottleneck")
        if bottleneck is None or x.dtype not in (np.float32, np.float64):
            return None
        return lambda: getattr(bottleneck, name)(x, axis=axis)

    contenders = {
        "tersor": lambda x: lambda: ours(x, axis=axis),
        "numpy": lambda x: lambda: numpys(x, axis=axis),
        "torch": by_torch,
        "bottleneck": by_bottleneck,
    }
    return contenders, lambda x, result: np.testing.assert_allclose(
        np.asarray(result), np.median(_wide(x), axis=axis), rtol=1e-3
    )


def _medians(name, axis, shape, dtype="float32", inputs=_inputs, suffix=""):
    op = f"{name}({'' if axis is None else axis}){suffix}"
    return _case(op, shape, dtype, *_median(name, axis), inputs=inputs)


def _threshold(shape, dtype="float32"):
    """The one entry above which a tenth lies."""

    def place(x):
        return int((x.size - 1) * 0.9)

    def by_torch(x):
        torch = optional("torch")
        if torch is None or x.dtype == np.float16:
            return None
        tensor = torch.from_numpy(x)
        return lambda: torch.kthvalue(tensor, place(x) + 1).values

    contenders = {
        "tersor": lambda x: lambda: tersor.quantile(x, 0.9, method="lower"),
        "numpy": lambda x: lambda: np.partition(x, place(x))[place(x)],
        "torch": by_torch,
    }
    return _case(
        "threshold",
        shape,
        dtype,
        contenders,
        lambda x, result: np.testing.assert_array_equal(
            np.asarray(result), np.partition(_wide(x), place(x))[place(x)]
        ),
    )


def _quantiles(q, axis, shape):
    contenders = {
        "tersor": lambda x: lambda: tersor.quantile(x, q, axis=axis),
        "numpy": lambda x: lambda: np.quantile(x, q, axis=axis),
    }
    number = "1" if np.ndim(q) == 0 else len(q)
    return _case(
        f"quantile({number} of axis {axis})",
        shape,
        "float32",
        contenders,
        lambda x, result: np.testing.assert_array_equal(result, np.quantile(x, q, axis=axis)),
    )


def _partitions(name, axis, shape, dtype="float32"):
    ours, numpys = getattr(tersor, name), getattr(np, name)

    def kth(x):
        return x.shape[axis] // 2

    def check(x, result):
        k, wide = kth(x), _wide(x)
        if name == "argpartition":
            result = np.take_along_axis(wide, result, axis=axis)
        ordered = np.sort(wide, axis=axis)
        np.testing.assert_array_equal(np.take(result, k, axis=axis), np.take(ordered, k, axis=axis))
        low = np.sort(np.take(_wide(result), range(k), axis=axis), axis=axis)
        np.testing.assert_array_equal(low, np.take(ordered, range(k), axis=axis))

    contenders = {
        "tersor": lambda x: lambda: ours(x, kth(x), axis=axis),
        "numpy": lambda x: lambda: numpys(x, kth(x), axis=axis),
    }
    return _case(f"{name}({axis})", shape, dtype, contenders, check)


def _top_k(k, axis, shape, dtype="float32", sorted=True):
    def some(x):
        return min(k, x.shape[axis])

    def by_numpy(x):
        def call():
            k, n = some(x), x.shape[axis]
            indices = np.argpartition(x, n - k, axis=axis).take(range(n - k, n), axis=axis)
            values = np.take_along_axis(x, indices, axis=axis)
            if not sorted:
                return values, indices
            order = np.flip(np.argsort(values, axis=axis, kind="stable"), axis)
            return tuple(np.take_along_axis(a, order, axis=axis) for a in (values, indices))

        return call

    def by_torch(x):
        torch = optional("torch")
        if torch is None:
            return None
        tensor, k = torch.from_numpy(x), some(x)
        return lambda: torch.topk(tensor, k, axis, sorted=sorted)

    def check(x, result):
        values, indices = (np.asarray(a) for a in result)
        got = values if sorted else np.flip(np.sort(values, axis=axis), axis)
        want = np.take(np.flip(np.sort(_wide(x), axis=axis), axis), range(some(x)), axis=axis)
        np.testing.assert_array_equal(got, want)
        np.testing.assert_array_equal(np.take_along_axis(x, indices, axis=axis), values)

    contenders = {
        "tersor": lambda x: lambda: tersor.top_k(x, some(x), axis=axis, sorted=sorted),
        "numpy": by_numpy,
        "torch": by_torch,
    }
    op = f"top_k({k} of axis {axis}{'' if sorted else ', unsorted'})"
    return _case(op, shape, dtype, contenders, check)


CASES = (
    *(_medians("median", None, shape) for shape in _SIZES),
    *(_medians("nanmedian", None, shape) for shape in (*_SMALL, (10_000_000,))),
    *(_medians("median", None, (10_000_000,), dtype) for dtype in _DTYPES),
    _medians("median", None, (10_000_000,), inputs=_every_second, suffix=" of every second"),
    *(
        _medians("median", axis, shape)
        for shape in ((100, 100), _SQUARE, _TALL, _FLAT, (100_000, 100))
        for axis in (0, 1)
    ),
    _medians("median", 1, _MIDDLE),
    *(_threshold(shape) for shape in _SIZES),
    *(_threshold((10_000_000,), dtype) for dtype in _DTYPES),
    *(_quantiles(0.3, 0, shape) for shape in (*_SMALL, (10_000_000,))),
    *(_quantiles([0.01, 0.99], 1, shape) for shape in ((1000, 10_000), _TALL)),
    *(_quantiles(_PERCENTILES, 0, shape) for shape in ((1_000,), (1_000_000,))),
    *(_quantiles(_PERCENTILES, axis, (1000, 1000)) for axis in (0, 1)),
    *(_partitions(name, 0, shape) for name in ("partition", "argpartition") for shape in _SIZES),
    *(
        _partitions(name, 0, (10_000_000,), dtype)
        for name in ("partition", "argpartition")
        for dtype in _DTYPES
    ),
    *(
        _partitions(name, axis, shape)
        for name in ("partition", "argpartition")
        for shape in (_SQUARE, _TALL, _FLAT)
        for axis in (0, 1)
    ),
    *(_top_k(5, 0, shape) for shape in _SMALL),
    *(_top_k(k, 0, (10_000_000,)) for k in (64, 100_000)),
    *(_top_k(k, 1, _SQUARE, sorted=sorted) for k in (64, 2048) for sorted in (True, False)),
    *(_top_k(64, 1, _SQUARE, dtype) for dtype in ("float64", "int8", "int32")),
    _top_k(64, 0, _SQUARE),
    _top_k(50, 1, (256, 32_000)),
    *(_top_k(2, axis, shape) for shape, axis in ((_TALL, 1), (_TALL, 0), (_FLAT, 0))),
)
