#include "master/restore.h"

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <vector>

#include "shared/loop/loop.h"
#include "shared/loop/timer.h"
#include "shared/redis/redis_hub.h"
#include "shared/store/rebuild.h"
#include "shared/store/record.h"
#include "shared/store/stores.h"

namespace master {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kTurnMs = 10;
constexpr uint64_t kPatienceMs = 60'000;  // without any progress

// One reader of copies, with a loop of its own.
class Reader final : public cluster::Hub::Events {
 public:
  explicit Reader(const config::Redis& config) : timer_(loop_) {
    redis::RedisHub::Options options;
    std::string error;
    if (!redis::RedisHub::options_of(config, options, error)) throw std::runtime_error(error);
    options.client_name = "mqtt-master:restore";
    hub_ = std::make_unique<redis::RedisHub>(loop_, std::move(options));
    timer_.start(kTurnMs, kTurnMs, [] {});
    hub_->start(*this);
  }
  ~Reader() override { hub_.reset(); }

  // Every record of that node's copies, some of them more than once, in no order. Begins anew (`again`) when the
  // connection was lost.
  void read(const std::string& node, const std::function<void()>& again,
            const std::function<void(const cluster::Copied&)>& each) {
    uint64_t cursor = 0;
    for (;;) {
      const cluster::Hub::Records piece = ask(node, cursor, [&] {
        cursor = 0;
        again();
      });
      for (const cluster::Copied& record : piece.items) each(record);
      cursor = piece.next;
      if (cursor == 0) return;
    }
  }

  void on_up(const cluster::Info&) override {}
  void on_down(const std::string& reason) override { reason_ = reason; }
  void on_datagram(std::string_view, std::string_view) override {}
  void on_nodes_changed() override {}

 private:
  cluster::Hub::Records ask(const std::string& node, const uint64_t& cursor, const std::function<void()>& again) {
    uint64_t begun = loop_.now_ms();
    bool asked = false;
    std::optional<std::pair<cluster::Status, cluster::Hub::Records>> answer;
    for (;;) {
      if (hub_->up() && !asked) {
        asked = true;
        hub_->read_copy(node, cursor, [&](cluster::Status status, cluster::Hub::Records records) {
          answer.emplace(status, std::move(records));
        });
        hub_->flush();
      }
      loop_.run_once();
      hub_->run_completions();
      hub_->flush();
      if (answer && answer->first == cluster::Status::ok) return std::move(answer->second);
      if (answer) {
        answer.reset();
        asked = false;
        again();
      }
      if (loop_.now_ms() - begun > kPatienceMs) {
        throw std::runtime_error("the copies of " + node + " cannot be read: Redis does not answer (" + reason_ + ')');
      }
    }
  }

  loop::Loop loop_;
  loop::Timer timer_;
  std::unique_ptr<redis::RedisHub> hub_;
  std::string reason_;
};

// Who makes a store writes these itself; the retained messages that "cluster" is about are not there.
bool is_restored(const store::Key& key) {
  if (key.kind == store::Kind::retained) return false;
  return key.kind != store::Kind::meta || key.text == "alive";
}

}  // namespace

void restore(const config::Redis& redis, const std::string& node, const std::string& stores) {
  const std::string fresh = stores + ".new";
  std::map<uint32_t, std::unique_ptr<store::StoreWriter>> writers;
  uint32_t slots = 1;
  Reader reader(redis);
  // How many slots there were is in every copy; it must be known before the first is written.
  std::map<uint32_t, uint32_t> layouts;
  const auto note = [&](const cluster::Copied& record) {
    const auto key = store::parse_key(record.key);
    store::Layout layout;
    slots = std::max(slots, record.slot + 1);
    if (key && key->kind == store::Kind::meta && key->text == "layout" && store::decode(record.value, layout)) {
      slots = std::max(slots, layout.slots);
    }
  };
  reader.read(
      node, [] {}, note);
  if (slots > store::kMaxSlots) throw std::runtime_error("the copies of " + node + " are of too many slots");
  const auto begin = [&] {
    writers.clear();
    fs::remove_all(fresh);
    fs::create_directories(fresh);
    for (uint32_t slot = 0; slot < slots; ++slot) {
      writers[slot] = std::make_unique<store::StoreWriter>(store::slot_in(fresh, slot), store::Layout{slot, slots});
    }
  };
  begin();
  reader.read(node, begin, [&](const cluster::Copied& record) {
    const auto key = store::parse_key(record.key);
    const auto writer = writers.find(record.slot);
    if (key && is_restored(*key) && writer != writers.end()) writer->second->put(record.key, record.value);
  });
  for (auto& [slot, writer] : writers) writer->finish();
  writers.clear();
  store::note_slots(fresh, slots);
  store::replace_stores(fresh, stores);
}

}  // namespace master
