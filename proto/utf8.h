// MQTT's UTF-8 Encoded String rules. [MQTT5 1.5.4], [MQTT3.1.1 1.5.3]
#pragma once

#include <string_view>

namespace proto {

// Well-formed UTF-8 (no overlong forms, no surrogates, at most U+10FFFF) without U+0000. [MQTT-1.5.4-1], [MQTT-1.5.4-2]
// Control characters and non-characters, which the specification merely advises against, are accepted.
// Fast for ASCII.
bool is_valid_utf8(std::string_view text);

}  // namespace proto
