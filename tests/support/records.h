// Records of every kind in one line each, for tests of what is done to whole stores.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "shared/store/record.h"
#include "shared/store/store.h"

namespace support {

struct StoredMessage {
  std::string_view topic = "t";
  std::string_view payload = "hi";
  uint64_t incarnation = 1;
  uint64_t sequence = 1;
  int qos = 1;
  bool retain = false;
  std::string_view publisher = "publisher";
};

inline bus::MessageRef stored_message(const StoredMessage& text) {
  bus::Message::Fields f;
  f.uid = {text.incarnation, text.sequence};
  f.qos = static_cast<proto::QoS>(text.qos);
  f.retain = text.retain;
  f.topic = text.topic;
  f.publisher = text.publisher;
  f.payload = text.payload;
  return bus::Message::make(f);
}

// The records of one store: keys and values.
class Records {
 public:
  void session(uint64_t sid, std::string_view client_id, uint64_t epoch = 1, std::vector<store::Mark> marks = {}) {
    store::SessionRecord record;
    record.client_id = client_id;
    record.epoch = epoch;
    record.marks = std::move(marks);
    store::session_key(key_, sid);
    store::encode(value_, record);
    put();
  }
  void subscription(uint64_t sid, std::string_view filter, const store::SubscriptionRecord& options = {}) {
    store::subscription_key(key_, sid, filter);
    store::encode(value_, options);
    put();
  }
  void share(uint64_t sid, std::string_view group, std::string_view filter) {
    store::share_key(key_, sid, group, filter);
    store::encode(value_, store::SubscriptionRecord{proto::QoS::at_least_once});
    put();
  }
  void delivery(uint64_t sid, uint64_t position, const StoredMessage& message, std::string_view group = {},
                std::string_view filter = {}) {
    store::delivery_key(key_, sid, position);
    store::encode_delivery(value_, {}, proto::QoS::at_least_once, false, nullptr, 0, !group.empty(), group, filter,
                           *stored_message(message), {});
    put();
  }
  void progress(uint64_t sid, uint64_t position, const store::ProgressRecord& progress) {
    store::progress_key(key_, sid, position);
    store::encode(value_, progress);
    put();
  }
  void incoming(uint64_t sid, uint16_t packet_id) {
    store::incoming_key(key_, sid, packet_id);
    store::encode_number(value_, 0);
    put();
  }
  void accepted(uint64_t number, const StoredMessage& message) {
    store::accepted_key(key_, number);
    store::encode_pending(value_, store::Purpose::publish, {}, {}, *stored_message(message), {});
    put();
  }
  void unsure(uint64_t number, uint64_t epoch, const StoredMessage& message) {
    store::accepted_key(key_, number);
    store::encode_unsure(value_, epoch, *stored_message(message), {});
    put();
  }
  void outbox(uint32_t slot, uint64_t number, store::Purpose purpose, const StoredMessage& message,
              std::string_view group = {}, std::string_view filter = {}) {
    store::outbox_key(key_, slot, number);
    store::encode_pending(value_, purpose, group, filter, *stored_message(message), {});
    put();
  }
  void retained(const StoredMessage& message, uint64_t version = 0, bool unconfirmed = false) {
    store::retained_key(key_, message.topic);
    store::encode(value_, store::RetainedRecord{version, unconfirmed, stored_message(message)}, {});
    put();
  }
  void cluster(uint64_t id) {
    store::meta_key(key_, "cluster");
    store::encode_number(value_, id);
    put();
  }
  void seen(uint32_t slot, uint64_t incarnation, uint8_t kind, uint64_t sequence) {
    store::seen_key(key_, slot, incarnation, kind);
    store::encode_number(value_, sequence);
    put();
  }
  void alive(uint64_t at) {
    store::meta_key(key_, "alive");
    store::encode_number(value_, at);
    put();
  }
  void unheard(std::string_view client_id, uint64_t epoch) {
    store::meta_key(key_, std::string("unheard/").append(client_id));
    store::encode_number(value_, epoch);
    put();
  }
  const std::map<std::string, std::string>& all() const { return records_; }

 private:
  void put() { records_[key_] = value_; }
  std::map<std::string, std::string> records_;
  std::string key_;
  std::string value_;
};

// One of every kind.
inline Records one_of_each() {
  Records r;
  r.session(1, "client", 7, {{1, 2, 3, 4}});
  r.subscription(1, "a/+", {proto::QoS::exactly_once, true, true, proto::RetainHandling::send_if_new, 9});
  r.share(1, "g", "a/#");
  r.delivery(1, 5, {.topic = "a/b", .payload = std::string_view("\0\xFF", 2)});
  r.progress(1, 5, {store::Progress::sent, 3});
  r.incoming(1, 12);
  r.accepted(1, {.topic = "w", .qos = 2});
  r.unsure(2, 7, {.topic = "u", .qos = 2});
  r.outbox(0, 1, store::Purpose::publish, {.topic = "a/b"});
  r.outbox(0, 2, store::Purpose::shared, {.topic = "a/b"}, "g", "a/#");
  r.retained({.topic = "r", .retain = true});
  r.retained({.topic = "v", .retain = true}, 12);
  r.retained({.topic = "d", .payload = "", .retain = true}, 13, true);
  r.seen(0, 2, 1, 99);
  return r;
}

}  // namespace support
