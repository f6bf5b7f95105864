// A command as Redis reads it: *n, then each argument with its length. Arguments are bytes.
#pragma once

#include <charconv>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace redis {

class Command {
 public:
  Command() = default;
  Command(std::initializer_list<std::string_view> arguments) {
    for (const std::string_view argument : arguments) add(argument);
  }
  Command& add(std::string_view argument) {
    ++count_;
    append_head('$', argument.size());
    body_.append(argument).append("\r\n");
    return *this;
  }
  Command& add(uint64_t number) {
    char digits[20];
    return add(std::string_view(digits, std::to_chars(digits, digits + sizeof digits, number).ptr));
  }
  void reserve(size_t bytes) { body_.reserve(bytes); }
  size_t size() const { return body_.size(); }
  void write_to(std::string& out) const { out.append("*").append(std::to_string(count_)).append("\r\n").append(body_); }

 private:
  void append_head(char type, size_t size) {
    char digits[20];
    char* const end = std::to_chars(digits, digits + sizeof digits, size).ptr;
    body_.push_back(type);
    body_.append(digits, end).append("\r\n");
  }
  size_t count_ = 0;
  std::string body_;
};

}  // namespace redis
