"""Compiled functions called by their address: what calls them is compiled once for all of them.

A family of kernels that share their loops over memory and differ in an inner function (dozens of
reductions, ten dtypes) would otherwise compile those loops, and the parallel driver, for each. Such
an inner function takes and returns only int64: addresses, offsets and counts. It must not raise.

    def doubler(dtype):
        @njit
        def double(b, args, scratch):          # a block, for `run`: args is an int64 array
            x, n = array_at(at(args, 0), dtype), at(args, 1)
            ...
        return double

    code = address(doubler(x.dtype), 3)
    run(workers(), code, blocks, (x,), np.array([x.size]), scratch_bytes, work)
"""

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from .._jit import njit
from ._parallel import ALONE, parallel

_i64 = ir.IntType(64)
_ENDLESS = (1 << 60,)
LOCAL = 64
DATA = object.__basicsize__  # bytes into an array object, where NumPy's ABI has its data pointer


@intrinsic
def _pointer(typingctx, address, dtype):
    pointer = types.CPointer(dtype.dtype)

    def codegen(context, builder, sig, args):
        return builder.inttoptr(args[0], context.get_value_type(pointer))

    return pointer(address, dtype), codegen


@intrinsic
def call(typingctx, code, args):
    """Call the function at address `code` with the int64 of the tuple `args`."""

    def codegen(context, builder, sig, values):
        count = len(args)
        function = ir.FunctionType(_i64, [_i64] * count).as_pointer()
        items = [builder.extract_value(values[1], i) for i in range(count)]
        return builder.call(builder.inttoptr(values[0], function), items)

    return types.int64(code, args), codegen


@intrinsic
def _local(typingctx, dtype):
    pointer = types.CPointer(dtype.dtype)

    def codegen(context, builder, sig, args):
        return cgutils.alloca_once(builder, context.get_data_type(dtype.dtype), LOCAL)

    return pointer(dtype), codegen


@njit(forceinline=True)
def local_array(dtype):
    """A flat array of LOCAL elements on the stack; LLVM keeps what it can of it in registers."""
    return carray(_local(dtype), (LOCAL,))


@njit(forceinline=True)
def array_at(address, dtype):
    """The memory at an address as a flat array without an end."""
    return carray(_pointer(address, dtype), _ENDLESS)


@intrinsic
def prefetch(typingctx, address):
    """Ask for the cache line at an address, which need not be valid."""

    def codegen(context, builder, sig, args):
        pointer, i32 = ir.IntType(8).as_pointer(), ir.IntType(32)
        signature = ir.FunctionType(ir.VoidType(), [pointer, i32, i32, i32])
        function = builder.module.declare_intrinsic("llvm.prefetch", [pointer], signature)
        read, keep, data = i32(0), i32(3), i32(1)
        builder.call(function, [builder.inttoptr(args[0], pointer), read, keep, data])
        return context.get_dummy_value()

    return types.void(address), codegen


# Not by `array_at`: Numba would compile that once more for each constant i, 35 ms each.
def _place(builder, args, i):
    return builder.gep(builder.inttoptr(args, _i64.as_pointer()), [i])


@intrinsic
def at(typingctx, args, i):
    """The int64 number i of those at an address."""

    def codegen(context, builder, sig, values):
        return builder.load(_place(builder, *values))

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def set_at(typingctx, args, i, value):
    """Set the int64 number i of those at an address."""

    def codegen(context, builder, sig, values):
        builder.store(values[2], _place(builder, *values[:2]))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


def address(function, count):
    """Compile an njit function of `count` int64 and return its address.

    The address is valid as long as `function` is kept.
    """
    function.compile((types.int64,) * count)
    (result,) = function.overloads.values()
    return result.library.get_pointer_to_function(result.fndesc.llvm_cfunc_wrapper_name)


@intrinsic
def alive(typingctx, array):
    """An array whose address is in use, and which nothing else names, is alive until here."""
    return types.void(array), lambda context, builder, sig, args: context.get_dummy_value()


@njit
def _block(b, code, args, scratch):
    memory = np.empty(scratch, np.uint8)
    start = memory.ctypes.data
    call(code, (b, args, start))
    alive(memory)


@njit
def run_blocks(pool, code, n, args, scratch, work):
    """`run` for compiled callers: args is the int64 array that the blocks get the address of."""
    if n == 1 and work < ALONE:
        _block(0, code, args.ctypes.data, scratch + 1)
    else:
        parallel(pool, _block, n, (code, args.ctypes.data, scratch + 1), work)
    alive(args)


@njit(forceinline=True)
def data_of(array):
    """The address of the data of an array that is given by its id()."""
    return at(array + DATA, 0)


@njit
def _run(pool, code, n, arrays, constants, scratch, work):
    args = np.empty(len(arrays) + constants.size, np.int64)
    for i in range(len(arrays)):
        args[i] = data_of(arrays[i])
    for i in range(constants.size):  # a slice would have the code of its error compiled: 1.5 s
        args[len(arrays) + i] = constants[i]
    run_blocks(pool, code, n, args, scratch, work)


def run(pool, code, n, arrays, constants, scratch, work):
    """Run the blocks 0..n-1 of the function at `code` on the workers.

    It is called with the block's number, the address of its int64 arguments (where the data of
    each of `arrays` begins, then the `constants`) and that of `scratch` bytes; `work` is a guess of
    the serial time in nanoseconds. (NumPy's own ways to an array's address take 0.8 us each.)
    """
    _run(pool, code, n, tuple(map(id, arrays)), constants, scratch, work)
