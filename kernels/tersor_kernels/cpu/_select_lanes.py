"""64 entries as one SIMD value, and 64 answers, a mask, as another.

Plain vectors of LLVM, which splits them to the CPU's width. Memory is given by address, and scalars
are uint64 or int64 whatever the width of the entries, which a dtype as argument says.
"""

import operator

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

from .._jit import njit
from ._ir import call, features, is_x86, pointer, splat
from ._native import array_at

WORD = 64  # entries of a Lanes
_i1, _i8, _i32, _i64 = (ir.IntType(bits) for bits in (1, 8, 32, 64))


class Lanes(types.Type):
    """WORD unsigned integers of `dtype`."""

    def __init__(self, dtype):
        super().__init__(name=f"Lanes({dtype})")
        self.dtype = dtype


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, lanes):
        super().__init__(manager, lanes, ir.VectorType(ir.IntType(lanes.dtype.bitwidth), WORD))


class Mask(types.Type):
    """WORD answers. `a & b`, `a | b` and `~a` of them are those of each."""

    def __init__(self):
        super().__init__(name="Mask")


def mask_kind():
    """A vector of bits where the CPU has registers for it, else a word."""
    return _bits if "+avx512f" in features() else _i64


def as_mask(builder, bits):
    """A vector of bits as a mask."""
    if mask_kind() != _i64 or not is_x86():
        return builder.bitcast(bits, mask_kind())
    # LLVM would take a plain bitcast apart again, bit by bit, where parts of the word are used.
    wide = "+avx2" in features()
    count, name = (32, "llvm.x86.avx2.pmovmskb") if wide else (16, "llvm.x86.sse2.pmovmskb.128")
    whole, word = builder.sext(bits, ir.VectorType(_i8, WORD)), _i64(0)
    for first in range(0, WORD, count):
        part = ir.Constant(ir.VectorType(_i32, count), list(range(first, first + count)))
        mask = call(builder, name, _i32, [builder.shuffle_vector(whole, whole, part)])
        word = builder.or_(word, builder.shl(builder.zext(mask, _i64), _i64(first)))
    return word


def as_bits(builder, mask):
    """A mask as a vector of bits."""
    return builder.bitcast(mask, _bits)


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager, mask):
        super().__init__(manager, mask, mask_kind())


MASK, _bits = Mask(), ir.VectorType(_i1, WORD)


@intrinsic
def _and(typingctx, a, b):
    return a(a, b), lambda context, builder, sig, args: builder.and_(*args)


@intrinsic
def _or(typingctx, a, b):
    return a(a, b), lambda context, builder, sig, args: builder.or_(*args)


@intrinsic
def _not(typingctx, a):
    return a(a), lambda context, builder, sig, args: builder.not_(*args)


@overload(operator.and_)
def _mask_and(a, b):
    if a is MASK and b is MASK:
        return lambda a, b: _and(a, b)


@overload(operator.or_)
def _mask_or(a, b):
    if a is MASK and b is MASK:
        return lambda a, b: _or(a, b)


@overload(operator.invert)
def _mask_not(a):
    if a is MASK:
        return lambda a: _not(a)


def filled(builder, value, kind):
    """A vector of one value, cut to the width of its elements."""
    if value.type.width > kind.element.width:
        value = builder.trunc(value, kind.element)
    return splat(builder, value, kind.count)


@njit(forceinline=True)
def size_of(dtype):
    """Bytes of an entry."""
    return array_at(0, dtype).itemsize


@intrinsic
def mask_of(typingctx, word):
    """Yes where the bit is set."""

    def codegen(context, builder, sig, args):
        return builder.bitcast(args[0], mask_kind())

    return MASK(types.uint64), codegen


@intrinsic
def bits_of(typingctx, mask):
    """A word in which the bits of those with a yes are set."""

    def codegen(context, builder, sig, args):
        return builder.bitcast(args[0], _i64)

    return types.uint64(mask), codegen


@njit(forceinline=True)
def up_to(number):
    """Yes for the first ones, of which there is at least one."""
    return mask_of(~np.uint64(0) >> np.uint64(max(0, WORD - number)))


@intrinsic
def all_yes(typingctx):
    """Yes for all."""

    def codegen(context, builder, sig, args):
        return builder.bitcast(_i64(2**WORD - 1), mask_kind())

    return MASK(), codegen


@intrinsic
def load(typingctx, dtype, address):
    """The WORD entries from an address on."""
    lanes = Lanes(dtype.dtype)

    def codegen(context, builder, sig, args):
        kind = context.get_value_type(lanes)
        return builder.load(pointer(builder, args[1], kind), align=1)

    return lanes(dtype, types.int64), codegen


