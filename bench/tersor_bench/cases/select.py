"""Cases of top-k and order statistics."""

import numpy as np

import tersor

from ..case import Case, optional


def _normal(shape, dtype, rng):
    return rng.standard_normal(shape).astype(dtype)


def _top_k(k):
    def by_numpy(x):
        def call():
            some = np.argpartition(x, -k, axis=1)[:, -k:]
            values = np.take_along_axis(x, some, axis=1)
            order = np.argsort(-values, axis=1, kind="stable")
            return tuple(np.take_along_axis(a, order, axis=1) for a in (values, some))

        return call

    def by_torch(x):
        torch = optional("torch")
        if torch is None:
            return None
        tensor = torch.from_numpy(x)
        return lambda: torch.topk(tensor, k)

    def check(x, result):
        values, indices = (np.asarray(a) for a in result)
        np.testing.assert_array_equal(values, -np.sort(-x, axis=1)[:, :k])
        np.testing.assert_array_equal(np.take_along_axis(x, indices, axis=1), values)

    contenders = {
        "tersor": lambda x: lambda: tersor.top_k(x, k),
        "numpy": by_numpy,
        "torch": by_torch,
    }
    return contenders, check


def _median_by_torch(x):
    torch = optional("torch")
    if torch is None or x.size % 2 == 0:  # torch takes the lower of two
        return None
    tensor = torch.from_numpy(x)
    return lambda: torch.median(tensor)


def _median_by_bottleneck(x):
    bottleneck = optional("bottleneck")
    return bottleneck and (lambda: bottleneck.median(x))


_CONTENDERS, _CHECK = _top_k(50)
_Q = [0.01, 0.99]

CASES = (
    Case(
        op="select.top_k",
        shape=(256, 32000),
        toy=(3, 400),
        dtype="float32",
        inputs=_normal,
        contenders=_CONTENDERS,
        bytes=lambda shape, itemsize: itemsize * shape[0] * shape[1],
        check=_CHECK,
    ),
    Case(
        op="select.median",
        shape=(10_000_001,),
        toy=(1001,),
        dtype="float32",
        inputs=_normal,
        contenders={
            "tersor": lambda x: lambda: tersor.median(x),
            "numpy": lambda x: lambda: np.median(x),
            "bottleneck": _median_by_bottleneck,
            "torch": _median_by_torch,
        },
        bytes=lambda shape, itemsize: itemsize * shape[0],
        check=lambda x, result: np.testing.assert_array_equal(result, np.median(x)),
    ),
    Case(
        op="select.quantile",
        shape=(1000, 10_000),
        toy=(4, 100),
        dtype="float32",
        inputs=_normal,
        contenders={
            "tersor": lambda x: lambda: tersor.quantile(x, _Q, axis=1),
            "numpy": lambda x: lambda: np.quantile(x, _Q, axis=1),
        },
        bytes=lambda shape, itemsize: itemsize * shape[0] * shape[1],
        check=lambda x, result: np.testing.assert_array_equal(result, np.quantile(x, _Q, axis=1)),
    ),
)
