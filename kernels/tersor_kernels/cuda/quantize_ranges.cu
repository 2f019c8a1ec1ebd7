// What scales are found from: extremes, histograms, errors; and rows that fit on the chip, whole.
#include "_quantize_rounding.cuh"

constexpr int THREADS = 256, WARPS = THREADS / 32;

// Unsigned integers in the order of the floats they stand for.
__device__ __forceinline__ u32 key_of(float x) {
  const u32 bits = __float_as_uint(x);
  return bits >> 31 ? ~bits : bits | 1u << 31;
}
__device__ __forceinline__ u64 key_of(double x) {
  const u64 bits = (u64)__double_as_longlong(x);
  return bits >> 63 ? ~bits : bits | 1ull << 63;
}
__device__ __forceinline__ float of_key(u32 key) {
  return __uint_as_float(key >> 31 ? key & ~(1u << 31) : ~key);
}
__device__ __forceinline__ double of_key(u64 key) {
  return __longlong_as_double((i64)(key >> 63 ? key & ~(1ull << 63) : ~key));
}
template <class W>
struct Extremes {
  typedef decltype(key_of(W())) Key;
  Key low = ~(Key)0, high = 0;
  int nans = 0;

  __device__ __forceinline__ void take(W x) {
    const Key key = key_of(x);
    const bool is_number = x == x;
    nans += !is_number;
    low = is_number && key < low ? key : low;
    high = is_number && key > high ? key : high;
  }
};

// Runs of contiguous entries: rows of `row` are cut in blocks of `block`, the last may be short.
struct Runs {
  i64 count, row, block, per_row;

  __device__ __forceinline__ void find(i64 run, i64& start, i64& length) const {
    i64 j;
    const i64 number = divide(run, per_row, j);
    start = number * row + j * block;
    length = row - j * block < block ? row - j * block : block;
  }
};

// A warp takes a piece of a run. Run r belongs to scale r % period; the keys are combined there.
template <class X, class Key>
__global__ void __launch_bounds__(THREADS)
min_max_runs(const X* __restrict__ x, bool aligned, i64 count, i64 row, i64 block, i64 per_row,
             i64 pieces, i64 piece, i64 period, Key* lows, Key* highs, u64* nans) {
  constexpr int N = 16 / sizeof(X);
  const int lane = threadIdx.x % 32;
  const Runs runs{count, row, block, per_row};
  const i64 task = (i64)blockIdx.x * WARPS + threadIdx.x / 32;
  Extremes<wide_t<X>> found;
  i64 number, start, length;
  const i64 run = divide(task, pieces, number);
  if (run < runs.count) {
    runs.find(run, start, length);
    const i64 end = start + (length < (number + 1) * piece ? length : (number + 1) * piece);
    start += number * piece;
    if (aligned && start % N == 0) {
#pragma unroll 4
      for (i64 p = start + lane * N; p < end; p += 32 * N) {
        Vector<X, N> v;
        load(v, x, p, end, true);
#pragma unroll
        for (int e = 0; e < N; e++)
          if (p + e < end) found.take(widen(v.at[e]));
      }
    } else {
#pragma unroll 4
      for (i64 p = start + lane; p < end; p += 32) found.take(widen(x[p]));
    }
  }
  const Key low = warp_reduced(found.low, [](Key a, Key b) { return a < b ? a : b; });
  const Key high = warp_reduced(found.high, [](Key a, Key b) { return a > b ? a : b; });
  if (lane == 0 && low <= high) {
    atomicMin(&lows[run % period], low);
    atomicMax(&highs[run % period], high);
  }
  add_count(nans, found.nans);
}

