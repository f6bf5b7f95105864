#include "worker/log_sink.h"

#include <array>
#include <utility>

namespace worker {
namespace {

constexpr size_t kMaxFields = 8;  // further ones are left out

using Fields = std::initializer_list<broker::LogField>;

template <size_t... I>
void write(logging::Log& log, logging::Level level, std::string_view event, Fields fields, std::index_sequence<I...>) {
  log.write(level, event, {logging::Field(fields.begin()[I].key, fields.begin()[I].value)...});
}

// An initializer_list has as many elements as its braces: one way to call write() for every number of fields.
using Write = void (*)(logging::Log&, logging::Level, std::string_view, Fields);
template <size_t... N>
constexpr std::array<Write, sizeof...(N)> table(std::index_sequence<N...>) {
  return {[](logging::Log& log, logging::Level level, std::string_view event, Fields fields) {
    write(log, level, event, fields, std::make_index_sequence<N>{});
  }...};
}
constexpr auto kWrite = table(std::make_index_sequence<kMaxFields + 1>{});

}  // namespace

broker::LogSink make_log_sink(logging::Log& log) {
  return [&log](int number, std::string_view event, Fields fields) {
    const auto level = static_cast<logging::Level>(number);
    if (log.enabled(level)) kWrite[std::min(fields.size(), kMaxFields)](log, level, event, fields);
  };
}

}  // namespace worker
