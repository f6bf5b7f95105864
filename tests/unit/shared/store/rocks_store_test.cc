#include "shared/store/rocks_store.h"

#include <doctest/doctest.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <map>

#include "shared/store/rocks_db.h"
#include "tests/support/faulty_files.h"
#include "tests/support/temporary_directory.h"

using namespace store;
using support::Fault;

namespace {

namespace fs = std::filesystem;

using Records = std::map<std::string, std::string>;

// A store in a directory that outlives it.
class World {
 public:
  World() { options_.path = slot_directory(directory_.path(), 0), options_.layout = {0, 1}; }
  ~World() { close(); }

  RocksStore::Options& options() { return options_; }
  std::string path() const { return options_.path; }
  std::string file(const std::string& name) const { return options_.path + '/' + name; }
  support::FaultyFiles& files() { return *faulty_.files; }

  RocksStore& open() {
    options_.wake = [this] {
      const std::lock_guard lock(mutex_);
      ++wakes_;
      woken_.notify_one();
    };
    options_.retry_every_ms = 5;
    options_.look_every_ms = 20;
    options_.env = faulty_.env.get();
    store_ = std::make_unique<RocksStore>(options_);
    return *store_;
  }
  void close() { store_.reset(); }
  RocksStore& reopen() {
    close();
    return open();
  }
  RocksStore& store() { return *store_; }

  // --- changes; completions are noted in `done` ---
  void put(const std::string& key, const std::string& value = "v") {
    Batch batch;
    batch.put(key, value);
    store_->commit(std::move(batch), [this, key] { done += key + ' '; });
  }
  void erase(const std::string& key) {
    Batch batch;
    batch.erase(key);
    store_->commit(std::move(batch), [this, key] { done += '-' + key + ' '; });
  }
  // Until every completion has been called.
  void settle() {
    while (store_->pending()) {
      std::unique_lock lock(mutex_);
      woken_.wait(lock, [this] { return wakes_ > 0; });
      wakes_ = 0;
      lock.unlock();
      store_->run_completions();
    }
  }
  // Calls completions and looks again until `condition` holds.
  template <typename F>
  void until(F condition) {
    while (!condition()) {
      store_->run_completions();
      std::this_thread::yield();
    }
  }
  Records records() {
    Records records;
    store_->load([&](std::string_view key, std::string_view value) {
      if (key[0] != 'M') records.emplace(key, value);
    });
    return records;
  }
  std::string error_of_open() {
    try {
      open();
    } catch (const Error& error) {
      return error.what();
    }
    return "none";
  }

  std::string done;

 private:
  support::TemporaryDirectory directory_;
  support::FaultyEnv faulty_;
  RocksStore::Options options_;
  std::mutex mutex_;
  std::condition_variable woken_;
  int wakes_ = 0;
  std::unique_ptr<RocksStore> store_;
};

bool contains(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return true;
  MESSAGE(text);
  return false;
}

std::string newest(const World& world, const std::string& ending) {
  std::string found;
  for (const auto& entry : fs::directory_iterator(world.path())) {
    const std::string name = entry.path();
    if (name.ends_with(ending) && name > found) found = name;
  }
  REQUIRE_FALSE(found.empty());
  return found;
}

void change_byte(const std::string& file, std::streamoff at) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekg(at);
  const auto byte = static_cast<char>(stream.get() ^ 0x55);
  stream.seekp(at);
  stream.put(byte);
  REQUIRE(stream.good());
}

}  // namespace

TEST_CASE("rocks_store: what was committed is there after it was opened again") {
  for (const auto sync : {RocksStore::Sync::process, RocksStore::Sync::always}) {
    World world;
    world.options().sync = sync;
    world.open();
    CHECK(world.records().empty());
    world.put("b", "2");
    world.put("a", "1");
    world.put("c");
    world.erase("c");
    CHECK(world.done.empty());
    world.settle();
    CHECK(world.done == "b a c -c ");
    CHECK_FALSE(world.store().pending());
    world.reopen();
    CHECK(world.records() == Records{{"a", "1"}, {"b", "2"}});
  }
}

