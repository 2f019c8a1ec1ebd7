"""What a benchmark case is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

# Set-up -> the call to time, or None where its library is not installed. What the set-up does
# (conversion to the library's own arrays, packing of weights) is never timed.
Contender = Callable[[Any], Callable[[], Any] | None]


@dataclass(frozen=True)
class Case:
    """One comparison: an op on one kind of input, ours against named peers, interleaved.

    op : "stem.what", e.g. "distill.softmax"
    shape, toy : the size that is timed and a small one that the tests run
    dtype : of the input
    inputs : (shape, dtype, rng) -> whatever the contenders take
    contenders : name -> set-up; "tersor" is ours
    bytes : (shape, itemsize) -> fewest bytes that must move between memory and CPU
    check : (inputs, result) -> None; raises if the result, as NumPy arrays, is wrong
    flops : (shape) -> arithmetic operations, where arithmetic rather than memory is the limit
    inexact : peers whose answer is known to fail `check`, each with the reason; timed and labelled
    error : (inputs, result) -> how far it is from the exact answer, where all round; shown for each
    """

    op: str
    shape: tuple[int, ...]
    toy: tuple[int, ...]
    dtype: str
    inputs: Callable[[tuple[int, ...], np.dtype[Any], np.random.Generator], Any]
    contenders: Mapping[str, Contender]
    bytes: Callable[[tuple[int, ...], int], int]
    check: Callable[[Any, Any], None]
    flops: Callable[[tuple[int, ...]], int] | None = None
    inexact: Mapping[str, str] = field(default_factory=dict)
    error: Callable[[Any, Any], float] | None = None

    @property
    def name(self) -> str:
        return case_name(self.op, self.shape, self.dtype)


def case_name(op: str, shape: Sequence[int], dtype: str) -> str:
    return f"{op}[{'x'.join(map(str, shape))}-{dtype}]"


def optional(module: str) -> Any:
    """The module, or None where it is not installed: `torch = optional("torch")` in a set-up."""
    try:
        return import_module(module)
    except ImportError:
        return None
