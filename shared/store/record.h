// What a worker's store holds: one key and one value layout per kind of record. Pure; pinned byte for byte by
// tests/unit/shared/store/record_test.cc. Any change of a layout bumps kFormatVersion, and a store of another version
// is migrated or refused, never misread.
//
// A key is one letter and what follows; its numbers are big endian, so that keys sort like them. Values are little
// endian. Times are wall-clock: a process's own clock means nothing to the next.
//
//   M name                    meta: "M" "format" -> u32 version; "M" "layout" -> u32 slot, u32 slots of the host;
//                             "M" "alive" -> u64 ms: when the worker was last seen at work, to a second or so;
//                             "M" "cluster" -> u64: the cluster whose retained messages these were last
//                             "M" "life" -> u64 cluster, u64 us: when the copy was whole last, node key
//                             "M" "accepted", "M" "outbox" -> u64: numbers of P and O below it were in that
//                             "M" "unheard/" client id -> u64 epoch (worker/session/directory.h)
//                             "M" "route/" filter; "M" "share/" group "/" filter: other hosts want it (in slot 0)
//   S sid                     a session's head                        sid: u64, unique in its store
//   B sid filter              one subscription: u8 0, filter; or u8 1, u16 size of the group's name, name, filter
//   Q sid position            a message for the session, in the order it must be sent          position: u64
//   I sid position            how far the message at that position has come, if further than Q says
//   R sid packet_id           a QoS 2 packet id the client has published and not released
//   P number                  accepted, but not yet routed everywhere: QoS 2 messages, wills   number: u64
//   O slot number             for the worker of that slot, while it is dead                    slot: u32, number: u64
//   T topic                   a retained message, or that there is none any more
//   K slot incarnation kind   the last message from that worker process that was stored        kind: u8, see Seen
//                             kind 4: a group's message that a member was given; its name -> in which order
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/types.h"
#include "shared/base/clock.h"
#include "shared/bus/message.h"

