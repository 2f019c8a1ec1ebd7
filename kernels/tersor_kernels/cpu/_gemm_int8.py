"""Micro-kernels of the int8 product, as intrinsics that emit LLVM's vector code: see `_gemm_tiles`.

Each word of A is spread over a vector and multiplied with vectors of B. With depth 4 that is
vpdpbusd (the form that does not saturate) or sdot, with depth 2 a product of int16 whose pairs are
added, written in plain IR: LLVM makes vpmaddwd of it on x86 and what it has elsewhere. Neither can
overflow: 2 * 255 * 128 and a sum over 32,768 entries of it fit in int32.

Nibbles are 0..15. Where there is no dot product of four, their products with int8 are added in
int16, two lanes a column: 16 * 15 * 128 < 2**15, so that `multiply_scaled` must be given no more
than 32 entries of k at a time there.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._ir import call, ints, load, splat, store

_i8, _i16, _i32, _i64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))


def _vector(element, count):
    return ir.VectorType(element, count)


def _all(value, kind):
    """A constant vector of type `kind`, each lane `value`."""
    return ir.Constant(kind, [value] * kind.count)


def _even_plus_odd(builder, values):
    count = values.type.count
    even, odd = (builder.shuffle_vector(values, values, ints(range(h, count, 2))) for h in (0, 1))
    return builder.add(even, odd)


class _Dot:
    """How a tile adds the products of a word of A and a vector of B to a vector of sums."""

    def __init__(self, tile):
        self.name, self.lanes, self.depth = tile.name, tile.lanes, tile.depth
        self.signed = tile.signed
        short = tile.nibbles and tile.dot == 2
        self.sums = _vector(_i16, 2 * tile.lanes) if short else _vector(_i32, tile.lanes)
        self.add = self._pairs_short if short else self._pairs if tile.dot == 2 else self._four

    def _four(self, builder, total, row, column):
        words = self.sums
        if self.signed:
            four = _vector(_i8, 16)
            args = [total, builder.bitcast(column, four), builder.bitcast(row, four)]
            return call(builder, "llvm.aarch64.neon.sdot.v4i32.v16i8", words, args)
        args = [total, builder.bitcast(column, words), row]
        return call(builder, f"llvm.x86.avx512.vpdpbusd.{32 * self.lanes}", words, args)

    def _pairs(self, builder, total, row, column):
        pairs, wide = _vector(_i16, 2 * self.lanes), _vector(_i32, 2 * self.lanes)
        column = builder.zext(builder.zext(column, pairs), wide)
        product = builder.mul(builder.sext(builder.bitcast(row, pairs), wide), column)
        return builder.add(total, _even_plus_odd(builder, product))

    def _pairs_short(self, builder, total, row, column):
        row = builder.bitcast(row, column.type)
        if self.name == "portable":
            wide = _vector(_i16, column.type.count)
            product = builder.mul(builder.zext(column, wide), builder.sext(row, wide))
            pairs = _even_plus_odd(builder, product)
        else:
            name = {8: "avx2.pmadd.ub.sw", 16: "avx512.pmaddubs.w.512"}[self.lanes]
            pairs = call(builder, f"llvm.x86.{name}", self.sums, [column, row])
        return builder.add(total, pairs)

    def int32(self, builder, total):
        """The sums as int32, a lane a column."""
        if self.sums.element == _i32:
            return total
        words = _vector(_i32, self.lanes)
        if self.name == "portable":
            pairs, half = builder.bitcast(total, words), _all(16, words)
            low = builder.ashr(builder.shl(pairs, half), half)
            return builder.add(low, builder.ashr(pairs, half))
        # By its name: LLVM would fold a product with ones, and shuffle.
        name = {8: "avx2.pmadd.wd", 16: "avx512.pmaddw.d.512"}[self.lanes]
        return call(builder, f"llvm.x86.{name}", words, [total, _all(1, self.sums)])


def _in_ways(builder, steps, ways, step):
    """Emit step(i, i % ways) for i below `steps`, but the last few all as way 0."""
    rounds = builder.udiv(steps, _i64(ways))
    with cgutils.for_range(builder, rounds, intp=_i64) as loop:
        for way in range(ways):
            step(builder.add(builder.mul(loop.index, _i64(ways)), _i64(way)), way)
    if ways > 1:
        done = builder.mul(rounds, _i64(ways))
        with cgutils.for_range(builder, builder.sub(steps, done), intp=_i64) as loop:
            step(builder.add(done, loop.index), 0)


def emit_sums(tile, rows, builder, a, b, words):
    """Emit the loop over the words of a panel of A and one of B; returns rows of int32 vectors."""
    dot = _Dot(tile)
    # Fewer sums than the latency of their additions times the additions a cycle: several of each.
    ways = 8 // (rows * tile.vectors * tile.per_byte) or 1
    zero = ir.Constant(dot.sums, None)
    sums = [
        [
            [cgutils.alloca_once_value(builder, zero) for _ in range(tile.vectors)]
            for _ in range(rows)
        ]
        for _ in range(ways)
    ]
    for slots in sums:  # alloca_once stores at the entry only, and this may be in a loop
        for row in slots:
            for slot in row:
                builder.store(zero, slot)
    raw = _vector(_i8, tile.lanes * dot.depth)

    def step(i, totals):
        columns = []
        for j in range(tile.vectors):
            at = builder.add(builder.mul(i, _i64(tile.vectors)), _i64(j))
            columns.append(load(builder, b, at, raw))
        halves = [columns]
        if tile.nibbles:
            low = [builder.and_(column, _all(15, raw)) for column in columns]
            halves = [low, [builder.lshr(column, _all(4, raw)) for column in columns]]
        for h, half in enumerate(halves):
            word = builder.add(builder.mul(i, _i64(len(halves))), _i64(h))
            for r in range(rows):
                at = builder.add(builder.mul(word, _i64(rows)), _i64(r))
                row = splat(builder, load(builder, a, at, _i32), tile.lanes)
                for column, slot in zip(half, totals[r], strict=True):
                    builder.store(dot.add(builder, builder.load(slot), row, column), slot)

    steps = builder.lshr(words, _i64(1)) if tile.nibbles else words
    _in_ways(builder, steps, ways, lambda i, way: step(i, sums[way]))
    results = []
    for r in range(rows):
        row = []
        for j in range(tile.vectors):
            total = builder.load(sums[0][r][j])
            for way in range(1, ways):
                total = builder.add(total, builder.load(sums[way][r][j]))
            row.append(dot.int32(builder, total))
        results.append(row)
    return results


def _signature(tile, *arguments):
    return types.void(tile, *(types.intp if a is None else a for a in arguments))


@intrinsic(prefer_literal=True)
def multiply(typingctx, tile, size, a, b, words, add, out):
    """The product of a panel of A of tile.heights[size] rows and a panel of B, `words` deep.

    All are addresses; `out` is of int32, [rows][tile.width]; `add` to what is in it, or write.
    """
    this, rows = tile.tile, tile.tile.heights[size.literal_value]

    def codegen(context, builder, sig, args):
        _, _, a, b, words, add, out = args
        results = emit_sums(this, rows, builder, a, b, words)
        add = splat(builder, builder.trunc(add, ir.IntType(1)), this.lanes)
        for i, total in enumerate(total for row in results for total in row):
            before = load(builder, out, _i64(i), total.type)
            before = builder.select(add, before, ir.Constant(total.type, None))
            store(builder, builder.add(total, before), out, _i64(i))
        return context.get_dummy_value()

    return _signature(tile, size, None, None, None, types.boolean, None), codegen


@intrinsic(prefer_literal=True)
def multiply_scaled(
    typingctx, tile, size, like, groups, places, blocks, a, b, scales, zeros, steps, row_sums, out
):
    """out[i, j] = sum over groups of scale[j] * (sum of a b - zero[j] row_sums[i]).

    As `multiply`, with `out` of the dtype of `like`. Group g is the entries places[g] to
    places[g + 1] of k, and its scales (of that dtype) and zeros (of int32) begin blocks[g] times
    steps[0] and steps[1] bytes after the first; its row sums g times steps[2] after `row_sums`.
    """
    this, rows = tile.tile, tile.tile.heights[size.literal_value]
    element, lanes = like.dtype, tile.tile.lanes

    def codegen(context, builder, sig, args):
        _, _, _, groups, places, blocks, a, b, scales, zeros, steps, row_sums, out = args
        scale_step, zero_step, sum_step = cgutils.unpack_tuple(builder, steps)
        floats = _vector(context.get_value_type(element), lanes)
        totals = [
            [cgutils.alloca_once(builder, floats) for _ in range(this.vectors)] for _ in range(rows)
        ]
        for row in totals:
            for slot in row:
                builder.store(ir.Constant(floats, None), slot)
        with cgutils.for_range(builder, groups, intp=_i64) as loop:
            g = loop.index
            place = load(builder, places, g, _i64)
            end = load(builder, places, builder.add(g, _i64(1)), _i64)
            words = builder.udiv(builder.sub(end, place), _i64(this.depth))
            here_a = builder.add(a, builder.mul(place, _i64(4 * rows // this.depth)))
            here_b = builder.add(b, builder.mul(place, _i64(this.width // this.per_byte)))
            block = load(builder, blocks, g, _i64)
            scale = builder.add(scales, builder.mul(block, scale_step))
            zero = builder.add(zeros, builder.mul(block, zero_step))
            mine = builder.add(row_sums, builder.mul(g, sum_step))
            results = emit_sums(this, rows, builder, here_a, here_b, words)
            for r, (row, slots) in enumerate(zip(results, totals, strict=True)):
                row_sum = splat(builder, load(builder, mine, _i64(r), _i32), lanes)
                for j, (total, slot) in enumerate(zip(row, slots, strict=True)):
                    offset = load(builder, zero, _i64(j), total.type)
                    exact = builder.sub(total, builder.mul(offset, row_sum))
                    factor = load(builder, scale, _i64(j), floats)
                    terms = [builder.sitofp(exact, floats), factor, builder.load(slot)]
                    builder.store(_fused(builder, terms), slot)
        for r, slots in enumerate(totals):
            for j, slot in enumerate(slots):
                store(builder, builder.load(slot), out, _i64(r * this.vectors + j))
        return context.get_dummy_value()

    i = None
    return _signature(tile, size, like, i, i, i, i, i, i, i, steps, i, i), codegen


def _fused(builder, args):
    kind = args[0].type
    bits = 64 if isinstance(kind.element, ir.DoubleType) else 32
    return call(builder, f"llvm.fmuladd.v{kind.count}f{bits}", kind, args)


@intrinsic(prefer_literal=True)
def multiply_floats(typingctx, tile, size, like, a, b, k, out):
    """out[i, j] += the product of panels of floats of the dtype of `like`, k deep."""
    this, rows = tile.tile, tile.tile.heights[size.literal_value]

    def codegen(context, builder, sig, args):
        _, _, _, a, b, k, out = args
        element = context.get_value_type(like.dtype)
        floats = _vector(element, this.lanes)
        # One sum an entry for every height: the bits of a row do not depend on the others.
        sums = [cgutils.alloca_once(builder, floats) for _ in range(rows * this.vectors)]
        for slot in sums:
            builder.store(ir.Constant(floats, None), slot)
        with cgutils.for_range(builder, k, intp=_i64) as loop:
            columns = []
            for j in range(this.vectors):
                at = builder.add(builder.mul(loop.index, _i64(this.vectors)), _i64(j))
                columns.append(load(builder, b, at, floats))
            for r in range(rows):
                at = builder.add(builder.mul(loop.index, _i64(rows)), _i64(r))
                x = splat(builder, load(builder, a, at, element), this.lanes)
                for j, column in enumerate(columns):
                    slot = sums[r * this.vectors + j]
                    builder.store(_fused(builder, [x, column, builder.load(slot)]), slot)
        for i, slot in enumerate(sums):
            total = builder.fadd(load(builder, out, _i64(i), floats), builder.load(slot))
            store(builder, total, out, _i64(i))
        return context.get_dummy_value()

    return _signature(tile, size, like, None, None, None, None), codegen


@intrinsic(prefer_literal=True)
def widen(typingctx, tile, like, b, words, scale, zero, out):
    """Panel of floats of the dtype of `like`: (entry - zero[j]) * scale[j] of a panel of B."""
    this, depth, element = tile.tile, tile.tile.depth, like.dtype

    def codegen(context, builder, sig, args):
        _, _, b, words, scale, zero, out = args
        floats = _vector(context.get_value_type(element), this.lanes)
        int32s, entries = _vector(_i32, this.lanes), _vector(ir.IntType(8 * depth), this.lanes)
        factors = [load(builder, scale, _i64(j), floats) for j in range(this.vectors)]
        zeros = [load(builder, zero, _i64(j), int32s) for j in range(this.vectors)]
        steps = builder.lshr(words, _i64(1)) if this.nibbles else words
        bits, per_step = (4, 8) if this.nibbles else (8, depth)
        right = builder.ashr if this.signed and not this.nibbles else builder.lshr
        with cgutils.for_range(builder, steps, intp=_i64) as loop:
            for j in range(this.vectors):
                at = builder.add(builder.mul(loop.index, _i64(this.vectors)), _i64(j))
                word = load(builder, b, at, entries)
                word = word if depth == 4 else builder.zext(word, int32s)
                for t in range(per_step):
                    place = 8 * t if t < depth else 8 * (t - depth) + 4
                    up = builder.shl(word, _all(32 - bits - place, int32s))
                    entry = right(up, _all(32 - bits, int32s))
                    value = builder.sitofp(builder.sub(entry, zeros[j]), floats)
                    k = builder.add(builder.mul(loop.index, _i64(per_step)), _i64(t))
                    i = builder.add(builder.mul(k, _i64(this.vectors)), _i64(j))
                    store(builder, builder.fmul(value, factors[j]), out, i)
        return context.get_dummy_value()

    i = None
    return _signature(tile, like, i, i, i, i, i), codegen


def _each_row(builder, rows, out, out_step):
    """Emit a loop over rows: yields the number of each and where it goes."""
    with cgutils.for_range(builder, rows, intp=_i64) as loop:
        yield loop.index, builder.add(out, builder.mul(loop.index, out_step))


@intrinsic
def take_zero_points(
    typingctx, tile, rows, sums, zeros, column_sums, excess, column_zeros, out, out_step
):
    """out[i, j] = sums[i, j] - zeros[i] * column_sums[j] - excess[i] * column_zeros[j].

    All are addresses of int32; rows of `out`, as wide as a panel, are `out_step` bytes apart.
    """
    lanes, vectors = tile.tile.lanes, tile.tile.vectors

    def codegen(context, builder, sig, args):
        _, rows, sums, zeros, column_sums, excess, column_zeros, out, out_step = args
        kind = _vector(_i32, lanes)
        columns = [
            [load(builder, base, _i64(j), kind) for base in (column_sums, column_zeros)]
            for j in range(vectors)
        ]
        for i, to in _each_row(builder, rows, out, out_step):
            factors = [splat(builder, load(builder, x, i, _i32), lanes) for x in (zeros, excess)]
            for j, column in enumerate(columns):
                at = builder.add(builder.mul(i, _i64(vectors)), _i64(j))
                value = load(builder, sums, at, kind)
                for factor, of in zip(factors, column, strict=True):
                    value = builder.sub(value, builder.mul(factor, of))
                store(builder, value, to, _i64(j))
        return context.get_dummy_value()

    return _signature(tile, *[None] * 8), codegen


@intrinsic
def scale_and_add(typingctx, tile, like, rows, sums, scales, bias, is_relu, out, out_step):
    """out[i, j] = sums[i, j] * scales[i] + bias[j], 0 if `is_relu` and that is not above.

    As `take_zero_points`, of floats of the dtype of `like`.
    """
    lanes, vectors, element = tile.tile.lanes, tile.tile.vectors, like.dtype

    def codegen(context, builder, sig, args):
        _, _, rows, sums, scales, bias, is_relu, out, out_step = args
        number = context.get_value_type(element)
        floats = _vector(number, lanes)
        offsets = [load(builder, bias, _i64(j), floats) for j in range(vectors)]
        zero = ir.Constant(floats, None)
        is_relu = splat(builder, builder.trunc(is_relu, ir.IntType(1)), lanes)
        for i, to in _each_row(builder, rows, out, out_step):
            factor = splat(builder, load(builder, scales, i, number), lanes)
            for j, offset in enumerate(offsets):
                at = builder.add(builder.mul(i, _i64(vectors)), _i64(j))
                value = builder.fmul(load(builder, sums, at, floats), factor)
                value = builder.fadd(value, offset)
                below = builder.and_(is_relu, builder.fcmp_ordered("<=", value, zero))
                store(builder, builder.select(below, zero, value), to, _i64(j))
        return context.get_dummy_value()

    i = None
    return _signature(tile, like, i, i, i, i, types.boolean, i, i), codegen
