#include "shared/store/record_check.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "proto/codec.h"
#include "proto/topic.h"
#include "proto/utf8.h"
#include "shared/base/home.h"

namespace store {
namespace {

constexpr Now kAsStored{0, 0};
// Meta records of a number.
constexpr std::array<std::string_view, 4> kNumbers{"alive", "cluster", "accepted", "outbox"};

std::string hex(std::string_view bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const char byte : bytes.substr(0, 64)) {
    out += kDigits[static_cast<uint8_t>(byte) >> 4];
    out += kDigits[static_cast<uint8_t>(byte) & 15];
  }
  return out + (bytes.size() > 64 ? "..." : "");
}

// What makes topic and properties valid is what the decoder of a PUBLISH takes.
std::string message_problem(std::string_view topic, std::string_view properties) {
  if (topic.size() > UINT16_MAX || properties.size() > proto::kMaxPacketSize / 2) return "it is too long";
  proto::PublishHead head;
  head.version = proto::ProtocolVersion::v5;
  head.topic = topic;
  head.forwarded_properties = properties;
  std::string bytes(proto::publish_size(head).head, '\0');
  proto::write_publish_head(head, bytes.data());
  proto::Framer framer(proto::kMaxPacketSize);
  proto::Frame frame;
  std::string_view input = bytes;
  proto::Publish publish;
  if (topic.empty() || framer.next(input, frame) != proto::Framer::Result::frame) return "it is no message";
  if (const auto error = proto::decode(frame, head.version, publish)) return error->what;
  if (proto::forwarded_properties_size(properties) != properties.size()) return "properties that are not passed on";
  return "";
}

std::string message_problem(const bus::Message& message) {
  if (!proto::is_valid_utf8(message.publisher())) return "the publisher's client id is not UTF-8";
  return message_problem(message.topic(), message.properties());
}

bool is_group(std::string_view group, std::string_view filter) {
  return !group.empty() && group.find_first_of("/+#") == group.npos && proto::is_valid_utf8(group) &&
         proto::is_valid_topic_filter(filter) && proto::is_valid_utf8(filter);
}

constexpr const char* kMalformed = "its value is malformed";
constexpr const char* kNoGroup = "its group or filter is none";

std::string session_problem(std::string_view value) {
  SessionRecord s;
  if (!decode(value, s)) return kMalformed;
  if (!proto::is_valid_utf8(s.client_id)) return "its client id is not UTF-8";
  if (s.next_packet_id == 0) return "its next packet id is 0";
  return s.will ? message_problem(s.will->topic, s.will->properties) : "";
}

std::string subscription_problem(const Key& key, std::string_view value) {
  SubscriptionRecord s;
  if (!decode(value, s)) return kMalformed;
  if (key.shared) return is_group(key.group, key.text) ? "" : kNoGroup;
  return proto::is_valid_topic_filter(key.text) && proto::is_valid_utf8(key.text) ? "" : "its filter is none";
}

std::string delivery_problem(std::string_view value) {
  DeliveryRecord d;
  if (!decode(value, d, kAsStored)) return kMalformed;
  if (d.shared && !is_group(d.group, d.filter)) return kNoGroup;
  if (d.progress.progress != Progress::queued && d.progress.packet_id == 0) return "it was sent with packet id 0";
  return message_problem(*d.message);
}

std::string progress_problem(std::string_view value) {
  ProgressRecord p;
  if (!decode(value, p)) return kMalformed;
  return p.progress != Progress::queued && p.packet_id == 0 ? "it was sent with packet id 0" : "";
}

std::string pending_problem(std::string_view value) {
  PendingRecord p;
  if (!decode(value, p, kAsStored)) return kMalformed;
  if (is_shared(p.purpose) && !is_group(p.group, p.filter)) return kNoGroup;
  return message_problem(*p.message);
}

std::string retained_problem(const Key& key, std::string_view value) {
  RetainedRecord r;
  if (!decode(value, r, kAsStored)) return kMalformed;
  if (r.message->topic() != key.text) return "its message has another topic";
  return message_problem(*r.message);
}

std::string number_problem(std::string_view value) {
  uint64_t number = 0;
  return decode_number(value, number) ? "" : kMalformed;
}

}  // namespace

