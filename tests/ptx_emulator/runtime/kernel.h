// What a translated kernel sees of the runtime. Registers hold raw bits: f32() and f64() look at
// them as numbers, bits() is the way back.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#include "scalars.h"

namespace ptx {

struct Thread {
  u32 tid[3];
  u32 linear, lane, warp;
  // The rest belongs to the scheduler and to the collectives of a warp.
  void* stack_pointer;
  char* stack;
  u32 state, mask, site;
  u64 value, result;
  u32 source;
  u32* fragment;
  struct {
    u32 tick, epoch;
  } fence;
};

extern Thread* self;  // the thread that runs
extern u32 ctaid[3], ntid[3], nctaid[3];
extern u8* shared;  // the window of the block
extern u32 shared_size, dynamic_size;
extern u64 steps_left;

[[noreturn]] void fail(u32 site, const char* format, ...) __attribute__((format(printf, 2, 3)));

// A loop that waits for another block never ends here, as blocks run one after another.
inline void step(u32 site) {
  if (--steps_left == 0) fail(site, "the kernel does not end, or waits for another block");
}

enum Kind : u32 { READ, WRITE, ATOMIC, COPY };  // COPY: a cp.async begins

void touch_shared(u64 address, u32 size, Kind kind, u32 site);
void touch_global(u64 address, u32 size, Kind kind, u32 site);
void synchronize_at(u64 address);  // an atomic access may order what fences stand around
void fence();

inline bool is_shared(u64 address) {
  return address - (u64)(uintptr_t)shared < shared_size;
}

template <class T>
inline T fetch(u64 address) {
  T value;
  memcpy(&value, (const void*)(uintptr_t)address, sizeof value);
  return value;
}

template <class T>
inline void put(u64 address, T value) {
  memcpy((void*)(uintptr_t)address, &value, sizeof value);
}

// Each state space: the address on the host, after the checks.
struct Shared {
  static u64 at(u64 address, u32 size, Kind kind, u32 site) {
    touch_shared(address, size, kind, site);
    return (u64)(uintptr_t)shared + address;
  }
};
struct Global {
  static u64 at(u64 address, u32 size, Kind kind, u32 site) {
    touch_global(address, size, kind, site);
    return address;
  }
};
struct Generic {
  static u64 at(u64 address, u32 size, Kind kind, u32 site) {
    if (!is_shared(address)) return Global::at(address, size, kind, site);
    return Shared::at(address - (u64)(uintptr_t)shared, size, kind, site);
  }
};
struct Unchecked {  // constants and a thread's local memory
  static u64 at(u64 address, u32, Kind, u32) { return address; }
};

template <class Space, class T, class Function>
inline T atomic(u64 address, u32 site, Function function) {
  const u64 place = Space::at(address, sizeof(T), ATOMIC, site);
  synchronize_at(place);
  const T old = fetch<T>(place);
  put<T>(place, function(old));
  return old;
}

void block_barrier(u32 site, bool predicate);
extern u32 barrier_any, barrier_all, barrier_count;  // of the predicates, after a barrier

enum Shuffle : u32 { INDEX, UP, DOWN, BUTTERFLY };
enum Vote : u32 { BALLOT, ALL, ANY, UNIFORM };
enum Redux : u32 { ADD, MIN, MAX, SIGNED_MIN, SIGNED_MAX, AND, OR, XOR };
u32 shuffle(Shuffle mode, u32 value, u32 b, u32 c, u32 mask, u32 site, bool* in_range);
u32 vote(Vote mode, bool predicate, u32 mask, u32 site);
u32 redux(Redux operation, u32 value, u32 mask, u32 site);
u32 match_any(u64 value, u32 mask, u32 site);
u32 match_all(u64 value, u32 mask, u32 site, bool* all);
void warp_barrier(u32 mask, u32 site);

void ldmatrix(u32 matrices, bool transposed, u64 address, u32* out, u32 site);
// m x 8 += m x k times k x 8, of 8-bit integers, in the fragments of the PTX ISA.
void mma_int8(u32 m, u32 k, bool signed_a, bool signed_b, const u32* a, const u32* b,
              const u32* c, u32* d, u32 site);

void copy_async(u64 target, u64 source, u32 size, u32 source_size, u32 site);
void copy_commit();
void copy_wait(u32 groups);  // until so many of the latest groups are in flight

}  // namespace ptx
