#include "shared/store/stores.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <memory>

#include "shared/store/rebuild.h"
#include "shared/store/record_check.h"
#include "shared/store/record_json.h"

namespace store {
namespace {

namespace fs = std::filesystem;

std::unique_ptr<RocksDb> open_to_read(const std::string& path) {
  return std::make_unique<RocksDb>(RocksDb::Options{.path = path, .layout = {}, .read_only = true});
}

// Beside the stores, so that a rename is enough.
std::string import_directory(const std::string& data_dir) {
  return data_dir + "/store.import";
}

[[noreturn]] void wrong_line(uint64_t number, const std::string& what) {
  throw std::runtime_error("line " + std::to_string(number) + ": " + what);
}

// The stores of an import, while they are being filled.
class Importer {
 public:
  Importer(const std::string& stores, uint32_t slots) {
    for (uint32_t slot = 0; slot < slots; ++slot) {
      targets_.push_back(std::make_unique<StoreWriter>(slot_in(stores, slot), Layout{slot, slots}));
    }
    note_slots(stores, slots);
  }
  void add(const ImportedRecord& record) {
    if (record.slot >= targets_.size()) throw std::runtime_error("there is no slot " + std::to_string(record.slot));
    if (const std::string problem = problem_of(record.key, record.value); !problem.empty()) {
      throw std::runtime_error(describe_key(record.key) + ": " + problem);
    }
    targets_[record.slot]->put(record.key, record.value);
  }
  void finish() {
    for (const auto& target : targets_) target->finish();
  }

