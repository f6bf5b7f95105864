// JSON text to a document, stricter than the library by itself: a key that is given twice is an error. Comments (// and
// /* */) are allowed. Internal to shared/config.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "shared/config/load.h"

namespace config {

using Json = nlohmann::ordered_json;

// nullopt: no JSON at all, and the problem says where. Keys that are given twice are added to `problems` too.
std::optional<Json> parse_json(std::string_view text, std::vector<Problem>& problems);

// "workers" + "mqtt" -> workers.mqtt; a key that is no plain word -> workers["a.b"].
std::string join_path(const std::string& parent, std::string_view key);

}  // namespace config
