// From a Config to text.
#pragma once

#include <string>

#include "shared/config/config.h"

namespace config {

// The whole configuration as JSON, every option with its value. load_text() gives back an equal Config (but for
// Config::file, which is not an option).
std::string dump(const Config& config);

// The option reference as a Markdown table, made from the schema.
std::string reference_markdown();

}  // namespace config
