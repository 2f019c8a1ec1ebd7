"""Packing: writing the entries that a mask says yes to, one behind another.

The CPU's own instructions are used with AVX-512 and AVX2; elsewhere it goes entry by entry.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ._ir import call, features, pointer
from ._select_lanes import WORD, filled, mask_kind

_i1, _i8, _i32, _i64 = (ir.IntType(bits) for bits in (1, 8, 32, 64))


@intrinsic
def pack(typingctx, address, lanes, mask):
    """Write the entries with a yes from `address` on; how many.

    What follows these, up to the WORD-th from `address`, is overwritten with anything.
    """

    def codegen(context, builder, sig, args):
        return _pack(builder, *args)

    return types.int64(types.int64, lanes, mask), codegen


@intrinsic
def pack_places(typingctx, address, first, mask):
    """As `pack`, of first + i for the i-th, as int32."""

    def codegen(context, builder, sig, args):
        kind = ir.VectorType(_i32, WORD)
        places = builder.add(ir.Constant(kind, list(range(WORD))), filled(builder, args[1], kind))
        return _pack(builder, args[0], places, args[2])

    return types.int64(types.int64, types.int64, mask), codegen


def _pack(builder, address, lanes, mask):
    """By parts, each with what the CPU has; entries narrower than 32 bits are widened for it."""
    element, size = lanes.type.element, _i64(lanes.type.element.width // 8)
    wide = ir.IntType(max(32, element.width))
    compress, width = _pack_plainly, 8
    if "+avx512f" in features():
        compress, width = _pack_by_avx512, 512 // wide.width
    elif "+avx2" in features():
        compress, width = _pack_by_avx2, 256 // wide.width
    total, undefined = _i64(0), ir.Constant(lanes.type, ir.Undefined)
    for first in range(0, WORD, width):
        part = ir.Constant(ir.VectorType(_i32, width), list(range(first, first + width)))
        entries = builder.shuffle_vector(lanes, undefined, part)
        if mask_kind() == _i64:
            chosen = bits = builder.trunc(builder.lshr(mask, _i64(first)), ir.IntType(width))
        else:
            chosen = builder.shuffle_vector(mask, mask, part)
            bits = builder.bitcast(chosen, ir.IntType(width))
        start = builder.add(address, builder.mul(total, size))
        if compress is _pack_plainly:
            _pack_plainly(builder, start, entries, bits)
        else:
            packed = compress(builder, _resized(builder, entries, wide), chosen, bits)
            packed = _resized(builder, packed, element)
            builder.store(packed, pointer(builder, start, packed.type), align=1)
        total = builder.add(total, builder.zext(builder.ctpop(bits), _i64))
    return total


def _resized(builder, entries, element):
    kind = ir.VectorType(element, entries.type.count)
    if entries.type == kind:
        return entries
    is_wider = element.width > entries.type.element.width
    return (builder.zext if is_wider else builder.trunc)(entries, kind)


def _pack_plainly(builder, address, entries, bits):
    """One after the other, and the next one overwrites it if its bit is not set."""
    size = _i64(entries.type.element.width // 8)
    for i in range(entries.type.count):
        value = builder.extract_element(entries, _i32(i))
        builder.store(value, pointer(builder, address, value.type), align=1)
        bit = builder.trunc(builder.lshr(bits, ir.Constant(bits.type, i)), _i1)
        address = builder.add(address, builder.select(bit, size, _i64(0)))


def _pack_by_avx512(builder, entries, chosen, bits):
    kind = entries.type
    name = f"llvm.x86.avx512.mask.compress.v{kind.count}i{kind.element.width}"
    return call(builder, name, kind, [entries, ir.Constant(kind, ir.Undefined), chosen])


def _pack_by_avx2(builder, entries, chosen, bits):
    """By a table: for each pattern of bits the order of the eight parts of 32 bits."""
    kind = entries.type
    parts = 8 // kind.count
    rows = []
    for pattern in range(2**kind.count):
        kept = [i for i in range(kind.count) if pattern >> i & 1]
        order = [parts * i + j for i in kept for j in range(parts)]
        rows.append(sum(place << 8 * i for i, place in enumerate(order)))
    name = f"tersor_pack_{kind.count}"
    table = builder.module.globals.get(name)
    if table is None:
        table_type = ir.ArrayType(_i64, len(rows))
        table = ir.GlobalVariable(builder.module, table_type, name)
        table.global_constant, table.linkage = True, "internal"
        table.initializer = ir.Constant(table_type, rows)
    row = builder.load(builder.gep(table, [_i64(0), builder.zext(bits, _i64)]))
    eight = ir.VectorType(_i32, 8)
    order = builder.zext(builder.bitcast(row, ir.VectorType(_i8, 8)), eight)
    args = [builder.bitcast(entries, eight), order]
    return builder.bitcast(call(builder, "llvm.x86.avx2.permd", eight, args), kind)
