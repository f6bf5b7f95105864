// Logging: one line an event, text or JSON, on spdlog. The logger is passed to those who log; there is no global.
//
//   log.info("client connected", {{"client_id", id}, {"peer", address}});
//   text: 2026-11-23T04:12:50.123Z info  mqtt/0 client connected client_id=a peer=127.0.0.1:5
//   json: {"time":"...","level":"info","process":"mqtt/0","event":"client connected","client_id":"a",...}
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>

namespace spdlog {
class logger;
}

namespace logging {

enum class Level : uint8_t { debug, info, warn, error };
enum class Format : uint8_t { text, json };

// A key with a text or a whole number. Values are escaped; views must live until the call returns.
struct Field {
  std::string_view key;
  std::string text;
  bool quoted = true;
  Field(std::string_view k, std::string_view v) : key(k), text(v) {}
  Field(std::string_view k, const char* v) : key(k), text(v) {}
  Field(std::string_view k, const std::string& v) : key(k), text(v) {}
  template <typename T>
  requires std::is_integral_v<T> Field(std::string_view k, T v) : key(k), text(std::to_string(v)), quoted(false) {}
};

class Log {
 public:
  struct Options {
    Level level = Level::info;
    Format format = Format::text;
    std::string file;        // empty: none
    bool to_stderr = false;  // also to stderr (foreground)
    std::string process;     // "master", "mqtt/0"
  };
  explicit Log(const Options& options);  // throws std::runtime_error if the file cannot be opened
  ~Log();
  bool enabled(Level level) const { return level >= level_; }
  void write(Level level, std::string_view event, std::initializer_list<Field> fields = {});
  void debug(std::string_view event, std::initializer_list<Field> fields = {}) { write(Level::debug, event, fields); }
  void info(std::string_view event, std::initializer_list<Field> fields = {}) { write(Level::info, event, fields); }
  void warn(std::string_view event, std::initializer_list<Field> fields = {}) { write(Level::warn, event, fields); }
  void error(std::string_view event, std::initializer_list<Field> fields = {}) { write(Level::error, event, fields); }
  // Opens the file again (logrotate).
  void reopen();

 private:
  Level level_;
  Options options_;
  std::shared_ptr<spdlog::logger> logger_;
};

}  // namespace logging
