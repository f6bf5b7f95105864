#include "master/banner.h"

#include <algorithm>

#include "master/table.h"
#include "shared/config/redis_url.h"

namespace master {
namespace {

constexpr size_t kMinWidth = 60;

}  // namespace

std::string banner(const config::Config& config, const std::string& user, FanOut fan_out) {
  std::vector<Row> rows = {{"proto", "user", "worker", "listen", "count", "state"}};
  for (const config::WorkerGroup& group : config.workers) {
    for (const config::Listen& listen : group.listen) {
      rows.push_back({"tcp", user, group.name, listen.url, std::to_string(group.count), "[OK]"});
    }
  }
  if (config.clustered()) {
    const std::string state = fan_out == FanOut::up ? "[OK]" : '[' + std::string(name(fan_out)) + ']';
    rows.push_back({"redis", user, "gateway", config::mask_passwords(config.redis.url), "1", state});
  }
  const std::string table = align(rows);
  const size_t width = std::max(table.find('\n') + 4, kMinWidth);
  return rule("MQTT-MASTER", width) +
         "mqtt-master version:" MM_VERSION "   config:" + (config.file.empty() ? "defaults" : config.file) + '\n' +
         rule("WORKERS", width) + table + rule("", width);
}

std::string banner_warning(FanOut fan_out) {
  switch (fan_out) {
    case FanOut::none:
    case FanOut::up:
      return "";
    case FanOut::joining:
      return "Warning: the cluster is not joined yet. Until it is, nothing reaches the other hosts.\n";
    case FanOut::redis_down:
      return "Warning: Redis cannot be reached. Until it can, nothing reaches the other hosts.\n";
  }
  return "";
}

std::string banner_end(const config::Config& config, bool daemon) {
  if (!daemon) return "Press Ctrl+C to stop. Start success.\n";
  const std::string file = config.file.empty() ? "" : " -c " + config.file;
  return "Input \"mqtt-master" + file + " stop\" to stop. Start success.\n";
}

}  // namespace master
