"""Run blocks of serial Numba code on worker threads that are parked in native code.

    @njit
    def _double_block(b, x, out):                 # block number b; touches only its part of out
        for i in range(b * BLOCK, min(x.size, (b + 1) * BLOCK)):
            out[i] = 2 * x[i]

    @njit
    def _double(pool, x, out):                    # not nogil: parallel() releases the GIL itself
        parallel(pool, _double_block, -(-x.size // BLOCK), (x, out), x.size)

    _double(workers(), x, out)

Everyone who takes part (the caller and each worker that gets to run) claims block numbers with an
atomic fetch-add until none is left: a late worker costs nothing, and the caller waits only for
blocks in hand. Blocks must depend on the data alone, never on the number of threads, and partial
results are kept by block number and folded in a fixed order: the same bits for any thread count.

Why not `prange`: its default layers kill a forked child (omp), abort the process when two Python
threads enter (workqueue) or spin 8 ms when another process takes a core (omp); always releasing the
GIL costs 5 ms where another thread burns it. Waking a worker here needs no GIL.
"""

import ctypes
import os
import threading
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .._jit import njit

# The policy, in nanoseconds of serial work. Below ALONE a second thread does not pay (crossover
# measured at 9-10 us); below KEEP_GIL the lock is kept, as getting it back costs 5 ms when another
# thread burns it; SLICE of work is done between two looks for Ctrl-C.
ALONE, KEEP_GIL, SLICE = 20_000, 100_000, 25_000_000
SPIN = 400  # pauses, about 10 us, before the caller sleeps to let a preempted worker finish
FAN = 4  # workers woken by the caller, and by each woken worker
MAX_THREADS = 256

# The pool is one int64 array, a cache line for each field that several threads write: OPEN, the
# address of the job or 0; ACTIVE, workers between waking and parking; BUSY, a caller has the
# workers; COUNT, workers that may be used; WANT, workers this job can use; ALLOWED, the CPUs of
# this process, a bit each; MASK, room for another such set; from WORKER + 8 * i on, for worker i:
# whether a wake is under way, the address of its lock, its thread, the CPU it was last seen on.
OPEN, ACTIVE, BUSY, COUNT, WANT, ALLOWED, MASK, WORKER = 0, 8, 16, 24, 25, 32, 48, 64
LOCK, THREAD, CPU = 1, 2, 3
# A job is another: NEXT block to claim; lowest FAILED block; number of blocks; address of the
# claiming loop; address of its arguments.
NEXT, FAILED, SIZE, CODE, ARGS = 0, 8, 16, 17, 18

_i64, _void = ir.IntType(64), ir.VoidType()
_acquire = types.ExternalFunction("PyThread_acquire_lock", types.int32(types.intp, types.int32))
_release = types.ExternalFunction("PyThread_release_lock", types.void(types.intp))
_usleep = types.ExternalFunction("usleep", types.int32(types.uint32))
_check_signals = types.ExternalFunction("PyErr_CheckSignals", types.int32())
_HAS_AFFINITY = hasattr(os, "sched_setaffinity")  # Linux
_MASK_BITS = 1024
if _HAS_AFFINITY:
    _current_cpu = types.ExternalFunction("sched_getcpu", types.int32())
    _set_affinity = types.ExternalFunction(
        "sched_setaffinity", types.int32(types.int32, types.intp, types.intp)
    )


def _item(context, builder, array_type, array, i):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [i if isinstance(i, ir.Value) else _i64(i)])


def _atomic(op):
    """Make f(a, i, v): old = a[i]; a[i] = op(a[i], v), in one step, on an int64 array."""

    @intrinsic
    def read_modify_write(typingctx, a, i, v):
        def codegen(context, builder, sig, args):
            item = _item(context, builder, sig.args[0], args[0], args[1])
            return builder.atomic_rmw(op, item, args[2], "seq_cst")

        return types.int64(a, types.intp, types.int64), codegen

    return read_modify_write


_add, _swap = _atomic("add"), _atomic("xchg")


@intrinsic
def _poll(typingctx, a, i):
    """a[i], atomically, after one pause of the CPU."""

    def codegen(context, builder, sig, args):
        if context.codegen().magic_tuple()[0].startswith("x86"):  # the JIT refuses inline assembly
            pause = ir.FunctionType(_void, [])
            name = "llvm.x86.sse2.pause"
            builder.call(cgutils.get_or_insert_function(builder.module, pause, name), [])
        item = _item(context, builder, sig.args[0], args[0], args[1])
        return builder.load_atomic(item, "acquire", 8)

    return types.int64(a, types.intp), codegen


