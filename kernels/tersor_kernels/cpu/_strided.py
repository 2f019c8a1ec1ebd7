"""Blocks of entries copied between strides as SIMD values; memory is given by address."""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np.numpy_support import as_dtype


def _rows(context, builder, dtype, number, address, step, count):
    """`count` vectors of `number` entries, each `step` bytes after the last."""
    kind = ir.VectorType(context.get_value_type(dtype.dtype), number)
    rows = []
    for i in range(count):
        place = builder.add(address, builder.mul(step, ir.Constant(step.type, i)))
        rows.append(builder.load(builder.inttoptr(place, kind.as_pointer()), align=1))
    return rows


def _order(places):
    return ir.Constant(ir.VectorType(ir.IntType(32), len(places)), places)


@intrinsic(prefer_literal=True)
def transpose(typingctx, dtype, side, x, step, out, out_step, count):
    """Copy a square block: row i of `x`, each `step` bytes after the last, is column i of `out`.

    Only `count` rows of `out` are written.
    """
    number = side.literal_value

    def codegen(context, builder, sig, args):
        _, _, x, step, out, out_step, count = args
        rows = _rows(context, builder, dtype, number, x, step, number)
        half = number // 2
        low = _order([i // 2 + number * (i % 2) for i in range(number)])
        high = _order([half + i // 2 + number * (i % 2) for i in range(number)])
        for _ in range(number.bit_length() - 1):  # a perfect shuffle of rows and entries
            rows = [
                builder.shuffle_vector(a, b, order)
                for a, b in zip(rows[:half], rows[half:], strict=True)
                for order in (low, high)
            ]
        for i, row in enumerate(rows):
            place = builder.add(out, builder.mul(out_step, ir.Constant(out_step.type, i)))
            with builder.if_then(builder.icmp_signed("<", ir.Constant(count.type, i), count)):
                builder.store(row, builder.inttoptr(place, row.type.as_pointer()), align=1)
        return context.get_dummy_value()

    i = types.int64
    return types.void(dtype, side, i, i, i, i, i), codegen


def evens(itemsize):
    """How many entries `copy_evens` copies."""
    return max(8, 64 // itemsize)


@intrinsic
def copy_evens(typingctx, dtype, x, out):
    """Copy entries 0, 2, 4... of `x`; the one behind the last is read too."""
    number = evens(as_dtype(dtype.dtype).itemsize)

    def codegen(context, builder, sig, args):
        size = context.get_abi_sizeof(context.get_value_type(dtype.dtype))
        step = ir.Constant(args[1].type, number * size)
        low, high = _rows(context, builder, dtype, number, args[1], step, 2)
        even = builder.shuffle_vector(low, high, _order(list(range(0, 2 * number, 2))))
        builder.store(even, builder.inttoptr(args[2], even.type.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(dtype, types.int64, types.int64), codegen
