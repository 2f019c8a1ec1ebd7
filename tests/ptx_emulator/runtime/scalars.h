// The arithmetic of PTX that C++ has no operator for.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

namespace ptx {

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;
typedef __int128 s128;
typedef unsigned __int128 u128;

template <class To, class From>
inline To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}
inline float f32(u32 x) { return bit_cast<float>(x); }
inline double f64(u64 x) { return bit_cast<double>(x); }
inline u32 bits(float x) { return bit_cast<u32>(x); }
inline u64 bits(double x) { return bit_cast<u64>(x); }
template <class T>
inline T bits(T x) {
  return x;
}

// Half precision by the compiler's type, bfloat16 by hand: round to nearest even, NaN kept.
inline float f16(u16 x) { return (float)bit_cast<_Float16>(x); }
inline u16 to_f16(double x) { return bit_cast<u16>((_Float16)x); }
inline float bf16(u16 x) { return f32((u32)x << 16); }
inline u16 to_bf16(float x) {
  const u32 b = bits(x);
  if (x != x) return 0x7fff;
  return (u16)((b + 0x7fff + (b >> 16 & 1)) >> 16);
}

// The NaN that arithmetic in float32 gives on the chip.
inline float canonical(float x) { return x == x ? x : f32(0x7fffffffu); }
inline double canonical(double x) { return x; }

inline float flush(float x) { return std::fabs(x) < 1.17549435e-38f ? std::copysign(0.f, x) : x; }
inline double flush(double x) { return x; }
template <class T>
inline T saturate(T x) {
  return x > 0 ? (x < 1 ? x : (T)1) : (T)0;  // NaN becomes 0
}

// A NaN loses against a number; -0 is below 0.
template <class T>
inline T minimum(T a, T b) {
  if (a != a) return b;
  if (b != b) return a;
  if (a == b) return std::signbit(a) ? a : b;
  return a < b ? a : b;
}
template <class T>
inline T maximum(T a, T b) {
  if (a != a) return b;
  if (b != b) return a;
  if (a == b) return std::signbit(a) ? b : a;
  return a > b ? a : b;
}
// fma, rounded down: the product is exact in double, and the sum is with its error.
inline float fma_down(float a, float b, float c) {
  const double product = (double)a * b, sum = product + c;
  const double part = sum - product, error = (product - (sum - part)) + (c - part);
  const float result = (float)sum;
  if (result > sum || (result == sum && error < 0)) return std::nextafter(result, -INFINITY);
  return result;
}

template <class T>
inline T nan_of(T a, T b, T otherwise) {
  return a != a || b != b ? (T)NAN : otherwise;
}

template <class T>
inline T shift_left(T x, u32 by) {
  return by >= sizeof(T) * 8 ? (T)0 : (T)(x << by);
}
template <class T>
inline T shift_right(T x, u32 by) {
  if (by >= sizeof(T) * 8) return x < 0 ? (T)-1 : (T)0;
  return (T)(x >> by);
}
inline u32 funnel_left(u32 low, u32 high, u32 by) {
  return (u32)((((u64)high << 32 | low) << by) >> 32);
}
inline u32 funnel_right(u32 low, u32 high, u32 by) { return (u32)(((u64)high << 32 | low) >> by); }

template <class T>
inline T quotient(T a, T b) {
  return b == 0 ? (T)-1 : (T)(a / b);
}
template <class T>
inline T remainder_of(T a, T b) {
  return b == 0 ? a : (T)(a % b);
}