TEST_CASE("rocks_store: load gives all records in the order of keys, and says that it goes on") {
  World world;
  int progress = 0;
  world.options().progress = [&] { ++progress; };
  world.open();
  for (int i = 3000; i > 0; --i) world.put("k" + std::to_string(10000 + i));
  world.settle();
  std::string last;
  world.store().load([&](std::string_view key, std::string_view) {
    CHECK(last < key);
    last = key;
  });
  CHECK(last == "k13000");
  CHECK(progress == 2);
}

TEST_CASE("rocks_store: an empty batch completes in its turn") {
  World world;
  world.open();
  world.put("a");
  world.store().commit(Batch(), [&] { world.done += "empty "; });
  world.put("b");
  world.settle();
  CHECK(world.done == "a empty b ");
}

TEST_CASE("rocks_store: what a completion commits is for another turn") {
  World world;
  world.open();
  Batch batch;
  batch.put("a", "1");
  world.store().commit(std::move(batch), [&] { world.put("b"); });
  world.settle();
  CHECK(world.done == "b ");
  CHECK(world.records().size() == 2);
}

TEST_CASE("rocks_store: what is queued while a write is under way is one write") {
  World world;
  world.options().sync = RocksStore::Sync::always;
  world.open();
  for (int i = 0; i < 1000; ++i) world.put("k");
  world.settle();
  const RocksStore::Statistics statistics = world.store().statistics();
  CHECK(statistics.commits == 1000);
  CHECK(statistics.writes < 500);
  CHECK(statistics.pending_bytes == 0);
  CHECK(statistics.written_bytes == 1000 * (9 + 1 + 1));
  CHECK(statistics.size > 0);
}

TEST_CASE("rocks_store: what is queued when it is closed is written") {
  World world;
  world.open();
  for (int i = 0; i < 100; ++i) world.put("k" + std::to_string(i));
  world.reopen();
  CHECK(world.records().size() == 100);
  CHECK(world.done.empty());
}

// --- who may open what ---

TEST_CASE("rocks_store: a second opener is refused, the first is not disturbed") {
  World world;
  world.open();
  CHECK_THROWS_WITH_AS(RocksStore({.path = world.path(), .layout = {0, 1}, .wake = {}, .progress = {}}),
                       doctest::Contains("in use by another process"), Error);
  world.put("a");
  world.settle();
  CHECK(world.records().size() == 1);
}

TEST_CASE("rocks_store: the store of another slot or number of slots is refused") {
  World world;
  world.open();
  world.close();
  world.options().layout = {0, 2};
  CHECK(contains(world.error_of_open(), "found the store of slot 0 of 1; expected that of slot 0 of 2"));
  world.options().layout = {1, 1};
  CHECK(contains(world.error_of_open(), "found the store of slot 0 of 1; expected that of slot 1 of 1"));
}

TEST_CASE("rocks_store: another version of the format is refused") {
  World world;
  world.open();
  std::string key;
  std::string value;
  meta_key(key, "format");
  encode_version(value, kFormatVersion + 1);
  world.put(key, value);
  world.settle();
  world.close();
  CHECK(contains(world.error_of_open(), "found format 3 (newer); expected format 2"));
  fs::remove_all(world.path());
  world.open();
  encode_version(value, 0);
  world.put(key, value);
  world.settle();
  world.close();
  CHECK(contains(world.error_of_open(), "found format 0; expected format 2"));
}

TEST_CASE("rocks_store: a store of format 1 becomes one of format 2") {
  World world;
  world.open();
  std::string key;
  std::string value;
  meta_key(key, "format");
  encode_version(value, 1);
  world.put(key, value);
  world.put("Ta", "as it was");
  world.settle();
  world.close();
  world.open();
  CHECK(world.records().at("Ta") == "as it was");
  world.close();
  encode_version(value, 2);
  CHECK(RocksDb({.path = world.path(), .layout = {}, .read_only = true}).get(key) == value);
}

