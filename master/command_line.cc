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
    {"status", Command::status, "show it; exit code 0: every worker is ready, 3: not every one, 1: it does not run"},
    {"check", Command::check, "check the configuration and show what it means"},
    {"version", Command::version, "show the version"},
    {"help", Command::help, "show this"},
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
    {"", "--json", &Arguments::json, nullptr, "status", "as JSON"},
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
  return row.commands.empty() || row.commands == name_of(command);
}

}  // namespace

std::variant<Arguments, std::string> parse_command_line(std::span<const std::string_view> words) {
  Arguments arguments;
  bool has_command = false;
  std::vector<const OptionRow*> given;
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
  return arguments;
}

std::string usage() {
  const auto row = [](std::string left, std::string_view right) {
    left.resize(std::max<size_t>(left.size() + 1, 20), ' ');
    return "  " + left + std::string(right) + '\n';
  };
  std::string out = "usage: mqtt-master [COMMAND] [OPTION...]\n\ncommands:\n";
  for (const CommandRow& command : kCommands) out += row(std::string(command.name), command.help);
  out += "\noptions:\n";
  for (const OptionRow& option : kOptions) {
    const std::string names =
        (option.name.empty() ? "    " : std::string(option.name) + ", ") + std::string(option.long_name);
    out += row(names, option.help);
  }
  return out;
}

}  // namespace master