@intrinsic
def _bind(typingctx, job, block, args):
    """Make the claiming loop for block(b, *args); store its address and that of args in job.

    void loop(job, limit):
        while limit-- > 0 and (b = job[NEXT]++) < job[SIZE]:
            block(b, *args), noting a failure in job[FAILED]
    """
    block_types = (types.int64, *args.types)
    call = typingctx.resolve_function_type(block, block_types, {})

    def codegen(context, builder, sig, values):
        overload = block.dispatcher.get_compile_result(call)
        context.active_code_library.add_linking_library(overload.library)
        block_function = context.declare_function(builder.module, overload.fndesc)
        packed = cgutils.alloca_once_value(builder, values[2])

        loop_type = ir.FunctionType(_void, [_i64.as_pointer(), _i64])
        name = builder.module.get_unique_name("claim_loop")
        loop = ir.Function(builder.module, loop_type, name)
        loop.linkage = "internal"
        b = ir.IRBuilder(loop.append_basic_block("entry"))
        head, claim, run, out = (
            loop.append_basic_block(n) for n in ("head", "claim", "run", "out")
        )

        def field(i):
            return b.gep(loop.args[0], [_i64(i)])

        left = cgutils.alloca_once_value(b, loop.args[1])
        arguments = b.load(b.inttoptr(b.load(field(ARGS)), packed.type))
        unpacked = [b.extract_value(arguments, i) for i in range(len(args.types))]
        size = b.load(field(SIZE))
        b.branch(head)

        b.position_at_end(head)
        remaining = b.load(left)
        b.store(b.sub(remaining, _i64(1)), left)
        b.cbranch(b.icmp_signed(">", remaining, _i64(0)), claim, out)

        b.position_at_end(claim)
        mine = b.atomic_rmw("add", field(NEXT), _i64(1), "monotonic")
        b.cbranch(b.icmp_signed("<", mine, size), run, out)

        b.position_at_end(run)
        status, _ = context.call_conv.call_function(
            b, block_function, call.return_type, block_types, [mine, *unpacked]
        )
        with b.if_then(status.is_error, likely=False):
            b.atomic_rmw("min", field(FAILED), mine, "monotonic")
        b.branch(head)

        b.position_at_end(out)
        b.ret_void()
        for i, pointer in ((CODE, loop), (ARGS, packed)):
            item = _item(context, builder, sig.args[0], values[0], i)
            builder.store(builder.ptrtoint(pointer, _i64), item)
        return context.get_dummy_value()

    return types.void(job, block, args), codegen


@intrinsic
def _run(typingctx, job, limit):
    """Run the claiming loop of the job at this address for up to `limit` blocks."""

    def codegen(context, builder, sig, args):
        job = builder.inttoptr(args[0], _i64.as_pointer())
        loop_type = ir.FunctionType(_void, [_i64.as_pointer(), _i64])
        code = builder.load(builder.gep(job, [_i64(CODE)]))
        builder.call(builder.inttoptr(code, loop_type.as_pointer()), [job, args[1]])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def _drop_gil(typingctx):
    def codegen(context, builder, sig, args):
        return context.get_python_api(builder).save_thread()

    return types.voidptr(), codegen


@intrinsic
def _take_gil(typingctx, thread_state):
    def codegen(context, builder, sig, args):
        pointer = cgutils.alloca_once_value(builder, args[0])
        context.get_python_api(builder).restore_thread(builder.load(pointer))
        return context.get_dummy_value()

    return types.void(types.voidptr), codegen


@intrinsic
def _propagate(typingctx, code):
    """Leave this function with the Python exception that is already set, if code is not 0."""

    def codegen(context, builder, sig, args):
        with builder.if_then(cgutils.is_not_null(builder, args[0]), likely=False):
            context.call_conv.return_exc(builder)
        return context.get_dummy_value()

    return types.void(types.int32), codegen


@njit
def _wake(pool, first):
    """Wake up to FAN workers from `first`; worker i, once awake, wakes those from FAN * (i + 1)."""
    for i in range(first, min(first + FAN, pool[WANT])):
        if _swap(pool, WORKER + 8 * i, 1) == 0:
            _release(pool[WORKER + 8 * i + LOCK])


