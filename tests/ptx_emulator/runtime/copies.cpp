// cp.async: the bytes arrive when the thread waits for them, not before.
#include <vector>

#include "state.h"

namespace ptx {

struct Copy {
  u64 target, source;
  u32 size, source_size, group, site;
};

static std::vector<std::vector<Copy>> queues;  // by thread
static std::vector<u32> groups;

void begin_copies() {
  queues.assign(n_threads, {});
  groups.assign(n_threads, 0);
}

void copy_async(u64 target, u64 source, u32 size, u32 source_size, u32 site) {
  if (source_size > size) fail(site, "a cp.async reads more than it writes");
  if (source_size) touch_global(source, size, READ, site);
  touch_shared(target, size, COPY, site);
  queues[self->linear].push_back({target, source, size, source_size, groups[self->linear], site});
}

void copy_commit() { groups[self->linear]++; }

void copy_wait(u32 in_flight) {
  auto& queue = queues[self->linear];
  size_t done = 0;
  while (done < queue.size() && queue[done].group + in_flight < groups[self->linear]) {
    const Copy& copy = queue[done++];
    copy_arrived(copy.target, copy.size, copy.site);
    memset(shared + copy.target, 0, copy.size);
    memcpy(shared + copy.target, (const void*)(uintptr_t)copy.source, copy.source_size);
  }
  queue.erase(queue.begin(), queue.begin() + (long)done);
}

}  // namespace ptx
