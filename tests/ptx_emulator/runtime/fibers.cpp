// One fiber for each thread of a block; a switch is a dozen instructions.
#include <sys/mman.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#include "state.h"

#ifndef __x86_64__
#error "the switch between fibers is written for x86-64"
#endif

asm(R"(
.text
.type ptx_switch, @function
ptx_switch:
  pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
  ret
)");
extern "C" void ptx_switch(void** save, void* to);

namespace ptx {

enum State : u32 { READY, AT_BARRIER, IN_WARP, FINISHED };

Thread* self;
u32 ctaid[3], ntid[3], nctaid[3];
u32 n_threads, barrier_any, barrier_all, barrier_count;
u64 random_state, steps_left;
std::vector<Thread> threads;
Failure failure;

static constexpr size_t STACK = 64 << 10;
static void* scheduler;
static std::vector<u32> ready;  // a queue: [head, size)
static size_t head;
static u32 alive, waiting, barrier_site, any, all, ayes;
static bool failed;

u64 random_number() {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  return random_state ^= random_state << 17;
}

static void resume(Thread* thread, void** save) {
  self = thread;
  ptx_switch(save, thread ? thread->stack_pointer : scheduler);
}

static Thread* next_ready() {
  if (head == ready.size()) return nullptr;
  const size_t left = ready.size() - head;
  if (random_state && left > 1) std::swap(ready[head], ready[head + random_number() % left]);
  return &threads[ready[head++]];
}

static void wait_here() { resume(next_ready(), &self->stack_pointer); }

static void make_ready(Thread& thread) {
  thread.state = READY;
  if (head == ready.size()) ready.clear(), head = 0;
  ready.push_back(thread.linear);
}

void fail(u32 site, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(failure.message, sizeof failure.message, format, arguments);
  va_end(arguments);
  failure.site = site;
  failure.thread = self->linear;
  memcpy(failure.block, ctaid, sizeof ctaid);
  failed = true;
  void* never_resumed;
  ptx_switch(&never_resumed, scheduler);
  abort();
}

static void open_barrier() {
  epoch++;
  barrier_any = any, barrier_all = all, barrier_count = ayes;
  waiting = any = ayes = 0, all = 1;
  for (Thread& thread : threads)
    if (thread.linear < n_threads && thread.state == AT_BARRIER) make_ready(thread);
}

void block_barrier(u32 site, bool predicate) {
  if (waiting == 0) barrier_site = site;
  if (barrier_site != site) fail(site, "threads of one block wait at different barriers");
  any |= predicate, all &= predicate, ayes += predicate;
  if (++waiting == alive) return open_barrier();
  self->state = AT_BARRIER;
  wait_here();
}

// The last of the lanes in `mask` to arrive runs the operation for all of them.
void collective(u32 mask, u32 site, Collective operation, void* context) {
  if (!(mask >> self->lane & 1)) fail(site, "the mask of a warp operation lacks its own lane");
  Thread* warp = self - self->lane;
  self->mask = mask, self->site = site, self->state = IN_WARP;
  for (u32 lane = 0; lane < 32; lane++) {
    if (!(mask >> lane & 1)) continue;
    if (self->warp * 32 + lane >= n_threads || warp[lane].state == FINISHED)
      fail(site, "a warp operation waits for lane %u, which is not there", lane);
    if (warp[lane].state != IN_WARP || warp[lane].mask != mask || warp[lane].site != site)
      return wait_here();
  }
  operation(warp, mask, context);
  for (u32 lane = 0; lane < 32; lane++)
    if (mask >> lane & 1 && lane != self->lane) make_ready(warp[lane]);
  self->state = READY;
}

static void enter() {
  launch->kernel(launch->parameters);
  self->state = FINISHED;
  if (--alive && waiting == alive) open_barrier();
  wait_here();
  abort();
}

void prepare_threads(u32 count) {
  n_threads = count;
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  while (threads.size() < (count + 31) / 32 * 32) {  // whole warps, so that lanes can be looked at
    Thread thread{};
    thread.stack = (char*)mmap(nullptr, STACK, PROT_READ | PROT_WRITE, flags, -1, 0);
    threads.push_back(thread);
  }
}

bool run_block() {
  alive = n_threads, waiting = any = ayes = 0, all = 1, failed = false;
  ready.clear(), head = 0;
  for (u32 i = 0; i < n_threads; i++) {
    Thread& thread = threads[i];
    thread.tid[0] = i % ntid[0], thread.tid[1] = i / ntid[0] % ntid[1];
    thread.tid[2] = i / ntid[0] / ntid[1];
    thread.linear = i, thread.lane = i % 32, thread.warp = i / 32;
    thread.fence = {0, 0};
    void** top = (void**)(thread.stack + STACK - 64);
    *--top = nullptr;
    *--top = (void*)enter;
    for (int saved = 0; saved < 6; saved++) *--top = nullptr;
    thread.stack_pointer = top;
    make_ready(thread);
  }
  resume(next_ready(), &scheduler);
  if (failed || alive == 0) return !failed;
  u32 at_barrier = 0, in_warp = 0;
  for (u32 i = 0; i < n_threads; i++) {
    at_barrier += threads[i].state == AT_BARRIER;
    in_warp += threads[i].state == IN_WARP;
    if (threads[i].state == IN_WARP) failure.site = threads[i].site, failure.thread = i;
  }
  if (!in_warp) failure.site = barrier_site;
  snprintf(failure.message, sizeof failure.message,
           "deadlock: %u threads wait at a barrier, %u in a warp operation, %u have ended",
           at_barrier, in_warp, n_threads - alive);
  memcpy(failure.block, ctaid, sizeof ctaid);
  return false;
}

}  // namespace ptx
