// From a Config to text.
#pragma once

#include <string>

#include "shared/config/config.h"

namespace config {

// Passwords in it: as they are (for a worker's boot record), or not for other eyes.
enum class Secrets : uint8_t { shown, masked };

// The whole configuration as JSON, every option with its value. load_text() gives back an equal Config (but for
// Config::file, which is not an option).
std::string dump(const Config& config, Secrets secrets);

// The option reference as a Markdown table, made from the schema.
std::string reference_markdown();

}  // namespace config
