// Types, conversions and reductions that every kernel shares.
typedef long long i64;
typedef unsigned long long u64;
typedef unsigned u32;

// 16-bit floats are computed in float: their own arithmetic is nowhere used.
struct f16 {
  unsigned short bits;
};
struct bf16 {
  unsigned short bits;
};

template <class T>
struct Wide {
  typedef float type;
};
template <>
struct Wide<double> {
  typedef double type;
};
template <class T>
using wide_t = typename Wide<T>::type;

__device__ __forceinline__ float widen(float x) { return x; }
__device__ __forceinline__ double widen(double x) { return x; }
__device__ __forceinline__ float widen(f16 x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
}
__device__ __forceinline__ float widen(bf16 x) { return __uint_as_float((u32)x.bits << 16); }

// Rounded to nearest even; NaN stays NaN.
template <class T>
__device__ __forceinline__ T narrow(wide_t<T> x);
template <>
__device__ __forceinline__ float narrow<float>(float x) { return x; }
template <>
__device__ __forceinline__ double narrow<double>(double x) { return x; }
template <>
__device__ __forceinline__ f16 narrow<f16>(float x) {
  f16 y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
  return y;
}
template <>
__device__ __forceinline__ bf16 narrow<bf16>(float x) {
  const u32 bits = __float_as_uint(x);
  if (x != x) return bf16{0x7fff};
  return bf16{(unsigned short)((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

// N values that move in one access.
template <int BYTES>
struct Raw;
template <>
struct Raw<2> {
  typedef unsigned short type;
};
template <>
struct Raw<4> {
  typedef u32 type;
};
template <>
struct Raw<8> {
  typedef uint2 type;
};
template <>
struct Raw<16> {
  typedef uint4 type;
};
template <class T, int N>
union Vector {
  T at[N];
  typename Raw<N * sizeof(T)>::type raw;
  __device__ __forceinline__ Vector() {}
};

// Entries p..p+N-1 of x, those before `end`; one access where all are there and x is aligned.
template <class T, int N>
__device__ __forceinline__ void load(Vector<T, N>& v, const T* x, i64 p, i64 end, bool aligned) {
  if (aligned && p + N <= end) {
    v.raw = *reinterpret_cast<const decltype(v.raw)*>(x + p);
  } else {
#pragma unroll
    for (int e = 0; e < N; e++)
      if (p + e < end) v.at[e] = x[p + e];
  }
}
template <class T, int N>
__device__ __forceinline__ void store(const Vector<T, N>& v, T* x, i64 p, i64 end, bool aligned) {
  if (aligned && p + N <= end) {
    *reinterpret_cast<decltype(Vector<T, N>::raw)*>(x + p) = v.raw;
  } else {
#pragma unroll
    for (int e = 0; e < N; e++)
      if (p + e < end) x[p + e] = v.at[e];
  }
}

// a / b and a % b: 64-bit division is ten times slower, and seldom needed.
__device__ __forceinline__ i64 divide(i64 a, i64 b, i64& rest) {
  if ((u64)(a | b) >> 32 == 0) {
    rest = (u32)a % (u32)b;
    return (u32)a / (u32)b;
  }
  rest = a % b;
  return a / b;
}

template <class T, class Operation>
__device__ __forceinline__ T warp_reduced(T x, Operation operation) {
#pragma unroll
  for (int lane = 16; lane; lane /= 2) x = operation(x, __shfl_xor_sync(~0u, x, lane));
  return x;
}

// One atomic for a warp, and none where nothing is to be added.
__device__ __forceinline__ void add_count(u64* total, int count) {
  if (!__any_sync(~0u, count)) return;
  count = warp_reduced(count, [](int a, int b) { return a + b; });
  if (threadIdx.x % 32 == 0) atomicAdd(total, (u64)count);
}
