#include <doctest/doctest.h>

#include "shared/store/store.h"

using store::Batch;

namespace {

std::string text(const Batch& batch) {
  std::string out;
  batch.for_each([&](bool erase, std::string_view key, std::string_view value) {
    out += (erase ? "-" : "+") + std::string(key) + '=' + std::string(value) + ' ';
  });
  return out;
}

}  // namespace

TEST_CASE("batch: changes come back in their order") {
  Batch batch;
  batch.put("a", "1");
  batch.erase("b");
  batch.put("a", "");
  batch.put("", std::string(3, '\0'));
  CHECK(text(batch) == "+a=1 -b= +a= +=" + std::string(3, '\0') + ' ');
  CHECK(batch.changes() == 4);
  CHECK(batch.puts() == 3);
  CHECK(batch.bytes() == 4 * 9 + 3 + 1 + 3);
}

TEST_CASE("batch: an empty one") {
  const Batch batch;
  CHECK(batch.empty());
  CHECK(batch.only_erases());
  CHECK(text(batch).empty());
}

TEST_CASE("batch: it knows whether it only erases") {
  Batch batch;
  batch.erase("a");
  CHECK(batch.only_erases());
  batch.put("a", "");
  CHECK_FALSE(batch.only_erases());
}
