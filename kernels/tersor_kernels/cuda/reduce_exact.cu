// Sums that are rounded once: long integers, in units of the smallest double, whose digits of 32
// bits each have 64 bits of room (Neal, "Fast exact summation using small and large
// superaccumulators", 2015). Integers add up to the same in any order.
#include "_reduce_ops.cuh"

constexpr int THREADS = 256, WARPS = THREADS / 32;
constexpr int DIGITS = 68;    // 2098 bits of a double, and 2**60 of them
constexpr int LOWEST = 1074;  // the smallest double is 2**-1074
enum { PLUS_INF = 1, MINUS_INF = 2, NOT_A_NUMBER = 4 };

__device__ __forceinline__ void add(u64* digits, u32* specials, double x) {
  const u64 bits = (u64)__double_as_longlong(x);
  const int exponent = (int)(bits >> 52 & 0x7ff);
  if (exponent == 0x7ff) {
    atomicOr(specials, x != x ? NOT_A_NUMBER : x > 0 ? PLUS_INF : MINUS_INF);
    return;
  }
  u64 mantissa = bits & 0xfffffffffffffull;
  if (exponent) mantissa |= 1ull << 52;
  if (!mantissa) return;
  const int place = exponent ? exponent - 1 : 0, shift = place % 32;
  const u64 low = mantissa << shift, high = shift ? mantissa >> (64 - shift) : 0;
  const u64 parts[3] = {low & 0xffffffffu, low >> 32, high};
  u64* digit = digits + place / 32;
#pragma unroll
  for (int i = 0; i < 3; i++)
    if (parts[i]) atomicAdd(digit + i, bits >> 63 ? 0 - parts[i] : parts[i]);
}

// Loops of one thread over digits stay loops: unrolled they take registers that are not there.

// Every digit but the last, which has the sign, in 0..2**32-1.
__device__ __forceinline__ void carry_over(i64* digits) {
  i64 carry = 0;
#pragma unroll 1
  for (int k = 0; k < DIGITS - 1; k++) {
    const i64 value = digits[k] + carry;
    digits[k] = value & 0xffffffff;
    carry = value >> 32;
  }
  digits[DIGITS - 1] += carry;
}

__device__ __forceinline__ double power_of_two(int e) {
  return __longlong_as_double((i64)(e + 1023) << 52);
}

// Half to even, to `precision` bits, but to none below 2**lowest. The digits are used up.
__device__ __forceinline__ double rounded(i64* digits, u32 specials, int precision, int lowest) {
  if (specials) {
    if (specials == PLUS_INF) return INFINITE;
    return specials == MINUS_INF ? -INFINITE : __longlong_as_double(0x7ff8000000000000);
  }
  const bool is_negative = digits[DIGITS - 1] < 0;
  if (is_negative) {
#pragma unroll 1
    for (int k = 0; k < DIGITS; k++) digits[k] = -digits[k];
    carry_over(digits);
  }
  int top = DIGITS - 1;
#pragma unroll 1
  while (top >= 0 && digits[top] == 0) top--;
  if (top < 0) return 0;
  const int highest = 32 * top + 63 - __clzll(digits[top]);  // the place of the first bit
  int cut = highest + 1 - precision;                         // that of the last bit to be kept
  if (cut < lowest + LOWEST) cut = lowest + LOWEST;
  u64 kept = 0;
#pragma unroll 1
  for (int bit = highest; bit >= cut; bit--) kept = kept << 1 | (u64)(digits[bit / 32] >> bit % 32 & 1);
  if (cut > 0) {
    const int half = cut - 1;
    bool is_more = digits[half / 32] & ((1ll << half % 32) - 1);
#pragma unroll 1
    for (int k = 0; k < half / 32; k++) is_more |= digits[k] != 0;
    if (digits[half / 32] >> half % 32 & 1 && (is_more || kept & 1)) kept++;
  }
  const int e = cut - LOWEST;
  const double result = (double)kept * power_of_two(e / 2) * power_of_two(e - e / 2);
  return is_negative ? -result : result;
}

// A block takes a piece of a row, and each warp of it has digits of its own. LAST: the result; else
// the digits, and what was special behind them.
template <class X, bool LAST>
__global__ void __launch_bounds__(THREADS)
exact_rows(const X* __restrict__ x, i64 n, i64 pieces, i64 piece, int precision, int lowest,
           void* out) {
  __shared__ u64 digits[WARPS][DIGITS];
  __shared__ u32 specials;
  for (int i = threadIdx.x; i < WARPS * DIGITS; i += THREADS) digits[i / DIGITS][i % DIGITS] = 0;
  if (threadIdx.x == 0) specials = 0;
  __syncthreads();
  i64 number;
  const i64 row = divide(blockIdx.x, pieces, number);
  const i64 end = n < (number + 1) * piece ? n : (number + 1) * piece;
  for (i64 p = number * piece + threadIdx.x; p < end; p += THREADS)
    add(digits[threadIdx.x / 32], &specials, (double)widen(x[row * n + p]));
  __syncthreads();
  if (threadIdx.x < DIGITS)
    for (int warp = 1; warp < WARPS; warp++) digits[0][threadIdx.x] += digits[warp][threadIdx.x];
  __syncthreads();
  if (threadIdx.x != 0) return;
  i64* sum = (i64*)digits[0];
  carry_over(sum);
  if (LAST) {
    ((double*)out)[blockIdx.x] = rounded(sum, specials, precision, lowest);
  } else {
    i64* mine = (i64*)out + (i64)blockIdx.x * (DIGITS + 1);
    for (int k = 0; k < DIGITS; k++) mine[k] = sum[k];
    mine[DIGITS] = specials;
  }
}

// A block adds up the pieces of a result.
__global__ void __launch_bounds__(THREADS)
exact_pieces(const i64* __restrict__ pieces, i64 count, int precision, int lowest,
             double* __restrict__ out) {
  __shared__ i64 digits[DIGITS + 1];
  const i64* mine = pieces + blockIdx.x * count * (DIGITS + 1);
  if (threadIdx.x <= DIGITS) {
    i64 sum = 0;
    for (i64 i = 0; i < count; i++) {
      const i64 value = mine[i * (DIGITS + 1) + threadIdx.x];
      sum = threadIdx.x < DIGITS ? sum + value : sum | value;
    }
    digits[threadIdx.x] = sum;
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  carry_over(digits);
  out[blockIdx.x] = rounded(digits, (u32)digits[DIGITS], precision, lowest);
}
