#include "master/command_line.h"

#include <doctest/doctest.h>

using namespace master;

namespace {

std::variant<Arguments, std::string> parse(std::vector<std::string_view> words) {
  return parse_command_line(words);
}
Arguments good(std::vector<std::string_view> words) {
  return std::get<Arguments>(parse(std::move(words)));
}
std::string bad(std::vector<std::string_view> words) {
  return std::get<std::string>(parse(std::move(words)));
}

}  // namespace

TEST_CASE("command line: no command is start") {
  CHECK(good({}).command == Command::start);
  const Arguments arguments = good({"-c", "w.json", "-d", "-q"});
  CHECK(arguments.command == Command::start);
  CHECK(arguments.config_file == "w.json");
  CHECK(arguments.daemonize);
  CHECK(arguments.quiet);
}

TEST_CASE("command line: options go before and after the command") {
  CHECK(good({"-c", "w", "stop", "-g"}).graceful);
  CHECK(good({"stop", "--graceful", "--config", "w"}).config_file == "w");
  CHECK(good({"status", "--json"}).json);
  CHECK(good({"check", "--options"}).options);
  CHECK(good({"version"}).command == Command::version);
  CHECK(good({"--help"}).command == Command::help);
}

TEST_CASE("command line: store takes an action, and some of them a file") {
  CHECK(good({"store", "info", "--json"}).json);
  CHECK(good({"store", "check", "-c", "w"}).store_action == StoreAction::check);
  CHECK(good({"-c", "w", "store", "export"}).store_file.empty());
  const Arguments arguments = good({"store", "import", "-c", "w", "dump.json"});
  CHECK(arguments.command == Command::store);
  CHECK(arguments.store_action == StoreAction::import_records);
  CHECK(arguments.store_file == "dump.json");
  CHECK(bad({"store"}) == "store needs an action: info, export, import or check");
  CHECK(bad({"store", "burn"}) == "unknown action store burn");
  CHECK(bad({"store", "info", "file"}) == "one word too many: file");
  CHECK(bad({"store", "export", "a", "b"}) == "one word too many: b");
  CHECK(bad({"store", "check", "--json"}) == "--json does not go with store check");
  CHECK(bad({"info"}) == "unknown command info");
}

TEST_CASE("command line: what is wrong is said in a line") {
  CHECK(bad({"dance"}) == "unknown command dance");
  CHECK(bad({"--dance"}) == "unknown option --dance");
  CHECK(bad({"-c"}) == "-c needs a value");
  CHECK(bad({"start", "stop"}) == "one command at a time: start or stop");
  CHECK(bad({"status", "-d"}) == "--daemonize does not go with status");
  CHECK(bad({"-g"}) == "--graceful does not go with start");
  CHECK(bad({""}) == "unknown command ");
}

TEST_CASE("command line: the help names every command and option") {
  for (const char* word : {"start", "stop", "status", "check", "store", "import", "version", "-c, --config",
                           "-d, --daemonize", "--json"}) {
    CHECK(usage().find(word) != std::string::npos);
  }
}