 private:
  std::vector<std::unique_ptr<StoreWriter>> targets_;
};

uint64_t read_import(std::istream& in, const std::string& stores) {
  std::string line;
  if (!std::getline(in, line)) throw std::runtime_error("it is empty");
  const ExportHeader header = header_from_json(line);
  if (header.slots > kMaxSlots) wrong_line(1, std::to_string(header.slots) + " slots are too many");
  Importer importer(stores, header.slots);
  uint64_t number = 1;
  while (std::getline(in, line)) {
    ++number;
    try {
      importer.add(record_from_json(line));
    } catch (const Error&) {
      throw;
    } catch (const std::exception& error) {
      wrong_line(number, error.what());
    }
  }
  importer.finish();
  return number - 1;
}

void count(StoreInfo& info, const Key& key, std::string_view value) {
  switch (key.kind) {
    case Kind::session:
      ++info.sessions;
      break;
    case Kind::subscription:
      ++info.subscriptions;
      break;
    case Kind::delivery:
      ++info.queued;
      break;
    case Kind::retained:
      if (RetainedRecord r; decode(value, r, {}) && !r.message->payload().empty()) ++info.retained;
      break;
    case Kind::outbox:
    case Kind::accepted:
      ++info.outbox;
      break;
    case Kind::meta:
    case Kind::progress:
    case Kind::incoming:
    case Kind::seen:
      break;
  }
}

StoreInfo inspect(const std::string& path) {
  StoreInfo info;
  info.bytes = directory_bytes(path);
  try {
    const auto db = open_to_read(path);
    info.slots = db->layout().slots;
    db->for_each({}, [&](std::string_view key, std::string_view value) {
      if (const auto parsed = parse_key(key)) count(info, *parsed, value);
      return true;
    });
  } catch (const Error& error) {
    info.problem = error.what();
  }
  return info;
}

void check_store(const std::string& path, uint32_t slot, const Report& report) {
  const std::string prefix = "slot " + std::to_string(slot) + ": ";
  try {
    const auto db = open_to_read(path);
    db->verify();
    if (db->layout().slot != slot) report(prefix + "it is the store of slot " + std::to_string(db->layout().slot));
    StoreCheck check(db->layout(), [&](const std::string& key, const std::string& problem) {
      report(prefix + key + ": " + problem);
    });
    const std::string sessions(1, static_cast<char>(Kind::session));
    db->for_each(sessions, [&](auto key, auto value) { return check.session(key, value), true; });
    db->for_each({}, [&](auto key, auto value) { return check.record(key, value), true; });
    check.finish();
  } catch (const Error& error) {
    report(prefix + error.what());
  }
}

}  // namespace

std::vector<uint32_t> stored_slots(const std::string& stores) {
  constexpr std::string_view kPrefix = "slot-";
  std::vector<uint32_t> slots;
  std::error_code error;
  for (fs::directory_iterator it(stores, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename();
    uint32_t slot = 0;
    const char* const digits = name.data() + kPrefix.size();
    if (!name.starts_with(kPrefix)) continue;
    const auto [rest, status] = std::from_chars(digits, name.data() + name.size(), slot);
    if (status == std::errc() && rest == name.data() + name.size()) slots.push_back(slot);
  }
  if (error && error != std::errc::no_such_file_or_directory) throw Error(stores, error.message(), "to list it");
  std::ranges::sort(slots);
  return slots;
}

bool stores_prepared(const std::string& data_dir, uint32_t slots) {
  return noted_slots(store_directory(data_dir)) == slots;
}

bool prepare_stores(const std::string& data_dir, uint32_t slots) {
  const std::string stores = store_directory(data_dir);
  fs::remove_all(import_directory(data_dir));
  const bool fits = std::ranges::all_of(stored_slots(stores), [&](uint32_t slot) {
    return slot < slots && open_to_read(slot_in(stores, slot))->layout().slots == slots;
  });
  if (!fits) Rebuild({stores}, stores, slots).run();
  note_slots(stores, slots);
  return !fits;
}

Transfer export_stores(const std::string& data_dir, std::ostream& out, const Report& report) {
  const std::string stores = store_directory(data_dir);
  const std::vector<uint32_t> slots = stored_slots(stores);
  if (slots.empty()) throw Error(stores, "none", "at least one");
  Transfer transfer;
  out << to_json(ExportHeader{slots.back() + 1}) << '\n';
  for (const uint32_t slot : slots) {
    open_to_read(slot_in(stores, slot))->for_each({}, [&](std::string_view key, std::string_view value) {
      if (const std::string problem = problem_of(key, value); !problem.empty()) {
        report("slot " + std::to_string(slot) + ": left out " + describe_key(key) + ": " + problem);
        ++transfer.problems;
      } else if (const auto line = to_json(slot, key, value)) {
        out << *line << '\n';
        ++transfer.records;
      }
      return true;
    });
  }
  out.flush();
  if (!out) throw std::runtime_error("the export cannot be written");
  return transfer;
}

Transfer import_stores(const std::string& data_dir, std::istream& in) {
  const std::string stores = store_directory(data_dir);
  const std::string incoming = import_directory(data_dir);
  fs::remove_all(incoming);
  Transfer transfer;
  try {
    transfer.records = read_import(in, incoming);
    const std::vector<uint32_t> slots = stored_slots(stores);
    if (slots.empty()) {
      replace_stores(incoming, stores);
    } else {
      const uint32_t count = open_to_read(slot_in(stores, slots.front()))->layout().slots;
      Rebuild({stores, incoming}, stores, count).run();
    }
  } catch (...) {
    fs::remove_all(incoming);
    throw;
  }
  fs::remove_all(incoming);
  return transfer;
}

uint64_t check_stores(const std::string& data_dir, const Report& report) {
  const std::string stores = store_directory(data_dir);
  uint64_t problems = 0;
  for (const uint32_t slot : stored_slots(stores)) {
    check_store(slot_in(stores, slot), slot, [&](const std::string& what) {
      ++problems;
      report(what);
    });
  }
  return problems;
}

std::vector<StoreInfo> inspect_stores(const std::string& data_dir) {
  const std::string stores = store_directory(data_dir);
  std::vector<StoreInfo> infos;
  for (const uint32_t slot : stored_slots(stores)) {
    infos.push_back(inspect(slot_in(stores, slot)));
    infos.back().slot = slot;
  }
  return infos;
}

}  // namespace store
