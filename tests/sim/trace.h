// What happened, in order: always as a hash (two runs of one seed must have the same), on demand as text.
#pragma once

#include <cstdint>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace sim {

// The number of events executed so far: the simulation's global order.
using Step = uint64_t;
inline constexpr Step kNever = UINT64_MAX;

template <typename... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

class Trace {
 public:
  explicit Trace(bool keep_lines) : keep_lines_(keep_lines) {}

  void begin_step() { ++step_; }
  Step step() const { return step_; }

  void mix(uint64_t value) { hash_ = (hash_ ^ value) * 0x100000001B3ULL; }
  void mix(std::string_view bytes);
  uint64_t hash() const { return hash_; }

  // Lines cost time; they are built only in the second run of a seed that failed, or with --trace.
  bool keeps_lines() const { return keep_lines_; }
  template <typename... Parts>
  void line(const Parts&... parts) {
    if (keep_lines_) lines_.push_back(text('#', step_, ' ', parts...));
  }
  const std::vector<std::string>& lines() const { return lines_; }

  // The first broken invariant ends the run. `about`: words that the relevant lines of the trace contain.
  void fail(std::string what, std::vector<std::string> about);
  bool failed() const { return !failure_.empty(); }
  const std::string& failure() const { return failure_; }
  // The failure and the last lines of the trace about it (all lines: `everything`).
  std::string report(bool everything) const;

 private:
  bool keep_lines_;
  Step step_ = 0;
  uint64_t hash_ = 0xCBF29CE484222325ULL;
  std::vector<std::string> lines_;
  std::string failure_;
  std::vector<std::string> about_;
};

}  // namespace sim
