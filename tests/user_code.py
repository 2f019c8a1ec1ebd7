"""What a user writes, one call of each family; checked by mypy --strict and pyright, and run."""

import numpy as np
from numpy.typing import NDArray

import tersor
import tersor.numpy as tnp

rng = np.random.default_rng(0)
x: NDArray[np.float32] = rng.standard_normal((8, 64), dtype=np.float32)
w: NDArray[np.float32] = rng.standard_normal((16, 64), dtype=np.float32)

total = tersor.sum(x, axis=0, keepdims=True)
spread = tnp.std(x, axis=(0, 1))
values, indices = tersor.top_k(x, 3, axis=-1)
middle = tersor.median(x, axis=1)

sparse_w = tersor.prune(w, 0.25)
mask = tersor.prune_mask(w, pattern="2:4")
packed = tersor.pack_mask(mask)
ratio = tersor.retain_schedule(50, begin=0, end=100, final=0.1)

q = tersor.quantize(w, axis=0)
back = q.dequantize()
product = tersor.matmul_int8(q.data, q.data.T)
y = tersor.linear_int8(x, q)
y2 = tersor.linear_int8(x, tersor.PackedInt8(q), activations="float")

a = tersor.csr_array(sparse_w)
z = a @ x.T
b = tersor.to_csr(w, retain_ratio=0.1)
c = tersor.QuantizedCSR.from_csr(b)

p = tersor.softmax(x, axis=-1)
loss, grad = tersor.distillation_loss(x, 2 * x, temperature=2.0)

with tersor.num_threads(1):
    tersor.logsumexp(x, axis=1)
