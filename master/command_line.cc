#include "master/command_line.h"

#include <algorithm>

namespace master {
namespace {

struct CommandRow {
  std::string_view name;
  Command command;
  std::string_view help;
};
constexpr CommandRow kCommands[] = {
    {"start", Command::start, "start the broker in the foreground (the default), or with -d in the background"},
    {"stop", Command::stop, "stop it and wait until it has stopped"},
    {"status", Command::status,
     "show it; exit code 0: every worker is ready, 3: not every one, or the cluster is not reached, 1: it does not "
     "run"},
    {"check", Command::check, "check the configuration and show what it means"},
    {"store", Command::store, "ACTION [FILE]: look into the stores of a broker that does not run, see below"},
    {"version", Command::version, "show the version"},
    {"help", Command::help, "show this"},
};

struct StoreActionRow {
  std::string_view name;
  StoreAction action;
  bool takes_file;
  std::string_view help;
};
constexpr StoreActionRow kStoreActions[] = {
    {"info", StoreAction::info, false, "what is in them, slot by slot"},
    {"export", StoreAction::export_records, true, "[FILE]: write all records as JSON, one a line"},
    {"import", StoreAction::import_records, true, "[FILE]: add the records of an export"},
    {"check", StoreAction::check, false, "read every block and every record; exit code 1: something is wrong"},
};

struct OptionRow {
  std::string_view name;
  std::string_view long_name;
  bool Arguments::*flag;  // or null:
  std::string Arguments::*text;
  std::string_view commands;  // that take it, separated by spaces; empty: all
  std::string_view help;
};
constexpr OptionRow kOptions[] = {
    {"-c", "--config", nullptr, &Arguments::config_file, "", "FILE: the configuration; without it built-in defaults"},
    {"-d", "--daemonize", &Arguments::daemonize, nullptr, "start", "go to the background once every worker is ready"},
    {"-q", "--quiet", &Arguments::quiet, nullptr, "start", "no banner"},
    {"-g", "--graceful", &Arguments::graceful, nullptr, "stop", "let clients finish, at most drain_timeout"},
    {"", "--json", &Arguments::json, nullptr, "status store", "as JSON (with store: info only)"},
    {"", "--options", &Arguments::options, nullptr, "check", "print the reference of all options (Markdown)"},
};

std::string_view name_of(Command command) {
  return std::ranges::find(kCommands, command, &CommandRow::command)->name;
}

const OptionRow* find_option(std::string_view word) {
  for (const OptionRow& row : kOptions) {
    if (word == row.long_name || (!row.name.empty() && word == row.name)) return &row;
  }
  return nullptr;
}

bool takes(const OptionRow& row, Command command) {
  const std::string list = ' ' + std::string(row.commands) + ' ';
  return row.commands.empty() || list.find(' ' + std::string(name_of(command)) + ' ') != std::string::npos;
}

// The words after "store". What is wrong, or "".
class StoreWords {
 public:
  std::string take(const std::string& word, Arguments& arguments) {
    if (row_ == nullptr) {
      const auto row = std::ranges::find(kStoreActions, word, &StoreActionRow::name);
      if (row == std::end(kStoreActions)) return "unknown action store " + word;
      row_ = row;
      arguments.store_action = row->action;
      return "";
    }
    if (!row_->takes_file || !arguments.store_file.empty()) return "one word too many: " + word;
    arguments.store_file = word;
    return "";
  }
  std::string finish(const Arguments& arguments) const {
    if (arguments.command != Command::store) return "";
    if (row_ == nullptr) return "store needs an action: info, export, import or check";
    return arguments.json && row_->action != StoreAction::info
               ? "--json does not go with store " + std::string(row_->name)
               : "";
  }

 private:
  const StoreActionRow* row_ = nullptr;
};

}  // namespace

std::variant<Arguments, std::string> parse_command_line(std::span<const std::string_view> words) {
  Arguments arguments;
  bool has_command = false;
  std::vector<const OptionRow*> given;
  StoreWords store;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string word(words[i]);
    if (const OptionRow* row = find_option(word)) {
      given.push_back(row);
      if (row->flag != nullptr) {
        arguments.*row->flag = true;
        continue;
      }
      if (i + 1 == words.size()) return word + " needs a value";
      arguments.*row->text = words[++i];
      continue;
    }
    if (has_command && arguments.command == Command::store && !word.starts_with('-')) {
      if (std::string wrong = store.take(word, arguments); !wrong.empty()) return wrong;
      continue;
    }
    const bool help = word == "-h" || word == "--help";
    const auto row = std::ranges::find(kCommands, help ? "help" : word, &CommandRow::name);
    if (row == std::end(kCommands))
      return "unknown " + std::string(word.starts_with('-') ? "option " : "command ") + word;
    if (has_command) return "one command at a time: " + std::string(name_of(arguments.command)) + " or " + word;
    arguments.command = row->command;
    has_command = true;
  }
  for (const OptionRow* row : given) {
    if (!takes(*row, arguments.command)) {
      return std::string(row->long_name) + " does not go with " + std::string(name_of(arguments.command));
    }
  }
  if (std::string wrong = store.finish(arguments); !wrong.empty()) return wrong;
  return arguments;
}

std::string usage() {
  const auto row = [](std::string left, std::string_view right) {
    left.resize(std::max<size_t>(left.size() + 1, 20), ' ');
    return "  " + left + std::string(right) + '\n';
  };
  std::string out = "usage: mqtt-master [COMMAND] [OPTION...]\n\ncommands:\n";
  for (const CommandRow& command : kCommands) out += row(std::string(command.name), command.help);
  out += "\nstore actions:\n";
  for (const StoreActionRow& action : kStoreActions) out += row(std::string(action.name), action.help);
  out += "\noptions:\n";
  for (const OptionRow& option : kOptions) {
    const std::string names =
        (option.name.empty() ? "    " : std::string(option.name) + ", ") + std::string(option.long_name);
    out += row(names, option.help);
  }
  return out;
}

}  // namespace master
