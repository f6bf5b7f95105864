#include "master/store_commands.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "master/error.h"
#include "master/instance.h"
#include "master/status.h"
#include "master/table.h"
#include "shared/store/stores.h"

namespace master {
namespace {

constexpr int kExitOk = 0;
constexpr int kExitFailed = 1;

void say(const std::string& what) {
  std::fprintf(stderr, "mqtt-master: %s\n", what.c_str());
}

void require_stores(const std::string& data_dir) {
  if (store::stored_slots(store::store_directory(data_dir)).empty()) throw Error("there are no stores in " + data_dir);
}

// --- info ---

nlohmann::ordered_json json_of(const store::StoreInfo& info) {
  nlohmann::ordered_json json = {{"slot", info.slot},
                                 {"slots", info.slots},
                                 {"format", store::kFormatVersion},
                                 {"sessions", info.sessions},
                                 {"subscriptions", info.subscriptions},
                                 {"queued", info.queued},
                                 {"retained", info.retained},
                                 {"outbox", info.outbox},
                                 {"bytes", info.bytes}};
  if (!info.problem.empty()) json["problem"] = info.problem;
  return json;
}

std::string table_of(const std::vector<store::StoreInfo>& infos) {
  std::vector<Row> rows = {
      {"slot", "format", "sessions", "subscriptions", "queued", "retained", "outbox", "size", "state"}};
  for (const store::StoreInfo& info : infos) {
    const bool ok = info.problem.empty();
    const auto number = [&](uint64_t n) { return ok ? std::to_string(n) : std::string("-"); };
    const std::string slot = std::to_string(info.slot) + (ok ? " of " + std::to_string(info.slots) : "");
    rows.push_back({slot, number(store::kFormatVersion), number(info.sessions), number(info.subscriptions),
                    number(info.queued), number(info.retained), number(info.outbox), human_bytes(info.bytes),
                    ok ? "ok" : info.problem});
  }
  return align(rows);
}

int info(const config::Config& config, const Arguments& arguments) {
  const std::vector<store::StoreInfo> infos = store::inspect_stores(config.data_dir);
  if (arguments.json) {
    nlohmann::ordered_json json = nlohmann::ordered_json::array();
    for (const store::StoreInfo& row : infos) json.push_back(json_of(row));
    std::cout << json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << '\n';
  } else {
    std::cout << table_of(infos);
  }
  std::cout.flush();
  const bool ok = std::ranges::all_of(infos, [](const store::StoreInfo& row) { return row.problem.empty(); });
  return ok ? kExitOk : kExitFailed;
}

// --- export, import, check ---

int export_records(const config::Config& config, const Arguments& arguments) {
  require_stores(config.data_dir);
  std::ofstream file;
  if (!arguments.store_file.empty()) {
    umask(077);  // messages are nobody's business
    file.open(arguments.store_file, std::ios::binary | std::ios::trunc);
    if (!file) throw system_error("cannot write " + arguments.store_file);
  }
  std::ostream& out = file.is_open() ? static_cast<std::ostream&>(file) : std::cout;
  const store::Transfer done = store::export_stores(config.data_dir, out, say);
  if (file.is_open()) std::cout << done.records << " records exported\n";
  return done.problems == 0 ? kExitOk : kExitFailed;
}

int import_records(const config::Config& config, const Arguments& arguments) {
  std::ifstream file;
  if (!arguments.store_file.empty()) {
    file.open(arguments.store_file, std::ios::binary);
    if (!file) throw system_error("cannot read " + arguments.store_file);
  }
  become(resolve_identity(config));  // what is written belongs to the workers
  const store::Transfer done = store::import_stores(config.data_dir, file.is_open() ? file : std::cin);
  std::cout << done.records << " records imported\n";
  return kExitOk;
}

int check(const config::Config& config) {
  require_stores(config.data_dir);
  const uint64_t problems =
      store::check_stores(config.data_dir, [](const std::string& what) { std::cout << what << '\n'; });
  std::cout << (problems == 0 ? "ok" : std::to_string(problems) + (problems == 1 ? " problem" : " problems")) << '\n';
  return problems == 0 ? kExitOk : kExitFailed;
}

}  // namespace

int run_store_command(const config::Config& config, const Arguments& arguments) {
  const bool imports = arguments.store_action == StoreAction::import_records;
  if (imports) {
    umask(027);
    prepare_directories(config, resolve_identity(config));
  }
  if (!std::filesystem::exists(config.data_dir)) throw Error("there is no directory " + config.data_dir);
  const base::UniqueFd lock = lock_directory(config.data_dir);
  switch (arguments.store_action) {
    case StoreAction::info:
      return info(config, arguments);
    case StoreAction::export_records:
      return export_records(config, arguments);
    case StoreAction::import_records:
      return import_records(config, arguments);
    case StoreAction::check:
      return check(config);
  }
  return kExitFailed;
}

}  // namespace master