namespace store {

// Since version 2 a retained message has its version behind it. Who writes to a store of version 1 makes it one of
// version 2 by that: without it the record means the same in both.
inline constexpr uint32_t kFormatVersion = 2;
inline constexpr uint32_t kOldestFormat = 1;

using WallMs = uint64_t;  // milliseconds since the Unix epoch; 0 = never / not

enum class Kind : char {
  meta = 'M',
  session = 'S',
  subscription = 'B',
  delivery = 'Q',
  progress = 'I',
  incoming = 'R',
  accepted = 'P',
  outbox = 'O',
  retained = 'T',
  seen = 'K',
};

// --- keys ---
// Each clears `out`.
void meta_key(std::string& out, std::string_view name);
void session_key(std::string& out, uint64_t sid);
void subscription_key(std::string& out, uint64_t sid, std::string_view filter);
void share_key(std::string& out, uint64_t sid, std::string_view group, std::string_view filter);
void delivery_key(std::string& out, uint64_t sid, uint64_t position);
void progress_key(std::string& out, uint64_t sid, uint64_t position);
void incoming_key(std::string& out, uint64_t sid, uint16_t packet_id);
void accepted_key(std::string& out, uint64_t number);
void outbox_key(std::string& out, uint32_t slot, uint64_t number);
void retained_key(std::string& out, std::string_view topic);
void seen_key(std::string& out, uint32_t slot, uint64_t incarnation, uint8_t kind);

// A key taken apart; views point into it. Fields that its kind does not have are zero.
struct Key {
  Kind kind = Kind::meta;
  uint64_t sid = 0;
  uint64_t number = 0;  // position, packet id, number
  uint32_t slot = 0;
  uint64_t incarnation = 0;
  uint8_t seen = 0;
  bool shared = false;
  std::string_view group;
  std::string_view text;  // filter, topic, name
};
// nullopt: no key of this format.
std::optional<Key> parse_key(std::string_view key);

// --- values ---
// `encode` appends to nothing: it clears `out`. `decode` returns false for bytes that encode() does not write.

struct Layout {
  uint32_t slot = 0;
  uint32_t slots = 0;
};
void encode(std::string& out, const Layout& layout);
bool decode(std::string_view value, Layout& layout);

struct LifeRecord {
  uint64_t cluster = 0;
  uint64_t copied_us = 0;  // wall clock
  std::string key;
};
void encode(std::string& out, const LifeRecord& life);
bool decode(std::string_view value, LifeRecord& life);

struct WillRecord {
  std::string topic;
  std::string payload;
  std::string properties;  // forwarded block
  proto::QoS qos = proto::QoS::at_most_once;
  bool retain = false;
  uint32_t delay = 0;  // seconds
  std::optional<uint32_t> message_expiry;
};
// The last message of an origin that a session has, see worker/broker/seen.h.
struct Mark {
  uint32_t slot = 0;
  uint64_t incarnation = 0;
  uint8_t kind = 0;
  uint64_t sequence = 0;
  bool operator==(const Mark&) const = default;
};
struct SessionRecord {
  std::string client_id;
  uint64_t epoch = 0;
  uint32_t expiry_interval = 0;  // seconds; 0xFFFFFFFF = never
  WallMs disconnected_at = 0;    // 0: connected when this was written
  uint16_t next_packet_id = 1;
  std::optional<WillRecord> will;
  std::vector<Mark> marks;
  // In a cluster: since when, by the wall clock, messages are stored that are not in the host's copy, and the position
  // of the first. 0: there are none since the copy was whole last (LifeRecord).
  uint64_t uncopied_us = 0;
  uint64_t uncopied_from = 0;
};
void encode(std::string& out, const SessionRecord& session);
bool decode(std::string_view value, SessionRecord& session);

struct SubscriptionRecord {
  proto::QoS qos = proto::QoS::at_most_once;
  bool no_local = false;
  bool retain_as_published = false;
  proto::RetainHandling retain_handling = proto::RetainHandling::send;
  uint32_t identifier = 0;  // 0 = none
  bool operator==(const SubscriptionRecord&) const = default;
};
void encode(std::string& out, const SubscriptionRecord& subscription);
bool decode(std::string_view value, SubscriptionRecord& subscription);

// How far a message has come on its way to the client.
enum class Progress : uint8_t {
  queued = 0,    // not sent, no packet id
  sent = 1,      // PUBLISH with that packet id may have been sent
  released = 2,  // PUBREC came: PUBREL with that packet id
};
struct ProgressRecord {
  Progress progress = Progress::queued;
  uint16_t packet_id = 0;
  bool operator==(const ProgressRecord&) const = default;
};
void encode(std::string& out, const ProgressRecord& progress);
bool decode(std::string_view value, ProgressRecord& progress);

// A message with what belongs to its storage. Wall-clock expiry; the identity that dedupes it (Message::once).
// Decoding makes a message whose uid and once are both the stored identity; `expires_at` is set by the caller's clock:
// now_ms + what is left, or 1 (long ago) when nothing is left.
struct Now {
  base::MonoMs mono = 0;
  WallMs wall = 0;
};
void append_message(std::string& out, const bus::Message& message, const Now& now);
// Reads the rest of `value`. Null: malformed.
bus::MessageRef read_message(std::string_view value, const Now& now);

// What was last retained on a topic. An empty payload: it has been deleted, which may be forgotten when that expires.
struct RetainedRecord {
  uint64_t version = 0;      // in the order of the topic's changes; 0: from before there were versions
  bool unconfirmed = false;  // given by the host itself. REQUIRES: version != 0
  bus::MessageRef message;
};
void encode(std::string& out, const RetainedRecord& retained, const Now& now);
bool decode(std::string_view value, RetainedRecord& retained, const Now& now);

struct DeliveryRecord {
  ProgressRecord progress;
  proto::QoS qos = proto::QoS::at_most_once;  // what the client gets
  bool retain = false;
  std::vector<uint32_t> ids;  // subscription identifiers
  bool shared = false;
  std::string group;   // of a shared subscription
  std::string filter;  // of it
  bus::MessageRef message;
};
// Both directions without copying ids and group first: the parts of a delivery as the caller has them.
void encode_delivery(std::string& out, const ProgressRecord& progress, proto::QoS qos, bool retain, const uint32_t* ids,
                     size_t id_count, bool shared, std::string_view group, std::string_view filter,
                     const bus::Message& message, const Now& now);
bool decode(std::string_view value, DeliveryRecord& delivery, const Now& now);

// What waits for a dead worker, or is accepted and not yet routed.
// publish_placed: as publish, but every shared group that wants the message has it. shared_far: as shared, for members
// of another host. publish_unsure: as publish, if its session has not gone on at another host.
enum class Purpose : uint8_t {
  publish = 0,
  retain = 1,
  shared = 2,
  publish_placed = 3,
  shared_far = 4,
  publish_unsure = 5
};
inline constexpr bool is_shared(Purpose purpose) {
  return purpose == Purpose::shared || purpose == Purpose::shared_far;
}
struct PendingRecord {
  Purpose purpose = Purpose::publish;
  std::string group;   // purposes shared, shared_far
  std::string filter;  // purposes shared, shared_far
  std::string node;    // purpose shared_far: the host that was chosen; empty: none yet
  uint64_t epoch = 0;  // purpose publish_unsure: the session's
  bus::MessageRef message;
};
void encode_pending(std::string& out, Purpose purpose, std::string_view group, std::string_view filter,
                    const bus::Message& message, const Now& now, std::string_view node = {});
void encode_unsure(std::string& out, uint64_t epoch, const bus::Message& message, const Now& now);
void encode(std::string& out, const PendingRecord& pending, const Now& now);
bool decode(std::string_view value, PendingRecord& pending, const Now& now);

void encode_number(std::string& out, uint64_t number);  // R (0), K
bool decode_number(std::string_view value, uint64_t& number);
void encode_version(std::string& out, uint32_t version);  // M format
bool decode_version(std::string_view value, uint32_t& version);

}  // namespace store
