"""What only a GPU can show: run by scripts/gpu_check, with --gpu."""

import numpy as np
import pytest
from cuda_jobs import JOBS

import tersor
from tersor.testing import assert_identical

pytestmark = pytest.mark.gpu

ALL = [pytest.param(job, id=f"{stem}-{job.name}") for stem in JOBS for job in JOBS[stem]()]


@pytest.mark.parametrize("job", ALL)
def test_jobs_run(job, gpu):
    """Short, so that compute-sanitizer can look at each kernel."""
    job.call(*map(gpu.asarray, job.arrays))
    gpu.cuda.get_current_stream().synchronize()


def test_offsets_beyond_32_bits(gpu):
    n = 2**31 + 1001
    if gpu.cuda.Device().mem_info[0] < 5 * n:
        pytest.skip("needs 11 GB of free memory")
    x = gpu.zeros(n, np.float16)
    x[-1] = 5
    assert int(tersor.argmax(x)) == n - 1
    assert float(tersor.sum(x)) == 5
    q = tersor.quantize(x, scale=0.05)
    assert int(q.data[-1]) == 100 and int(tersor.count_nonzero(q.data)) == 1


def test_the_current_stream_is_used(gpu):
    x = np.arange(1 << 20, dtype=np.float32)
    with gpu.cuda.Stream(non_blocking=True) as stream:
        q = tersor.quantize(gpu.asarray(x), axis=0, block_size=1024)
        total = tersor.sum(q.data)
        stream.synchronize()
    want = tersor.quantize(x, axis=0, block_size=1024)
    assert_identical(q.data.get(), want.data)
    assert int(total) == want.data.sum(dtype=np.int64)