@intrinsic
def load_part(typingctx, dtype, address, count):
    """WORD entries from an address on, of which those from number `count` on may be anything.

    Reads no memory behind `count` entries, of which there is at least one.
    """
    lanes = Lanes(dtype.dtype)

    def codegen(context, builder, sig, args):
        _, address, count = args
        kind = context.get_value_type(lanes)
        buffer = cgutils.alloca_once(builder, kind)
        is_whole = builder.icmp_signed(">=", count, _i64(WORD))
        copied = builder.ptrtoint(buffer, _i64)
        with builder.if_then(builder.not_(is_whole), likely=False):
            size = builder.mul(count, _i64(kind.element.width // 8))
            source = pointer(builder, address, _i8)
            cgutils.raw_memcpy(builder, builder.bitcast(buffer, _i8.as_pointer()), source, size, 1)
        place = builder.select(is_whole, address, copied)
        return builder.load(pointer(builder, place, kind), align=1)

    return lanes(dtype, types.int64, types.int64), codegen


@intrinsic
def store(typingctx, address, lanes, count):
    """Write the first `count` entries, at most all, from an address on."""

    def codegen(context, builder, sig, args):
        address, entries, count = args
        with builder.if_else(builder.icmp_signed(">=", count, _i64(WORD))) as (whole, part):
            with whole:
                builder.store(entries, pointer(builder, address, entries.type), align=1)
            with part:
                buffer = cgutils.alloca_once(builder, entries.type)
                builder.store(entries, buffer, align=1)
                source = builder.bitcast(buffer, _i8.as_pointer())
                size = builder.mul(count, _i64(entries.type.element.width // 8))
                cgutils.raw_memcpy(builder, pointer(builder, address, _i8), source, size, 1)
        return context.get_dummy_value()

    return types.void(types.int64, lanes, types.int64), codegen


@intrinsic
def keys_of(typingctx, lanes, rule):
    """The key of each entry, as `_keys` says."""

    def codegen(context, builder, sig, args):
        bits = args[0]
        mask, signed, flip, add, inf, nan = (
            filled(builder, builder.extract_value(args[1], i), bits.type) for i in range(6)
        )
        sign = ir.Constant(bits.type, [bits.type.element.width - 1] * WORD)
        magnitude = builder.and_(bits, mask)
        s = builder.xor(builder.and_(builder.ashr(bits, sign), signed), flip)
        key = builder.add(builder.sub(builder.xor(magnitude, s), s), add)
        return builder.select(builder.icmp_unsigned(">", magnitude, inf), nan, key)

    return lanes(lanes, rule), codegen


@intrinsic
def nans_of(typingctx, lanes, rule):
    """Which entries, not keys, are NaN."""

    def codegen(context, builder, sig, args):
        mask, inf = (
            filled(builder, builder.extract_value(args[1], i), args[0].type) for i in (0, 4)
        )
        return as_mask(builder, builder.icmp_unsigned(">", builder.and_(args[0], mask), inf))

    return MASK(lanes, rule), codegen


def _comparison(predicate):
    @intrinsic
    def compare(typingctx, lanes, bound):
        def codegen(context, builder, sig, args):
            bound = filled(builder, args[1], args[0].type)
            return as_mask(builder, builder.icmp_unsigned(predicate, args[0], bound))

        return MASK(lanes, types.uint64), codegen

    return compare


above, equal, below = _comparison(">"), _comparison("=="), _comparison("<")


@intrinsic
def within(typingctx, lanes, low, high):
    """Which keys are in low..high, where low <= high."""

    def codegen(context, builder, sig, args):
        span = builder.sub(args[2], args[1])
        low, span = (filled(builder, value, args[0].type) for value in (args[1], span))
        return as_mask(builder, builder.icmp_unsigned("<=", builder.sub(args[0], low), span))

    return MASK(lanes, types.uint64, types.uint64), codegen


@intrinsic
def choose(typingctx, lanes, mask):
    """The entries with a yes, 0 for the others."""

    def codegen(context, builder, sig, args):
        return builder.select(as_bits(builder, args[1]), args[0], ir.Constant(args[0].type, None))

    return lanes(lanes, mask), codegen


@intrinsic
def bytes_of(typingctx, mask):
    """A 1 for each yes, as bytes."""
    lanes = Lanes(types.uint8)

    def codegen(context, builder, sig, args):
        return builder.zext(as_bits(builder, args[0]), context.get_value_type(lanes))

    return lanes(mask), codegen


@intrinsic
def zeros_like(typingctx, lanes):
    """Zeros."""

    def codegen(context, builder, sig, args):
        return ir.Constant(args[0].type, None)

    return lanes(lanes), codegen


@intrinsic
def add_below(typingctx, counts, lanes, bound):
    """counts, plus 1 where the key is below `bound`."""

    def codegen(context, builder, sig, args):
        kind = args[1].type
        compared = builder.icmp_unsigned("<", args[1], filled(builder, args[2], kind))
        return builder.sub(args[0], builder.sext(compared, kind))

    return counts(counts, lanes, types.uint64), codegen


@intrinsic
def least(typingctx, lanes, mask):
    """The smallest key with a yes."""

    def codegen(context, builder, sig, args):
        kind = args[0].type
        ones = builder.not_(ir.Constant(kind, None))
        keys = builder.select(as_bits(builder, args[1]), args[0], ones)
        name = f"llvm.vector.reduce.umin.v{WORD}i{kind.element.width}"
        key = call(builder, name, kind.element, [keys])
        return key if key.type == _i64 else builder.zext(key, _i64)

    return types.uint64(lanes, mask), codegen


@intrinsic
def raise_below(typingctx, best, keys, bound):
    """The larger of `best` and the keys that are below `bound`."""

    def codegen(context, builder, sig, args):
        best, keys, bound = args
        lower = builder.icmp_unsigned("<", keys, filled(builder, bound, keys.type))
        larger = builder.icmp_unsigned(">", keys, best)
        return builder.select(builder.and_(lower, larger), keys, best)

    return best(best, keys, types.uint64), codegen


@intrinsic
def greatest(typingctx, lanes):
    """The largest of the keys."""

    def codegen(context, builder, sig, args):
        element = args[0].type.element
        name = f"llvm.vector.reduce.umax.v{WORD}i{element.width}"
        key = call(builder, name, element, [args[0]])
        return key if key.type == _i64 else builder.zext(key, _i64)

    return types.uint64(lanes), codegen


@intrinsic
def how_many(typingctx, mask):
    """How many yes there are."""

    def codegen(context, builder, sig, args):
        return builder.ctpop(builder.bitcast(args[0], _i64))

    return types.int64(mask), codegen
