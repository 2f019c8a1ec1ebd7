// Memory traffic as the chip would count it. The n-th time that the lanes of a warp come to one
// instruction is one request: of global memory it moves sectors of 32 bytes, of shared memory it
// takes a wavefront for each word that a bank has to give beyond its first.
#include <algorithm>

#include "state.h"

namespace ptx {

struct Request {
  u32 lanes = 0;
  u64 addresses[32];
};

static std::vector<std::vector<Request>> requests;  // by warp and counter
static std::vector<u32> times;                      // by thread and counter

static u32 n_counters() { return 2 * launch->n_sites; }

void begin_counts() {
  requests.assign((n_threads + 31) / 32 * n_counters(), {});
  times.assign((u64)n_threads * n_counters(), 0);
}

void count(u64 address, bool is_shared, u32 site) {
  const u32 counter = 2 * site + is_shared;
  const u32 time = times[(u64)self->linear * n_counters() + counter]++;
  auto& all = requests[self->warp * n_counters() + counter];
  if (all.size() <= time) all.resize(time + 1);
  all[time].lanes |= 1u << self->lane;
  all[time].addresses[self->lane] = address;
}

static u64 distinct(u64* values, u32 n) {
  std::sort(values, values + n);
  return (u64)(std::unique(values, values + n) - values);
}

static void add_global(Count& total, const Request& request, u32 size) {
  u64 sectors[64], places[32];
  u32 n_sectors = 0, n = 0;
  for (u32 lane = 0; lane < 32; lane++) {
    if (!(request.lanes >> lane & 1)) continue;
    const u64 first = request.addresses[lane];
    places[n++] = first;
    sectors[n_sectors++] = first / 32;
    sectors[n_sectors++] = (first + size - 1) / 32;
  }
  total.requests++;
  total.transactions += distinct(sectors, n_sectors);
  total.ideal += (distinct(places, n) * size + 31) / 32;
}

static void add_shared(Count& total, const Request& request, u32 size) {
  const u32 step = size == 16 ? 8 : size == 8 ? 16 : 32;  // lanes that are served at once
  total.requests++;
  for (u32 begin = 0; begin < 32; begin += step) {
    u64 words[64];
    u32 n = 0, load[32] = {}, most = 0;
    for (u32 lane = begin; lane < begin + step; lane++)
      if (request.lanes >> lane & 1)
        for (u32 word = 0; word < (size + 3) / 4; word++)
          words[n++] = request.addresses[lane] / 4 + word;
    if (n == 0) continue;
    const u64 different = distinct(words, n);
    for (u64 i = 0; i < different; i++) most = std::max(most, ++load[words[i] % 32]);
    total.transactions += most;
    total.ideal += (different + 31) / 32;
  }
}

void end_counts() {
  for (size_t i = 0; i < requests.size(); i++) {
    const u32 counter = (u32)i % n_counters(), size = launch->sizes[counter / 2];
    for (const Request& request : requests[i]) {
      if (counter % 2) add_shared(launch->counts[counter], request, size);
      else add_global(launch->counts[counter], request, size);
    }
    requests[i].clear();
  }
  std::fill(times.begin(), times.end(), 0);
}

}  // namespace ptx
