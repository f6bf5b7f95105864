#include "tests/bench/process_tree.h"

#include <time.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>

namespace bench {
namespace {

// What /proc says of a process from its state on, "S 1 ..."; empty for a process that is not there.
std::string stat_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(file, line);
  const size_t name_end = line.rfind(')');  // the name may itself hold spaces and brackets
  return name_end == std::string::npos || name_end + 4 >= line.size() ? "" : line.substr(name_end + 2);
}

// The parent's pid, 0 for a process that ended meanwhile.
pid_t parent_of(pid_t pid) {
  const std::string stat = stat_of(pid);
  pid_t parent = 0;
  if (!stat.empty()) std::from_chars(stat.data() + 2, stat.data() + stat.size(), parent);
  return parent;
}

std::multimap<pid_t, pid_t> children_by_parent() {
  std::multimap<pid_t, pid_t> children;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    pid_t pid = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), pid).ec != std::errc()) continue;
    children.emplace(parent_of(pid), pid);
  }
  return children;
}

double clock_seconds(clockid_t clock) {
  timespec time{};
  if (clock_gettime(clock, &time) != 0) throw std::runtime_error("cannot read a CPU clock");
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

}  // namespace

std::vector<pid_t> process_tree(pid_t root) {
  const std::multimap<pid_t, pid_t> children = children_by_parent();
  std::vector<pid_t> tree{root};
  for (size_t i = 0; i < tree.size(); ++i) {
    const auto [first, last] = children.equal_range(tree[i]);
    for (auto child = first; child != last; ++child) tree.push_back(child->second);
  }
  return tree;
}

bool same_tree(pid_t root, const std::vector<pid_t>& pids) {
  std::vector<pid_t> now = process_tree(root);
  std::vector<pid_t> before = pids;
  std::ranges::sort(now);
  std::ranges::sort(before);
  return now == before;
}

bool runs(pid_t pid) {
  const std::string stat = stat_of(pid);
  return !stat.empty() && stat[0] != 'Z' && stat[0] != 'X';
}

double cpu_seconds(const std::vector<pid_t>& pids) {
  double sum = 0;
  for (const pid_t pid : pids) {
    clockid_t clock{};
    if (clock_getcpuclockid(pid, &clock) != 0) throw std::runtime_error("a process of the broker has ended");
    sum += clock_seconds(clock);
  }
  return sum;
}

double own_cpu_seconds() {
  return clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
}

Memory memory(const std::vector<pid_t>& pids) {
  Memory sum;
  for (const pid_t pid : pids) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/smaps_rollup");
    std::string line;
    std::getline(file, line);  // the address range
    std::string key;
    std::string unit;
    uint64_t kilobytes = 0;
    while (file >> key >> kilobytes >> unit) {
      if (key == "Pss:") sum.pss += kilobytes * 1024;
      if (key == "Rss:") sum.rss += kilobytes * 1024;
    }
  }
  return sum;
}

}  // namespace bench