TEST_CASE("rocks_store: a database of somebody else's is refused") {
  World world;
  world.open();
  std::string key;
  meta_key(key, "format");
  world.put("a");
  world.erase(key);
  world.settle();
  world.close();
  CHECK(contains(world.error_of_open(), "found no format record"));
}

TEST_CASE("rocks_store: a store without rights is refused") {
  World world;
  world.open();
  world.close();
  if (geteuid() == 0) return;  // root has all rights
  fs::permissions(world.path(), fs::perms::none);
  CHECK(contains(world.error_of_open(), "Permission denied"));
  fs::permissions(world.path(), fs::perms::owner_all);
}

TEST_CASE("rocks_store: a directory that cannot be made") {
  World world;
  fs::create_directories(fs::path(world.path()).parent_path());
  std::ofstream(world.path()) << "a file";
  CHECK(contains(world.error_of_open(), world.path()));
}

// --- damage ---

TEST_CASE("rocks_store: a damaged table is refused") {
  World world;
  world.open();
  for (int i = 0; i < 2000; ++i) world.put("k" + std::to_string(i), std::string(100, 'x'));
  world.settle();
  world.close();
  {
    RocksDb db({.path = world.path(), .layout = {}});
    REQUIRE(db.flush().ok());
  }
  change_byte(newest(world, ".sst"), 5000);
  try {
    world.open();
    world.records();
    CHECK(false);
  } catch (const Error& error) {
    CHECK(contains(error.what(), ".sst"));
    CHECK(contains(error.what(), "Corruption"));
  }
}

TEST_CASE("rocks_store: a log that is damaged in its synced part is refused, not cut") {
  World world;
  world.options().sync = RocksStore::Sync::always;
  world.open();
  for (int i = 0; i < 100; ++i) world.put("k" + std::to_string(i)), world.settle();
  world.close();
  const std::string log = newest(world, ".log");
  change_byte(log, static_cast<std::streamoff>(fs::file_size(log) / 2));
  const std::string error = world.error_of_open();
  CHECK(contains(error, "a log is damaged or missing"));
  CHECK(contains(world.error_of_open(), "a log is damaged or missing"));  // it did not heal itself
  fs::remove(world.file("synced"));                                       // what the message says
  world.open();
  CHECK(world.records().size() < 100);
  CHECK(world.records().contains("k0"));
}

TEST_CASE("rocks_store: a torn tail behind the synced part is cut") {
  World world;
  world.options().sync_every_ms = 3'600'000;
  world.open();
  world.put("a");
  world.settle();
  world.reopen();  // synced
  for (int i = 0; i < 100; ++i) world.put("k" + std::to_string(i)), world.settle();
  const fs::path copy = world.path() + ".copy";
  fs::copy(world.path(), copy);  // as it lies there after kill -9
  world.close();
  fs::remove_all(world.path());
  fs::rename(copy, world.path());
  const std::string log = newest(world, ".log");
  fs::resize_file(log, fs::file_size(log) / 2);
  world.open();
  CHECK(world.records().contains("a"));
  CHECK(world.records().contains("k0"));
  CHECK_FALSE(world.records().contains("k99"));
}

TEST_CASE("rocks_store: missing files are refused") {
  for (const char* ending : {"CURRENT", ".sst", "MANIFEST"}) {
    World world;
    world.open();
    world.put("a");
    world.settle();
    world.close();
    { REQUIRE(RocksDb({.path = world.path(), .layout = {}}).flush().ok()); }
    for (const auto& entry : fs::directory_iterator(world.path())) {
      if (entry.path().filename().string().find(ending) != std::string::npos) fs::remove(entry.path());
    }
    INFO(ending);
    CHECK(contains(world.error_of_open(), world.path()));
  }
}

// --- trouble ---

