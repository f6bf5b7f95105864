// Base64 with padding, RFC 4648 section 4.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace store {

std::string to_base64(std::string_view bytes);
// nullopt: not base64. Accepts only what to_base64() writes.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace store
