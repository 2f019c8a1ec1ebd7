"""The worker pool: the same answer as serial code under threads, forks, errors, Ctrl-C and exit."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import tersor
from tersor_kernels.cpu import _parallel

ROOT = Path(__file__).parents[1]
X = np.random.default_rng(0).standard_normal((3000, 500), np.float32)
ROWS = (0, 1, 31, 32, 33, 100, 1000, 3000)  # 32 rows of 500 make a block


def softmax(rows):
    return tersor.softmax(X[:rows], axis=1)


@pytest.fixture(scope="module")
def serial():
    with tersor.num_threads(1):
        return {rows: softmax(rows).tobytes() for rows in ROWS}


@pytest.mark.parametrize("threads", [1, 2, 3, 24])
def test_same_bits_for_any_number_of_threads(threads, serial):
    with tersor.num_threads(threads):
        for _ in range(20):
            assert all(softmax(rows).tobytes() == serial[rows] for rows in ROWS)


def test_sixteen_callers_at_once(serial):
    def calls(seed):
        order = np.random.default_rng(seed).choice(ROWS, 60)
        return all(softmax(rows).tobytes() == serial[rows] for rows in order)

    with tersor.num_threads(4), ThreadPoolExecutor(16) as pool:
        assert all(pool.map(calls, range(16)))


def test_number_of_threads_changes_while_others_compute(serial):
    stop = threading.Event()

    def toggle():
        while not stop.is_set():
            for n in (1, 2, 5):
                tersor.set_num_threads(n)

    before = tersor.get_num_threads()
    toggler = threading.Thread(target=toggle)
    toggler.start()
    try:
        assert all(softmax(rows).tobytes() == serial[rows] for rows in ROWS * 20)
    finally:
        stop.set()
        toggler.join()
        tersor.set_num_threads(before)


def test_fork_after_use_and_while_busy(serial):
    stop = threading.Event()

    def keep_busy():
        while not stop.is_set():
            softmax(3000)

    def child_is_right():
        child = os.fork()
        if child == 0:
            signal.alarm(30)
            right = all(softmax(rows).tobytes() == serial[rows] for rows in ROWS)
            grandchild = os.fork()
            if grandchild == 0:
                os._exit(0 if softmax(3000).tobytes() == serial[3000] else 1)
            os._exit(0 if right and os.waitpid(grandchild, 0)[1] == 0 else 1)
        return os.waitpid(child, 0)[1] == 0

    with tersor.num_threads(3):
        busy = threading.Thread(target=keep_busy)
        busy.start()
        try:
            assert all(child_is_right() for _ in range(8))
        finally:
            stop.set()
            busy.join()
        assert softmax(3000).tobytes() == serial[3000]


def test_multiprocessing_by_fork(serial):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert [r.tobytes() for r in pool.map(softmax, ROWS)] == [serial[r] for r in ROWS]


DEMO = """
import os, threading, time
import numpy as np
from tersor_kernels._jit import njit
from tersor_kernels.cpu._parallel import parallel, set_num_threads, workers

@njit
def fails(b, bad):
    if b >= bad:
        raise ValueError("negative pivot")

@njit
def run_fails(pool, n, bad, work):
    parallel(pool, fails, n, (bad,), work)

@njit
def slow(b, seen):
    total = 0.0
    for i in range(500_000):
        total += np.sqrt(i + b)
    seen[b] = total

@njit
def run_slow(pool, seen):
    parallel(pool, slow, seen.size, (seen,), seen.size * 500_000)