@njit
def _make_way(pool):
    """Move the workers that the caller wakes off the caller's CPU.

    A thread wakes where it last ran, and Linux left a worker behind its busy caller for seconds
    while the other CPU idled: no speed-up at all, in two of three runs on two CPUs.
    """
    if _HAS_AFFINITY:
        cpu = np.int64(_current_cpu())
        for i in range(min(FAN, pool[WANT])):
            if pool[WORKER + 8 * i + CPU] == cpu and 0 <= cpu < _MASK_BITS:
                # Not by slices, whose error message costs 2 s of compilation.
                for word in range(_MASK_BITS // 64):
                    pool[MASK + word] = pool[ALLOWED + word]
                pool[MASK + cpu // 64] &= ~(np.int64(1) << (cpu % 64))
                mask = pool.ctypes.data + 8 * MASK
                # An empty set, where the process has one CPU, is refused and changes nothing.
                _set_affinity(np.int32(pool[WORKER + 8 * i + THREAD]), _MASK_BITS // 8, mask)


@njit(nogil=True)
def _park(pool, i):
    """Life of worker i. ACTIVE rises before OPEN is read: the caller waits or the job is closed."""
    while True:
        _acquire(pool[WORKER + 8 * i + LOCK], 1)
        _swap(pool, WORKER + 8 * i, 0)
        if _HAS_AFFINITY:
            pool[WORKER + 8 * i + CPU] = np.int64(_current_cpu())
        _add(pool, ACTIVE, 1)
        job = _add(pool, OPEN, 0)
        if job != 0:
            _wake(pool, FAN * (i + 1))
            _run(job, 1 << 62)
        _add(pool, ACTIVE, -1)


@njit
def _settle(pool):
    """Close the job and wait for the workers that are still in a block of it."""
    _swap(pool, OPEN, 0)
    spins = 0
    while _poll(pool, ACTIVE) > 0:
        spins += 1
        if spins > SPIN:
            _usleep(20)
    _swap(pool, BUSY, 0)


# Inlined, the argument `block` vanishes: Numba can cache the caller. Its own cache would hold every
# block by its type, and Numba fails to rewrite that index once a block is gone.
@njit(cache=False, forceinline=True)
def parallel(pool, block, n, args, work):
    """Run block(b, *args) for b in 0..n-1; `work` is a guess of the serial time in nanoseconds.

    With one block, little work, no workers or workers busy for another caller, the caller runs
    alone (making callers wait cost 10-49 % of the throughput of 16 threads). A failed block is run
    again here, after all have ended, to raise its exception; of several, the lowest.
    Must not be called from a block or from a function that has released the GIL.
    """
    job = np.zeros(24, np.int64)
    job[SIZE] = job[FAILED] = n
    _bind(job, block, args)
    address = job.ctypes.data
    release = work > KEEP_GIL
    state = _drop_gil() if release else None
    shared = n > 1 and work > ALONE and pool[COUNT] > 0 and _swap(pool, BUSY, 1) == 0
    if shared:
        pool[WANT] = min(pool[COUNT], n - 1)
        _make_way(pool)
        _swap(pool, OPEN, address)
        _wake(pool, 0)
    error = np.int32(0)
    limit = max(1, int(n * (SLICE / max(work, 1))))
    while True:
        _run(address, limit)
        if job[NEXT] >= n:
            break
        if release:
            _take_gil(state)
            error = _check_signals()
            state = _drop_gil()
            if error != 0:
                _add(job, NEXT, n)
                break
    if shared:
        _settle(pool)
    if release:
        _take_gil(state)
    _propagate(error)
    if job[FAILED] < n:
        block(job[FAILED], *args)
        raise MemoryError("a block ran out of memory")  # all else would fail again


class _Pool:
    """Owner of the worker threads; starts them when first needed."""

    def __init__(self) -> None:
        affinity = getattr(os, "sched_getaffinity", None)  # Linux; honours taskset and containers
        self.threads = len(affinity(0)) if affinity else os.cpu_count() or 1
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """In a forked child the threads do not exist and nobody holds the locks: start afresh."""
        self.state: Any = None
        self.started = 0
        self.guard = threading.Lock()

    def resize(self, threads: int | None = None) -> Any:
        """Let jobs use `threads` threads, the caller's included, and return the pool's array."""
        with self.guard:
            if threads is not None:
                self.threads = threads
            state = (
                np.zeros(WORKER + 8 * MAX_THREADS, np.int64) if self.state is None else self.state
            )
            if _HAS_AFFINITY:
                allowed = sum(1 << cpu for cpu in os.sched_getaffinity(0) if cpu < _MASK_BITS)
                state[ALLOWED:MASK] = np.frombuffer(
                    allowed.to_bytes(_MASK_BITS // 8, "little"), "i8"
                )
            for i in range(self.started, self.threads - 1):
                state[WORKER + 8 * i + LOCK] = _new_lock()
                args = (state, i)
                thread = threading.Thread(target=_park, args=args, daemon=True, name="tersor")
                try:
                    thread.start()
                except RuntimeError:  # no more threads, or memory for one: as many as there are
                    break
                state[WORKER + 8 * i + THREAD] = thread.native_id
                state[WORKER + 8 * i + CPU] = -1
                self.started = i + 1
            state[COUNT] = min(self.threads - 1, self.started)
            self.state = state
            return state


def _new_lock() -> int:
    """A native lock, held. Locks and threads live as long as the process."""
    api = ctypes.pythonapi
    api.PyThread_allocate_lock.restype = ctypes.c_void_p
    api.PyThread_acquire_lock.argtypes = [ctypes.c_void_p, ctypes.c_int]
    lock = api.PyThread_allocate_lock()
    if not lock:
        raise MemoryError("no memory for a thread lock")
    api.PyThread_acquire_lock(lock, 1)
    return int(lock)


_pool = _Pool()


def workers() -> Any:
    """The pool to pass to compiled functions."""
    state = _pool.state
    return _pool.resize() if state is None else state


def set_num_threads(n: int) -> None:
    """Let every kernel use up to `n` threads, the caller's own included."""
    _pool.resize(n)


def get_num_threads() -> int:
    return _pool.threads
