// The stores of one broker: DATA_DIR/store with a directory for each slot, and what is done to all of them at once.
// Only while no worker runs: the caller holds the lock of the data directory.
#pragma once

#include <cstdint>
#include <functional>
#include <istream>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "shared/store/rocks_db.h"

namespace store {

// The slots that have a directory there, in order.
std::vector<uint32_t> stored_slots(const std::string& stores);

// --- a new number of slots ---
// Workers of so many slots can open their stores as they are. Opens nothing, so it is cheap.
bool stores_prepared(const std::string& data_dir, uint32_t slots);
// Makes it so, see rebuild.h. It can be killed at any moment and run again. True: the stores had to be rebuilt. Throws
// Error.
bool prepare_stores(const std::string& data_dir, uint32_t slots);

// --- export and import ---
struct Transfer {
  uint64_t records = 0;
  uint64_t problems = 0;
};
// Writes what record_json.h says: stores by slot, records by key. Those that are malformed are left out and reported.
using Report = std::function<void(const std::string& what)>;
Transfer export_stores(const std::string& data_dir, std::ostream& out, const Report& report);
// Adds what is in the export. Into a directory without stores they come as they were exported; others keep their number
// of slots, and of a session or a retained message that is on both sides the newer one wins. All or nothing. Throws
// std::runtime_error with the line.
Transfer import_stores(const std::string& data_dir, std::istream& in);

// --- check ---
// Reads every block of every file and every record. The number of problems reported.
uint64_t check_stores(const std::string& data_dir, const Report& report);

struct StoreInfo {
  uint32_t slot = 0;
  uint32_t slots = 0;
  uint64_t bytes = 0;
  uint64_t sessions = 0;
  uint64_t subscriptions = 0;
  uint64_t queued = 0;
  uint64_t retained = 0;
  uint64_t outbox = 0;
  std::string problem;  // why it cannot be opened; "": it can
};
std::vector<StoreInfo> inspect_stores(const std::string& data_dir);

}  // namespace store
