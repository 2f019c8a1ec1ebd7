// Entry by entry: floats to small integers and back. A thread takes one vector of 16 bytes of the
// wider side.
#include "_quantize_rounding.cuh"

constexpr int THREADS = 256;

__device__ __forceinline__ i64 thread_number() { return (i64)blockIdx.x * THREADS + threadIdx.x; }

// The numbers of entries in the stream of random words: those of each row of `length` go on from
// its start; without starts, all are numbered from 0 on.
struct Numbers {
  u64 seed;
  const i64* starts;
  i64 length;

  __device__ __forceinline__ u32 word(i64 p) const {
    i64 number = p;
    if (starts) {
      const i64 row = divide(p, length, number);
      number += starts[row];
    }
    const uint4 four = philox((u64)number / 4, seed);
    const int lane = number % 4;
    return lane == 0 ? four.x : lane == 1 ? four.y : lane == 2 ? four.z : four.w;
  }
  // Of entries p..p+N-1, where p is a multiple of N.
  template <int N>
  __device__ __forceinline__ void fill(u32 (&words)[N], i64 p) const {
    if (starts) {
#pragma unroll 1
      for (int e = 0; e < N; e++) {
        const u32 word = this->word(p + e);
#pragma unroll
        for (int k = 0; k < N; k++) words[k] = k == e ? word : words[k];
      }
      return;
    }
#pragma unroll
    for (int e = 0; e < N; e += 4) {
      const uint4 four = philox((u64)(p + e) / 4, seed);
      const u32 all[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
      for (int k = 0; k < 4 && k < N; k++) words[e + k] = N == 2 && p % 4 ? all[k + 2] : all[k];
    }
  }
};

// How the scales of the entries of a vector lie: one for all, one beside the other, or as it comes.
enum Spread { TOGETHER, IN_A_ROW, MIXED };

// The scales and zero points of N entries that follow one another.
template <class S, int N, int SPREAD>
struct Scales {
  static constexpr int COUNT = SPREAD == TOGETHER ? 1 : N;
  wide_t<S> scale[COUNT];
  int zero[COUNT];

  __device__ __forceinline__ Scales(const S* scales, const int* zeros, i64 p,
                                    const Layout& layout) {
    Place place(p, layout);
    if constexpr (SPREAD == IN_A_ROW) {
      const i64 s = place.scale(layout);
      load_all(scales + s, [&](int e, S x) { scale[e] = widen(x); });
#pragma unroll
      for (int e = 0; e < N; e++) zero[e] = 0;
      if (zeros) load_all(zeros + s, [&](int e, int x) { zero[e] = x; });
    } else {
#pragma unroll
      for (int e = 0; e < COUNT; e++) {
        const i64 s = place.scale(layout);
        scale[e] = widen(scales[s]);
        zero[e] = zeros ? zeros[s] : 0;
        if (e < COUNT - 1) place.next(layout);
      }
    }
  }

 private:
  // N values at an aligned place, 16 bytes at a time.
  template <class T, class Function>
  static __device__ __forceinline__ void load_all(const T* from, Function use) {
    constexpr int PART = 16 / sizeof(T) < N ? 16 / sizeof(T) : N;
#pragma unroll
    for (int e = 0; e < N; e += PART) {
      Vector<T, PART> v;
      v.raw = *reinterpret_cast<const decltype(v.raw)*>(from + e);
#pragma unroll
      for (int k = 0; k < PART; k++) use(e + k, v.at[k]);
    }
  }
};

// A scale, its zero point and the range of integers.
template <class S, class W = wide_t<S>>
struct Grid {
  W low, high, scale, zero;

