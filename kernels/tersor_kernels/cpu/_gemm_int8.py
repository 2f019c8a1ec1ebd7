"""Micro-kernels of the int8 product: a few rows of A times one panel of B, kept in registers.

A is unsigned and B signed (the callers flip the top bit of the others, which is a zero point of
128), so that one form serves all four pairs of dtypes. k runs in words of `depth` entries:

    panel of A, h rows     words of 4 bytes: [k / depth][h][depth] uint8, or uint16 where depth is 2
    panel of B, w columns  [k / depth][w][depth] int8
    panel of floats        [k][h]

Each word of A is spread over a vector and multiplied with vectors of B. With depth 4 that is
vpdpbusd (the form that does not saturate), with depth 2 a product of int16 whose pairs are added,
written in plain IR: LLVM makes vpmaddwd of it on x86 and what it has elsewhere. Neither can
overflow: 2 * 255 * 128 and a sum over 32,768 entries of it fit in int32.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import (
    NativeValue,
    intrinsic,
    models,
    overload_attribute,
    register_model,
    unbox,
)

_i8, _i16, _i32, _i64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))


@dataclass(frozen=True)
class Tile:
    """What one micro-kernel multiplies; kernels are compiled for each.

    depth : entries of k in a word
    lanes, vectors : int32 in a vector, and vectors in a panel of B
    heights : rows of A that it takes at once, the largest first
    needs : CPU feature without which the code would not run, or not well
    """

    name: str
    depth: int
    lanes: int
    vectors: int
    heights: tuple[int, int, int]
    needs: str = ""

    @property
    def width(self) -> int:
        """Columns in a panel of B."""
        return self.lanes * self.vectors

    @property
    def _numba_type_(self) -> Any:
        return _type_of(self)


class _TileType(types.Type):
    def __init__(self, tile: Tile) -> None:
        super().__init__(name=f"Tile({tile.name})")
        self.tile = tile


@cache
def _type_of(tile: Tile) -> _TileType:
    return _TileType(tile)


register_model(_TileType)(models.OpaqueModel)


@unbox(_TileType)
def _unbox_tile(typ, obj, c):
    return NativeValue(c.context.get_dummy_value())


def _constant(name):
    def of(tile):
        value = getattr(tile.tile, name)
        return lambda tile: value

    overload_attribute(_TileType, name)(of)


_constant("depth")
_constant("lanes")
_constant("width")
_constant("heights")

# The first that the CPU has the features for is used. 12 x 32 and 6 x 16 reach the peak of vpdpbusd
# on Zen 5 (as 8 x 48 does), 4 x 16 reaches 84 % of that of vpmaddwd on Zen 2.
TILES = {
    tile.name: tile
    for tile in (
        Tile("avx512vnni", 4, 16, 2, (12, 4, 1), "avx512vnni"),
        Tile("avxvnni", 4, 8, 2, (6, 2, 1), "avxvnni"),
        Tile("avx512bw", 2, 16, 2, (12, 4, 1), "avx512bw"),
        Tile("avx2", 2, 8, 2, (4, 2, 1), "avx2"),
        Tile("portable", 2, 4, 2, (4, 2, 1)),
    )
}


def tiles_for(features: str) -> list[Tile]:
    """The TILES that run on a CPU with these features, in LLVM's spelling: "+avx2,-avxvnni"."""
    present = features.split(",")
    return [tile for tile in TILES.values() if not tile.needs or f"+{tile.needs}" in present]


def host_features() -> str:
    """The features of the CPU that Numba compiles for."""
    return str(cpu_target.target_context.codegen().magic_tuple()[2])


def _pointer(builder, address, element):
    return builder.inttoptr(address, element.as_pointer())


def _splat(builder, value, count):
    undefined = ir.Constant(ir.VectorType(value.type, count), ir.Undefined)
    one = builder.insert_element(undefined, value, _i32(0))
    return builder.shuffle_vector(one, undefined, _lanes([0] * count))


