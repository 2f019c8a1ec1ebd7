// Reductions of an array (outer, n, inner), in C order, over n. What is added up by whom depends on
// the shape alone, so that every device and every layout gives the same bits.
#include "_reduce_ops.cuh"

constexpr int THREADS = 256, WARPS = THREADS / 32;

// In the second stage the elements are states.
template <class Op>
struct Merging {
  typedef typename Op::State State;
  static __device__ __forceinline__ State none() { return Op::none(); }
  static __device__ __forceinline__ void take(State& a, const State& b, i64) { Op::merge(a, b); }
  static __device__ __forceinline__ void merge(State& a, const State& b) { Op::merge(a, b); }
};

// Where the states of pieces go, or results.
template <class Op, class Out, bool IS_LAST>
__device__ __forceinline__ void put(Out* out, i64 i, const typename Op::State& state,
                                    double divisor) {
  if constexpr (IS_LAST)
    out[i] = converted<Out>(Op::result(state), divisor);
  else
    out[i] = state;
}

// Rows: inner is 1. A team of TEAM threads takes a piece of a row.
template <class Op, class Taker, class In, class Out, bool IS_LAST, int TEAM>
__device__ __forceinline__ void reduce_rows(const In* x, bool aligned, i64 rows, i64 n, i64 pieces,
                                            i64 piece, double divisor, Out* out) {
  typedef typename Op::State State;
  constexpr int N = sizeof(In) <= 8 && 16 % sizeof(In) == 0 ? 16 / sizeof(In) : 1;
  const int member = threadIdx.x % TEAM;
  const i64 task = (i64)blockIdx.x * (THREADS / TEAM) + threadIdx.x / TEAM;
  if (task >= rows * pieces) return;  // a whole team: a warp or the block
  i64 number;
  const i64 row = divide(task, pieces, number);
  const i64 begin = number * piece, end = n < begin + piece ? n : begin + piece;
  State state = Taker::none();
  const In* mine = x + row * n;
  if constexpr (N > 1) {
    aligned = aligned && (row * n + begin) % N == 0;
#pragma unroll 2
    for (i64 p = begin + member * N; p < end; p += TEAM * N) {
      Vector<In, N> v;
      load(v, mine, p, end, aligned);
#pragma unroll
      for (int e = 0; e < N; e++)
        if (p + e < end) Taker::take(state, v.at[e], p + e);
    }
  } else {
    for (i64 p = begin + member; p < end; p += TEAM) Taker::take(state, mine[p], p);
  }
#pragma unroll
  for (int lane = 16; lane; lane /= 2) {
    const State other = shuffled(state, lane);
    Op::merge(state, other);
  }
  if constexpr (TEAM > 32) {
    __shared__ State part[WARPS];
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = state;
    __syncthreads();
    if (member == 0)
      for (int i = 1; i < WARPS; i++) Op::merge(state, part[i]);
  }
  if (member == 0) put<Op, Out, IS_LAST>(out, task, state, divisor);
}

template <template <class> class Op, class X, class Out, bool IS_LAST, int TEAM>
__global__ void __launch_bounds__(THREADS)
rows(const X* __restrict__ x, bool aligned, i64 rows, i64 n, i64 pieces, i64 piece, double divisor,
     Out* __restrict__ out) {
  reduce_rows<Op<X>, Op<X>, X, Out, IS_LAST, TEAM>(x, aligned, rows, n, pieces, piece, divisor, out);
}
template <template <class> class Op, class X, class Out, bool IS_LAST, int TEAM>
__global__ void __launch_bounds__(THREADS)
rows_of_states(const typename Op<X>::State* __restrict__ x, i64 rows, i64 n, i64 pieces, i64 piece,
               double divisor, Out* __restrict__ out) {
  typedef typename Op<X>::State State;
  reduce_rows<Op<X>, Merging<Op<X>>, State, Out, IS_LAST, TEAM>(x, false, rows, n, pieces, piece,
                                                                divisor, out);
}

// Columns: a block takes `width` neighbours of inner, and of n as many rows at a time as it has
// threads for.
template <class Op, class Taker, class In, class Out, bool IS_LAST>
__device__ __forceinline__ void reduce_columns(const In* x, i64 n, i64 inner, int width, i64 tiles,
                                               i64 pieces, i64 piece, double divisor, Out* out) {
  typedef typename Op::State State;
  __shared__ State shared[THREADS];
  const int lane = threadIdx.x % width, group = threadIdx.x / width, groups = THREADS / width;
  i64 tile, number;
  const i64 rest = divide(blockIdx.x, tiles, tile), outer = divide(rest, pieces, number);
  const i64 column = tile * width + lane;
  const i64 end = n < (number + 1) * piece ? n : (number + 1) * piece;
  State state = Taker::none();
  if (column < inner && group < groups) {
    const In* mine = x + outer * n * inner + column;
#pragma unroll 4
    for (i64 row = number * piece + group; row < end; row += groups)
      Taker::take(state, mine[row * inner], row);
  }
  shared[threadIdx.x] = state;
  for (int half = THREADS / 2; half; half /= 2) {
    __syncthreads();
    if (group < half && group + half < groups) {
      Op::merge(state, shared[threadIdx.x + half * width]);
      shared[threadIdx.x] = state;
    }
  }
  if (group == 0 && column < inner)
    put<Op, Out, IS_LAST>(out, (outer * pieces + number) * inner + column, state, divisor);
}

template <template <class> class Op, class X, class Out, bool IS_LAST>
__global__ void __launch_bounds__(THREADS)
columns(const X* __restrict__ x, i64 n, i64 inner, int width, i64 tiles, i64 pieces, i64 piece,
        double divisor, Out* __restrict__ out) {
  reduce_columns<Op<X>, Op<X>, X, Out, IS_LAST>(x, n, inner, width, tiles, pieces, piece, divisor,
                                                out);
}
template <template <class> class Op, class X, class Out, bool IS_LAST>
__global__ void __launch_bounds__(THREADS)
columns_of_states(const typename Op<X>::State* __restrict__ x, i64 n, i64 inner, int width,
                  i64 tiles, i64 pieces, i64 piece, double divisor, Out* __restrict__ out) {
  typedef typename Op<X>::State State;
  reduce_columns<Op<X>, Merging<Op<X>>, State, Out, IS_LAST>(x, n, inner, width, tiles, pieces,
                                                             piece, divisor, out);
}
