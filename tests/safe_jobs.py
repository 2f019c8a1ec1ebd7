"""What test_safe.py runs in interpreters of their own: `python safe_jobs.py TASK ARGUMENTS`."""

import contextlib
import ctypes
import gc
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from dataclasses import dataclass
from functools import partial
from zlib import crc32

import numba
import numpy as np

import tersor


@dataclass
class Data:
    """Inputs of the jobs; nobody may write to them."""

    x: np.ndarray  # float32, (rows, 1000)
    sparse: tersor.csr_array | None = None
    q: tersor.QuantizedArray | None = None


def data(rows, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, 1000), np.float32)
    sparse = tersor.to_csr(rng.standard_normal((200, 1000), np.float32), 0.1)
    made = Data(x, sparse, tersor.quantize(x[:200], axis=0))
    for array in (x, sparse.data, sparse.indices, sparse.indptr, made.q.data):
        array.flags.writeable = False
    return made


JOBS = {
    "sum": lambda d: tersor.sum(d.x),
    "sum of columns": lambda d: tersor.sum(d.x, axis=0),
    "var": lambda d: tersor.var(d.x, axis=1),
    "nanvar": lambda d: tersor.nanvar(d.x, axis=0),
    "argmax": lambda d: tersor.argmax(d.x, axis=0),
    "nanmax": lambda d: tersor.nanmax(d.x),
    "norm": lambda d: tersor.norm(d.x, axis=0),
    "cumsum": lambda d: tersor.cumsum(d.x),
    "median": lambda d: tersor.median(d.x),
    "quantile": lambda d: tersor.quantile(d.x, [0.1, 0.9], axis=1),
    "partition": lambda d: tersor.partition(d.x.reshape(-1), d.x.size // 3),
    "argpartition": lambda d: tersor.argpartition(d.x, 10, axis=1),
    "top_k": lambda d: tersor.top_k(d.x, 8),
    "prune": lambda d: tersor.prune(d.x, 0.3),
    "prune_mask": lambda d: tersor.prune_mask(d.x, 0.3, axis=1),
    "quantize": lambda d: tersor.quantize(d.x),
    "dequantize": lambda d: d.q.dequantize(),
    "softmax": lambda d: tersor.softmax(d.x, axis=1),
    "csr_matmul": lambda d: d.sparse @ d.x[:50].T,
    "csr @ csr": lambda d: (d.sparse @ d.sparse.T).toarray(),
    "to_csr": lambda d: tersor.to_csr(d.x, 0.1).indices,
    "matmul_int8": lambda d: tersor.matmul_int8(d.q.data, d.q.data.T),
    "linear_int8": lambda d: tersor.linear_int8(d.x, d.q),
    "PackedInt8": lambda d: tersor.linear_int8(d.x, tersor.PackedInt8(d.q)),
    "distillation_loss": lambda d: tersor.distillation_loss(d.x, d.x[::-1]),
}


def bits(result):
    """The bytes of a result, whatever it is made of."""
    if isinstance(result, tuple):
        return b"".join(map(bits, result))
    if isinstance(result, tersor.QuantizedArray):
        return bits((result.data, result.scale))
    return np.asarray(result).tobytes()


def answers(d):
    return {name: bits(job(d)) for name, job in JOBS.items()}


def serial_answers(d):
    with tersor.num_threads(1):
        return answers(d)


def wrong(d, expected, order=tuple(JOBS)):
    """The first job whose result is not the expected one, or None."""
    return next((name for name in order if bits(JOBS[name](d)) != expected[name]), None)


@contextlib.contextmanager
def going_on(*functions):
    """Each function is called again and again, by a thread of its own."""
    stop = threading.Event()

    def again_and_again(function):
        while not stop.is_set():
            function()

    threads = [threading.Thread(target=again_and_again, args=(f,)) for f in functions]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def threads(layer):
    """Nine threads, on arrays of their own and on shared ones, while numbers of threads change."""
    shared, own = data(300), [data(270 + 13 * i, i) for i in range(9)]
    right = serial_answers(shared)
    right_of_own = [serial_answers(d) for d in own]
    with contextlib.suppress(ValueError):  # not initialized
        raise AssertionError(f"a kernel has started Numba's threads: {numba.threading_layer()}")
    found = []

    def work(i):
        order = np.random.default_rng(i).permutation(list(JOBS))
        numba.set_num_threads(1 + i % numba.config.NUMBA_NUM_THREADS)  # starts them
        with np.errstate(all="ignore"):
            for _ in range(3):
                found.append(wrong(shared, right, order) or wrong(own[i], right_of_own[i], order))

    def change():
        for n in (1, 2, 5):
            tersor.set_num_threads(n)
        with tersor.num_threads(3):
            tersor.sum(shared.x)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(9)]
    with going_on(change):
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert found == [None] * 27, found
    assert layer in ("default", numba.threading_layer()), numba.threading_layer()


