// How x / scale + zero becomes an integer; `_round_scaled` of the reference has the definitions.
#include "_common.cuh"

enum Order { DIVIDE, MULTIPLY, ADD_FIRST, MULTIPLY_ADD, FMA, STOCHASTIC };

__device__ __forceinline__ float nearest(float x) { return rintf(x); }
__device__ __forceinline__ double nearest(double x) { return rint(x); }
__device__ __forceinline__ float below(float x) { return floorf(x); }
__device__ __forceinline__ double below(double x) { return floor(x); }

// Every step is rounded to S, the dtype of the scales. Of 16-bit floats that is the right result:
// a float has more than twice their digits, so rounding twice does no harm.
template <class S>
__device__ __forceinline__ wide_t<S> step(wide_t<S> x) { return widen(narrow<S>(x)); }

template <class S, int ORDER>
__device__ __forceinline__ wide_t<S> round_scaled(wide_t<S> x, wide_t<S> scale, wide_t<S> zero,
                                                  u32 word) {
  typedef wide_t<S> W;
  if (ORDER == DIVIDE) return step<S>(nearest(step<S>(x / scale)) + zero);
  if (ORDER == ADD_FIRST) return nearest(step<S>(step<S>(x / scale) + zero));
  if (ORDER == STOCHASTIC) {
    const W v = x / scale, floor = below(v);
    const W random = (W)(word >> 8) * (W)(1. / (1 << 24));
    return floor + (random < v - floor ? (W)1 : (W)0) + zero;
  }
  const W inverse = step<S>((W)1 / scale);
  if (ORDER == MULTIPLY) return step<S>(nearest(step<S>(x * inverse)) + zero);
  if (ORDER == MULTIPLY_ADD) return nearest(step<S>(step<S>(x * inverse) + zero));
  return nearest((W)((double)x * (double)inverse + (double)zero));
}

// v in low..high, zero for NaN.
template <class W>
__device__ __forceinline__ W clipped(W v, W zero, W low, W high) {
  v = v < low ? low : v;
  v = v > high ? high : v;
  return v != v ? zero : v;
}

// Four words of the stream of `seed`: Philox4x32-10.
__device__ __forceinline__ uint4 philox(u64 counter, u64 seed) {
  u32 c0 = (u32)counter, c1 = (u32)(counter >> 32), c2 = 0, c3 = 0;
  u32 k0 = (u32)seed, k1 = (u32)(seed >> 32);
#pragma unroll
  for (int round = 0; round < 10; round++) {
    const u32 high0 = __umulhi(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
    const u32 high1 = __umulhi(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
    c0 = high1 ^ c1 ^ k0, c1 = low1, c2 = high0 ^ c3 ^ k1, c3 = low0;
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
  return make_uint4(c0, c1, c2, c3);
}

// Which scale an entry has. The array is (outer, n, inner) in C order, n along the axis, and
// `blocks` runs of `block` along it share a scale; per axis, all of one index do. No blocks: there
// is one scale.
struct Layout {
  i64 n, inner, block, blocks;
  bool per_axis;
};

// The scale of entry p, and of those that follow it.
struct Place {
  i64 i, j, k, b;  // place in inner, n and block; number of the block

  __device__ __forceinline__ Place(i64 p, const Layout& layout) : i(0), j(0), k(0), b(0) {
    if (layout.blocks == 0) return;
    const i64 row = divide(p, layout.inner, i), outer = divide(row, layout.n, j);
    b = divide(j, layout.block, k) + (layout.per_axis ? 0 : outer * layout.blocks);
  }
  __device__ __forceinline__ void next(const Layout& layout) {
    if (++i < layout.inner) return;
    i = 0, j++, k++;
    if (j == layout.n) {
      b = layout.per_axis ? 0 : b + 1;
      j = k = 0;
    } else if (k == layout.block) {
      b++, k = 0;
    }
  }
  __device__ __forceinline__ i64 scale(const Layout& layout) const {
    return layout.per_axis || layout.blocks == 0 ? b : b * layout.inner + i;
  }
};
