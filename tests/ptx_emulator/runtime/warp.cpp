// What the lanes of a warp do together.
#include <algorithm>

#include "state.h"

namespace ptx {

// Runs operation(warp, mask) once, when every lane of the mask has come.
template <class Operation>
static void together(u32 mask, u32 site, Operation operation) {
  auto call = [](Thread* warp, u32 lanes, void* context) {
    (*(Operation*)context)(warp, lanes);
  };
  collective(mask, site, call, &operation);
}

template <class Function>
static void each_lane(u32 mask, Function function) {
  for (u32 lane = 0; lane < 32; lane++)
    if (mask >> lane & 1) function(lane);
}

u32 shuffle(Shuffle mode, u32 value, u32 b, u32 c, u32 mask, u32 site, bool* in_range) {
  const int lane = (int)self->lane, by = (int)(b & 31);
  const u32 segment = c >> 8 & 31;
  const int first = lane & (int)segment, last = first | (int)(c & 31 & ~segment);
  int source;
  switch (mode) {
    case INDEX: source = first | (by & ~(int)segment); break;
    case UP: source = lane - by; break;
    case DOWN: source = lane + by; break;
    default: source = lane ^ by;
  }
  *in_range = mode == UP ? source >= last : source <= last;
  self->value = value;
  self->source = *in_range ? (u32)source : self->lane;
  Thread* me = self;
  together(mask, site, [site](Thread* warp, u32 lanes) {
    each_lane(lanes, [&](u32 l) {
      if (!(lanes >> warp[l].source & 1))
        fail(site, "lane %u is asked for its value, but not in the mask", warp[l].source);
      warp[l].result = warp[warp[l].source].value;
    });
  });
  return (u32)me->result;
}

u32 vote(Vote mode, bool predicate, u32 mask, u32 site) {
  Thread* me = self;
  me->value = predicate;
  together(mask, site, [mode](Thread* warp, u32 lanes) {
    u32 ballot = 0;
    each_lane(lanes, [&](u32 l) { ballot |= (u32)warp[l].value << l; });
    const bool all = ballot == lanes, none = ballot == 0;
    const u32 result = mode == BALLOT ? ballot : mode == ALL ? all : mode == ANY ? !none : all || none;
    each_lane(lanes, [&](u32 l) { warp[l].result = result; });
  });
  return (u32)me->result;
}

static u32 combined(Redux operation, u32 a, u32 b) {
  switch (operation) {
    case ADD: return a + b;
    case MIN: return std::min(a, b);
    case MAX: return std::max(a, b);
    case SIGNED_MIN: return (u32)std::min((s32)a, (s32)b);
    case SIGNED_MAX: return (u32)std::max((s32)a, (s32)b);
    case AND: return a & b;
    case OR: return a | b;
    default: return a ^ b;
  }
}

u32 redux(Redux operation, u32 value, u32 mask, u32 site) {
  Thread* me = self;
  me->value = value;
  together(mask, site, [operation](Thread* warp, u32 lanes) {
    u32 total = 0;
    bool first = true;
    each_lane(lanes, [&](u32 l) {
      total = first ? (u32)warp[l].value : combined(operation, total, (u32)warp[l].value);
      first = false;
    });
    each_lane(lanes, [&](u32 l) { warp[l].result = total; });
  });
  return (u32)me->result;
}

u32 match_any(u64 value, u32 mask, u32 site) {
  Thread* me = self;
  me->value = value;
  together(mask, site, [](Thread* warp, u32 lanes) {
    each_lane(lanes, [&](u32 l) {
      warp[l].result = 0;
      each_lane(lanes, [&](u32 k) { warp[l].result |= (u64)(warp[k].value == warp[l].value) << k; });
    });
  });
  return (u32)me->result;
}

u32 match_all(u64 value, u32 mask, u32 site, bool* all) {
  *all = match_any(value, mask, site) == mask;
  return *all ? mask : 0;
}

void warp_barrier(u32 mask, u32 site) {
  const u32 number = self->warp;
  together(mask, site, [number](Thread*, u32 lanes) { warp_synchronized(number, lanes); });
}

void ldmatrix(u32 matrices, bool transposed, u64 address, u32* out, u32 site) {
  if (self->lane < 8 * matrices) touch_shared(address, 16, READ, site);
  u32 words[5] = {};
  words[4] = (u32)address;
  self->fragment = words;
  together(~0u, site, [=](Thread* warp, u32) {
    for (u32 m = 0; m < matrices; m++)
      for (u32 l = 0; l < 32; l++)
        for (u32 half = 0; half < 2; half++) {
          const u32 pair = l % 4 * 2 + half;
          const u32 row = transposed ? pair : l / 4, column = transposed ? l / 4 : pair;
          const u8* place = shared + warp[m * 8 + row].fragment[4] + 2 * column;
          memcpy((u8*)&warp[l].fragment[m] + 2 * half, place, 2);
        }
  });
  memcpy(out, words, 4 * matrices);
}

// "Matrix fragments for mma" in the PTX ISA: with group = lane / 4 and member = lane % 4, register
// r of A holds row group + 8 * (r % (m / 8)), and of its columns the four from 4 * member + 16 *
// (r / (m / 8)) on; B the same by columns; C and D two columns from 2 * member on.
void mma_int8(u32 m, u32 k, bool signed_a, bool signed_b, const u32* a, const u32* b,
              const u32* c, u32* d, u32 site) {
  const u32 n_a = m * k / 128, n_b = k / 16, n_c = m / 4;
  u32 words[14];
  memcpy(words, a, 4 * n_a);
  memcpy(words + 4, b, 4 * n_b);
  memcpy(words + 6, c, 4 * n_c);
  self->fragment = words;
  together(~0u, site, [=](Thread* warp, u32) {
    s32 left[16][32], right[32][8];
    auto number = [](u32 word, u32 byte, bool is_signed) {
      const u8 x = (u8)(word >> 8 * byte);
      return is_signed ? (s32)(s8)x : (s32)x;
    };
    for (u32 l = 0; l < 32; l++)
      for (u32 byte = 0; byte < 4; byte++) {
        const u32* f = warp[l].fragment;
        const u32 group = l / 4, column = l % 4 * 4 + byte;
        for (u32 r = 0; r < n_a; r++)
          left[group + 8 * (r % (m / 8))][column + 16 * (r / (m / 8))] = number(f[r], byte, signed_a);
        for (u32 r = 0; r < n_b; r++) right[column + 16 * r][group] = number(f[4 + r], byte, signed_b);
      }
    for (u32 l = 0; l < 32; l++)
      for (u32 i = 0; i < n_c; i++) {
        const u32 row = l / 4 + 8 * (i / 2), column = l % 4 * 2 + i % 2;
        u32 sum = warp[l].fragment[6 + i];
        for (u32 j = 0; j < k; j++) sum += (u32)(left[row][j] * right[j][column]);
        warp[l].fragment[10 + i] = sum;
      }
  });
  memcpy(d, words + 10, 4 * n_c);
}

}  // namespace ptx
