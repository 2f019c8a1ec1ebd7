"""Two 4-bit values a byte."""

import numpy as np


def pack_nibbles(q):
    """4-bit values two a byte along the last axis, low nibble first, an odd end padded with 0."""
    nibbles = q.view(np.uint8) & 15
    if q.ndim == 0:
        return nibbles
    if q.shape[-1] % 2:
        nibbles = np.concatenate([nibbles, np.zeros_like(nibbles[..., :1])], -1)
    return nibbles[..., ::2] | nibbles[..., 1::2] << 4


def unpack_nibbles(packed, shape, signed):
    """The int8 or uint8 values of `pack_nibbles`, of `shape`."""
    nibbles = np.stack([packed & 15, packed >> 4], -1)
    if shape:
        nibbles = nibbles.reshape(*shape[:-1], 2 * packed.shape[-1])[..., : shape[-1]]
    else:
        nibbles = nibbles[0]
    return (nibbles ^ 8).view(np.int8) - np.int8(8) if signed else nibbles
