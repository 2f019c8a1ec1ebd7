// The runtime's own parts, which kernels do not see.
#pragma once
#include <vector>

#include "kernel.h"

namespace ptx {

struct Extent {
  u64 start, size;
};

struct Count {
  u64 requests, transactions, ideal;
};

// One launch, as Python describes it.
struct Launch {
  void (*kernel)(const u8*);
  const u8* parameters;
  u32 grid[3], block[3];
  u32 static_shared, dynamic_shared;
  u32 shared_grain, global_grain;  // log2 of the bytes that are watched together
  const Extent* variables;         // the __shared__ variables; what lies between is nobody's
  u32 n_variables;
  const Extent* allocations;  // sorted, apart
  u32 n_allocations;
  u64 steps;        // turns of loops until it counts as endless
  u64 seed;         // 0: threads and blocks in order
  Count* counts;    // two for each site, of global and of shared memory; or null
  const u8* sizes;  // bytes that a thread moves at each site
  u32 n_sites;
};

struct Failure {
  u32 site, block[3], thread;
  char message[200];
};

extern const Launch* launch;
extern Failure failure;
extern std::vector<Thread> threads;

// fibers.cpp: the threads of a block take turns, from one wait to the next.
extern u32 n_threads;
void prepare_threads(u32 count);
bool run_block();  // false: it failed, or waits for ever
u64 random_number();
extern u64 random_state;
typedef void (*Collective)(Thread* warp, u32 mask, void* context);
void collective(u32 mask, u32 site, Collective operation, void* context);

// races.cpp: what happened before what.
extern u32 epoch;  // one more at each barrier, and for each block
void begin_launch();
void end_launch();
void begin_block(u32 number);
void warp_synchronized(u32 warp, u32 mask);

void copy_arrived(u64 address, u32 size, u32 site);

// copies.cpp
void begin_copies();

// counters.cpp
void begin_counts();
void count(u64 address, bool is_shared, u32 site);
void end_counts();

}  // namespace ptx
