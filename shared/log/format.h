// One log line as text or JSON. Pure: the clock is an argument.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "shared/log/log.h"

namespace logging {

// Without a line end. Control characters, quotes and bytes that are not UTF-8 are escaped, so a line stays a line and a
// client id cannot forge one.
std::string format_line(Format format, uint64_t wall_ms, Level level, std::string_view process, std::string_view event,
                        std::span<const Field> fields);

}  // namespace logging
