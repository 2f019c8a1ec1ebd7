"""Random words that depend on a seed and a place alone."""

import numpy as np

# Philox4x32-10: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011.
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
WEYL = 0x9E3779B9, 0xBB67AE85
LOW = 0xFFFFFFFF


def philox(counter, key):
    """Four 32-bit words, as uint64 arrays, of a counter of four and a key of two such words."""
    c0, c1, c2, c3 = (np.asarray(c, np.uint64) for c in counter)
    k0, k1 = key
    for _ in range(10):
        p0, p1 = np.uint64(MULTIPLIERS[0]) * c0, np.uint64(MULTIPLIERS[1]) * c2
        c0, c2 = (p1 >> 32) ^ c1 ^ np.uint64(k0), (p0 >> 32) ^ c3 ^ np.uint64(k1)
        c1, c3 = p1 & LOW, p0 & LOW
        k0, k1 = (k0 + WEYL[0]) & LOW, (k1 + WEYL[1]) & LOW
    return c0, c1, c2, c3


def philox_words(seed, places):
    """Words of the stream of a 64-bit seed, by number: word i is word i % 4 of counter i // 4."""
    counter, lane = np.divmod(np.asarray(places, np.uint64), np.uint64(4))
    words = philox((counter & LOW, counter >> 32, 0, 0), (seed & LOW, seed >> 32))
    return np.choose(lane.astype(np.int64), words)