TEST_CASE("rocks_store: while the disk is full batches wait in their order") {
  for (const Fault fault : {Fault::no_space, Fault::write_error}) {
    World world;
    world.open();
    world.put("a");
    world.settle();
    world.files().set(fault);
    world.put("b");
    world.put("c");
    const Health expected = fault == Fault::no_space ? Health::full : Health::failing;
    world.until([&] { return world.store().health() == expected; });
    CHECK_FALSE(world.store().trouble().empty());
    world.put("d");
    CHECK(world.done == "a ");
    world.files().set(Fault::none);
    world.settle();
    CHECK(world.done == "a b c d ");
    CHECK(world.store().health() == Health::ok);
    CHECK(world.store().trouble().empty());
    world.reopen();
    CHECK(world.records().size() == 4);
  }
}

TEST_CASE("rocks_store: a sync that fails is no acknowledgement") {
  World world;
  world.options().sync = RocksStore::Sync::always;
  world.open();
  world.files().set(Fault::sync_error);
  world.put("a");
  world.until([&] { return world.store().health() == Health::failing; });
  CHECK(world.done.empty());
  world.files().set(Fault::none);
  world.settle();
  CHECK(world.done == "a ");
}

TEST_CASE("rocks_store: a sync in the background that fails is made up for") {
  World world;
  world.options().sync_every_ms = 1;
  world.open();
  world.files().set(Fault::sync_error);
  world.put("a");
  world.settle();
  world.until([&] { return world.store().health() == Health::failing; });
  world.files().set(Fault::none);
  world.until([&] { return world.store().health() == Health::ok; });
  world.reopen();
  CHECK(world.records().size() == 1);
}

TEST_CASE("rocks_store: closed while it fails, it does not wait") {
  World world;
  world.open();
  world.files().set(Fault::write_error);
  world.put("a");
  world.until([&] { return world.store().health() == Health::failing; });
  world.close();
  CHECK(world.done.empty());
}

TEST_CASE("rocks_store: in the background the log is synced") {
  World world;
  world.options().sync_every_ms = 1;
  world.open();
  world.put("a");
  world.settle();
  const int before = world.files().syncs();
  world.put("b");
  world.until([&] { return world.files().syncs() > before; });
}

TEST_CASE("rocks_store: at its maximum it is full until what was erased is gone") {
  World world;
  world.options().max_size = 4 * 1024 * 1024;
  world.open();
  const std::string value(16 * 1024, 'x');
  int keys = 0;
  while (world.store().health() == Health::ok) {
    world.put("k" + std::to_string(keys++), value);
    world.settle();
  }
  CHECK(keys > 100);
  CHECK(world.store().trouble() == "store.max_size is reached");
  CHECK(world.store().statistics().size < 6 * 1024 * 1024);
  // Small records are still written.
  world.done.clear();
  world.put("small");
  world.settle();
  CHECK(world.done == "small ");
  for (int i = 0; i < keys; ++i) world.erase("k" + std::to_string(i));
  world.settle();
  world.until([&] { return world.store().health() == Health::ok; });
  CHECK(world.records().size() == 1);
}

TEST_CASE("rocks_store: space is given back when few large records go") {
  World world;
  world.open();
  const std::string value(128 * 1024, 'x');
  for (int i = 0; i < 100; ++i) world.put("k" + std::to_string(i), value);
  world.settle();
  world.reopen();
  { CHECK(directory_bytes(world.path()) > 10 * 1024 * 1024); }
  for (int i = 0; i < 100; ++i) world.erase("k" + std::to_string(i));
  world.settle();
  world.until([&] { return directory_bytes(world.path()) < 3 * 1024 * 1024; });
  CHECK(world.records().empty());
}

TEST_CASE("rocks_store: space is given back when queues drain, without a limit too") {
  World world;
  world.open();
  const std::string value(4 * 1024, 'x');
  for (int i = 0; i < 5000; ++i) world.put("k" + std::to_string(i), value);
  world.settle();
  world.reopen();
  { CHECK(directory_bytes(world.path()) > 10 * 1024 * 1024); }
  for (int i = 0; i < 5000; ++i) world.erase("k" + std::to_string(i));
  world.settle();
  world.until([&] { return directory_bytes(world.path()) < 3 * 1024 * 1024; });
  CHECK(world.records().empty());
}
