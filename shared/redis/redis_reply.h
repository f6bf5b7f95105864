// What Redis answers (RESP 2), and the reader that makes it of bytes: hiredis's, with bounds around it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

struct redisReader;

namespace redis {

struct Reply {
  enum class Type : uint8_t { nil, text, status, error, integer, array };
  Type type = Type::nil;
  int64_t integer = 0;
  std::string text;  // of text, status and error
  std::vector<Reply> items;

  bool is_nil() const { return type == Type::nil; }
  bool is_error() const { return type == Type::error; }
  bool is_text() const { return type == Type::text; }
  bool is_array() const { return type == Type::array; }
  bool is_integer() const { return type == Type::integer; }
  bool is_status(std::string_view word) const { return type == Type::status && text == word; }
  bool operator==(const Reply&) const = default;
};

// A decimal number without sign, spaces or anything else around it.
std::optional<uint64_t> to_number(std::string_view text);

class ReplyReader {
 public:
  // A reply that is larger, counted in bytes or in values, is an error: no peer may fill our memory.
  explicit ReplyReader(size_t max_bytes, size_t max_values = size_t{1} << 20);
  void feed(std::string_view bytes);
  // The next complete reply, or nothing yet, or nothing ever: see error().
  std::optional<Reply> next();
  const std::string& error() const { return error_; }

 private:
  struct Free {
    void operator()(redisReader* reader) const;
  };
  void check_bounds();
  const size_t max_bytes_;
  size_t unfinished_ = 0;  // bytes fed since the last complete reply
  std::unique_ptr<size_t> values_left_;
  const size_t max_values_;
  std::string error_;
  std::unique_ptr<redisReader, Free> reader_;
};

}  // namespace redis
