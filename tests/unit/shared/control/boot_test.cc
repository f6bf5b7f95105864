#include "shared/control/boot.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shared/config/dump.h"
#include "shared/config/load.h"
#include "shared/control/boot_record.h"

using namespace control;

namespace {

int any_descriptor() {
  return open("/dev/null", O_RDONLY);
}

base::UniqueFd memfd_with(std::string_view text) {
  base::UniqueFd fd(memfd_create("test", 0));
  REQUIRE(write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  return fd;
}

}  // namespace

TEST_CASE("boot record: a worker reads what the master wrote") {
  const config::Loaded loaded = config::load_text(
      R"({"workers":{"a":{"listen":"mqtt://127.0.0.1:1","count":2},"b":{"listen":["mqtt://[::1]:2","mqtt://0.0.0.0:3"]}},
          "mqtt":{"max_inflight":7},"stall_timeout":0.3})",
      {"/etc/mm", 4}, "/etc/mm/workers.json");
  REQUIRE(loaded.ok());
  const auto& listens = loaded.config.workers[1].listen;
  const BootRecord record{3,
                          0xFFFFFFFFFFFFFFFF,
                          any_descriptor(),
                          any_descriptor(),
                          any_descriptor(),
                          {{any_descriptor(), listens[0]}, {any_descriptor(), listens[1]}},
                          {12, 13}};
  const base::UniqueFd memfd = write_boot_record(loaded.config, record);

  const Boot boot = read_boot_record(memfd.get());
  CHECK(boot.slot == 3);
  CHECK(boot.incarnation == 0xFFFFFFFFFFFFFFFF);
  CHECK(boot.control.get() == record.control);
  CHECK(boot.metrics.get() == record.metrics);
  CHECK(boot.lock.get() == record.lock);
  CHECK(boot.host_start.boottime_ms == 12);
  CHECK(boot.host_start.wall_us == 13);
  REQUIRE(boot.listeners.size() == 2);
  CHECK(boot.listeners[0].fd.get() == record.listeners[0].first);
  CHECK(boot.listeners[0].listen.host == "::1");
  CHECK(boot.listeners[1].listen.port == 3);
  CHECK(fcntl(boot.listeners[1].fd.get(), F_GETFD) == FD_CLOEXEC);
  CHECK(config::dump(boot.config, config::Secrets::shown) == config::dump(loaded.config, config::Secrets::shown));
  CHECK(boot.config.file == "/etc/mm/workers.json");
}

TEST_CASE("boot record: it is sealed") {
  const config::Config config = config::defaults({"/", 1});
  const base::UniqueFd memfd = write_boot_record(config, {});
  CHECK(write(memfd.get(), "x", 1) == -1);
  CHECK(ftruncate(memfd.get(), 0) == -1);
}

TEST_CASE("boot record: nonsense, another version and closed descriptors are refused") {
  CHECK_THROWS_WITH(read_boot_record(memfd_with("{}").get()), doctest::Contains("version"));
  CHECK_THROWS_WITH(read_boot_record(memfd_with(R"({"version":2})").get()), doctest::Contains("version 2"));
  CHECK_THROWS(read_boot_record(memfd_with("hello").get()));
  CHECK_THROWS(read_boot_record(memfd_with("").get()));
  const base::UniqueFd memfd = write_boot_record(config::defaults({"/", 1}), {0, 1, 99999, 99999, 99999, {}, {}});
  CHECK_THROWS_WITH(read_boot_record(memfd.get()), doctest::Contains("descriptor 99999"));
}

TEST_CASE("boot record: without the variable this is no worker") {
  CHECK_FALSE(take_boot_record().has_value());
}
