"""Reductions of a C-contiguous (outer, n, inner) along n.

n is cut into leaves whose size depends on the shape alone; a block reduces some leaves, each by
runs of contiguous memory: along n where inner is 1, else along inner, row after row. The partial
results of a leaf are folded in order, so that the bits do not depend on the number of threads.
"""

import numpy as np

from .._jit import njit
from ._common import BLOCK, widened
from ._keys import as_bits, key_of, key_rule, unpack, values_of
from ._parallel import parallel, workers

_REORDER = {"reassoc", "contract", "nsz"}
_STRETCH = 512  # entries among which an index is searched for one by one
_TILE = 1024  # columns that a block keeps accumulators for: 8 kB of float64, in the L1 cache


def total(x, skip_nan):
    """Sums, float64 of floats and int64 or uint64 of integers, and how many entries were summed."""
    kind = {"u": np.uint64, "i": np.int64, "b": np.int64}.get(x.dtype.kind, np.float64)
    x = _plain(x)
    part = np.zeros(_parts(x), kind)
    counts = np.zeros(part.shape if skip_nan else (0, 0, 0), np.int64)
    _total(workers(), _matrix(x), x.shape[2], part, counts)
    sums = _folded(part)
    return sums, counts.sum(axis=1) if skip_nan else np.full(sums.shape, x.shape[1])


def squares(x, mean, skip_nan):
    """Sums of (x - mean)**2 as float64, for a mean of shape (outer, inner)."""
    x = _plain(x)
    part = np.zeros(_parts(x))
    mean = np.ascontiguousarray(mean, np.float64)
    _squares(workers(), _matrix(x), x.shape[2], mean, skip_nan, part)
    return _folded(part)


def extreme(x, largest, skip_nan):
    """The largest or smallest entries; NaN where there is one, or where there is nothing else."""
    bits, constants, inverse = _keyed(x, largest, skip_nan)
    part = np.zeros(_parts(bits), bits.dtype)
    _extreme(workers(), _matrix(bits), x.shape[2], constants, inverse, part)
    keys = part.max(axis=1) ^ inverse
    values = values_of(keys, x.dtype, constants)
    if x.dtype.kind in "iub":
        return values
    return np.where(keys == constants[6], x.dtype.type(np.nan), values).astype(x.dtype, copy=False)


def arg_extreme(x, largest, skip_nan):
    """Where the first of the largest or smallest entries is; NaN counts as one unless skipped."""
    bits, constants, inverse = _keyed(x, largest, skip_nan)
    part = np.zeros(_parts(bits), bits.dtype)
    where = np.zeros(part.shape, np.int64)
    args = (constants, inverse, part, where)
    _arg_extreme(workers(), _matrix(bits), x.shape[2], *args)
    leaf = part.argmax(axis=1)[:, None]  # the first of equal leaves
    return np.take_along_axis(where, leaf, axis=1)[:, 0]


def count(x):
    """How many entries are not zero."""
    part = np.zeros(_parts(x), np.int64)
    _count(workers(), _matrix(_plain(x)), x.shape[2], part)
    return part.sum(axis=1)


