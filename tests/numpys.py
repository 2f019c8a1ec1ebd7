"""Calls of tersor's functions compared with NumPy's."""

import warnings

import numpy as np

import tersor
from tersor.testing import assert_identical

DTYPES = [
    bool,
    np.int8,
    np.uint8,
    np.int32,
    np.int64,
    np.uint64,
    np.float16,
    np.float32,
    np.float64,
]
FLOATS = [np.float16, np.float32, np.float64]
SUMS = ("sum", "mean", "average", "var", "std", "nansum", "nanmean", "nanvar", "nanstd")
EXTREMA = ("max", "min", "amax", "amin", "ptp", "nanmax", "nanmin")
EXACT = (*EXTREMA, "any", "all", "count_nonzero")
PLACES = ("argmax", "argmin", "nanargmax", "nanargmin")
PRODUCTS = ("prod", "nanprod")
RUNNING = ("cumsum", "cumprod", "nancumsum", "nancumprod")
NAMES = (*SUMS, *EXACT, *PLACES, *PRODUCTS, *RUNNING, "norm")


def outcome(function, *args, **kwargs):
    """Result, or exception type, and the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = function(*args, **kwargs)
        except Exception as error:
            result = error
    return result, sorted({str(w.message) for w in caught})


def assert_numpys(name, x, backend=None, **options):
    """The same type, dtype, shape, values, errors and warnings as NumPy's function."""
    got, got_warnings = outcome(getattr(tersor, name), x, backend=backend, **options)
    want, want_warnings = outcome(getattr(np, name), x, **options)
    if isinstance(want, Exception):
        assert type(got) is type(want) and str(got) == str(want)
        return
    assert not isinstance(got, Exception), got
    assert (type(got), got.dtype, got.shape) == (type(want), want.dtype, want.shape)
    if name in SUMS:
        wide, _ = outcome(getattr(np, name), x.astype(np.float64), **options)
        tolerance = {2: 1e-3, 4: 1.2e-7}.get(got.dtype.itemsize, 1e-12)
        size = np.abs(x[np.isfinite(x)].astype(np.float64)).max(initial=0)
        floor = {"var": 2, "std": 1}.get(name.removeprefix("nan"), 1)
        np.testing.assert_allclose(
            np.asarray(got, np.float64),
            np.asarray(wide, np.float64).astype(got.dtype).astype(np.float64),
            rtol=tolerance,
            atol=1e-13 * x.size * size**floor,
        )
    else:
        assert_identical(got, want)
        assert got_warnings == ([] if backend == "cuda" else want_warnings)
