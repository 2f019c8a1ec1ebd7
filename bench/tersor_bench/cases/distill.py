"""Cases of softmax and distillation losses."""

import numpy as np
import scipy.special
import tersor

from ..case import Case, optional


def _logits(shape, dtype, rng):
    return (3 * rng.standard_normal(shape)).astype(dtype)


def _torch_softmax(x):
    torch = optional("torch")
    if torch is None:
        return None
    tensor = torch.from_numpy(x)
    return lambda: torch.softmax(tensor, -1)


def _check_softmax(x, result):
    want = scipy.special.softmax(x.astype(np.float64), -1)
    np.testing.assert_allclose(np.asarray(result), want, rtol=1e-4)


CASES = tuple(
    Case(
        op="distill.softmax",
        shape=shape,
        toy=(3, 17),
        dtype="float32",
        inputs=_logits,
        contenders={
            "tersor": lambda x: lambda: tersor.softmax(x, axis=-1),
            "scipy": lambda x: lambda: scipy.special.softmax(x, -1),
            "torch": _torch_softmax,
        },
        bytes=lambda shape, itemsize: 2 * itemsize * shape[0] * shape[1],
        check=_check_softmax,
    )
    for shape in ((4096, 1000), (512, 32000))
)
