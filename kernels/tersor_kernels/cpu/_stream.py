"""Copies of bytes, and results too large for the caches, written past them.

Only to memory that has been in use: of fresh memory the system clears each page at its first
access, through the caches, where past them the write then takes two times as long.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .._jit import njit
from ._ir import pointer
from ._native import array_at

LARGE = 1 << 25  # bytes: from 32 MB on, writing past the caches takes 30 % less
_LINE = 64


@intrinsic
def copy(typingctx, out, source, size):
    """Copy `size` bytes from one address to another."""

    def codegen(context, builder, sig, args):
        out, source = (pointer(builder, address, ir.IntType(8)) for address in args[:2])
        cgutils.raw_memcpy(builder, out, source, args[2], 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def _stream_line(typingctx, out, source):
    """Copy a line to where one begins."""

    def codegen(context, builder, sig, args):
        line = ir.VectorType(ir.IntType(64), 8)
        value = builder.load(pointer(builder, args[1], line), align=1)
        store = builder.store(value, pointer(builder, args[0], line), align=_LINE)
        store.set_metadata("nontemporal", builder.module.add_metadata([ir.IntType(32)(1)]))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@njit
def stream(out, source, size):
    """As `copy`, past the caches: memory is not read only to be overwritten.

    Other threads see it after the next atomic operation, such as the one that ends a block.
    """
    head = min(-out % _LINE, size)
    copy(out, source, head)
    end = head + (size - head) // _LINE * _LINE
    for i in range(head, end, _LINE):
        _stream_line(out + i, source + i)
    copy(out + end, source + end, size - end)


@njit(forceinline=True)
def ahead_of_line(array):
    """Bytes from where the data of an array begins to the next cache line."""
    return -array.ctypes.data & (_LINE - 1)


@njit(forceinline=True)
def on_line(memory, dtype):
    """`memory`, which must be kept alive, from its first cache line on."""
    return array_at(memory.ctypes.data + ahead_of_line(memory), dtype)