def _parts(x):
    """Shape of the partial results: (outer, leaves, inner)."""
    outer, n, inner = x.shape
    return outer, max(1, -(-n // _leaf(inner))), inner


def _matrix(x):
    """(outer, n * inner): slices of a row are contiguous, and the compiler knows."""
    return x.reshape(x.shape[0], -1)


def _plain(x):
    """In a dtype that Numba compiles, and read-only, so that it compiles once for all inputs."""
    if x.dtype.kind in "iub":
        x = x.view(np.uint8 if x.dtype == bool else x.dtype)
    else:
        x = widened(x).view()
    x.flags.writeable = False
    return x


def _folded(part):
    """The leaves' sums added in order."""
    result = part[:, 0].copy()
    for leaf in range(1, part.shape[1]):
        result += part[:, leaf]
    return result


def _keyed(x, largest, skip_nan):
    """Bits, the rule of their keys, and what to exclusive-or to a key so that the largest wins."""
    constants, _ = key_rule(x.dtype, "descending", "low" if bool(largest) != skip_nan else "high")
    bits = as_bits(x)
    return bits, constants, bits.dtype.type(2 ** (8 * bits.dtype.itemsize) - 1 if largest else 0)


@njit
def _leaf(inner):
    """Entries along n of a leaf: a BLOCK where rows are short, at least 512 where they are long."""
    return max(512, BLOCK // max(1, inner))


@njit
def _units(x, inner, part):
    """Leaves in all, columns of a tile cut apart, and how many of them make a block."""
    tiles = -(-inner // _TILE)
    n = x.shape[1] // inner
    size = min(n, _leaf(inner)) * min(inner, _TILE)
    return x.shape[0] * part.shape[1] * tiles, max(1, BLOCK // size)


@njit(forceinline=True)
def _unit(u, x, inner, part):
    """Leaf number u: outer, leaf, and where its rows and columns begin and end."""
    n, tiles = x.shape[1] // inner, -(-inner // _TILE)
    column, u = (u % tiles) * _TILE, u // tiles
    leaf, outer = u % part.shape[1], u // part.shape[1]
    start = leaf * _leaf(inner)
    return outer, leaf, start, min(n, start + _leaf(inner)), column, min(inner, column + _TILE)


@njit(fastmath=_REORDER)
def _sum(x, zero):
    result = zero
    for i in range(x.size):
        result += type(zero)(x[i])
    return result


@njit(fastmath=_REORDER)
def _sum_numbers(x, zero):
    """Sum and count of what is not NaN."""
    result, count = zero, np.int32(0)
    for i in range(x.size):
        number = x[i] == x[i]
        result += type(zero)(x[i]) if number else zero
        count += np.int32(number)
    return result, count


@njit(fastmath=_REORDER)
def _sum_squared_numbers(x, mean):
    result = 0.0
    for i in range(x.size):
        d = np.float64(x[i]) - mean
        result += d * d if x[i] == x[i] else 0.0
    return result


@njit(fastmath=_REORDER)
def _sum_squares(x, mean):
    result = 0.0
    for i in range(x.size):
        d = np.float64(x[i]) - mean
        result += d * d
    return result


@njit
def _best(x, rule, inverse):
    best = type(inverse)(0)
    for i in range(x.size):
        key = key_of(x[i], rule) ^ inverse
        best = key if key > best else best
    return best


@njit
def _first_best(x, rule, inverse):
    """The best key and where it is first: the best of each stretch, then a search in one."""
    best, stretch = type(inverse)(0), 0
    for start in range(0, x.size, _STRETCH):
        key = _best(x[start : start + _STRETCH], rule, inverse)
        stretch = start if key > best else stretch
        best = key if key > best else best
    part, place = x[stretch : stretch + _STRETCH], 0
    for i in range(part.size):
        if key_of(part[i], rule) ^ inverse == best:
            place = stretch + i
            break
    return best, place


@njit
def _nonzero(x):
    count = np.int32(0)
    for i in range(x.size):
        count += np.int32(x[i] != 0)
    return count


@njit
def _add_row(row, sums):
    for j in range(row.size):
        sums[j] += type(sums[0])(row[j])


@njit
def _add_numbers(row, sums, counts):
    """Add what is not NaN."""
    for j in range(row.size):
        number = row[j] == row[j]
        sums[j] += type(sums[0])(row[j]) if number else type(sums[0])(0)
        counts[j] += number


@njit
def _add_squares(row, mean, skip_nan, sums):
    for j in range(row.size):
        d = np.float64(row[j]) - mean[j]
        sums[j] += 0.0 if skip_nan & (row[j] != row[j]) else d * d


@njit
def _keep_best(row, rule, inverse, bests):
    for j in range(row.size):
        key = key_of(row[j], rule) ^ inverse
        bests[j] = key if key > bests[j] else bests[j]


@njit
def _keep_first_best(row, r, rule, inverse, bests, places):
    for j in range(row.size):
        key = key_of(row[j], rule) ^ inverse
        places[j] = r if key > bests[j] else places[j]
        bests[j] = key if key > bests[j] else bests[j]


@njit
def _total_block(b, x, inner, part, counts, per):
    units, _ = _units(x, inner, part)
    for u in range(b * per, min(units, (b + 1) * per)):
        o, leaf, start, end, left, right = _unit(u, x, inner, part)
        sums = part[o, leaf, left:right]
        if inner == 1:
            run, zero = x[o, start:end], part.dtype.type(0)
            if counts.size:
                sums[0], counts[o, leaf, 0] = _sum_numbers(run, zero)
            else:
                sums[0] = _sum(run, zero)
            continue
        for r in range(start, end):
            row = x[o, r * inner + left : r * inner + right]
            if counts.size:
                _add_numbers(row, sums, counts[o, leaf, left:right])
            else:
                _add_row(row, sums)


@njit
def _squares_block(b, x, inner, mean, skip_nan, part, per):
    units, _ = _units(x, inner, part)
    for u in range(b * per, min(units, (b + 1) * per)):
        o, leaf, start, end, left, right = _unit(u, x, inner, part)
        if inner == 1:
            run, m = x[o, start:end], mean[o, 0]
            part[o, leaf, 0] = _sum_squared_numbers(run, m) if skip_nan else _sum_squares(run, m)
            continue
        for r in range(start, end):
            row = x[o, r * inner + left : r * inner + right]
            _add_squares(row, mean[o, left:right], skip_nan, part[o, leaf, left:right])


@njit
def _extreme_block(b, x, inner, rule, inverse, part, per):
    units, _ = _units(x, inner, part)
    for u in range(b * per, min(units, (b + 1) * per)):
        o, leaf, start, end, left, right = _unit(u, x, inner, part)
        if inner == 1:
            part[o, leaf, 0] = _best(x[o, start:end], rule, inverse)
            continue
        for r in range(start, end):
            row = x[o, r * inner + left : r * inner + right]
            _keep_best(row, rule, inverse, part[o, leaf, left:right])


@njit
def _arg_extreme_block(b, x, inner, rule, inverse, part, where, per):
    units, _ = _units(x, inner, part)
    for u in range(b * per, min(units, (b + 1) * per)):
        o, leaf, start, end, left, right = _unit(u, x, inner, part)
        bests, places = part[o, leaf, left:right], where[o, leaf, left:right]
        places[:] = start
        if inner == 1:
            bests[0], place = _first_best(x[o, start:end], rule, inverse)
            places[0] = start + place
            continue
        for r in range(start, end):
            row = x[o, r * inner + left : r * inner + right]
            _keep_first_best(row, r, rule, inverse, bests, places)


@njit
def _count_block(b, x, inner, part, per):
    units, _ = _units(x, inner, part)
    for u in range(b * per, min(units, (b + 1) * per)):
        o, leaf, start, end, left, right = _unit(u, x, inner, part)
        if inner == 1:
            part[o, leaf, 0] = _nonzero(x[o, start:end])
            continue
        counts = part[o, leaf, left:right]
        for r in range(start, end):
            row = x[o, r * inner + left : r * inner + right]
            for j in range(row.size):
                counts[j] += row[j] != 0


@njit
def _total(pool, x, inner, part, counts):
    units, per = _units(x, inner, part)
    parallel(pool, _total_block, -(-units // per), (x, inner, part, counts, per), x.size // 4)


@njit
def _squares(pool, x, inner, mean, skip_nan, part):
    units, per = _units(x, inner, part)
    args = (x, inner, mean, skip_nan, part, per)
    parallel(pool, _squares_block, -(-units // per), args, x.size // 4)


@njit
def _extreme(pool, x, inner, constants, inverse, part):
    units, per = _units(x, inner, part)
    args = (x, inner, unpack(constants), inverse, part, per)
    parallel(pool, _extreme_block, -(-units // per), args, x.size // 4)


@njit
def _arg_extreme(pool, x, inner, constants, inverse, part, where):
    units, per = _units(x, inner, part)
    args = (x, inner, unpack(constants), inverse, part, where, per)
    parallel(pool, _arg_extreme_block, -(-units // per), args, x.size // 2)


@njit
def _count(pool, x, inner, part):
    units, per = _units(x, inner, part)
    parallel(pool, _count_block, -(-units // per), (x, inner, part, per), x.size // 4)