def exit_code_of_child(function):
    """Fork; the exit status of a child that calls `function`, which returns what is wrong."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    signal.alarm(120)
    status = 1
    try:
        status = 0 if function() is None else 2
    finally:
        os._exit(status)


def fork():
    """Children of a process whose pool was used, whose kernels run and whose compiler runs."""
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    d = data(300)
    right = serial_answers(d)
    tersor.set_num_threads(3)
    assert wrong(d, right) is None
    with going_on(partial(wrong, d, right), partial(wrong, d, right)):
        for _ in range(5):
            assert exit_code_of_child(partial(wrong, d, right)) == 0
    assert wrong(d, right) is None

    compiler = numba.core.compiler_lock.global_compiler_lock
    first_call = threading.Thread(target=numba.njit(lambda x: np.sort(x)), args=(np.ones(3),))
    first_call.start()
    while first_call.is_alive() and compiler._lock.acquire(blocking=False):  # until it has it
        compiler._lock.release()

    def compiles():
        return None if numba.njit(lambda x: x + 1)(1) == 2 else "wrong"

    assert exit_code_of_child(compiles) == 0
    first_call.join()


def in_child(rows):
    return answers(data(rows))


def start(method):
    """Processes that are started by "spawn" or "forkserver" after the pool was used."""
    right = serial_answers(data(300))
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert all(found == right for found in pool.map(in_child, [300] * 4))


def interrupt(rows):
    """Call each job again and again until a signal comes; who reads its name sends one."""
    d = data(int(rows))
    for name, job in JOBS.items():
        right = bits(job(d))
        until_stopped(name, job, d)
        print("right" if bits(job(d)) == right else "wrong", flush=True)


def callbacks():
    """The jobs in which Numba runs Python code: a KeyboardInterrupt there becomes a SystemError."""
    d = data(300)
    for name, job in JOBS.items():
        job(d)
        seen = set()
        sys.setprofile(lambda frame, event, _, seen=seen: seen.add(frame.f_code.co_name))
        job(d)
        sys.setprofile(None)
        if "_numba_unpickle" in seen:
            print(name)


def interrupt_compilation(*names):
    """The same while the jobs' kernels are compiled, a process's first."""
    d = Data(np.random.default_rng(0).standard_normal((300, 1000), np.float32))
    for name in names:
        until_stopped(name, JOBS[name], d)
        print(crc32(bits(JOBS[name](d))), flush=True)


def until_stopped(name, job, d):
    try:
        print(name, flush=True)
        while True:
            job(d)
    except KeyboardInterrupt:
        print("stopped", flush=True)


def results(*names):
    d = Data(np.random.default_rng(0).standard_normal((300, 1000), np.float32))
    print(*(crc32(bits(JOBS[name](d))) for name in names))


def status(field):
    """A size that Linux knows of this process, in bytes."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


def trim():
    """Give back memory that is free, so that what is taken later is seen."""
    gc.collect()
    with contextlib.suppress(AttributeError):  # glibc's
        ctypes.CDLL(None).malloc_trim(0)


def limit():
    """Each job with more and more memory: MemoryError until the result is right.

    From 1 MB on: NumPy's ufuncs crash, or fail without an error, where there is none for buffers.
    """
    import resource

    d = data(3000)
    for name, job in JOBS.items():
        right, outcomes = bits(job(d)), []
        for spare in (2**i for i in range(20, 30, 2)):
            trim()
            resource.setrlimit(resource.RLIMIT_AS, (status("VmSize") + spare, -1))
            try:
                outcomes.append(bits(job(d)) == right)
            except MemoryError:
                outcomes.append(None)
            finally:
                resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
            assert bits(job(d)) == right, (name, spare)
            if outcomes[-1] is not None:
                break
        assert outcomes[-1], name
        if len(outcomes) > 1:
            print(name)


REDUCTIONS = {
    f"{name} {axis}": partial(getattr(tersor, name), axis=axis)
    for name in (
        "sum prod mean var std min max ptp argmin argmax any all count_nonzero norm logsumexp "
        "nansum nanprod nanmean nanvar nanstd nanmin nanmax nanargmin nanargmax"
    ).split()
    for axis in (None, 0, 1)
    if (name, axis) != ("norm", None)  # of a matrix, as NumPy's
}
SELECTIONS = {
    "median": tersor.median,
    "nanmedian": tersor.nanmedian,
    "quantile": lambda x: tersor.quantile(x, 0.1),
    "quantile, four": lambda x: tersor.quantile(x, [0.1, 0.25, 0.5, 0.9]),
    "nanquantile": lambda x: tersor.nanquantile(x, 0.9),
    "percentile": lambda x: tersor.percentile(x, 99),
    "median of rows": lambda x: tersor.median(x, axis=1),
    "partition": lambda x: tersor.partition(x.reshape(-1), x.size // 2),
    "argpartition": lambda x: tersor.argpartition(x.reshape(-1), x.size // 2),
    "top_k": lambda x: tersor.top_k(x.reshape(-1), x.size // 1000),
    "top_k, unsorted": lambda x: tersor.top_k(x.reshape(-1), x.size // 10, sorted=False),
    "top_k of rows": lambda x: tersor.top_k(x, 64),
    "prune": lambda x: tersor.prune(x, 0.5),
    "prune by threshold": lambda x: tersor.prune(x, threshold=0.5),
    "prune of rows": lambda x: tersor.prune(x, 0.5, axis=1),
    "prune 2:4": lambda x: tersor.prune(x, pattern="2:4"),
    "prune_mask": lambda x: tersor.prune_mask(x, 0.5),
}


def memory(n):
    """The peak of memory beyond its result that each call takes, as a share of the input."""
    x = np.random.default_rng(0).standard_normal((1000, int(n) // 1000), np.float32)
    halves = np.concatenate([x, x]).astype(np.float16)
    calls = [(name, call, x) for name, call in (REDUCTIONS | SELECTIONS).items()]
    calls += [(f"float16, {name}", call, halves) for name, call in REDUCTIONS.items()]
    for name, call, a in calls:
        with np.errstate(over="ignore"):
            call(a)  # compiles
            trim()
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")  # the peak is what is taken now
            before = status("VmRSS")
            result = call(a)
        extra = status("VmHWM") - before
        for part in result if isinstance(result, tuple) else (result,):
            extra -= part.nbytes
        print(f"{name}: {extra / a.nbytes:.4f}")


if __name__ == "__main__":
    task, *arguments = sys.argv[1:]
    globals()[task](*arguments)