enum Rounding { NEAREST, ZERO, FLOOR, CEIL };
template <class T>
inline T rounded(T x, Rounding mode) {
  switch (mode) {
    case NEAREST: return std::nearbyint(x);
    case ZERO: return std::trunc(x);
    case FLOOR: return std::floor(x);
    default: return std::ceil(x);
  }
}
template <class T>
inline T clamp(double x, double low, double high) {
  return x <= low ? (T)low : x >= high ? (T)high : (T)x;
}
// Float to integer: saturated; NaN is 0, of 64 bits the top bit.
template <class T>
inline T to_integer(double x, Rounding mode) {
  const int width = sizeof(T) * 8;
  const bool is_signed = (T)-1 < (T)0;
  if (x != x) return width == 64 ? (T)((u64)1 << 63) : (T)0;
  x = rounded(x, mode);
  const double high = std::ldexp(1., is_signed ? width - 1 : width);
  if (x >= high) return (T)(is_signed ? ~((u64)1 << (width - 1)) : ~(u64)0);
  if (x < (is_signed ? -high : 0.)) return is_signed ? (T)((u64)1 << (width - 1)) : (T)0;
  return (T)x;
}
template <class T>
inline T saturated(s64 x, s64 low, s64 high) {
  return (T)(x < low ? low : x > high ? high : x);
}

template <class T>
inline u32 leading_zeros(T x) {
  u32 count = 0;
  for (int bit = sizeof(T) * 8 - 1; bit >= 0 && !(x >> bit & 1); bit--) count++;
  return count;
}
// Place of the highest bit that differs from the sign; all ones if there is none.
template <class T>
inline u32 find_bit(T x, bool as_shift) {
  const u32 width = sizeof(T) * 8;
  if (x < 0) x = (T)~x;
  if (x == 0) return ~0u;
  u32 place = 0;
  for (u32 bit = 0; bit < width; bit++)
    if (x >> bit & 1) place = bit;
  return as_shift ? width - 1 - place : place;
}
inline u32 reversed(u32 x) {
  u32 result = 0;
  for (int i = 0; i < 32; i++) result |= (x >> i & 1) << (31 - i);
  return result;
}
inline u64 reversed(u64 x) { return (u64)reversed((u32)x) << 32 | reversed((u32)(x >> 32)); }

inline u32 permute(u32 a, u32 b, u32 selectors) {
  const u64 bytes = (u64)b << 32 | a;
  u32 result = 0;
  for (int i = 0; i < 4; i++) {
    const u32 selector = selectors >> 4 * i & 15;
    u8 byte = (u8)(bytes >> 8 * (selector & 7));
    if (selector & 8) byte = (s8)byte < 0 ? 0xff : 0;
    result |= (u32)byte << 8 * i;
  }
  return result;
}
inline u32 logic3(u32 a, u32 b, u32 c, u32 table) {
  u32 result = 0;
  for (u32 row = 0; row < 8; row++)
    if (table >> row & 1)
      result |= (row & 4 ? a : ~a) & (row & 2 ? b : ~b) & (row & 1 ? c : ~c);
  return result;
}
template <class T>
inline T bit_field(T a, u32 start, u32 length) {
  const u32 width = sizeof(T) * 8;
  start &= 255, length &= 255;
  if (length == 0) return 0;
  const u32 top = start + length - 1 < width ? start + length - 1 : width - 1;
  const T sign = (T)-1 < (T)0 ? (T)(a >> top & 1) : (T)0;
  T result = 0;
  for (u32 i = 0; i < width; i++) {
    const T bit = i < length && start + i < width ? (T)(a >> (start + i) & 1) : sign;
    result |= (T)((u64)bit << i);
  }
  return result;
}
template <class T>
inline T insert_field(T a, T b, u32 start, u32 length) {
  start &= 255, length &= 255;
  for (u32 i = 0; i < length && start + i < sizeof(T) * 8; i++) {
    const T bit = (T)1 << (start + i);
    b = a >> i & 1 ? b | bit : b & ~bit;
  }
  return b;
}
inline u32 bit_mask(u32 start, u32 width, bool clamps) {
  if (!clamps) start &= 31, width &= 31;
  if (start > 31 || width == 0) return 0;
  return (width > 31 ? ~0u : (1u << width) - 1) << start;
}
inline u32 dot4(u32 a, u32 b, u32 c, bool signed_a, bool signed_b) {
  for (int i = 0; i < 4; i++) {
    const u8 x = (u8)(a >> 8 * i), y = (u8)(b >> 8 * i);
    c += (u32)((signed_a ? (s8)x : (s32)x) * (signed_b ? (s8)y : (s32)y));
  }
  return c;
}

}  // namespace ptx
