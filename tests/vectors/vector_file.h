// The dialect in which tests spell bytes, and the files of wire vectors written in it.
//
//   30 0aFF          bytes in hexadecimal, in pairs
//   "hi\x00"         the bytes of a text
//   'a/b'            the same behind their two byte length: an MQTT string
//   { 0102 }         bytes behind their two byte length: MQTT binary data
//   [ ... ]          bytes behind their length as a Variable Byte Integer: a packet's rest, a property list
//   61*500           the item before the star, 500 times
//
// A vector file has one packet of its type per case:
//
//   # a comment
//   <verdict> <versions> <sentence>
//     <bytes>, on one or more indented lines
//     = <the packet as proto::describe() prints it>, if it is one
//
// Versions are of 3.1, 3.1.1 and 5, separated by commas. Verdicts:
//   valid      decodes, and is what encode() makes of the packet
//   accepted   decodes; encode() writes the same packet differently
//   a reason   refused for it: malformed_packet, protocol_error, ...
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "proto/types.h"

namespace vectors {

// Parses the byte dialect.
class Dialect {
 public:
  explicit Dialect(std::string_view text) : text_(text) {}

  std::string parse() {
    std::string bytes = items('\0');
    if (at_ != text_.size()) fail("unexpected closing bracket");
    return bytes;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw std::invalid_argument(what + " at " + std::to_string(at_) + " in: " + std::string(text_.substr(0, 200)));
  }
  bool more() const { return at_ < text_.size(); }
  bool skip(char c) {
    if (!more() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  std::string items(char closing) {
    std::string bytes;
    for (;;) {
      while (more() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
      if (!more() || text_[at_] == closing) break;
      const std::string one = item();
      const size_t times = skip('*') ? number() : 1;
      for (size_t i = 0; i < times; ++i) bytes += one;
    }
    return bytes;
  }

  std::string item() {
    if (skip('"')) return quoted('"');
    if (skip('\'')) return prefixed(quoted('\''));
    if (skip('{')) return prefixed(closed('}'));
    if (skip('[')) {
      const std::string bytes = closed(']');
      return variable(bytes.size()) + bytes;
    }
    return std::string(1, hex_pair());
  }

  std::string closed(char closing) {
    std::string bytes = items(closing);
    if (!skip(closing)) fail(std::string("missing ") + closing);
    return bytes;
  }

  std::string quoted(char quote) {
    std::string bytes;
    while (!skip(quote)) {
      if (!more()) fail("unfinished text");
      if (!skip('\\')) {
        bytes += text_[at_++];
      } else if (skip('x')) {
        bytes += hex_pair();
      } else {
        if (!more()) fail("unfinished escape");
        bytes += text_[at_++];
      }
    }
    return bytes;
  }

  char hex_pair() {
    const int high = digit();
    return static_cast<char>(high << 4 | digit());
  }
  int digit() {
    const size_t value = more() ? std::string_view("0123456789abcdef0123456789ABCDEF").find(text_[at_]) : text_.npos;
    if (value == text_.npos) fail("not a hexadecimal digit");
    ++at_;
    return static_cast<int>(value % 16);
  }
  size_t number() {
    size_t value = 0;
    while (more() && text_[at_] >= '0' && text_[at_] <= '9')
      value = value * 10 + static_cast<size_t>(text_[at_++] - '0');
    return value;
  }

  static std::string prefixed(const std::string& bytes) {
    return std::string{static_cast<char>(bytes.size() >> 8), static_cast<char>(bytes.size())} + bytes;
  }
  static std::string variable(size_t value) {
    std::string bytes;
    for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(0x80 | (value & 0x7F));
    return bytes + static_cast<char>(value);
  }
  std::string_view text_;
  size_t at_ = 0;
};

inline std::string bytes(std::string_view text) {
  return Dialect(text).parse();
}

struct Vector {
  std::string where;  // file:line
  std::string verdict;
  proto::ProtocolVersion version = proto::ProtocolVersion::v5;
  std::string sentence;
  std::string bytes;
  std::string description;

  bool is_packet() const { return verdict == "valid" || verdict == "accepted"; }
};

inline proto::ProtocolVersion parse_version(const std::string& text) {
  if (text == "3.1") return proto::ProtocolVersion::v3_1;
  if (text == "3.1.1") return proto::ProtocolVersion::v3_1_1;
  if (text == "5") return proto::ProtocolVersion::v5;
  throw std::invalid_argument("unknown version " + text);
}

// One entry per case and version.
inline std::vector<Vector> load(const std::filesystem::path& file) {
  struct Case {
    int line;
    std::string heading, bytes, description;
  };
  std::vector<Case> cases;
  std::ifstream input(file);
  if (!input) throw std::runtime_error("cannot read " + file.string());
  int number = 0;
  for (std::string line; std::getline(input, line);) {
    ++number;
    if (line.empty() || line[0] == '#') continue;
    if (line[0] != ' ') {
      cases.push_back({number, line, "", ""});
    } else if (cases.empty()) {
      throw std::runtime_error(file.string() + ": bytes before the first case");
    } else if (const std::string text = line.substr(line.find_first_not_of(' ')); text.starts_with("= ")) {
      cases.back().description = text.substr(2);
    } else {
      cases.back().bytes += text + '\n';
    }
  }
  std::vector<Vector> result;
  for (const Case& one : cases) {
    const size_t versions = one.heading.find(' ') + 1;
    const size_t sentence = one.heading.find(' ', versions) + 1;
    const std::string where = file.filename().string() + ':' + std::to_string(one.line);
    if (versions == 0 || sentence == 0) throw std::runtime_error(where + ": a heading has three parts");
    std::string list = one.heading.substr(versions, sentence - 1 - versions);
    std::replace(list.begin(), list.end(), ',', ' ');
    std::istringstream words(list);
    for (std::string version; words >> version;) {
      try {
        result.push_back({where, one.heading.substr(0, versions - 1), parse_version(version),
                          one.heading.substr(sentence), bytes(one.bytes), one.description});
      } catch (const std::invalid_argument& error) {
        throw std::runtime_error(where + ": " + error.what());
      }
    }
  }
  return result;
}

// All vector files. (The build names their folder, MM_VECTORS: with a compiler cache __FILE__ may be relative.)
inline std::vector<Vector> load_all(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".vec") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::vector<Vector> result;
  for (const auto& file : files) {
    for (Vector& one : load(file)) result.push_back(std::move(one));
  }
  return result;
}

}  // namespace vectors
