// Running sums and products along n of an array (outer, n, inner), in three steps: what each piece
// comes to, what is carried into each, and the pieces themselves.
#include "_reduce_ops.cuh"

constexpr int THREADS = 256, WARPS = THREADS / 32;

// Sums of floats are kept in two doubles: what is carried then adds up to what was written before,
// so that a running sum of what is not negative never falls.
struct Twofold {
  double high, low;
};
__device__ __forceinline__ Twofold operator+(Twofold a, Twofold b) {
  const double sum = a.high + b.high, part = sum - a.high;
  const double error = (a.high - (sum - part)) + (b.high - part) + (a.low + b.low);
  if (error != error) return {sum, 0};  // of infinities, and where the sum overflows
  const double high = sum + error;
  return {high, error - (high - sum)};
}
template <class X>
using running_t = typename If<IsFloat<X>::value, Twofold, u64>::type;

__device__ __forceinline__ Twofold running(double x) { return {x, 0}; }
__device__ __forceinline__ double value_of(Twofold a) { return a.high + a.low; }
__device__ __forceinline__ u64 value_of(u64 a) { return a; }
__device__ __forceinline__ double value_of(double a) { return a; }

template <class X>
struct RunningSum {
  typedef running_t<X> State;
  static __device__ __forceinline__ State none() { return State{}; }
  static __device__ __forceinline__ State of(X x) {
    if constexpr (IsFloat<X>::value) return running((double)number(x));
    else return (State)number(x);
  }
  static __device__ __forceinline__ State merged(State a, State b) { return a + b; }
};
template <class X>
struct RunningNanSum : RunningSum<X> {
  static __device__ __forceinline__ running_t<X> of(X x) {
    return number(x) == number(x) ? RunningSum<X>::of(x) : RunningSum<X>::none();
  }
};
template <class X>
struct RunningProd {
  typedef sum_t<X> State;
  static __device__ __forceinline__ State none() { return 1; }
  static __device__ __forceinline__ State of(X x) { return (State)number(x); }
  static __device__ __forceinline__ State merged(State a, State b) { return a * b; }
};
template <class X>
struct RunningNanProd : RunningProd<X> {
  static __device__ __forceinline__ sum_t<X> of(X x) {
    return number(x) == number(x) ? (sum_t<X>)number(x) : 1;
  }
};

template <class T>
__device__ __forceinline__ T of_lane(const T& x, int lane) {
  union {
    T value;
    u32 words[sizeof(T) / 4];
  } from, to;
  from.value = x;
#pragma unroll
  for (int i = 0; i < sizeof(T) / 4; i++)
    to.words[i] = __shfl_sync(~0u, from.words[i], lane);
  return to.value;
}

// Where inner is 1: a block takes a piece of a row, a tile at a time. WRITES: the running values;
// else what the piece comes to.
template <template <class> class Op, class X, class Y, bool WRITES>
__global__ void __launch_bounds__(THREADS)
scan_rows(const X* __restrict__ x, bool aligned, i64 n, i64 pieces, i64 piece,
          const typename Op<X>::State* __restrict__ carries, void* out) {
  typedef typename Op<X>::State State;
  constexpr int N = 16 / sizeof(X), PART = 16 / sizeof(Y) < N ? 16 / sizeof(Y) : N;
  __shared__ State totals[2][WARPS];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  i64 number;
  const i64 row = divide(blockIdx.x, pieces, number);
  const i64 begin = row * n + number * piece;
  const i64 end = n < (number + 1) * piece ? row * n + n : begin + piece;
  aligned = aligned && begin % N == 0;
  State carry = WRITES && carries ? carries[blockIdx.x] : Op<X>::none();
  int turn = 0;
  for (i64 start = begin; start < end; start += THREADS * N, turn ^= 1) {
    const i64 first = start + threadIdx.x * N;
    Vector<X, N> v;
    load(v, x, first, end, aligned);
    State mine[N], total = Op<X>::none();
#pragma unroll
    for (int e = 0; e < N; e++) {
      if (first + e < end) total = Op<X>::merged(total, Op<X>::of(v.at[e]));
      mine[e] = total;
    }
    // What the lanes before this one come to.
    State before = total;
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
      const State other = of_lane(before, lane - step);
      if (lane >= step) before = Op<X>::merged(other, before);
    }
    if (lane == 31) totals[turn][warp] = before;
    before = of_lane(before, lane - 1);
    if (lane == 0) before = Op<X>::none();
    __syncthreads();  // one a turn, as the turns take two buffers
    State next = carry;
#pragma unroll
    for (int i = 0; i < WARPS; i++) {
      if (i == warp) before = Op<X>::merged(next, before);
      next = Op<X>::merged(next, totals[turn][i]);
    }
    carry = next;
    if (WRITES) {
#pragma unroll
      for (int e = 0; e < N; e += PART) {
        Vector<Y, PART> values;
#pragma unroll
        for (int k = 0; k < PART; k++)
          values.at[k] = (Y)value_of(Op<X>::merged(before, mine[e + k]));
        store(values, (Y*)out, first + e, end, aligned);
      }
    }
  }
  if (!WRITES && threadIdx.x == 0) ((State*)out)[blockIdx.x] = carry;
}

// Else a thread takes a piece of a column.
template <template <class> class Op, class X, class Y, bool WRITES>
__global__ void __launch_bounds__(THREADS)
scan_columns(const X* __restrict__ x, i64 tasks, i64 n, i64 inner, i64 pieces, i64 piece,
             const typename Op<X>::State* __restrict__ carries, void* out) {
  typedef typename Op<X>::State State;
  const i64 task = (i64)blockIdx.x * THREADS + threadIdx.x;
  if (task >= tasks) return;
  i64 column, number;
  const i64 rest = divide(task, inner, column), outer = divide(rest, pieces, number);
  const i64 end = n < (number + 1) * piece ? n : (number + 1) * piece;
  State state = WRITES && carries ? carries[task] : Op<X>::none();
  for (i64 row = number * piece; row < end; row++) {
    const i64 p = (outer * n + row) * inner + column;
    state = Op<X>::merged(state, Op<X>::of(x[p]));
    if (WRITES) ((Y*)out)[p] = (Y)value_of(state);
  }
  if (!WRITES) ((State*)out)[task] = state;
}

// (outer, pieces, inner) totals become what comes before each; a thread for each (outer, inner).
template <template <class> class Op, class X>
__global__ void __launch_bounds__(THREADS)
scan_carries(typename Op<X>::State* states, i64 results, i64 inner, i64 pieces) {
  typedef typename Op<X>::State State;
  const i64 i = (i64)blockIdx.x * THREADS + threadIdx.x;
  if (i >= results) return;
  i64 column;
  const i64 outer = divide(i, inner, column);
  State* mine = states + outer * pieces * inner + column;
  State carry = Op<X>::none();
  for (i64 k = 0; k < pieces; k++) {
    const State total = mine[k * inner];
    mine[k * inner] = carry;
    carry = Op<X>::merged(carry, total);
  }
}
