"""Results too large for the caches, written past them.

Only to memory that has been in use: of fresh memory the system clears each page at its first
access, through the caches, where past them the write then takes two times as long.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .._jit import njit
from ._native import array_at

LARGE = 1 << 25  # bytes: from 32 MB on, writing past the caches takes 30 % less
_LINE = 64


@intrinsic
def _stream_line(typingctx, source, target):
    def codegen(context, builder, sig, args):
        line = ir.VectorType(ir.IntType(64), 8).as_pointer()
        value = builder.load(builder.inttoptr(args[0], line), align=_LINE)
        store = builder.store(value, builder.inttoptr(args[1], line), align=_LINE)
        store.set_metadata("nontemporal", builder.module.add_metadata([ir.IntType(32)(1)]))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@njit(forceinline=True)
def ahead_of_line(array):
    """Bytes from where the data of an array begins to the next cache line."""
    return -array.ctypes.data & (_LINE - 1)


@njit(forceinline=True)
def on_line(memory, dtype):
    """`memory`, which must be kept alive, from its first cache line on."""
    return array_at(memory.ctypes.data + ahead_of_line(memory), dtype)


@njit(forceinline=True)
def stream(source, out):
    """Copy `source` to `out`, both on cache lines; what does not fill a line the ordinary way."""
    lines = (source.size * source.itemsize) >> 6
    x, y = source.ctypes.data, out.ctypes.data
    for line in range(lines):
        _stream_line(x + _LINE * line, y + _LINE * line)
    for i in range((lines << 6) // source.itemsize, source.size):
        out[i] = source[i]
