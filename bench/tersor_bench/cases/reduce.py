"""Cases of the reductions."""

import numpy as np

import tersor

from ..case import Case, optional


def _normal(shape, dtype, rng):
    return rng.standard_normal(shape).astype(dtype)


def _torch(name, axis):
    def set_up(x):
        torch = optional("torch")
        if torch is None:
            return None
        tensor, function = torch.from_numpy(x), getattr(torch, name)
        return lambda: function(tensor) if axis is None else function(tensor, axis)

    return set_up


def _bottleneck(name, axis):
    def set_up(x):
        bottleneck = optional("bottleneck")
        return bottleneck and (lambda: getattr(bottleneck, name)(x, axis=axis))

    return set_up


def _case(name, axis, shape, peers):
    ours, numpys = getattr(tersor, name), getattr(np, name)
    return Case(
        op=f"reduce.{name}({'' if axis is None else axis})",
        shape=shape,
        toy=(30, 20),
        dtype="float32",
        inputs=_normal,
        contenders={
            "tersor": lambda x: lambda: ours(x, axis=axis),
            "numpy": lambda x: lambda: numpys(x, axis=axis),
            **peers,
        },
        bytes=lambda shape, itemsize: itemsize * shape[0] * shape[1],
        check=lambda x, result: np.testing.assert_allclose(
            np.asarray(result), numpys(x.astype(np.float64), axis=axis), rtol=1e-4, atol=1e-2
        ),
    )


CASES = (
    *(
        _case("sum", axis, shape, {"torch": _torch("sum", axis)})
        for axis, shape in ((None, (4096, 4096)), (0, (4096, 4096)), (1, (1_250_000, 8)))
    ),
    _case("nanmax", None, (4096, 4096), {"bottleneck": _bottleneck("nanmax", None)}),
    _case("argmax", 0, (4096, 4096), {"torch": _torch("argmax", 0)}),
)
