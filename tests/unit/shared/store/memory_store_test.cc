#include "shared/store/memory_store.h"

#include <doctest/doctest.h>

using namespace store;

namespace {

Batch put(std::string_view key) {
  Batch batch;
  batch.put(key, "v");
  return batch;
}
Batch erase(std::string_view key) {
  Batch batch;
  batch.erase(key);
  return batch;
}

}  // namespace

TEST_CASE("memory_store: nothing is applied or completed before run_completions") {
  MemoryStore store;
  std::string done;
  store.commit(put("a"), [&] { done += 'a'; });
  store.commit(put("b"), [&] { done += 'b'; });
  CHECK(done.empty());
  CHECK(store.disk().empty());
  CHECK(store.pending());
  store.run_completions();
  CHECK(done == "ab");
  CHECK(store.disk().size() == 2);
  CHECK_FALSE(store.pending());
}

TEST_CASE("memory_store: what a completion commits is for the next turn") {
  MemoryStore store;
  bool second = false;
  store.commit(put("a"), [&] { store.commit(put("b"), [&] { second = true; }); });
  store.run_completions();
  CHECK_FALSE(second);
  store.run_completions();
  CHECK(second);
}

TEST_CASE("memory_store: a disk outlives its store") {
  MemoryStore::Disk disk;
  {
    MemoryStore store(disk);
    store.commit(put("a"), [] {});
    store.run_completions();
    store.commit(put("lost"), [] {});
  }
  std::string keys;
  MemoryStore(disk).load([&](std::string_view key, std::string_view) { keys += key; });
  CHECK(keys == "a");
}

TEST_CASE("memory_store: full, it takes what erases, and nothing passes what waits") {
  MemoryStore store;
  std::string done;
  store.set_health(Health::full);
  store.commit(erase("a"), [&] { done += '1'; });
  store.commit(put("b"), [&] { done += '2'; });
  store.commit(erase("c"), [&] { done += '3'; });
  store.run_completions();
  CHECK(done == "1");
  store.set_health(Health::ok);
  store.run_completions();
  CHECK(done == "123");
}

TEST_CASE("memory_store: held, it is slow") {
  MemoryStore store;
  int done = 0;
  store.hold();
  store.commit(put("a"), [&] { ++done; });
  CHECK_FALSE(store.due());
  store.run_completions();
  CHECK(done == 0);
  store.release();
  CHECK(store.due());
  store.run_completions();
  CHECK(done == 1);
}
