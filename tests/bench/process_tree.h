// What a process and all its descendants use, as the kernel counts it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

namespace bench {

// The process itself first.
std::vector<pid_t> process_tree(pid_t root);
// Whether the processes are still exactly these.
bool same_tree(pid_t root, const std::vector<pid_t>& pids);
// False for a process that ended, even if nobody has waited for it yet.
bool runs(pid_t pid);

// CPU time of all threads of the processes, those that ended too, in seconds with nanosecond resolution.
// Throws when one of the processes is gone.
double cpu_seconds(const std::vector<pid_t>& pids);
double own_cpu_seconds();

struct Memory {
  uint64_t pss = 0;  // bytes; a page shared by n processes counts 1/n in each
  uint64_t rss = 0;
};
Memory memory(const std::vector<pid_t>& pids);

}  // namespace bench