std::string describe_key(std::string_view bytes) {
  const std::optional<Key> key = parse_key(bytes);
  if (!key) return "key " + hex(bytes);
  const std::string sid = " sid=" + std::to_string(key->sid);
  const auto number = [&](const char* name) { return std::string(" ") + name + '=' + std::to_string(key->number); };
  const std::string text(key->text);
  switch (key->kind) {
    case Kind::meta:
      return "meta " + text;
    case Kind::session:
      return "session" + sid;
    case Kind::subscription:
      return "subscription" + sid + (key->shared ? " group=" + std::string(key->group) : "") + " filter=" + text;
    case Kind::delivery:
      return "delivery" + sid + number("position");
    case Kind::progress:
      return "progress" + sid + number("position");
    case Kind::incoming:
      return "incoming" + sid + number("packet_id");
    case Kind::accepted:
      return "accepted" + number("number");
    case Kind::outbox:
      return "outbox for=" + std::to_string(key->slot) + number("number");
    case Kind::retained:
      return "retained topic=" + text;
    case Kind::seen:
      return "seen of=" + std::to_string(key->slot) + " incarnation=" + std::to_string(key->incarnation) +
             " kind=" + std::to_string(key->seen);
  }
  return "";
}

std::string problem_of(std::string_view bytes, std::string_view value) {
  const std::optional<Key> key = parse_key(bytes);
  if (!key) return "it is no key of this format";
  switch (key->kind) {
    case Kind::meta:
      if (LifeRecord life; key->text == "life") return decode(value, life) ? "" : "its value is malformed";
      if (key->text.starts_with("unheard/")) return number_problem(value);
      return std::ranges::count(kNumbers, key->text) != 0 ? number_problem(value) : "";
    case Kind::session:
      return session_problem(value);
    case Kind::subscription:
      return subscription_problem(*key, value);
    case Kind::delivery:
      return delivery_problem(value);
    case Kind::progress:
      return progress_problem(value);
    case Kind::incoming:
      return key->number == 0 ? "its packet id is 0" : number_problem(value);
    case Kind::accepted:
    case Kind::outbox:
      return pending_problem(value);
    case Kind::retained:
      return retained_problem(*key, value);
    case Kind::seen:
      return number_problem(value);
  }
  return "";
}

void StoreCheck::session(std::string_view key_bytes, std::string_view value) {
  const std::optional<Key> key = parse_key(key_bytes);
  SessionRecord session;
  if (!key || key->kind != Kind::session || !decode(value, session)) return;  // record() says what is wrong with it
  sids_.insert(key->sid);
  const auto [other, fresh] = clients_.try_emplace(session.client_id, key->sid);
  if (fresh) return;
  report_(describe_key(key_bytes), "its client id has another session, sid=" + std::to_string(other->second));
}

void StoreCheck::record(std::string_view key_bytes, std::string_view value) {
  const std::string name = describe_key(key_bytes);
  if (const std::string problem = problem_of(key_bytes, value); !problem.empty()) report_(name, problem);
  const std::optional<Key> key = parse_key(key_bytes);
  if (!key) return;
  switch (key->kind) {
    case Kind::progress: {
      // These sort before the deliveries. Past PUBREC there need not be one any more.
      ProgressRecord progress;
      if (decode(value, progress) && progress.progress != Progress::released) progress_.emplace(key->sid, key->number);
      [[fallthrough]];
    }
    case Kind::delivery:
      if (key->kind == Kind::delivery) progress_.erase({key->sid, key->number});
      [[fallthrough]];
    case Kind::subscription:
    case Kind::incoming:
      if (!sids_.contains(key->sid)) report_(name, "there is no such session");
      break;
    case Kind::outbox:
      if (key->slot >= layout_.slots) report_(name, "there is no such slot");
      break;
    case Kind::retained:
      if (base::home_of(key->text, layout_.slots) != layout_.slot) report_(name, "its home is another slot");
      break;
    case Kind::meta:
    case Kind::session:
    case Kind::accepted:
    case Kind::seen:
      break;
  }
}

void StoreCheck::finish() {
  std::string key;
  for (const auto& [sid, position] : progress_) {
    progress_key(key, sid, position);
    report_(describe_key(key), "there is no such delivery");
  }
}

}  // namespace store
