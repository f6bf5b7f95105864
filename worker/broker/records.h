// Sessions in the store: what is written of them as they change, and how they come back. Layouts:
// shared/store/record.h.
//
// Stored are the sessions that outlive their connection, with everything, and of the others those with a will: its
// record is what makes the will survive this worker.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "shared/store/record.h"
#include "worker/broker/core.h"

namespace broker {

class Records final : public session::Recorder {
 public:
  static constexpr uint64_t kAliveEveryMs = 1000;  // how often write_alive() writes

  explicit Records(Core& core) : core_(core) {}

  // --- sessions ---
  // The session's head as it is now, if it is to be stored; it gets its number with the first.
  void write_head(session::Session& session);
  // Everything of it: a session that has come from another worker.
  void write_all(session::Session& session);
  void write_subscription(const session::Session& session, std::string_view filter,
                          const router::SubscriptionOptions& options);
  void write_share(const session::Session& session, const session::OwnShare& share);
  void erase_subscription(const session::Session& session, std::string_view filter);
  void erase_share(const session::Session& session, std::string_view group, std::string_view filter);
  // A message that was taken out of its session.
  void erase_delivery(uint64_t sid, uint64_t position, uint8_t records);
  // It ends, and is about to lose its subscriptions: whether it is durable still or not.
  void erase_subscriptions(const session::Session& session);
  // It has ended, or is stored no more. Its object may live on.
  void erase_all(session::Session& session);

  // --- session::Recorder ---
  void queued(session::Session& session, session::Delivery& delivery) override;
  void in_flight(session::Session& session, session::Inflight::Entry& entry) override;
  void removed(const session::Session& session, const session::Delivery& delivery) override;
  void incoming(const session::Session& session, uint16_t packet_id, bool known) override;
  void wait_to_send(const session::Session& session) override;
  uint64_t batch() const override;

  // The time, for a successor: clients that are connected now were until then.
  void write_alive();

  // --- start ---
  // Brings back everything that is stored. Before the first peer and client. Throws std::runtime_error for what cannot
  // be read.
  void load();

 private:
  // A session's records, as they come.
  struct Loading {
    bool has_head = false;
    store::SessionRecord head;
    struct Subscription {
      bool shared = false;
      std::string group;
      std::string filter;
      store::SubscriptionRecord options;
    };
    std::vector<Subscription> subscriptions;
    std::vector<std::pair<uint64_t, store::DeliveryRecord>> deliveries;  // by position
    std::map<uint64_t, store::ProgressRecord> progress;
    std::vector<uint16_t> incoming;
  };
  void load_record(std::string_view key, std::string_view value);
  void load_session(uint64_t sid, Loading& loading);
  void place(session::Session& session, session::Delivery& delivery);
  void write_delivery(const session::Session& session, session::Delivery& delivery,
                      const store::ProgressRecord& progress);

  Core& core_;
  uint64_t next_sid_ = 1;
  std::string key_;
  std::string value_;
  store::Now loaded_at_;
  uint64_t loaded_ = 0;  // records
  store::WallMs alive_ = 0;
  base::MonoMs alive_written_ = 0;
  std::unordered_map<uint64_t, Loading> loading_;  // by sid
};

}  // namespace broker
