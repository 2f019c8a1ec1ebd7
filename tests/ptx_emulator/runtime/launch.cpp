// A grid: its blocks one after another, in order or shuffled.
#include <algorithm>

#include "state.h"

namespace ptx {

const Launch* launch;

static bool run_grid() {
  const u64 blocks = (u64)nctaid[0] * nctaid[1] * nctaid[2];
  std::vector<u32> order(blocks);
  for (u64 i = 0; i < blocks; i++) order[i] = (u32)i;
  if (random_state)
    for (u64 i = blocks; i > 1; i--) std::swap(order[i - 1], order[random_number() % i]);
  for (const u32 number : order) {
    ctaid[0] = number % nctaid[0], ctaid[1] = number / nctaid[0] % nctaid[1];
    ctaid[2] = number / nctaid[0] / nctaid[1];
    begin_block(number);
    begin_copies();
    if (launch->counts) begin_counts();
    if (!run_block()) return false;
    if (launch->counts) end_counts();
  }
  return true;
}

extern "C" int ptx_launch(const Launch* description, Failure* report) {
  launch = description;
  memcpy(nctaid, launch->grid, sizeof nctaid);
  memcpy(ntid, launch->block, sizeof ntid);
  random_state = launch->seed;
  steps_left = launch->steps;
  prepare_threads(ntid[0] * ntid[1] * ntid[2]);
  begin_launch();
  const bool ok = run_grid();
  end_launch();
  if (!ok) *report = failure;
  return ok ? 0 : 1;
}

}  // namespace ptx
