#include "shared/log/format.h"

#include <cstdio>
#include <ctime>

namespace logging {
namespace {

constexpr std::string_view kLevelNames[] = {"debug", "info", "warn", "error"};

std::string_view level_name(Level level) {
  return kLevelNames[static_cast<uint8_t>(level)];
}

void append_time(std::string& out, uint64_t wall_ms) {
  const auto seconds = static_cast<time_t>(wall_ms / 1000);
  tm utc{};
  gmtime_r(&seconds, &utc);
  char buffer[40];
  const size_t length = std::strftime(buffer, sizeof buffer, "%Y-%m-%dT%H:%M:%S", &utc);
  out.append(buffer, length);
  std::snprintf(buffer, sizeof buffer, ".%03uZ", static_cast<unsigned>(wall_ms % 1000));
  out += buffer;
}

// Length of the printable UTF-8 character at the start of `text`; 0: a control character or not UTF-8.
size_t printable_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto continues = [&](size_t i) { return i < text.size() && (byte(i) & 0xC0) == 0x80; };
  const unsigned lead = byte(0);
  if (lead < 0x20 || lead == 0x7F) return 0;
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF && continues(1)) {
    return lead == 0xC2 && byte(1) < 0xA0 ? 0 : 2;  // U+0080..U+009F are controls
  }
  if ((lead & 0xF0) == 0xE0 && continues(1) && continues(2)) {
    const bool overlong = lead == 0xE0 && byte(1) < 0xA0;
    const bool surrogate = lead == 0xED && byte(1) >= 0xA0;
    return overlong || surrogate ? 0 : 3;
  }
  if (lead >= 0xF0 && lead <= 0xF4 && continues(1) && continues(2) && continues(3)) {
    const bool overlong = lead == 0xF0 && byte(1) < 0x90;
    const bool too_high = lead == 0xF4 && byte(1) >= 0x90;
    return overlong || too_high ? 0 : 4;
  }
  return 0;
}

// `escape` is the format of a byte that cannot stand as it is.
void append_escaped(std::string& out, std::string_view text, const char* escape) {
  while (!text.empty()) {
    const size_t length = printable_length(text);
    if (length == 0) {
      char buffer[8];
      std::snprintf(buffer, sizeof buffer, escape, static_cast<unsigned>(static_cast<unsigned char>(text[0])));
      out += buffer;
      text.remove_prefix(1);
      continue;
    }
    if (text[0] == '"' || text[0] == '\\') out += '\\';
    out += text.substr(0, length);
    text.remove_prefix(length);
  }
}

bool needs_quotes(std::string_view value) {
  if (value.empty()) return true;
  while (!value.empty()) {
    const size_t length = printable_length(value);
    if (length == 0 || std::string_view(" \"\\=").find(value[0]) != std::string_view::npos) return true;
    value.remove_prefix(length);
  }
  return false;
}

void append_text_value(std::string& out, std::string_view value) {
  if (!needs_quotes(value)) {
    out += value;
    return;
  }
  out += '"';
  append_escaped(out, value, "\\x%02x");
  out += '"';
}

void append_json_string(std::string& out, std::string_view value) {
  out += '"';
  append_escaped(out, value, "\\u%04x");
  out += '"';
}

std::string text_line(uint64_t wall_ms, Level level, std::string_view process, std::string_view event,
                      std::span<const Field> fields) {
  std::string out;
  append_time(out, wall_ms);
  out += ' ';
  out += level_name(level);
  out.append(6 - level_name(level).size(), ' ');
  out += process;
  out += ' ';
  append_escaped(out, event, "\\x%02x");
  for (const Field& field : fields) {
    out += ' ';
    out += field.key;
    out += '=';
    append_text_value(out, field.text);
  }
  return out;
}

std::string json_line(uint64_t wall_ms, Level level, std::string_view process, std::string_view event,
                      std::span<const Field> fields) {
  std::string out = "{\"time\":\"";
  append_time(out, wall_ms);
  out += "\",\"level\":\"";
  out += level_name(level);
  out += "\",\"process\":";
  append_json_string(out, process);
  out += ",\"event\":";
  append_json_string(out, event);
  for (const Field& field : fields) {
    out += ',';
    append_json_string(out, field.key);
    out += ':';
    if (field.quoted) {
      append_json_string(out, field.text);
    } else {
      out += field.text;
    }
  }
  out += '}';
  return out;
}

}  // namespace

std::string format_line(Format format, uint64_t wall_ms, Level level, std::string_view process, std::string_view event,
                        std::span<const Field> fields) {
  switch (format) {
    case Format::text:
      return text_line(wall_ms, level, process, event, fields);
    case Format::json:
      return json_line(wall_ms, level, process, event, fields);
  }
  return {};
}

}  // namespace logging
