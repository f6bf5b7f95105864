// What is wrong with the records of a store, one by one and taken together.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "shared/store/record.h"

namespace store {

// A key for people: "delivery sid=7 position=12". Bytes that are no key in hexadecimal.
std::string describe_key(std::string_view key);

// What is wrong with a record by itself: its key, its value, or that a client could never have brought it about (a
// filter that is none, properties that are none). "": nothing.
std::string problem_of(std::string_view key, std::string_view value);

// One store's records. First every session, then every record, then finish().
class StoreCheck {
 public:
  // `report` gets the key and what is wrong with it.
  using Report = std::function<void(const std::string& key, const std::string& problem)>;
  StoreCheck(const Layout& layout, Report report) : layout_(layout), report_(std::move(report)) {}

  void session(std::string_view key, std::string_view value);
  void record(std::string_view key, std::string_view value);
  void finish();

 private:
  using Place = std::pair<uint64_t, uint64_t>;  // sid, position

  const Layout layout_;
  const Report report_;
  std::unordered_set<uint64_t> sids_;
  std::unordered_map<std::string, uint64_t> clients_;
  std::set<Place> progress_;  // of which no delivery has been seen
};

}  // namespace store