// Matrices of (rows, columns), a scale a column. A block takes `width` columns, 256 / width rows
// at a time, of a piece of the rows.
template <class X, class Key>
__global__ void __launch_bounds__(THREADS)
min_max_columns(const X* __restrict__ x, i64 n, i64 rows, i64 columns, i64 per_matrix, i64 piece,
                int width, i64 tiles, i64 pieces, Key* lows, Key* highs, u64* nans) {
  // The `per_matrix` rows of the axis are cut in matrices of `rows`; the last may be short.
  i64 tile, number, cut;
  const i64 rest = divide(blockIdx.x, tiles, tile), matrix = divide(rest, pieces, number);
  const i64 outer = divide(matrix, per_matrix, cut);
  const i64 column = tile * width + threadIdx.x % width;
  const i64 present = n - cut * rows < rows ? n - cut * rows : rows;
  const i64 end = present < (number + 1) * piece ? present : (number + 1) * piece;
  const int step = THREADS / width;
  Extremes<wide_t<X>> found;
  if (column < columns && threadIdx.x < step * width) {
    const X* first = x + (outer * n + cut * rows) * columns + column;
#pragma unroll 4
    for (i64 row = number * piece + threadIdx.x / width; row < end; row += step)
      found.take(widen(first[row * columns]));
    if (found.low <= found.high) {
      atomicMin(&lows[matrix * columns + column], found.low);
      atomicMax(&highs[matrix * columns + column], found.high);
    }
  }
  add_count(nans, found.nans);
}

// Keys to floats; 0 where there was none.
template <class W, class Key>
__global__ void __launch_bounds__(THREADS)
ends_of_keys(const Key* __restrict__ lows, const Key* __restrict__ highs, i64 n, W* low, W* high) {
  const i64 i = (i64)blockIdx.x * THREADS + threadIdx.x;
  if (i >= n) return;
  const bool none = lows[i] > highs[i];
  low[i] = none ? (W)0 : of_key(lows[i]);
  high[i] = none ? (W)0 : of_key(highs[i]);
}

__device__ __forceinline__ float next_up(float x) { return __uint_as_float(__float_as_uint(x) + 1); }
__device__ __forceinline__ float next_down(float x) { return __uint_as_float(__float_as_uint(x) - 1); }
__device__ __forceinline__ double next_up(double x) {
  return __longlong_as_double(__double_as_longlong(x) + 1);
}
__device__ __forceinline__ double next_down(double x) {
  return __longlong_as_double(__double_as_longlong(x) - 1);
}

// As absmax_scale of the reference: up where it is subnormal, down where it would overflow.
template <class W>
__device__ __forceinline__ W absmax_scale(W absmax, W largest, W smallest_normal, W infinity) {
  const W scale = absmax / largest, back = scale * largest;
  if (absmax == 0) return (W)1;
  if (scale < smallest_normal && back < absmax) return next_up(scale);
  return back == infinity && absmax < infinity ? next_down(scale) : scale;
}

// A team of TEAM threads takes one run, which it keeps in shared memory: absmax, scale, integers.
template <class X, class Q, int TEAM>
__global__ void __launch_bounds__(THREADS)
quantize_absmax(const X* __restrict__ x, bool aligned, i64 count, i64 row, i64 block, i64 per_row,
                wide_t<X> low, wide_t<X> high, wide_t<X> smallest_normal, wide_t<X> infinity, wide_t<X>* __restrict__ scale,
                Q* __restrict__ out, bool out_aligned, u64* nans) {
  typedef wide_t<X> W;
  constexpr int N = 16 / sizeof(X), TEAMS = THREADS / TEAM;
  extern __shared__ uint4 buffer[];
  __shared__ W part[WARPS];
  const Runs runs{count, row, block, per_row};
  const int member = threadIdx.x % TEAM;
  const i64 run = (i64)blockIdx.x * TEAMS + threadIdx.x / TEAM;
  // Each thread reads what it wrote itself: no barrier stands between.
  Vector<X, N>* mine = (Vector<X, N>*)buffer + threadIdx.x / TEAM * ((runs.block + N - 1) / N);
  i64 start = 0, length = 0;
  if (run < runs.count) runs.find(run, start, length);
  aligned = aligned && start % N == 0;
  int found = 0;
  W absmax = 0;
  for (i64 i = member; i * N < length; i += TEAM) {
    Vector<X, N> v;
    load(v, x, start + i * N, start + length, aligned);
    mine[i].raw = v.raw;
#pragma unroll
    for (int e = 0; e < N; e++)
      if (i * N + e < length) {
        const W a = fabs(widen(v.at[e]));
        found += a != a;
        absmax = a > absmax ? a : absmax;
      }
  }
  absmax = warp_reduced(absmax, [](W a, W b) { return a > b ? a : b; });
  if (TEAM > 32) {
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = absmax;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < WARPS; i++) absmax = part[i] > absmax ? part[i] : absmax;
  }
  const W unit = absmax_scale(absmax, high, smallest_normal, infinity);
  if (member == 0 && run < runs.count) scale[run] = unit;
  for (i64 i = member; i * N < length; i += TEAM) {
    Vector<X, N> v;
    v.raw = mine[i].raw;
    Vector<Q, N> q;
#pragma unroll
    for (int e = 0; e < N; e++)
      q.at[e] = (Q)(int)clipped(nearest(widen(v.at[e]) / unit), (W)0, low, high);
    store(q, out, start + i * N, start + length, out_aligned && start % N == 0);
  }
  add_count(nans, found);
}

