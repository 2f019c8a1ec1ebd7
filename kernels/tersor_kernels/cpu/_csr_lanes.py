"""A stretch of a row as one SIMD value that stays in registers; LLVM splits it to the CPU's width.

Numba keeps a small accumulator array in memory: a load and a store for each multiply-add.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model

from ._ir import call, splat


class Lanes(types.Type):
    """`count` numbers of `dtype`."""

    def __init__(self, dtype, count):
        super().__init__(name=f"Lanes({dtype}, {count})")
        self.dtype, self.count = dtype, count


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, lanes):
        element = manager.lookup(lanes.dtype).get_value_type()
        super().__init__(manager, lanes, ir.VectorType(element, lanes.count))


def _pointer(context, builder, array_type, array, i, vector):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [i]), vector.as_pointer())


def _load(context, builder, array_type, array, i, vector):
    pointer = _pointer(context, builder, array_type, array, i, vector)
    return builder.load(pointer, align=vector.element.get_abi_size(context.target_data))


@intrinsic(prefer_literal=True)
def zeros(typingctx, array, size):
    """Zeros of the dtype of `array`, `size` bytes in all (a literal)."""
    lanes = Lanes(array.dtype, size.literal_value * 8 // array.dtype.bitwidth)

    def codegen(context, builder, sig, args):
        return ir.Constant(context.get_value_type(lanes), None)

    return lanes(array, size), codegen


@intrinsic
def load(typingctx, like, array, i):
    """As many numbers as `like` has, from the C-contiguous `array` at flat index i."""

    def codegen(context, builder, sig, args):
        vector = context.get_value_type(like)
        return _load(context, builder, array, args[1], args[2], vector)

    return like(like, array, types.uint64), codegen


@intrinsic
def store(typingctx, lanes, array, i):
    """Write `lanes` to the C-contiguous `array` at flat index i."""

    def codegen(context, builder, sig, args):
        vector = context.get_value_type(lanes)
        pointer = _pointer(context, builder, array, args[1], args[2], vector)
        align = vector.element.get_abi_size(context.target_data)
        builder.store(args[0], pointer, align=align)
        return context.get_dummy_value()

    return types.void(lanes, array, types.uint64), codegen


@intrinsic
def scale_by(typingctx, lanes, factor):
    """lanes * factor."""

    def codegen(context, builder, sig, args):
        return builder.fmul(args[0], splat(builder, args[1], args[0].type.count))

    return lanes(lanes, lanes.dtype), codegen


@intrinsic
def multiply_add(typingctx, lanes, factor, other):
    """lanes + factor * other, fused where the CPU can."""

    def codegen(context, builder, sig, args):
        vector = args[0].type
        name = f"llvm.fmuladd.v{vector.count}f{lanes.dtype.bitwidth}"
        factor = splat(builder, args[1], vector.count)
        return call(builder, name, vector, [factor, args[2], args[0]])

    return lanes(lanes, lanes.dtype, lanes), codegen
