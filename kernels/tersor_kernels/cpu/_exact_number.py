"""Exact sums as long integers: digits of 32 bits, each in an int64 that carries are left in.

Radford Neal's small superaccumulator (2015, https://arxiv.org/abs/1505.05571), with three digits to
a float64 instead of two, so that 2**31 of them can be added before carries must be propagated.
A number is FLAGS int64, which count NaN, inf and -inf, then digits; digit 0 counts 2**base.
"""

import math

import numpy as np

from .._jit import njit

NAN, PLUS, MINUS, FLAGS = range(4)
# (base, digits) by the dtype of the elements. A float32 is a float64 whose trailing bits are 0:
# these must have a place, too. Beyond the largest number is room for 2**40 of them and the sign.
PLACES = {np.dtype(np.float32): (-213, 14), np.dtype(np.float64): (-1074, 68)}
# (precision, exponent of the smallest number) by the name of the dtype that a sum is rounded to.
ROUNDED_TO = {
    "float16": (11, -24),
    "bfloat16": (8, -133),
    "float32": (24, -149),
    "float64": (53, -1074),
}
_MANTISSA, _HIDDEN = np.int64((1 << 52) - 1), np.int64(1 << 52)
_LOW, _DIGIT = np.int64(0xFFFFFFFF), np.int64(32)


@njit
def clear(number, digits):
    for i in range(FLAGS + digits):
        number[i] = 0


@njit
def add(number, base, x):
    """Add a float64, a multiple of 2**-149 if the base is that of float32."""
    bits = np.float64(x).view(np.int64)
    exponent, mantissa = (bits >> 52) & 2047, bits & _MANTISSA
    if exponent == 2047:
        number[NAN if mantissa else PLUS if bits > 0 else MINUS] += 1
        return
    if exponent:
        mantissa |= _HIDDEN
    elif mantissa:
        exponent = np.int64(1)
    else:
        return
    place = exponent - 1 - 1074 - base
    shift, i = place & 31, FLAGS + (place >> 5)
    sign = bits >> 63  # 0 or -1: (d ^ sign) - sign negates d
    rest = mantissa >> (_DIGIT - shift)
    number[i] += (((mantissa << shift) & _LOW) ^ sign) - sign
    number[i + 1] += ((rest & _LOW) ^ sign) - sign
    number[i + 2] += ((rest >> 32) ^ sign) - sign


@njit
def carry(number, digits):
    """Propagate carries: digits are in 0..2**32-1, but for the last, which has the sign."""
    rest = np.int64(0)
    for i in range(FLAGS, FLAGS + digits - 1):
        digit = number[i] + rest
        number[i] = digit & _LOW
        rest = digit >> 32
    number[FLAGS + digits - 1] += rest


@njit
def rounded(number, base, digits, precision, lowest):
    """The nearest float64 of `precision` bits that is a multiple of 2**lowest, ties to even.

    Destroys the number.
    """
    if number[NAN] or (number[PLUS] and number[MINUS]):
        return np.nan
    if number[PLUS] or number[MINUS]:
        return np.inf if number[PLUS] else -np.inf
    carry(number, digits)
    top = FLAGS + digits - 1
    sign = 1.0
    if number[top] < 0:
        sign = -1.0
        for i in range(FLAGS, top + 1):
            number[i] = -number[i]
        carry(number, digits)
    while top >= FLAGS and number[top] == 0:
        top -= 1
    if top < FLAGS:
        return 0.0
    # The leading 64 bits, the first of them set, and whether there is anything below.
    high, space = np.uint64(number[top]), np.uint64(0)
    while (high << space) >> np.uint64(31) == 0:
        space += np.uint64(1)
    middle = np.uint64(number[top - 1]) if top > FLAGS else np.uint64(0)
    low = np.uint64(number[top - 2]) if top > FLAGS + 1 else np.uint64(0)
    value = ((high << np.uint64(32)) | middle) << space
    value |= low >> (np.uint64(32) - space)
    more = (low << space) & np.uint64(_LOW) != 0
    for i in range(FLAGS, top - 2):
        more |= number[i] != 0
    exponent = base + 32 * (top - FLAGS - 1) - np.int64(space)
    cut = max(64 - precision, lowest - exponent)
    kept, rest = value >> np.uint64(cut), value & ((np.uint64(1) << np.uint64(cut)) - np.uint64(1))
    half = np.uint64(1) << np.uint64(cut - 1)
    if rest > half or (rest == half and (more or kept & np.uint64(1))):
        kept += np.uint64(1)
    return sign * math.ldexp(np.float64(kept), np.int64(exponent + cut))


@njit
def rounded_pair(a, b, precision, lowest):
    """a + b, which must not overflow, rounded as by `rounded`."""
    total = a + b
    if precision == 53:
        return total
    back = total - a
    error = (a - (total - back)) + (b - back)
    bits = np.float64(total).view(np.int64)
    # Rounded to odd, the sum can be rounded again to fewer bits, as if it had been exact (Boldo and
    # Melquiond 2008): of the neighbours of the exact sum, the one whose last bit is set.
    if error != 0 and bits & 1 == 0:
        bits += np.int64(1) if (error > 0) == (total > 0) else np.int64(-1)
        total = np.int64(bits).view(np.float64)
    unit = max(((bits >> 52) & 2047) - (precision - 1), lowest + 1023)
    shifter = np.int64(((unit + 52) << 52) | (1 << 51)).view(np.float64)
    return (total + shifter) - shifter