// Counts of a piece of a channel in 2 * bins bins, in shared memory, then added to the channel's.
template <class X>
__global__ void __launch_bounds__(THREADS)
histogram(const X* __restrict__ x, i64 n, i64 pieces, i64 piece, const double* __restrict__ factors,
          int bins, u64* counts) {
  extern __shared__ u32 local[];
  for (int i = threadIdx.x; i < 2 * bins; i += THREADS) local[i] = 0;
  __syncthreads();
  i64 number;
  const i64 channel = divide(blockIdx.x, pieces, number);
  const i64 end = n < (number + 1) * piece ? n : (number + 1) * piece;
  const double factor = factors[channel];
  for (i64 p = number * piece + threadIdx.x; p < end; p += THREADS) {
    const wide_t<X> v = widen(x[channel * n + p]);
    if (v != v) continue;
    const int bin = (int)(fabs((double)v) * factor);
    atomicAdd(&local[v < 0 ? bins - 1 - bin : bins + bin], 1u);
  }
  __syncthreads();
  for (int i = threadIdx.x; i < 2 * bins; i += THREADS)
    if (local[i]) atomicAdd(&counts[channel * 2 * bins + i], (u64)local[i]);
}

// The squared errors of a piece of a row by each candidate scale; a team of TEAM threads takes one
// piece. The order of additions is that of the threads, whatever the device.
template <class X, class S, int ORDER, int TEAM>
__global__ void __launch_bounds__(THREADS)
squared_errors(const X* __restrict__ x, i64 count, i64 n, i64 pieces, i64 piece,
               const S* __restrict__ scale, const int* __restrict__ zero, int candidates,
               wide_t<S> low, wide_t<S> high, double* __restrict__ errors) {
  typedef wide_t<S> W;
  __shared__ double part[2][WARPS];
  const int member = threadIdx.x % TEAM;
  const i64 task = (i64)blockIdx.x * (THREADS / TEAM) + threadIdx.x / TEAM;
  if (task >= count * pieces) return;  // a whole team, which is a warp or the block
  i64 number;
  const i64 row = divide(task, pieces, number);
  const X* mine = x + row * n + number * piece;
  const int length = (int)(n - number * piece < piece ? n - number * piece : piece);
  const int lane = threadIdx.x % 32;
  // 32 candidates at a time: each lane of a warp holds one scale, and in the end one sum.
  for (int first = 0; first < candidates; first += 32) {
    const bool has_one = first + lane < candidates;
    const i64 own = row * candidates + first + lane;
    const W own_scale = has_one ? widen(scale[own]) : (W)1;
    const W own_zero = has_one && zero ? (W)zero[own] : (W)0;
    double result = 0;
    for (int c = 0; c < 32 && first + c < candidates; c++) {
      const W unit = __shfl_sync(~0u, own_scale, c), shift = __shfl_sync(~0u, own_zero, c);
      double sum = 0;
#pragma unroll 1  // four quotients at a time take more registers than are saved around divisions
      for (int i = member; i < length; i += TEAM) {
        const W v = step<S>(widen(mine[i]));
        const W q = clipped(round_scaled<S, ORDER>(v, unit, shift, 0), shift, low, high);
        const double error = (double)step<S>(step<S>(q - shift) * unit) - (double)v;
        sum += v == v ? error * error : 0;
      }
      sum = warp_reduced(sum, [](double a, double b) { return a + b; });
      if (TEAM > 32) {
        // Two buffers: what the next turn writes, nobody still reads.
        if (lane == 0) part[c % 2][threadIdx.x / 32] = sum;
        __syncthreads();
        sum = 0;
        for (int i = 0; i < WARPS; i++) sum += part[c % 2][i];
      }
      result = lane == c ? sum : result;
    }
    if (has_one && member < 32) errors[task * candidates + first + lane] = result;
  }
}
