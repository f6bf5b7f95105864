#include "shared/base/replace_file.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/support/temporary_directory.h"

namespace {

std::string content(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST_CASE("replace_file: the text, the mode, and nothing beside it") {
  const support::TemporaryDirectory directory;
  const std::string path = directory.path() + "/f";
  REQUIRE(base::replace_file(path, "longer\n", 0600, base::Sync::data));
  REQUIRE(base::replace_file(path, "new\n", 0600, base::Sync::no));
  CHECK(content(path) == "new\n");
  struct stat info {};
  REQUIRE(stat(path.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  CHECK_FALSE(std::filesystem::exists(path + ".new"));
}

TEST_CASE("replace_file: an error leaves what was there") {
  const support::TemporaryDirectory directory;
  const std::string path = directory.path() + "/f";
  REQUIRE(base::replace_file(path, "old", 0600, base::Sync::no));
  std::filesystem::create_directory(path + ".new");
  CHECK_FALSE(base::replace_file(path, "new", 0600, base::Sync::no));
  CHECK(errno == EISDIR);
  CHECK(content(path) == "old");
}
