// Runs the input as a program of operations on the topic tree beside a naive matcher.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tests/unit/worker/router/topic_tree_program.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  router::test::TopicTreeProgram(std::string_view(reinterpret_cast<const char*>(data), size)).run();
  return 0;
}
