#include "shared/store/null_store.h"

#include <doctest/doctest.h>

#include <string>

using store::NullStore;

TEST_CASE("null store: completions come in order, from run_completions() only, and nothing is kept") {
  int wakes = 0;
  std::string done;
  NullStore store([&] { ++wakes; });
  store::Batch batch;
  batch.put("k", "v");
  store.commit(batch, [&] { done += 'a'; });
  store.commit({}, {});
  store.commit({}, [&] {
    done += 'b';
    store.commit({}, [&] { done += 'c'; });
  });
  CHECK(done == "");
  CHECK(wakes == 3);
  CHECK(store.pending());
  store.run_completions();
  CHECK(done == "ab");  // what a completion commits is for the next turn
  CHECK(wakes == 4);
  store.run_completions();
  CHECK(done == "abc");
  CHECK_FALSE(store.pending());
  store.load([](std::string_view, std::string_view) { FAIL("nothing is stored"); });
}
