// The seam to what outlives a worker: batches of changes that are durable when their completion is called.
//
// The broker never waits: it hands over a batch and goes on; completions come back on the loop, in the order of the
// batches, possibly many at once (group commit). Acknowledgements that promise durability hang on them (contract C6).
// What the records are (sessions, queues, QoS 2 ids, outboxes, retained messages) is the business of record.h.
//
// A commit does not fail: while the disk is full, or store.max_size is reached, or writing fails, batches wait in the
// store in their order and are tried again, so nothing that is not true is ever acknowledged; health() says so
// meanwhile, and the broker refuses what would need the store.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace store {

// Puts and erases, in the order they are applied. One flat buffer: op u8, key size u32, value size u32, key, value.
class Batch {
 public:
  void put(std::string_view key, std::string_view value) { append(kPut, key, value); }
  void erase(std::string_view key) { append(kErase, key, {}); }
  // As the bytes of another one, from this process or another of this host; nullopt: they are none.
  static std::optional<Batch> from_bytes(std::string_view bytes);
  std::string_view view() const { return bytes_; }
  bool empty() const { return bytes_.empty(); }
  size_t bytes() const { return bytes_.size(); }
  size_t changes() const { return changes_; }
  size_t puts() const { return puts_; }
  // True if it puts nothing: such a batch is taken even when the store is full.
  bool only_erases() const { return puts_ == 0; }

  // f(bool erase, std::string_view key, std::string_view value)
  template <typename F>
  void for_each(F&& f) const {
    const char* p = bytes_.data();
    const char* const end = p + bytes_.size();
    while (p != end) {
      const bool erase = *p == kErase;
      uint32_t key = 0;
      uint32_t value = 0;
      std::memcpy(&key, p + 1, sizeof key);
      std::memcpy(&value, p + 5, sizeof value);
      f(erase, std::string_view(p + kHead, key), std::string_view(p + kHead + key, value));
      p += kHead + key + value;
    }
  }

 private:
  static constexpr char kPut = 0;
  static constexpr char kErase = 1;
  static constexpr size_t kHead = 9;
  void append(char op, std::string_view key, std::string_view value) {
    char head[kHead];
    head[0] = op;
    const auto key_size = static_cast<uint32_t>(key.size());
    const auto value_size = static_cast<uint32_t>(value.size());
    std::memcpy(head + 1, &key_size, sizeof key_size);
    std::memcpy(head + 5, &value_size, sizeof value_size);
    bytes_.append(head, kHead).append(key).append(value);
    ++changes_;
    if (op == kPut) ++puts_;
  }
  std::string bytes_;
  size_t changes_ = 0;
  size_t puts_ = 0;
};

inline std::optional<Batch> Batch::from_bytes(std::string_view bytes) {
  Batch batch;
  batch.bytes_ = bytes;
  for (std::string_view rest = bytes; !rest.empty();) {
    uint32_t key = 0;
    uint32_t value = 0;
    if (rest.size() < kHead) return std::nullopt;
    std::memcpy(&key, rest.data() + 1, sizeof key);
    std::memcpy(&value, rest.data() + 5, sizeof value);
    if (rest[0] != kPut && rest[0] != kErase) return std::nullopt;
    if (rest.size() - kHead < uint64_t{key} + value) return std::nullopt;
    ++batch.changes_;
    if (rest[0] == kPut) ++batch.puts_;
    rest.remove_prefix(kHead + key + value);
  }
  return batch;
}

using Completion = std::function<void()>;
using Visit = std::function<void(std::string_view key, std::string_view value)>;

// full: the disk is full or store.max_size is reached; it recovers by itself when space is back.
// failing: writing fails for another reason; it is tried again.
enum class Health : uint8_t { ok, full, failing };

class Store {
 public:
  virtual ~Store() = default;
  // Everything that is stored, in the order of keys. Before the first commit.
  virtual void load(const Visit& visit) = 0;
  // At any time: what is stored, behind the key `after` (which moves on), about `bytes` of it. Of batches whose
  // completion has not been called it may show something or nothing. False: that was the rest.
  virtual bool read_on(std::string& after, size_t bytes, const Visit& visit) = 0;
  // Applies the batch atomically, after all batches before it. `done` is called from run_completions(), never from
  // inside commit().
  virtual void commit(Batch batch, Completion done) = 0;
  // Calls what is due. The driver calls it once a loop turn.
  virtual void run_completions() = 0;
  // Batches whose completion has not been called.
  virtual bool pending() const = 0;
  virtual Health health() const = 0;
};

}  // namespace store
