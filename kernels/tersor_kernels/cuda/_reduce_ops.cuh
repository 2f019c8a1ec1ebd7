// What reductions compute. Each operation over elements of X has a State, what is known of some of
// them: `none`; `take` one more (its number along the axis is `i`); `merge` what is known of others;
// `result`. Sums of floats are kept in double, those of integers modulo 2**64.
#include "_common.cuh"

#define INFINITE __longlong_as_double(0x7ff0000000000000)

template <class X>
struct IsFloat {
  static constexpr bool value = false;
};
template <>
struct IsFloat<f16> {
  static constexpr bool value = true;
};
template <>
struct IsFloat<bf16> {
  static constexpr bool value = true;
};
template <>
struct IsFloat<float> {
  static constexpr bool value = true;
};
template <>
struct IsFloat<double> {
  static constexpr bool value = true;
};

template <bool CHOICE, class A, class B>
struct If {
  typedef A type;
};
template <class A, class B>
struct If<false, A, B> {
  typedef B type;
};

// An element as a number that C++ knows.
template <class X>
__device__ __forceinline__ X number(X x) { return x; }
__device__ __forceinline__ float number(f16 x) { return widen(x); }
__device__ __forceinline__ float number(bf16 x) { return widen(x); }

template <class X>
using sum_t = typename If<IsFloat<X>::value, double, u64>::type;

template <class X>
struct Adding {
  typedef sum_t<X> State;
  static __device__ __forceinline__ State none() { return 0; }
  static __device__ __forceinline__ void merge(State& a, State b) { a += b; }
  static __device__ __forceinline__ State result(State a) { return a; }
};
template <class X>
struct Sum : Adding<X> {
  static __device__ __forceinline__ void take(sum_t<X>& a, X x, i64) { a += (sum_t<X>)number(x); }
};
template <class X>
struct Total : Adding<double> {
  static __device__ __forceinline__ void take(double& a, X x, i64) { a += (double)number(x); }
};
template <class X>
struct NanSum : Adding<X> {
  static __device__ __forceinline__ void take(sum_t<X>& a, X x, i64) {
    a += number(x) == number(x) ? (sum_t<X>)number(x) : 0;
  }
};
template <class X>
struct SumAbs : Adding<double> {
  static __device__ __forceinline__ void take(double& a, X x, i64) { a += fabs((double)number(x)); }
};
template <class X>
struct SumSquares : Adding<double> {
  static __device__ __forceinline__ void take(double& a, X x, i64) {
    a += (double)number(x) * (double)number(x);
  }
};
template <class X>
struct Prod {
  typedef sum_t<X> State;
  static __device__ __forceinline__ State none() { return 1; }
  static __device__ __forceinline__ void take(State& a, X x, i64) { a *= (State)number(x); }
  static __device__ __forceinline__ void merge(State& a, State b) { a *= b; }
  static __device__ __forceinline__ State result(State a) { return a; }
};
template <class X>
struct NanProd : Prod<X> {
  static __device__ __forceinline__ void take(sum_t<X>& a, X x, i64) {
    a *= number(x) == number(x) ? (sum_t<X>)number(x) : 1;
  }
};

struct Counting {
  typedef i64 State;
  static __device__ __forceinline__ State none() { return 0; }
  static __device__ __forceinline__ void merge(State& a, State b) { a += b; }
  static __device__ __forceinline__ State result(State a) { return a; }
};
template <class X>
struct CountNonzero : Counting {
  static __device__ __forceinline__ void take(i64& a, X x, i64) { a += number(x) != 0; }
};
template <class X>
struct CountNumbers : Counting {
  static __device__ __forceinline__ void take(i64& a, X x, i64) { a += number(x) == number(x); }
};
template <class X>
struct Any : Counting {
  static __device__ __forceinline__ void take(i64& a, X x, i64) { a |= number(x) != 0; }
  static __device__ __forceinline__ bool result(i64 a) { return a != 0; }
};
template <class X>
struct All : Counting {  // counts the zeros
  static __device__ __forceinline__ void take(i64& a, X x, i64) { a += number(x) == 0; }
  static __device__ __forceinline__ bool result(i64 a) { return a == 0; }
};
template <class X>
struct AnyInf : Counting {
  static __device__ __forceinline__ void take(i64& a, X x, i64) {
    const double v = (double)number(x);
    a |= v == v && v - v != v - v;
  }
  static __device__ __forceinline__ bool result(i64 a) { return a != 0; }
};

