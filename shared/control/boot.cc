#include "shared/control/boot.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <system_error>

#include "shared/config/dump.h"
#include "shared/config/listen_url.h"
#include "shared/config/load.h"
#include "shared/control/boot_record.h"

namespace control {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kVariable = "MQTT_MASTER_BOOT";
constexpr off_t kMaxRecord = 16 * 1024 * 1024;

// Owns a descriptor named in the record. Workers start nothing that should inherit it.
base::UniqueFd take_descriptor(const Json& number) {
  const int fd = number.get<int>();
  if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
    throw std::runtime_error("descriptor " + std::to_string(fd) + " is not open");
  return base::UniqueFd(fd);
}

std::string read_all(int fd) {
  const off_t size = lseek(fd, 0, SEEK_END);
  if (size <= 0 || size > kMaxRecord) throw std::runtime_error("its size is wrong");
  std::string text(static_cast<size_t>(size), '\0');
  if (pread(fd, text.data(), text.size(), 0) != size) throw std::runtime_error("it cannot be read");
  return text;
}

}  // namespace

base::UniqueFd write_boot_record(const config::Config& config, const BootRecord& record) {
  Json json;
  json["version"] = kBootVersion;
  json["slot"] = record.slot;
  json["incarnation"] = record.incarnation;
  json["control"] = record.control;
  json["metrics"] = record.metrics;
  json["lock"] = record.lock;
  json["host_start"] = {{"boottime_ms", record.host_start.boottime_ms}, {"wall_us", record.host_start.wall_us}};
  json["listeners"] = Json::array();
  for (const auto& [fd, listen] : record.listeners) json["listeners"].push_back({{"fd", fd}, {"url", listen.url}});
  json["file"] = config.file;
  json["config"] = Json::parse(config::dump(config, config::Secrets::shown));
  const std::string text = json.dump();

  base::UniqueFd memfd(memfd_create("mqtt-master-boot", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memfd || write(memfd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      fcntl(memfd.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0) {
    throw std::system_error(errno, std::generic_category(), "cannot write the boot record");
  }
  return memfd;
}

std::string boot_variable(int descriptor) {
  return std::string(kVariable) + '=' + std::to_string(descriptor);
}

Boot read_boot_record(int descriptor) {
  const Json json = Json::parse(read_all(descriptor));
  if (json.at("version") != kBootVersion) throw std::runtime_error("it is of version " + json.at("version").dump());
  config::Loaded loaded = config::load_text(json.at("config").dump(), {.directory = "/", .internal = true},
                                            json.at("file").get<std::string>());
  if (!loaded.ok()) throw std::runtime_error(config::report("configuration", loaded.problems));

  Boot boot;
  boot.config = std::move(loaded.config);
  boot.slot = json.at("slot").get<uint32_t>();
  if (boot.slot >= boot.config.process_count()) throw std::runtime_error("there is no such slot");
  boot.incarnation = json.at("incarnation").get<uint64_t>();
  if (json.contains("host_start")) {  // not from a master of an older binary
    const Json& start = json.at("host_start");
    boot.host_start = {start.at("boottime_ms").get<uint64_t>(), start.at("wall_us").get<uint64_t>()};
  }
  boot.control = take_descriptor(json.at("control"));
  boot.metrics = take_descriptor(json.at("metrics"));
  boot.lock = take_descriptor(json.at("lock"));
  for (const Json& listener : json.at("listeners")) {
    const auto parsed = config::parse_listen(listener.at("url").get<std::string>());
    boot.listeners.push_back({take_descriptor(listener.at("fd")), std::get<config::Listen>(parsed)});
  }
  return boot;
}

std::optional<Boot> take_boot_record() {
  const char* value = std::getenv(kVariable);
  if (value == nullptr) return std::nullopt;
  try {
    const base::UniqueFd record(std::stoi(value));
    unsetenv(kVariable);
    return read_boot_record(record.get());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "mqtt-master: bad boot record: %s\n", error.what());
    std::exit(kExitFatal);
  }
}

}  // namespace control
