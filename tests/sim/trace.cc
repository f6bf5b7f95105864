#include "tests/sim/trace.h"

#include <algorithm>

namespace sim {
namespace {
constexpr size_t kRelevantLines = 160;
}  // namespace

void Trace::mix(std::string_view bytes) {
  for (const char c : bytes) mix(static_cast<uint64_t>(static_cast<unsigned char>(c)));
}

void Trace::fail(std::string what, std::vector<std::string> about) {
  if (failed()) return;
  failure_ = text("step ", step_, ": ", what);
  about_ = std::move(about);
  about_.push_back("!!");  // faults concern everybody
  line("FAILED: ", what);
}

std::string Trace::report(bool everything) const {
  std::vector<std::string_view> chosen;
  for (const std::string& l : lines_) {
    const bool relevant = std::any_of(about_.begin(), about_.end(),
                                      [&l](const std::string& word) { return l.find(word) != std::string::npos; });
    if (everything || relevant) chosen.push_back(l);
  }
  const size_t first = everything || chosen.size() <= kRelevantLines ? 0 : chosen.size() - kRelevantLines;
  std::string out;
  for (size_t i = first; i < chosen.size(); ++i) {
    out += chosen[i];
    out += '\n';
  }
  return out + failure_ + '\n';
}

}  // namespace sim