// An element in the order of its values, as an unsigned key that none() is below: NaN above all,
// or below all numbers; -0 is 0. Of minima the keys are turned round.
enum Nan { NAN_WINS, NAN_LOSES };
template <class X, bool LEAST, int NAN_RULE>
struct Extremum {
  struct alignas(16) State {
    u64 key;
    i64 place;
  };
  static __device__ __forceinline__ State none() { return {0, 0x7fffffffffffffff}; }
  static __device__ __forceinline__ u64 key_of(X x) {
    if constexpr (IsFloat<X>::value) {
      double v = (double)number(x);
      if (v != v) {
        if (NAN_RULE == NAN_WINS) return ~0ull;
        v = LEAST ? INFINITE : -INFINITE;  // as the infinity that comes last
      }
      const u64 bits = (u64)__double_as_longlong(v == 0 ? 0. : v);
      const u64 key = bits >> 63 ? ~bits : bits | 1ull << 63;
      return LEAST ? ~key : key;
    } else {
      const u64 key = (X)-1 < (X)0 ? (u64)(i64)x ^ 1ull << 63 : (u64)x;
      return (LEAST ? ~key : key);
    }
  }
  static __device__ __forceinline__ void take(State& a, X x, i64 i) { merge(a, {key_of(x), i}); }
  static __device__ __forceinline__ void merge(State& a, State b) {
    if (b.key > a.key || (b.key == a.key && b.place < a.place)) a = b;
  }
  static __device__ __forceinline__ i64 result(State a) { return a.place; }
};
template <class X>
struct ArgMax : Extremum<X, false, NAN_WINS> {};
template <class X>
struct ArgMin : Extremum<X, true, NAN_WINS> {};
template <class X>
struct NanArgMax : Extremum<X, false, NAN_LOSES> {};
template <class X>
struct NanArgMin : Extremum<X, true, NAN_LOSES> {};

// The extremum itself, in the dtype of the elements.
template <class X, bool LEAST, bool SKIP>
struct Value {
  typedef X State;
  static __device__ __forceinline__ void take(State& a, X x, i64) { merge(a, x); }
  static __device__ __forceinline__ void merge(State& a, State b) {
    const auto x = number(a), y = number(b);
    const bool better = LEAST ? y < x : y > x;
    if (better || (SKIP ? x != x : y != y)) a = b;
  }
  static __device__ __forceinline__ X result(X a) { return a; }
};
template <class X>
__device__ __forceinline__ X infinite(bool negative) {
  return narrow<X>((wide_t<X>)(negative ? -INFINITE : INFINITE));
}
// Of integers, the least and the largest.
template <class X>
__device__ __forceinline__ X end_of(bool lowest) {
  if constexpr (IsFloat<X>::value) {
    return infinite<X>(lowest);
  } else {
    if ((X)-1 > (X)0) return lowest ? (X)0 : (X)-1;
    const u64 top = 1ull << (8 * sizeof(X) - 1);
    return lowest ? (X)top : (X)(top - 1);
  }
}
template <class X>
struct Max : Value<X, false, false> {
  static __device__ __forceinline__ X none() { return end_of<X>(true); }
};
template <class X>
struct Min : Value<X, true, false> {
  static __device__ __forceinline__ X none() { return end_of<X>(false); }
};
template <class X>
struct NanMax : Value<X, false, true> {
  static __device__ __forceinline__ X none() { return end_of<X>(true); }
};
template <class X>
struct NanMin : Value<X, true, true> {
  static __device__ __forceinline__ X none() { return end_of<X>(false); }
};

