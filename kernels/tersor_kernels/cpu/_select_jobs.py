"""What drivers and blocks of selection tell each other, in int64 arrays; constants are indices."""

# A plan: what depends on dtype, order and operation alone: the address of the rule, bytes of an
# entry, addresses of code, and where a chunk writes: at its place in the row; what is kept of it,
# together; or in three parts.
(
    RULE, SIZE, BOUND_CODE, NARROW_CODE, COUNT_CODE, FINISH_CODE, ROWS_CODE,
    EMIT_CODE, SORT_CODE, CHUNK_CODE, KIND, PLAN,
) = range(12)  # fmt: skip
IN_PLACE, TOGETHER, IN_PARTS = range(3)

# The job of rows, after a plan: the rows of n, so many a block; results, of which those of row r
# start at r * WIDTH; how many are wanted of each; what chunks write where; or COUNT ranks, EACH of
# them or the same for all; whether to count NaN in each block (ranks: always, in each row), and to
# write past the caches.
(
    X, ROWS, N, STEP, OUT, PLACES, NANS, NAN_TOO, STREAMS, WIDTH, K, STARTS, RANKS, COUNT, EACH,
    FIELDS,
) = range(PLAN, PLAN + 16)  # fmt: skip
SPARE, A, B, C = range(4)  # of a chunk, the arguments of emitters that STARTS holds
