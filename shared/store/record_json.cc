#include "shared/store/record_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "proto/utf8.h"
#include "shared/base/check.h"
#include "shared/store/base64.h"

namespace store {
namespace {

using Json = nlohmann::ordered_json;

// Stored times are written as they are: with these clocks both directions change nothing.
constexpr Now kAsStored{0, 0};

[[noreturn]] void wrong(const std::string& found, const std::string& expected) {
  throw std::runtime_error("found " + found + "; expected " + expected);
}

// --- small values ---

Json text_json(std::string_view text) {
  if (proto::is_valid_utf8(text)) return text;
  return {{"base64", to_base64(text)}};
}

std::string bytes_of(const Json& json) {
  if (auto bytes = from_base64(json.get<std::string>())) return *bytes;
  wrong(json.dump(), "base64");
}

std::string text_of(const Json& json) {
  return json.is_object() ? bytes_of(json.at("base64")) : json.get<std::string>();
}

// A number that fits: JSON's own conversion would cut it.
template <typename T>
T number_of(const Json& json, uint64_t max = std::numeric_limits<T>::max()) {
  if (!json.is_number_unsigned() || json.get<uint64_t>() > max) {
    wrong(json.dump(), "a whole number from 0 to " + std::to_string(max));
  }
  return static_cast<T>(json.get<uint64_t>());
}

proto::QoS qos_of(const Json& json) {
  return static_cast<proto::QoS>(number_of<uint8_t>(json, 2));
}

// An enum by the names of its values.
template <typename Enum, size_t N>
Enum named(const Json& json, const std::string_view (&names)[N]) {
  const auto found = std::ranges::find(names, json.get<std::string>());
  if (found == std::end(names)) wrong(json.dump(), "a name of that kind");
  return static_cast<Enum>(found - names);
}

constexpr std::string_view kProgress[] = {"queued", "sent", "released"};
constexpr std::string_view kPurposes[] = {"publish",        "retain",     "shared",
                                          "publish_placed", "shared_far", "publish_unsure"};

// --- parts of records ---

Json message_json(const bus::Message& m) {
  return {{"incarnation", m.once().incarnation},   {"sequence", m.once().sequence},
          {"qos", static_cast<unsigned>(m.qos())}, {"retain", m.retain()},
          {"expires_at", m.expires_at()},          {"topic", text_json(m.topic())},
          {"publisher", text_json(m.publisher())}, {"properties", to_base64(m.properties())},
          {"payload", to_base64(m.payload())}};
}

bus::MessageRef message_of(const Json& json) {
  const std::string topic = text_of(json.at("topic"));
  const std::string publisher = text_of(json.at("publisher"));
  const std::string properties = bytes_of(json.at("properties"));
  const std::string payload = bytes_of(json.at("payload"));
  if (topic.size() > UINT16_MAX || publisher.size() > UINT16_MAX) wrong("a text of more than 65535 bytes", "less");
  bus::Message::Fields f;
  f.uid = {number_of<uint64_t>(json.at("incarnation")), number_of<uint64_t>(json.at("sequence"))};
  f.qos = qos_of(json.at("qos"));
  f.retain = json.at("retain").get<bool>();
  f.expires_at = number_of<uint64_t>(json.at("expires_at"), uint64_t{1} << 62);
  f.topic = topic;
  f.publisher = publisher;
  f.properties = properties;
  f.payload = payload;
  return bus::Message::make(f);
}

Json will_json(const WillRecord& will) {
  Json json = {{"topic", text_json(will.topic)},
               {"qos", static_cast<unsigned>(will.qos)},
               {"retain", will.retain},
               {"delay", will.delay}};
  if (will.message_expiry) json["message_expiry"] = *will.message_expiry;
  json["properties"] = to_base64(will.properties);
  json["payload"] = to_base64(will.payload);
  return json;
}

WillRecord will_of(const Json& json) {
  WillRecord will;
  will.topic = text_of(json.at("topic"));
  will.qos = qos_of(json.at("qos"));
  will.retain = json.at("retain").get<bool>();
  will.delay = number_of<uint32_t>(json.at("delay"));
  if (json.contains("message_expiry")) will.message_expiry = number_of<uint32_t>(json.at("message_expiry"));
  will.properties = bytes_of(json.at("properties"));
  will.payload = bytes_of(json.at("payload"));
  return will;
}

void add_progress(Json& json, const ProgressRecord& progress) {
  json["progress"] = kProgress[static_cast<size_t>(progress.progress)];
  json["packet_id"] = progress.packet_id;
}

ProgressRecord progress_of(const Json& json) {
  return {named<Progress>(json.at("progress"), kProgress), number_of<uint16_t>(json.at("packet_id"))};
}

// --- records: one function each way for every kind ---
// To JSON: `json` has "slot" and "record" already. From JSON: key and value are to be written.

void alive_json(Json& json, const Key&, std::string_view value) {
  uint64_t at = 0;
  CHECK(decode_number(value, at));
  json["at"] = at;
}

void alive_from(const Json& json, ImportedRecord& out) {
  meta_key(out.key, "alive");
  encode_number(out.value, number_of<uint64_t>(json.at("at")));
}

void session_json(Json& json, const Key& key, std::string_view value) {
  SessionRecord s;
  CHECK(decode(value, s));
  json["sid"] = key.sid;
  json["client_id"] = text_json(s.client_id);
  json["epoch"] = s.epoch;
  json["expiry_interval"] = s.expiry_interval;
  json["disconnected_at"] = s.disconnected_at;
  json["next_packet_id"] = s.next_packet_id;
  if (s.will) json["will"] = will_json(*s.will);
  json["marks"] = Json::array();
  for (const Mark& mark : s.marks) {
    json["marks"].push_back(
        {{"slot", mark.slot}, {"incarnation", mark.incarnation}, {"kind", mark.kind}, {"sequence", mark.sequence}});
  }
  if (s.uncopied_us != 0) json["uncopied"] = {{"since_us", s.uncopied_us}, {"from", s.uncopied_from}};
}

void session_from(const Json& json, ImportedRecord& out) {
  SessionRecord s;
  s.client_id = text_of(json.at("client_id"));
  s.epoch = number_of<uint64_t>(json.at("epoch"));
  s.expiry_interval = number_of<uint32_t>(json.at("expiry_interval"));
  s.disconnected_at = number_of<uint64_t>(json.at("disconnected_at"));
  s.next_packet_id = number_of<uint16_t>(json.at("next_packet_id"));
  if (json.contains("will")) s.will = will_of(json.at("will"));
  for (const Json& mark : json.at("marks")) {
    s.marks.push_back({number_of<uint32_t>(mark.at("slot")), number_of<uint64_t>(mark.at("incarnation")),
                       number_of<uint8_t>(mark.at("kind")), number_of<uint64_t>(mark.at("sequence"))});
  }
  if (json.contains("uncopied")) {
    s.uncopied_us = number_of<uint64_t>(json.at("uncopied").at("since_us"));
    s.uncopied_from = number_of<uint64_t>(json.at("uncopied").at("from"));
  }
  session_key(out.key, number_of<uint64_t>(json.at("sid")));
  encode(out.value, s);
}

void subscription_json(Json& json, const Key& key, std::string_view value) {
  SubscriptionRecord s;
  CHECK(decode(value, s));
  json["sid"] = key.sid;
  if (key.shared) json["group"] = text_json(key.group);
  json["filter"] = text_json(key.text);
  json["qos"] = static_cast<unsigned>(s.qos);
  json["no_local"] = s.no_local;
  json["retain_as_published"] = s.retain_as_published;
  json["retain_handling"] = static_cast<unsigned>(s.retain_handling);
  json["identifier"] = s.identifier;
}

void subscription_from(const Json& json, ImportedRecord& out) {
  SubscriptionRecord s;
  s.qos = qos_of(json.at("qos"));
  s.no_local = json.at("no_local").get<bool>();
  s.retain_as_published = json.at("retain_as_published").get<bool>();
  s.retain_handling = static_cast<proto::RetainHandling>(number_of<uint8_t>(json.at("retain_handling"), 2));
  s.identifier = number_of<uint32_t>(json.at("identifier"));
  const auto sid = number_of<uint64_t>(json.at("sid"));
  const std::string filter = text_of(json.at("filter"));
  if (json.contains("group")) {
    share_key(out.key, sid, text_of(json.at("group")), filter);
  } else {
    subscription_key(out.key, sid, filter);
  }
  encode(out.value, s);
}

void delivery_json(Json& json, const Key& key, std::string_view value) {
  DeliveryRecord d;
  CHECK(decode(value, d, kAsStored));
  json["sid"] = key.sid;
  json["position"] = key.number;
  add_progress(json, d.progress);
  json["qos"] = static_cast<unsigned>(d.qos);
  json["retain"] = d.retain;
  json["identifiers"] = d.ids;
  if (d.shared) {
    json["group"] = text_json(d.group);
    json["filter"] = text_json(d.filter);
  }
  json["message"] = message_json(*d.message);
}

void delivery_from(const Json& json, ImportedRecord& out) {
  std::vector<uint32_t> ids;
  for (const Json& id : json.at("identifiers")) ids.push_back(number_of<uint32_t>(id));
  const bool shared = json.contains("group");
  const std::string group = shared ? text_of(json.at("group")) : "";
  const std::string filter = shared ? text_of(json.at("filter")) : "";
  delivery_key(out.key, number_of<uint64_t>(json.at("sid")), number_of<uint64_t>(json.at("position")));
  encode_delivery(out.value, progress_of(json), qos_of(json.at("qos")), json.at("retain").get<bool>(), ids.data(),
                  ids.size(), shared, group, filter, *message_of(json.at("message")), kAsStored);
}

void progress_json(Json& json, const Key& key, std::string_view value) {
  ProgressRecord p;
  CHECK(decode(value, p));
  json["sid"] = key.sid;
  json["position"] = key.number;
  add_progress(json, p);
}

void progress_from(const Json& json, ImportedRecord& out) {
  progress_key(out.key, number_of<uint64_t>(json.at("sid")), number_of<uint64_t>(json.at("position")));
  encode(out.value, progress_of(json));
}

void incoming_json(Json& json, const Key& key, std::string_view value) {
  uint64_t number = 0;
  CHECK(decode_number(value, number));
  json["sid"] = key.sid;
  json["packet_id"] = key.number;
  json["number"] = number;
}

void incoming_from(const Json& json, ImportedRecord& out) {
  incoming_key(out.key, number_of<uint64_t>(json.at("sid")), number_of<uint16_t>(json.at("packet_id")));
  encode_number(out.value, number_of<uint64_t>(json.at("number")));
}

// The value of what is accepted and of outboxes.
void pending_json(Json& json, std::string_view value) {
  PendingRecord p;
  CHECK(decode(value, p, kAsStored));
  json["purpose"] = kPurposes[static_cast<size_t>(p.purpose)];
  if (is_shared(p.purpose)) {
    json["group"] = text_json(p.group);
    json["filter"] = text_json(p.filter);
  }
  if (p.purpose == Purpose::shared_far) json["node"] = text_json(p.node);
  if (p.purpose == Purpose::publish_unsure) json["epoch"] = p.epoch;
  json["message"] = message_json(*p.message);
}

void pending_from(const Json& json, ImportedRecord& out) {
  PendingRecord p;
  p.purpose = named<Purpose>(json.at("purpose"), kPurposes);
  if (is_shared(p.purpose)) {
    p.group = text_of(json.at("group"));
    p.filter = text_of(json.at("filter"));
  }
  if (p.purpose == Purpose::shared_far) p.node = text_of(json.at("node"));
  if (p.purpose == Purpose::publish_unsure) p.epoch = number_of<uint64_t>(json.at("epoch"));
  p.message = message_of(json.at("message"));
  encode(out.value, p, kAsStored);
}

void accepted_json(Json& json, const Key& key, std::string_view value) {
  json["number"] = key.number;
  pending_json(json, value);
}

void accepted_from(const Json& json, ImportedRecord& out) {
  accepted_key(out.key, number_of<uint64_t>(json.at("number")));
  pending_from(json, out);
}

void outbox_json(Json& json, const Key& key, std::string_view value) {
  json["for"] = key.slot;
  json["number"] = key.number;
  pending_json(json, value);
}

void outbox_from(const Json& json, ImportedRecord& out) {
  outbox_key(out.key, number_of<uint32_t>(json.at("for")), number_of<uint64_t>(json.at("number")));
  pending_from(json, out);
}

void retained_json(Json& json, const Key& key, std::string_view value) {
  RetainedRecord r;
  CHECK(decode(value, r, kAsStored));
  json["topic"] = text_json(key.text);
  if (r.version != 0) {
    json["version"] = r.version;
    json["unconfirmed"] = r.unconfirmed;
  }
  json["message"] = message_json(*r.message);
}

void retained_from(const Json& json, ImportedRecord& out) {
  RetainedRecord r;
  if (json.contains("version")) {
    r.version = number_of<uint64_t>(json.at("version"));
    if (r.version == 0) wrong("version 0", "none, or a higher one");
    r.unconfirmed = json.at("unconfirmed").get<bool>();
  }
  r.message = message_of(json.at("message"));
  retained_key(out.key, text_of(json.at("topic")));
  encode(out.value, r, kAsStored);
}

void seen_json(Json& json, const Key& key, std::string_view value) {
  uint64_t sequence = 0;
  CHECK(decode_number(value, sequence));
  json["of"] = key.slot;
  json["incarnation"] = key.incarnation;
  json["kind"] = key.seen;
  json["sequence"] = sequence;
}

void seen_from(const Json& json, ImportedRecord& out) {
  seen_key(out.key, number_of<uint32_t>(json.at("of")), number_of<uint64_t>(json.at("incarnation")),
           number_of<uint8_t>(json.at("kind")));
  encode_number(out.value, number_of<uint64_t>(json.at("sequence")));
}

struct Row {
  Kind kind;
  std::string_view name;
  void (*to)(Json&, const Key&, std::string_view);
  void (*from)(const Json&, ImportedRecord&);
};
constexpr Row kRows[] = {
    {Kind::meta, "alive", alive_json, alive_from},
    {Kind::session, "session", session_json, session_from},
    {Kind::subscription, "subscription", subscription_json, subscription_from},
    {Kind::delivery, "delivery", delivery_json, delivery_from},
    {Kind::progress, "progress", progress_json, progress_from},
    {Kind::incoming, "incoming", incoming_json, incoming_from},
    {Kind::accepted, "accepted", accepted_json, accepted_from},
    {Kind::outbox, "outbox", outbox_json, outbox_from},
    {Kind::retained, "retained", retained_json, retained_from},
    {Kind::seen, "seen", seen_json, seen_from},
};

}  // namespace

std::string to_json(const ExportHeader& header) {
  return Json{{"mqtt-master", "store"}, {"format", kFormatVersion}, {"slots", header.slots}}.dump();
}

ExportHeader header_from_json(std::string_view line) {
  const Json json = Json::parse(line, nullptr, false);
  if (!json.is_object() || json.value("mqtt-master", Json()) != "store") {
    wrong(std::string(line.substr(0, 80)), "the first line of an export, " + to_json(ExportHeader{1}));
  }
  const Json format = json.value("format", Json());
  if (!format.is_number_unsigned() || format < kOldestFormat || format > kFormatVersion) {
    wrong("format " + format.dump(), "format " + std::to_string(kFormatVersion));
  }
  const auto slots = number_of<uint32_t>(json.at("slots"));
  if (slots == 0) wrong("no slots", "at least one");
  return {slots};
}

std::optional<std::string> to_json(uint32_t slot, std::string_view key_bytes, std::string_view value) {
  const std::optional<Key> key = parse_key(key_bytes);
  CHECK(key.has_value());
  const auto row = std::ranges::find(kRows, key->kind, &Row::kind);
  CHECK(row != std::end(kRows));
  if (key->kind == Kind::meta && key->text != row->name) return std::nullopt;
  Json json = {{"slot", slot}, {"record", row->name}};
  row->to(json, *key, value);
  return json.dump();
}

ImportedRecord record_from_json(std::string_view line) {
  const Json json = Json::parse(line);
  const auto row = std::ranges::find(kRows, json.at("record").get<std::string>(), &Row::name);
  if (row == std::end(kRows)) wrong("a record " + json.at("record").dump(), "one of this format");
  ImportedRecord record;
  record.slot = number_of<uint32_t>(json.at("slot"));
  row->from(json, record);
  return record;
}

}  // namespace store