set_num_threads(3)
"""


def run(code, **environment):
    """Run code after DEMO in a new interpreter; return its output, failing if it fails."""
    path = os.pathsep.join(str(ROOT / p) for p in ("pyapi", "kernels"))
    done = subprocess.run(
        [sys.executable, "-c", DEMO + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": path} | environment,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_an_exception_in_a_block_is_raised_and_the_pool_goes_on():
    run("""
        for work in (0, 10**9):  # keeping the GIL, and releasing it
            for bad in (0, 7, 199):
                for _ in range(20):
                    try:
                        run_fails(workers(), 200, bad, work)
                    except ValueError as error:
                        assert str(error) == "negative pivot"
                    else:
                        raise SystemExit("no error")
            run_fails(workers(), 200, 200, work)
        """)


def test_a_block_that_fails_once_lacked_memory():
    run("""
        @njit
        def fails_once(b, calls):
            calls[b] += 1
            if calls[b] == 1 and b % 3 == 0:
                raise MemoryError("Allocation failed")

        @njit
        def run_fails_once(pool, calls, work):
            parallel(pool, fails_once, calls.size, (calls,), work)

        for work in (0, 10**9):
            calls = np.zeros(30, np.int64)
            try:
                run_fails_once(workers(), calls, work)
            except MemoryError as error:
                assert str(error) == "a block ran out of memory"
            else:
                raise SystemExit("no error")
            calls[:] = 1
            run_fails_once(workers(), calls, work)
            assert (calls == 2).all()
        """)


def test_fewer_threads_where_the_system_has_no_more():
    run("""
        start, names = threading.Thread.start, []

        def start_one(thread):
            if names:
                raise RuntimeError("can't start new thread")
            names.append(thread.name)
            start(thread)

        threading.Thread.start = start_one
        from tersor_kernels.cpu import _parallel
        _parallel._pool._forget()
        set_num_threads(8)
        seen = np.zeros(20)
        run_slow(workers(), seen)
        assert names == ["tersor"] and (seen > 0).all()
        threading.Thread.start = start
        set_num_threads(3)
        assert _parallel._pool.started == 2
        """)


def test_ctrl_c_stops_a_long_job_and_nothing_runs_on():
    seconds = run("""
        import signal
        seen = np.zeros(3)
        run_slow(workers(), seen)
        seen = np.zeros(100_000)  # minutes of work
        threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        start = time.perf_counter()
        try:
            run_slow(workers(), seen)
        except KeyboardInterrupt:
            print(time.perf_counter() - start)
        before = np.count_nonzero(seen)
        time.sleep(0.2)
        assert 0 < before == np.count_nonzero(seen) < seen.size
        run_slow(workers(), np.zeros(3))
        """)
    assert float(seconds) < 10


@pytest.mark.parametrize("busy", [False, True])
def test_the_interpreter_exits_cleanly(busy):
    run(f"""
        def go():
            while True:
                run_slow(workers(), np.zeros(4))
        run_slow(workers(), np.zeros(8))
        if {busy}:
            for _ in range(3):
                threading.Thread(target=go, daemon=True).start()
            time.sleep(0.1)
        """)


def test_spawned_processes_and_the_workqueue_layer():
    code = """
        from concurrent.futures import ThreadPoolExecutor
        import tersor
        x = np.random.default_rng(0).standard_normal((3000, 500), np.float32)
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(lambda _: tersor.softmax(x, axis=1).tobytes(), range(32)))
        assert len(set(results)) == 1
        import hashlib
        print(hashlib.sha256(results[0]).hexdigest())
        """
    here = run(code)
    assert run(code, NUMBA_THREADING_LAYER="workqueue", NUMBA_NUM_THREADS="2") == here


@pytest.mark.parametrize("n", [0, -1, _parallel.MAX_THREADS + 1])
def test_the_number_of_threads_is_checked(n):
    with pytest.raises(ValueError, match=rf"n must be in 1\.\.{_parallel.MAX_THREADS}, got {n}"):
        tersor.set_num_threads(n)


@pytest.mark.parametrize("n", [1.5, True, "2", None])
def test_the_number_of_threads_is_an_int(n):
    with pytest.raises(TypeError, match=f"n must be an int, got {n!r}"):
        tersor.set_num_threads(n)


def test_num_threads_is_restored_after_an_error():
    before = tersor.get_num_threads()
    with pytest.raises(KeyError), tersor.num_threads(before + 1):
        assert tersor.get_num_threads() == before + 1
        raise KeyError
    assert tersor.get_num_threads() == before
