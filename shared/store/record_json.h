// A record as one JSON object on one line, and back: what `store export` writes and `store import` reads. Everything of
// a record is in it, so that the way there and back gives the same bytes; only format and layout stay behind, since a
// new store writes its own.
//
//   {"slot":0,"record":"subscription","sid":7,"filter":"a/+","qos":1,"no_local":false,...}
//
// Payloads and property blocks are base64. A text that is not UTF-8, which no client can make, is {"base64":"..."}.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "shared/store/record.h"

namespace store {

// The first line: {"mqtt-master":"store","format":1,"slots":2}
struct ExportHeader {
  uint32_t slots = 0;
};
std::string to_json(const ExportHeader& header);
// Throws std::runtime_error: what was found, what was expected.
ExportHeader header_from_json(std::string_view line);

// nullopt for format and layout. REQUIRES: problem_of(key, value) is "", see record_check.h.
std::optional<std::string> to_json(uint32_t slot, std::string_view key, std::string_view value);

struct ImportedRecord {
  uint32_t slot = 0;
  std::string key;
  std::string value;
};
// Throws std::exception: the line is no such object.
ImportedRecord record_from_json(std::string_view line);

}  // namespace store