def _lanes(numbers):
    return ir.Constant(ir.VectorType(_i32, len(numbers)), list(numbers))


@intrinsic
def read(typingctx, dtype, address):
    """The number of `dtype` at an address that need not be aligned."""
    result = dtype.dtype

    def codegen(context, builder, sig, args):
        return builder.load(_pointer(builder, args[1], context.get_value_type(result)), align=1)

    return result(dtype, types.intp), codegen


@intrinsic
def write(typingctx, address, value):
    """Store `value` at an address that need not be aligned."""

    def codegen(context, builder, sig, args):
        builder.store(args[1], _pointer(builder, args[0], args[1].type), align=1)
        return context.get_dummy_value()

    return types.void(types.intp, value), codegen


@intrinsic
def interleave(typingctx, tile, source, k_step, flip, out):
    """One word of k of a panel of B whose columns lie side by side, each byte ^ flip."""
    depth, width = tile.tile.depth, tile.tile.width

    def codegen(context, builder, sig, args):
        _, source, k_step, flip, out = args
        rows = []
        for t in range(depth):
            address = builder.add(source, builder.mul(k_step, _i64(t)))
            pointer = _pointer(builder, address, ir.VectorType(_i8, width))
            rows.append(builder.load(pointer, align=1))
        bits = 8
        while len(rows) > 1:
            order = _lanes([j + half for j in range(width) for half in (0, width)])
            rows = [
                builder.shuffle_vector(a, b, order)
                for a, b in zip(rows[::2], rows[1::2], strict=True)
            ]
            bits *= 2
            rows = [builder.bitcast(r, ir.VectorType(ir.IntType(bits), width)) for r in rows]
        words = builder.bitcast(rows[0], ir.VectorType(_i8, depth * width))
        words = builder.xor(words, _splat(builder, flip, depth * width))
        builder.store(words, _pointer(builder, out, words.type), align=1)
        return context.get_dummy_value()

    return types.void(tile, types.intp, types.intp, types.uint8, types.intp), codegen


@intrinsic(prefer_literal=True)
def multiply(typingctx, tile, size, a, b, words, zero, out, at, add):
    """out[at + i, j] = the product, plus what is there if `add`, for tile.heights[size] rows i.

    a, b : addresses of a panel each, `words` words deep. Of floats, where `out` (rows, columns) is
    float: then the entries of b have the zero points of its columns, int32 at address `zero`,
    taken off.
    """
    emit = _multiply_int if isinstance(out.dtype, types.Integer) else _multiply_float
    this, rows = tile.tile, tile.tile.heights[size.literal_value]

    def codegen(context, builder, sig, args):
        array = context.make_array(sig.args[6])(context, builder, args[6])
        row_bytes = builder.extract_value(array.strides, 0)
        element = context.get_value_type(out.dtype)
        vector = ir.VectorType(element, this.lanes)
        sums = [
            [
                cgutils.alloca_once_value(builder, ir.Constant(vector, None))
                for _ in range(this.vectors)
            ]
            for _ in range(rows)
        ]
        emit(this, builder, args[2], args[3], args[4], args[5], sums)
        start = builder.ptrtoint(array.data, _i64)
        with builder.if_else(builder.trunc(args[8], ir.IntType(1))) as (adding, storing):
            for branch, old in ((adding, True), (storing, False)):
                with branch:
                    _store(builder, start, row_bytes, args[7], sums, old)
        return context.get_dummy_value()

    i = types.intp
    return types.void(tile, size, i, i, i, i, out, i, types.boolean), codegen


def _store(builder, start, row_bytes, at, sums, old):
    for r, row in enumerate(sums):
        address = builder.add(start, builder.mul(row_bytes, builder.add(at, _i64(r))))
        pointer = _pointer(builder, address, row[0].type.pointee)
        for j, total in enumerate(row):
            place = builder.gep(pointer, [_i64(j)])
            value = builder.load(total)
            if old:
                before = builder.load(place, align=4)
                is_int = isinstance(value.type.element, ir.IntType)
                value = (builder.add if is_int else builder.fadd)(before, value)
            builder.store(value, place, align=4)