// Count, mean and sum of squared deviations, combined as Chan, Golub and LeVeque do (1979).
struct Deviations {
  double count, mean, squares;
};
template <class X, bool SKIP>
struct Spread {
  typedef Deviations State;
  static __device__ __forceinline__ State none() { return {0, 0, 0}; }
  static __device__ __forceinline__ void take(State& a, X x, i64) {
    const double v = (double)number(x);
    if (SKIP && v != v) return;
    const double apart = v - a.mean;
    a.count += 1;
    a.mean += apart / a.count;
    a.squares += apart * (v - a.mean);
  }
  static __device__ __forceinline__ void merge(State& a, State b) {
    if (b.count == 0) return;
    if (a.count == 0) {
      a = b;
      return;
    }
    const double count = a.count + b.count, apart = b.mean - a.mean;
    a.mean += apart * (b.count / count);
    a.squares += b.squares + apart * apart * (a.count * b.count / count);
    a.count = count;
  }
  static __device__ __forceinline__ double2 result(State a) {
    return make_double2(a.count, a.squares);
  }
};
template <class X>
struct Moments : Spread<X, false> {};
template <class X>
struct NanMoments : Spread<X, true> {};

// `equal` elements are the largest; `others` is the sum of exp(x - largest) of the rest.
struct Exponentials {
  double largest, equal, others;
};
template <class X>
struct LogSumExp {
  typedef Exponentials State;
  static __device__ __forceinline__ State none() { return {-INFINITE, 0, 0}; }
  // Of floats the difference is a float, and so is its exponential.
  static __device__ __forceinline__ double exponential(double x) {
    return sizeof(X) == 8 ? exp(x) : (double)expf((float)x);
  }
  static __device__ __forceinline__ void take(State& a, X x, i64) {
    merge(a, {(double)number(x), 1, 0});
  }
  static __device__ __forceinline__ void merge(State& a, State b) {
    if (b.equal == 0) return;
    if (a.equal == 0) {
      a = b;
    } else if (a.largest == b.largest) {
      a.equal += b.equal, a.others += b.others;
    } else if (b.largest < a.largest) {
      a.others += (b.equal + b.others) * exponential(b.largest - a.largest);
    } else {  // also where one is NaN
      b.others += (a.equal + a.others) * exponential(a.largest - b.largest);
      if (a.largest != a.largest) b.largest = a.largest;
      a = b;
    }
  }
  static __device__ __forceinline__ double result(State a) {
    return a.largest + log(a.equal) + log1p(a.others / a.equal);
  }
};

// The value of another lane, of any type.
template <class T>
__device__ __forceinline__ T shuffled(const T& x, int lane) {
  union {
    T value;
    u32 words[(sizeof(T) + 3) / 4];
  } from, to;
  from.words[0] = 0;
  from.value = x;
#pragma unroll
  for (int i = 0; i < (sizeof(T) + 3) / 4; i++)
    to.words[i] = __shfl_xor_sync(~0u, from.words[i], lane);
  return to.value;
}

// A double as a narrower float, rounded once: to odd in between, which no second rounding can see.
__device__ __forceinline__ float to_odd(double x) {
  float y = (float)x;
  if ((double)y == x || x != x) return y;
  u32 bits = __float_as_uint(y);
  if (fabs((double)y) > fabs(x)) bits--;
  return __uint_as_float(bits | 1);
}
template <class Y, class R>
__device__ __forceinline__ Y converted(R x, double) { return (Y)x; }
template <>
__device__ __forceinline__ double converted<double, double>(double x, double divisor) {
  return x / divisor;
}
template <>
__device__ __forceinline__ float converted<float, double>(double x, double divisor) {
  return (float)(x / divisor);
}
template <>
__device__ __forceinline__ f16 converted<f16, double>(double x, double divisor) {
  return narrow<f16>(to_odd(x / divisor));
}
template <>
__device__ __forceinline__ bf16 converted<bf16, double>(double x, double divisor) {
  return narrow<bf16>(to_odd(x / divisor));
}
