// Which access happened before which: the clocks of FastTrack (Flanagan and Freund, 2009), with the
// barriers of a block as epochs and a vector of clocks for the lanes of each warp. Only barriers,
// __syncwarp and, between blocks, fences around atomics put accesses in order: shuffles and votes
// do not.
#include <sys/mman.h>

#include <algorithm>
#include <unordered_map>

#include "state.h"

namespace ptx {

// When: the epoch, the lane's clock in it, the thread, and the fences of its block so far.
struct Stamp {
  u32 epoch, clock, thread, tick;
};

struct Accesses {  // that need no order among themselves: reads, or atomics
  Stamp last;
  u32 lanes;           // of one warp: 1 + the place of their clocks in `pool`
  bool warps, blocks;  // of several warps in the epoch; of several blocks
};

struct Cell {
  Stamp write;
  Accesses reads, atomics;
  u32 block;    // of shared memory: the block that these are from
  u32 copies;   // in flight to it
  bool defined;
};

struct Fence {  // what is ordered before it can be seen by who sees the atomic after it
  u32 tick, epoch, thread;
};
struct Acquired {
  Fence released;
  u32 epoch, tick;  // seen by all after the epoch, at once by who fenced after the tick
};

u32 epoch;
u8* shared;
u32 shared_size, dynamic_size;

static u32 clocks[32][32][32];  // warp, lane: what it knows of each lane
static std::vector<std::vector<u32>> pool;
static size_t pool_used;
static std::vector<Cell> shared_cells;
static std::vector<bool> forbidden;
static std::vector<Cell*> global_cells;
static u32 last_allocation;

static u32 block, first_epoch, fences;
static std::vector<std::pair<u32, u32>> block_of_epoch;  // (first epoch, block), ascending
static std::vector<Acquired> acquired;                   // by block; tick 0: nothing
static u32 n_acquired, n_blocks_run;
static std::unordered_map<u64, std::vector<std::pair<u32, Fence>>> released;
static std::vector<u64> seen;  // atomics of this block that a fence has still to follow

static Stamp now() {
  return {epoch, clocks[self->warp][self->lane][self->lane], self->linear, fences};
}

static bool is_mine(u32 thread) { return thread / 32 == self->warp; }

static u32 block_at(u32 when) {
  auto next = std::upper_bound(block_of_epoch.begin(), block_of_epoch.end(),
                               std::make_pair(when, ~0u));
  return (next - 1)->second;
}

static bool handed_over(const Stamp& s) {
  if (acquired.empty()) return false;
  const Acquired& a = acquired[block_at(s.epoch)];
  const bool covered = s.epoch < a.released.epoch || s.thread / 32 == a.released.thread / 32;
  return s.tick < a.released.tick && covered && (epoch > a.epoch || self->fence.tick > a.tick);
}

static bool is_before(const Stamp& s) {
  if (s.epoch == 0) return true;
  if (s.epoch < first_epoch) return handed_over(s);
  if (s.epoch < epoch || s.thread == self->linear) return true;
  return is_mine(s.thread) && clocks[self->warp][self->lane][s.thread % 32] >= s.clock;
}

static bool are_before(const Accesses& a) {
  if (a.blocks && n_acquired < n_blocks_run) return false;
  if (a.last.epoch != epoch) return is_before(a.last);
  if (a.warps || !a.lanes) return !a.warps && is_before(a.last);
  if (!is_mine(a.last.thread)) return false;
  for (u32 lane = 0; lane < 32; lane++)
    if (lane != self->lane && clocks[self->warp][self->lane][lane] < pool[a.lanes - 1][lane])
      return false;
  return true;
}

static void add(Accesses& a) {
  const Stamp stamp = now();
  if (a.last.epoch != epoch) {
    a.blocks |= a.last.epoch != 0 && a.last.epoch < first_epoch && !is_before(a.last);
    a.lanes = 0, a.warps = false;
  } else if (!is_mine(a.last.thread)) {
    a.warps = true;
  } else if (a.lanes || !is_before(a.last)) {
    if (!a.lanes) {
      if (pool_used == pool.size()) pool.emplace_back();
      pool[pool_used].assign(32, 0);
      a.lanes = ++pool_used;
      pool[a.lanes - 1][a.last.thread % 32] = a.last.clock;
    }
    pool[a.lanes - 1][self->lane] = stamp.clock;
  }
  a.last = stamp;
}

[[noreturn]] static void race(const char* memory, const char* what, const Stamp& other, u32 site) {
  if (other.epoch < first_epoch)
    fail(site, "%s race: %s of block %u", memory, what, block_at(other.epoch) - 1);
  fail(site, "%s race: %s of thread %u", memory, what, other.thread);
}

static void touch(Cell& cell, Kind kind, const char* memory, u32 site) {
  const bool writes = kind == WRITE;
  if (!is_before(cell.write))
    race(memory, writes ? "write after unordered write" : "access after unordered write",
         cell.write, site);
  if (kind != ATOMIC && !are_before(cell.atomics))
    race(memory, "access after unordered atomic", cell.atomics.last, site);
  if (kind != READ && !are_before(cell.reads))
    race(memory, "write after unordered read", cell.reads.last, site);
  if (kind == READ) return add(cell.reads);
  cell.defined = true;
  if (kind == ATOMIC) return add(cell.atomics);
  cell.write = now();
  cell.reads = cell.atomics = {};
}

void touch_shared(u64 address, u32 size, Kind kind, u32 site) {
  if (address % size) fail(site, "shared address %llu is misaligned", (unsigned long long)address);
  if (address + size > shared_size)
    fail(site, "shared address %llu is out of bounds", (unsigned long long)address);
  if (launch->counts) count(address, true, site);
  const u32 grain = launch->shared_grain;
  for (u64 i = address >> grain; i <= (address + size - 1) >> grain; i++) {
    if (forbidden[i]) fail(site, "shared access beside every __shared__ variable");
    Cell& cell = shared_cells[i];
    if (cell.block != block) cell = {}, cell.block = block;
    if (kind == COPY) {
      // The thread that copies must own the place from now on; the bytes arrive later.
      touch(cell, WRITE, "shared-memory", site);
      cell.copies++;
      continue;
    }
    if (cell.copies) fail(site, "shared memory is touched while a cp.async to it is in flight");
    if (kind != WRITE && !cell.defined) fail(site, "read of uninitialised shared memory");
    touch(cell, kind, "shared-memory", site);
  }
}

void copy_arrived(u64 address, u32 size, u32 site) {
  const u32 grain = launch->shared_grain;
  for (u64 i = address >> grain; i <= (address + size - 1) >> grain; i++) {
    shared_cells[i].copies--;
    touch(shared_cells[i], WRITE, "shared-memory", site);
  }
}

static u32 allocation_of(u64 address, u32 size, u32 site) {
  const Extent* all = launch->allocations;
  const Extent& last = all[last_allocation];
  if (launch->n_allocations && address >= last.start && address + size <= last.start + last.size)
    return last_allocation;
  for (u32 i = 0; i < launch->n_allocations; i++)
    if (address >= all[i].start && address + size <= all[i].start + all[i].size)
      return last_allocation = i;
  fail(site, "global access out of bounds");
}

void touch_global(u64 address, u32 size, Kind kind, u32 site) {
  if (address % size) fail(site, "global access of %u bytes is misaligned", size);
  const u32 i = allocation_of(address, size, site);
  const Extent& allocation = launch->allocations[i];
  if (launch->counts) count(address, false, site);
  const u32 grain = launch->global_grain;
  const u64 first = allocation.start >> grain;
  if (!global_cells[i]) {  // mapped, as pages of zeros come when they are touched
    const u64 bytes = ((allocation.size >> grain) + 2) * sizeof(Cell);
    global_cells[i] = (Cell*)mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  }
  for (u64 k = address >> grain; k <= (address + size - 1) >> grain; k++)
    touch(global_cells[i][k - first], kind, "global-memory", site);
}

void synchronize_at(u64 address) {
  if (self->fence.tick) {
    const Fence mine{self->fence.tick, self->fence.epoch, self->linear};
    auto& all = released[address];
    auto same = [](auto& entry) { return entry.first == block; };
    auto found = std::find_if(all.begin(), all.end(), same);
    if (found == all.end()) all.push_back({block, mine});
    else found->second = mine;
  }
  seen.push_back(address);
}

void fence() {
  self->fence = {++fences, epoch};
  if (acquired.empty()) acquired.resize((u64)nctaid[0] * nctaid[1] * nctaid[2] + 1);
  for (const u64 address : seen)
    for (const auto& [other, theirs] : released[address]) {
      if (other == block) continue;
      n_acquired += acquired[other].released.tick == 0;
      acquired[other] = {theirs, epoch, fences - 1};
    }
  seen.clear();
}

void warp_synchronized(u32 warp, u32 mask) {
  u32 joined[32] = {};
  for (u32 lane = 0; lane < 32; lane++)
    if (mask >> lane & 1)
      for (u32 k = 0; k < 32; k++) joined[k] = std::max(joined[k], clocks[warp][lane][k]);
  for (u32 lane = 0; lane < 32; lane++)
    if (mask >> lane & 1) {
      memcpy(clocks[warp][lane], joined, sizeof joined);
      clocks[warp][lane][lane]++;
    }
}

void begin_launch() {
  const Launch& l = *launch;
  static std::vector<u8> window;
  const size_t align = 1024;
  window.assign(l.static_shared + l.dynamic_shared + 2 * align, 0);
  shared = (u8*)(((uintptr_t)window.data() + align) / align * align);
  shared_size = l.static_shared + l.dynamic_shared;
  dynamic_size = l.dynamic_shared;
  const size_t cells = (shared_size >> l.shared_grain) + 1;
  shared_cells.assign(cells, {});
  forbidden.assign(cells, true);
  for (u32 i = 0; i < l.n_variables; i++) {
    const Extent& v = l.variables[i];
    for (u64 k = v.start; k < v.start + v.size; k++) forbidden[k >> l.shared_grain] = false;
  }
  for (u64 k = l.static_shared; k < shared_size; k++) forbidden[k >> l.shared_grain] = false;
  global_cells.assign(l.n_allocations, nullptr);
  last_allocation = 0;
  epoch = block = n_blocks_run = 0;
  block_of_epoch.clear();
  released.clear();
}

void end_launch() {
  for (u32 i = 0; i < launch->n_allocations; i++)
    if (global_cells[i])
      munmap(global_cells[i],
             ((launch->allocations[i].size >> launch->global_grain) + 2) * sizeof(Cell));
}

void begin_block(u32 number) {
  n_blocks_run += epoch != 0;
  block = number + 1;  // 0 is nobody's
  first_epoch = ++epoch;
  block_of_epoch.push_back({epoch, block});
  fences = n_acquired = 0;
  acquired.clear();
  seen.clear();
  pool_used = 0;
  for (auto& warp : clocks)
    for (u32 lane = 0; lane < 32; lane++)
      for (u32 k = 0; k < 32; k++) warp[lane][k] = lane == k;
  memset(shared, 0xCD, shared_size);
}

}  // namespace ptx