def _multiply_int(tile, builder, a, b, words, zero, sums):
    lanes, rows, int32s = tile.lanes, len(sums), ir.VectorType(_i32, tile.lanes)
    bytes_ = ir.VectorType(_i8, lanes * tile.depth)
    pairs = ir.VectorType(_i16, 2 * lanes)
    panel_a, panel_b = _pointer(builder, a, _i32), _pointer(builder, b, bytes_)
    with cgutils.for_range(builder, words, intp=_i64) as loop:
        columns = []
        for j in range(tile.vectors):
            i = builder.add(builder.mul(loop.index, _i64(tile.vectors)), _i64(j))
            columns.append(builder.load(builder.gep(panel_b, [i]), align=1))
        for r in range(rows):
            i = builder.add(builder.mul(loop.index, _i64(rows)), _i64(r))
            row = _splat(builder, builder.load(builder.gep(panel_a, [i]), align=4), lanes)
            for column, total in zip(columns, sums[r], strict=True):
                if tile.depth == 4:
                    four = builder.bitcast(column, int32s)
                    name = f"llvm.x86.avx512.vpdpbusd.{32 * lanes}"
                    kind = ir.FunctionType(int32s, [int32s] * 3)
                    dot = cgutils.get_or_insert_function(builder.module, kind, name)
                    value = builder.call(dot, [builder.load(total), row, four])
                else:
                    wide = ir.VectorType(_i32, 2 * lanes)
                    product = builder.mul(
                        builder.sext(builder.bitcast(row, pairs), wide),
                        builder.sext(builder.sext(column, pairs), wide),
                    )
                    even, odd = (
                        builder.shuffle_vector(product, product, _lanes(range(h, 2 * lanes, 2)))
                        for h in (0, 1)
                    )
                    value = builder.add(builder.load(total), builder.add(even, odd))
                builder.store(value, total)


def _multiply_float(tile, builder, a, b, words, zero, sums):
    lanes, rows, floats = tile.lanes, len(sums), sums[0][0].type.pointee
    int32s = ir.VectorType(_i32, lanes)
    entries = ir.VectorType(ir.IntType(8 * tile.depth), lanes)
    panel_a, panel_b = _pointer(builder, a, floats.element), _pointer(builder, b, entries)
    zeros = _pointer(builder, zero, int32s)
    zeros = [builder.load(builder.gep(zeros, [_i64(j)]), align=4) for j in range(tile.vectors)]
    bits = 64 if isinstance(floats.element, ir.DoubleType) else 32
    kind = ir.FunctionType(floats, [floats] * 3)
    fused = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{lanes}f{bits}")
    with cgutils.for_range(builder, words, intp=_i64) as loop:
        columns = []
        for j in range(tile.vectors):
            i = builder.add(builder.mul(loop.index, _i64(tile.vectors)), _i64(j))
            word = builder.load(builder.gep(panel_b, [i]), align=1)
            columns.append(word if tile.depth == 4 else builder.zext(word, int32s))
        for t in range(tile.depth):
            weights = []
            for column, offset in zip(columns, zeros, strict=True):
                up = builder.shl(column, ir.Constant(int32s, [24 - 8 * t] * lanes))
                entry = builder.ashr(up, ir.Constant(int32s, [24] * lanes))
                weights.append(builder.sitofp(builder.sub(entry, offset), floats))
            k = builder.add(builder.mul(loop.index, _i64(tile.depth)), _i64(t))
            for r in range(rows):
                i = builder.add(builder.mul(k, _i64(rows)), _i64(r))
                x = _splat(builder, builder.load(builder.gep(panel_a, [i])), lanes)
                for weight, total in zip(weights, sums[r], strict=True):
                    builder.store(builder.call(fused, [x, weight, builder.load(total)]), total)
