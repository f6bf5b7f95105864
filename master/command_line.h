// The command line, from one table of commands and one of options.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace master {

enum class Command : uint8_t { start, stop, status, check, store, version, help };
enum class StoreAction : uint8_t { info, export_records, import_records, check };

struct Arguments {
  Command command = Command::start;
  std::string config_file;  // empty: built-in defaults
  bool daemonize = false;
  bool graceful = false;
  bool quiet = false;
  bool json = false;
  bool options = false;
  StoreAction store_action = StoreAction::info;
  std::string store_file;  // to export to, to import from; empty: standard output, standard input
};

// `words` without the program's name. The arguments, or what is wrong in one line.
std::variant<Arguments, std::string> parse_command_line(std::span<const std::string_view> words);

std::string usage();

}  // namespace master
