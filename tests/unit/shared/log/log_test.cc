#include "shared/log/log.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

using namespace logging;

namespace {

struct TemporaryDirectory {
  std::string path;
  TemporaryDirectory() {
    char name[] = "/tmp/mm-log-XXXXXX";
    path = mkdtemp(name);
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path); }
};

std::string contents(const std::string& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

size_t lines(const std::string& file) {
  const std::string text = contents(file);
  return static_cast<size_t>(std::ranges::count(text, '\n'));
}

}  // namespace

TEST_CASE("log: writes a line an event, at once, from its level on") {
  TemporaryDirectory directory;
  Log log({Level::warn, Format::text, directory.path + "/log", false, "master"});
  log.info("not this");
  CHECK_FALSE(log.enabled(Level::info));
  log.warn("this {} %s", {{"key", "value"}});
  CHECK(contents(directory.path + "/log").ends_with(" warn  master this {} %s key=value\n"));
  CHECK(lines(directory.path + "/log") == 1);
}

TEST_CASE("log: appends to what is there") {
  TemporaryDirectory directory;
  for (int i = 0; i < 2; ++i) Log({Level::info, Format::json, directory.path + "/log", false, "m"}).info("e");
  CHECK(lines(directory.path + "/log") == 2);
}

TEST_CASE("log: reopen goes on in a new file after a rotation") {
  TemporaryDirectory directory;
  const std::string file = directory.path + "/log";
  Log log({Level::info, Format::text, file, false, "m"});
  log.info("old");
  std::filesystem::rename(file, file + ".1");
  log.info("still old");
  log.reopen();
  log.info("new");
  CHECK(lines(file + ".1") == 2);
  CHECK(lines(file) == 1);
}

TEST_CASE("log: a file that cannot be opened is an error that names it") {
  CHECK_THROWS_WITH_AS(Log({Level::info, Format::text, "/proc/nowhere/log", false, "m"}),
                       doctest::Contains("/proc/nowhere/log"), std::runtime_error);
}

TEST_CASE("log: with neither file nor stderr it is silent") {
  Log log({Level::debug, Format::text, "", false, "m"});
  log.error("nobody hears this");
}