  __device__ __forceinline__ Grid(W low, W high) : low(low), high(high) {}
  __device__ __forceinline__ void use(W unit, int shift) { scale = unit, zero = (W)shift; }
  template <int N, int SPREAD>
  __device__ __forceinline__ void use(const Scales<S, N, SPREAD>& s, int e) {
    use((W)s.scale[SPREAD == TOGETHER ? 0 : e], s.zero[SPREAD == TOGETHER ? 0 : e]);
  }
  __device__ __forceinline__ void use(const S* scales, const int* zeros, i64 p,
                                      const Layout& layout) {
    const i64 s = Place(p, layout).scale(layout);
    use((W)widen(scales[s]), zeros ? zeros[s] : 0);
  }
  // Before it is clipped.
  template <int ORDER>
  __device__ __forceinline__ W rounded(W x, u32 word) const {
    return round_scaled<S, ORDER>(x, scale, zero, word);
  }
  __device__ __forceinline__ W inside(W x, W rounded) const {
    return clipped(x != x ? x : rounded, zero, low, high);
  }
};

// q = clip(round(x / scale) + zero); `nans` counts.
template <class X, class S, class Q, int ORDER, int SPREAD>
__global__ void __launch_bounds__(THREADS)
quantize(const X* __restrict__ x, bool aligned, const S* __restrict__ scales,
         const int* __restrict__ zeros, i64 n, i64 inner, i64 block, i64 blocks, bool per_axis,
         i64 size, wide_t<S> low, wide_t<S> high, u64 seed, const i64* __restrict__ starts,
         i64 length, Q* __restrict__ out, bool out_aligned, u64* nans) {
  constexpr int N = 16 / sizeof(X);
  typedef wide_t<S> W;
  const Layout layout{n, inner, block, blocks, per_axis};
  const i64 p = thread_number() * N;
  const Numbers numbers{seed, starts, length};
  Grid<S> grid(low, high);
  int found = 0;
  if (aligned && out_aligned && p + N <= size) {
    Vector<X, N> v;
    Vector<Q, N> q;
    u32 words[N] = {};
    if (ORDER == STOCHASTIC) numbers.fill(words, p);
    v.raw = *reinterpret_cast<const decltype(v.raw)*>(x + p);
    const Scales<S, N, SPREAD> own(scales, zeros, p, layout);
#pragma unroll
    for (int e = 0; e < N; e++) {
      grid.use(own, e);
      const W value = step<S>(widen(v.at[e]));
      q.at[e] = (Q)(int)grid.inside(value, grid.rounded<ORDER>(value, words[e]));
      found += value != value;
    }
    *reinterpret_cast<decltype(q.raw)*>(out + p) = q.raw;
  } else {
#pragma unroll 1
    for (i64 i = p; i < p + N && i < size; i++) {
      const W value = step<S>(widen(x[i]));
      grid.use(scales, zeros, i, layout);
      const u32 word = ORDER == STOCHASTIC ? numbers.word(i) : 0;
      out[i] = (Q)(int)grid.inside(value, grid.rounded<ORDER>(value, word));
      found += value != value;
    }
  }
  add_count(nans, found);
}

// The float that quantize and dequantize make of each entry, and where it was in range.
template <class X, class S, int ORDER, int SPREAD>
__global__ void __launch_bounds__(THREADS)
fake_quantize(const X* __restrict__ x, bool aligned, const S* __restrict__ scales,
              const int* __restrict__ zeros, i64 n, i64 inner, i64 block, i64 blocks,
              bool per_axis, i64 size, wide_t<S> low, wide_t<S> high, u64 seed,
              const i64* __restrict__ starts, i64 length, X* __restrict__ out, bool* __restrict__ mask) {
  constexpr int N = 16 / sizeof(X);
  typedef wide_t<S> W;
  const Layout layout{n, inner, block, blocks, per_axis};
  const i64 p = thread_number() * N;
  const Numbers numbers{seed, starts, length};
  Grid<S> grid(low, high);
  auto one = [&](X given, u32 word, X& value, bool& inside) {
    const W v = step<S>(widen(given)), rounded = grid.rounded<ORDER>(v, word);
    const W q = grid.inside(v, rounded) + (W)0;  // an integer has no -0
    value = narrow<X>((wide_t<X>)step<S>(step<S>(q - grid.zero) * grid.scale));
    inside = rounded >= low && rounded <= high;
  };
  if (aligned && p + N <= size) {
    Vector<X, N> v;
    Vector<bool, N> insides;
    u32 words[N] = {};
    if (ORDER == STOCHASTIC) numbers.fill(words, p);
    v.raw = *reinterpret_cast<const decltype(v.raw)*>(x + p);
    const Scales<S, N, SPREAD> own(scales, zeros, p, layout);
#pragma unroll
    for (int e = 0; e < N; e++) {
      grid.use(own, e);
      one(v.at[e], words[e], v.at[e], insides.at[e]);
    }
    *reinterpret_cast<decltype(v.raw)*>(out + p) = v.raw;
    *reinterpret_cast<decltype(insides.raw)*>(mask + p) = insides.raw;
  } else {
#pragma unroll 1
    for (i64 i = p; i < p + N && i < size; i++) {
      grid.use(scales, zeros, i, layout);
      one(x[i], ORDER == STOCHASTIC ? numbers.word(i) : 0, out[i], mask[i]);
    }
  }
}

// (q - zero) * scale in W, rounded to Y.
template <class Q, class S, class W, class Y, int SPREAD>
__global__ void __launch_bounds__(THREADS)
dequantize(const Q* __restrict__ q, bool aligned, const S* __restrict__ scales,
           const int* __restrict__ zeros, i64 n, i64 inner, i64 block, i64 blocks, bool per_axis,
           i64 size, Y* __restrict__ out) {
  constexpr int N = 16 / (sizeof(Q) > sizeof(Y) ? sizeof(Q) : sizeof(Y));
  const Layout layout{n, inner, block, blocks, per_axis};
  const i64 p = thread_number() * N;
  Grid<S, W> grid(0, 0);
  if (aligned && p + N <= size) {
    Vector<Q, N> v;
    Vector<Y, N> y;
    v.raw = *reinterpret_cast<const decltype(v.raw)*>(q + p);
    const Scales<S, N, SPREAD> own(scales, zeros, p, layout);
#pragma unroll
    for (int e = 0; e < N; e++) {
      grid.use(own, e);
      y.at[e] = narrow<Y>((wide_t<Y>)(((W)v.at[e] - grid.zero) * grid.scale));
    }
    *reinterpret_cast<decltype(y.raw)*>(out + p) = y.raw;
  } else {
#pragma unroll 1
    for (i64 i = p; i < p + N && i < size; i++) {
      grid.use(scales, zeros, i, layout);
      out[i] = narrow<Y>((wide_t<Y>)(((W)q[i] - grid.zero) * grid.scale));
    }
  }
}

// Rows of n values to rows of ceil(n / 2) bytes, low nibble first; a thread makes one byte.
__global__ void __launch_bounds__(THREADS)
pack_nibbles(const unsigned char* __restrict__ q, i64 n, i64 size, unsigned char* __restrict__ out) {
  const i64 p = thread_number();
  if (p >= size) return;
  i64 column;
  const i64 row = divide(p, (n + 1) / 2, column), first = row * n + 2 * column;
  const unsigned second = 2 * column + 1 < n ? q[first + 1] : 0;
  out[p] = (unsigned char)((q[first] & 15) | second << 4);
}

// The way back; `sign` is 8 for signed values, else 0.
__global__ void __launch_bounds__(THREADS)
unpack_nibbles(const unsigned char* __restrict__ packed, i64 n, i64 size, int sign,
               unsigned char* __restrict__ out) {
  const i64 p = thread_number();
  if (p >= size) return;
  i64 column;
  const i64 row = divide(p, n, column);
  const int byte = packed[row * ((n + 1) / 2) + column / 2];
  const int nibble = column % 2 ? byte >> 4 : byte & 15;
  out[p] = (unsigned char)((nibble ^ sign) - sign);
}
