#include "master/instance.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "master/error.h"
#include "shared/config/load.h"

using namespace master;
namespace fs = std::filesystem;

namespace {

struct Fixture {
  std::string directory;
  Fixture() {
    char name[] = "/tmp/mm-instance-XXXXXX";
    directory = mkdtemp(name);
  }
  ~Fixture() { fs::remove_all(directory); }
  config::Config config(const std::string& text = "{}") const { return config::load_text(text, {directory, 1}).config; }
  std::string contents(const std::string& file) const {
    std::ostringstream text;
    text << std::ifstream(directory + file).rdbuf();
    return text.str();
  }
  mode_t mode(const std::string& file) const {
    struct stat status {};
    REQUIRE(stat((directory + file).c_str(), &status) == 0);
    return status.st_mode & 0777;
  }
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "instance: directories are made for their owner alone") {
  const config::Config c = config(R"({"run_dir":"a/run","data_dir":"b/data"})");
  prepare_directories(c, resolve_identity(c));
  CHECK(mode("/a/run") == 0700);
  CHECK(mode("/b/data") == 0700);
  CHECK((mode("/a/run/mqtt-master.log") & 07) == 0);
  CHECK_NOTHROW(prepare_directories(c, resolve_identity(c)));
}

TEST_CASE_FIXTURE(Fixture, "instance: a file where a directory should be is an error that names it") {
  std::ofstream(directory + "/run") << "x";
  const config::Config c = config();
  CHECK_THROWS_WITH_AS(prepare_directories(c, resolve_identity(c)), (directory + "/run is not a directory").c_str(),
                       Error);
}

TEST_CASE_FIXTURE(Fixture, "instance: the lock is held until its last descriptor is closed, and names its holder") {
  base::UniqueFd lock = lock_directory(directory);
  base::UniqueFd inherited(dup(lock.get()));
  lock.reset();
  const std::string expected = directory + " is in use by mqtt-master with pid " + std::to_string(getpid());
  CHECK_THROWS_WITH_AS(lock_directory(directory), expected.c_str(), Error);
  inherited.reset();
  CHECK_NOTHROW(lock_directory(directory));
}

TEST_CASE_FIXTURE(Fixture, "instance: what outlives its master is named as such") {
  const base::UniqueFd lock = lock_directory(directory);
  std::ofstream(directory + "/lock") << "4194305\n";  // beyond the largest pid
  CHECK_THROWS_WITH_AS(lock_directory(directory, std::chrono::milliseconds(20)),
                       doctest::Contains("what is left of mqtt-master with pid 4194305"), Error);
}

TEST_CASE_FIXTURE(Fixture,
                  "instance: for what is left of a dead master, which is about to end, the lock is waited for") {
  base::UniqueFd lock = lock_directory(directory);
  std::ofstream(directory + "/lock") << "4194305\n";
  std::thread ending([&lock] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    lock.reset();
  });
  CHECK_NOTHROW(lock_directory(directory, std::chrono::seconds(60)));
  ending.join();
}

TEST_CASE_FIXTURE(Fixture, "instance: the pid file is there while its object is") {
  {
    const PidFile file(directory + "/pid", 1234);
    CHECK(contents("/pid") == "1234\n");
    CHECK_FALSE(fs::exists(directory + "/pid.new"));
  }
  CHECK_FALSE(fs::exists(directory + "/pid"));
  CHECK_THROWS_WITH_AS(PidFile("/proc/nowhere/pid", 1), doctest::Contains("/proc/nowhere/pid"), Error);
}

TEST_CASE_FIXTURE(Fixture, "instance: users and groups that are not there are refused") {
  CHECK_THROWS_WITH_AS(resolve_identity(config(R"({"user":"no-such-user"})")), "there is no user \"no-such-user\"",
                       Error);
  CHECK_THROWS_WITH_AS(resolve_identity(config(R"({"group":"no-such-group"})")), "there is no group \"no-such-group\"",
                       Error);
  CHECK_FALSE(resolve_identity(config()).switches);
}

TEST_CASE_FIXTURE(Fixture, "instance: the highest incarnation is remembered, some way ahead") {
  {
    IncarnationFile file(directory);
    CHECK(file.highest() == 0);
    file.reserve(1000);
  }
  const uint64_t reserved = IncarnationFile(directory).highest();
  CHECK(reserved > 1000);
  IncarnationFile file(directory);
  const fs::file_time_type written = fs::last_write_time(directory + "/incarnation");
  file.reserve(reserved);
  CHECK(fs::last_write_time(directory + "/incarnation") == written);
  file.reserve(reserved + 1);
  CHECK(IncarnationFile(directory).highest() > reserved + 1);
}

TEST_CASE_FIXTURE(Fixture, "instance: what does not hold an incarnation is refused") {
  for (const char* text : {"", "x", "12 13"}) {
    std::ofstream(directory + "/incarnation") << text;
    CHECK_THROWS_AS(IncarnationFile{directory}, Error);
  }
}
