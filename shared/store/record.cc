#include "shared/store/record.h"

#include <algorithm>
#include <bit>
#include <type_traits>

#include "shared/base/check.h"
#include "shared/bus/frames.h"

namespace store {
namespace {

static_assert(std::endian::native == std::endian::little);

// Later than any message expiry of MQTT (32 bits of seconds) for the next hundred million years: nothing overflows.
constexpr WallMs kLatest = WallMs{1} << 62;
constexpr WallMs kLongAgo = 1;

using bus::Reader;

// --- keys: big endian ---

template <typename T>
void put_ordered(std::string& out, T value) {
  for (size_t shift = sizeof value * 8; shift > 0; shift -= 8) out += static_cast<char>(value >> (shift - 8));
}

template <typename T>
T get_ordered(Reader& reader) {
  const std::string_view bytes = reader.bytes(sizeof(T));
  uint64_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<uint8_t>(byte);
  return static_cast<T>(value);
}

void begin(std::string& out, Kind kind) {
  out.assign(1, static_cast<char>(kind));
}

constexpr uint8_t kPlain = 0;
constexpr uint8_t kShared = 1;

// --- values: little endian ---

template <typename T>
void put(std::string& out, T value) {
  static_assert(std::is_integral_v<T>);
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put_text(std::string& out, std::string_view text) {
  CHECK(text.size() <= UINT16_MAX);  // as every text of MQTT
  put(out, static_cast<uint16_t>(text.size()));
  out.append(text);
}

constexpr uint8_t kQosBits = 3;

std::optional<proto::QoS> qos_of(unsigned bits) {
  if (bits > 2) return std::nullopt;
  return static_cast<proto::QoS>(bits);
}

// Bits of the flags of one record.
constexpr uint8_t kSessionWill = 1;
constexpr uint8_t kSessionUncopied = 2;
constexpr uint8_t kWillRetain = 4;
constexpr uint8_t kWillExpiry = 8;
constexpr uint8_t kNoLocal = 4;
constexpr uint8_t kRetainAsPublished = 8;
constexpr unsigned kRetainHandlingShift = 4;
constexpr uint8_t kDeliveryRetain = 4;
constexpr uint8_t kDeliveryShared = 8;
constexpr uint8_t kMessageRetain = 4;
constexpr uint8_t kRetainedUnconfirmed = 1;

void put_will(std::string& out, const WillRecord& will) {
  const unsigned flags =
      static_cast<unsigned>(will.qos) | (will.retain ? kWillRetain : 0u) | (will.message_expiry ? kWillExpiry : 0u);
  put(out, static_cast<uint8_t>(flags));
  put(out, will.delay);
  if (will.message_expiry) put(out, *will.message_expiry);
  put_text(out, will.topic);
  put(out, static_cast<uint32_t>(will.properties.size()));
  put(out, static_cast<uint32_t>(will.payload.size()));
  out.append(will.properties).append(will.payload);
}

bool get_will(Reader& reader, WillRecord& will) {
  const auto flags = reader.get<uint8_t>();
  const auto qos = qos_of(flags & kQosBits);
  if (!qos || flags > (kQosBits | kWillRetain | kWillExpiry)) return false;
  will.qos = *qos;
  will.retain = (flags & kWillRetain) != 0;
  will.delay = reader.get<uint32_t>();
  if ((flags & kWillExpiry) != 0) will.message_expiry = reader.get<uint32_t>();
  will.topic = reader.text();
  const auto properties = reader.get<uint32_t>();
  const auto payload = reader.get<uint32_t>();
  will.properties = reader.bytes(properties);
  will.payload = reader.bytes(payload);
  return reader.ok();
}

constexpr size_t kMarkSize = 4 + 8 + 1 + 8;

void put_mark(std::string& out, const Mark& mark) {
  put(out, mark.slot);
  put(out, mark.incarnation);
  put(out, mark.kind);
  put(out, mark.sequence);
}

Mark get_mark(Reader& reader) {
  Mark mark;
  mark.slot = reader.get<uint32_t>();
  mark.incarnation = reader.get<uint64_t>();
  mark.kind = reader.get<uint8_t>();
  mark.sequence = reader.get<uint64_t>();
  return mark;
}

bool get_marks(Reader& reader, size_t available, std::vector<Mark>& marks) {
  const auto count = reader.get<uint32_t>();
  if (!reader.ok() || count > available / kMarkSize) return false;
  for (uint32_t i = 0; i < count; ++i) marks.push_back(get_mark(reader));
  return reader.ok();
}

void put_progress(std::string& out, const ProgressRecord& progress) {
  put(out, static_cast<uint8_t>(progress.progress));
  put(out, progress.packet_id);
}

bool get_progress(Reader& reader, ProgressRecord& progress) {
  const auto step = reader.get<uint8_t>();
  if (step > static_cast<uint8_t>(Progress::released)) return false;
  progress.progress = static_cast<Progress>(step);
  progress.packet_id = reader.get<uint16_t>();
  return reader.ok();
}

WallMs wall_expiry(base::MonoMs expires_at, const Now& now) {
  if (expires_at == 0) return 0;
  if (expires_at <= now.mono) return kLongAgo;
  return now.wall + std::min<uint64_t>(expires_at - now.mono, kLatest - now.wall);
}

base::MonoMs mono_expiry(WallMs stored, const Now& now) {
  if (stored == 0) return 0;
  return stored <= now.wall ? kLongAgo : now.mono + (stored - now.wall);
}

// Something may follow it.
bus::MessageRef get_leading_message(Reader& reader, const Now& now) {
  bus::Message::Fields f;
  f.uid.incarnation = reader.get<uint64_t>();
  f.uid.sequence = reader.get<uint64_t>();
  const auto expires_at = reader.get<uint64_t>();
  const auto payload = reader.get<uint32_t>();
  const auto properties = reader.get<uint32_t>();
  const auto topic = reader.get<uint16_t>();
  const auto publisher = reader.get<uint16_t>();
  const auto flags = reader.get<uint8_t>();
  const auto qos = qos_of(flags & kQosBits);
  if (!reader.ok() || !qos || flags > (kQosBits | kMessageRetain) || expires_at > kLatest) return {};
  f.qos = *qos;
  f.retain = (flags & kMessageRetain) != 0;
  f.expires_at = mono_expiry(expires_at, now);
  f.topic = reader.bytes(topic);
  f.publisher = reader.bytes(publisher);
  f.properties = reader.bytes(properties);
  f.payload = reader.bytes(payload);
  return reader.ok() ? bus::Message::make(f) : bus::MessageRef();
}

bus::MessageRef get_message(Reader& reader, const Now& now) {
  bus::MessageRef message = get_leading_message(reader, now);
  return reader.at_end() ? message : bus::MessageRef();
}

}  // namespace

// --- keys ---

void meta_key(std::string& out, std::string_view name) {
  begin(out, Kind::meta);
  out.append(name);
}

void session_key(std::string& out, uint64_t sid) {
  begin(out, Kind::session);
  put_ordered(out, sid);
}

void subscription_key(std::string& out, uint64_t sid, std::string_view filter) {
  begin(out, Kind::subscription);
  put_ordered(out, sid);
  put_ordered(out, kPlain);
  out.append(filter);
}

void share_key(std::string& out, uint64_t sid, std::string_view group, std::string_view filter) {
  CHECK(group.size() <= UINT16_MAX);
  begin(out, Kind::subscription);
  put_ordered(out, sid);
  put_ordered(out, kShared);
  put_ordered(out, static_cast<uint16_t>(group.size()));
  out.append(group).append(filter);
}

void delivery_key(std::string& out, uint64_t sid, uint64_t position) {
  begin(out, Kind::delivery);
  put_ordered(out, sid);
  put_ordered(out, position);
}

void progress_key(std::string& out, uint64_t sid, uint64_t position) {
  begin(out, Kind::progress);
  put_ordered(out, sid);
  put_ordered(out, position);
}

void incoming_key(std::string& out, uint64_t sid, uint16_t packet_id) {
  begin(out, Kind::incoming);
  put_ordered(out, sid);
  put_ordered(out, packet_id);
}

void accepted_key(std::string& out, uint64_t number) {
  begin(out, Kind::accepted);
  put_ordered(out, number);
}

void outbox_key(std::string& out, uint32_t slot, uint64_t number) {
  begin(out, Kind::outbox);
  put_ordered(out, slot);
  put_ordered(out, number);
}

void retained_key(std::string& out, std::string_view topic) {
  begin(out, Kind::retained);
  out.append(topic);
}

void seen_key(std::string& out, uint32_t slot, uint64_t incarnation, uint8_t kind) {
  begin(out, Kind::seen);
  put_ordered(out, slot);
  put_ordered(out, incarnation);
  put_ordered(out, kind);
}

namespace {

// What follows a subscription's sid.
void parse_subscription(Reader& reader, size_t available, Key& key) {
  const auto form = get_ordered<uint8_t>(reader);
  key.shared = form == kShared;
  available -= std::min<size_t>(available, 1);
  if (key.shared) {
    const auto size = get_ordered<uint16_t>(reader);
    key.group = reader.bytes(size);
    available -= std::min<size_t>(available, sizeof size + size);
  }
  if (form > kShared) available = 0;  // no such form
  key.text = reader.bytes(available);
}

// A text that has to be there.
bool has_text(const Key& key) {
  switch (key.kind) {
    case Kind::meta:
    case Kind::subscription:
    case Kind::retained:
      return true;
    case Kind::session:
    case Kind::delivery:
    case Kind::progress:
    case Kind::incoming:
    case Kind::accepted:
    case Kind::outbox:
    case Kind::seen:
      return false;
  }
  return false;
}

}  // namespace

std::optional<Key> parse_key(std::string_view bytes) {
  if (bytes.empty()) return std::nullopt;
  Key key;
  key.kind = static_cast<Kind>(bytes[0]);
  bytes.remove_prefix(1);
  Reader reader(bytes);
  switch (key.kind) {
    case Kind::meta:
    case Kind::retained:
      key.text = reader.bytes(bytes.size());
      break;
    case Kind::session:
      key.sid = get_ordered<uint64_t>(reader);
      break;
    case Kind::subscription:
      key.sid = get_ordered<uint64_t>(reader);
      if (!reader.ok()) return std::nullopt;
      parse_subscription(reader, bytes.size() - sizeof key.sid, key);
      break;
    case Kind::delivery:
    case Kind::progress:
      key.sid = get_ordered<uint64_t>(reader);
      key.number = get_ordered<uint64_t>(reader);
      break;
    case Kind::incoming:
      key.sid = get_ordered<uint64_t>(reader);
      key.number = get_ordered<uint16_t>(reader);
      break;
    case Kind::accepted:
      key.number = get_ordered<uint64_t>(reader);
      break;
    case Kind::outbox:
      key.slot = get_ordered<uint32_t>(reader);
      key.number = get_ordered<uint64_t>(reader);
      break;
    case Kind::seen:
      key.slot = get_ordered<uint32_t>(reader);
      key.incarnation = get_ordered<uint64_t>(reader);
      key.seen = get_ordered<uint8_t>(reader);
      break;
    default:  // the letter came from outside
      return std::nullopt;
  }
  if (!reader.at_end() || has_text(key) == key.text.empty()) return std::nullopt;
  return key;
}

// --- values ---

void encode(std::string& out, const Layout& layout) {
  out.clear();
  put(out, layout.slot);
  put(out, layout.slots);
}

bool decode(std::string_view value, Layout& layout) {
  Reader reader(value);
  layout.slot = reader.get<uint32_t>();
  layout.slots = reader.get<uint32_t>();
  return reader.at_end();
}

void encode(std::string& out, const LifeRecord& life) {
  out.clear();
  put(out, life.cluster);
  put(out, life.copied_us);
  out.append(life.key);
}

bool decode(std::string_view value, LifeRecord& life) {
  constexpr size_t kHead = 2 * sizeof(uint64_t);
  if (value.size() <= kHead) return false;
  Reader reader(value.substr(0, kHead));
  life.cluster = reader.get<uint64_t>();
  life.copied_us = reader.get<uint64_t>();
  life.key = value.substr(kHead);
  return true;
}

void encode(std::string& out, const SessionRecord& session) {
  out.clear();
  put(out, session.epoch);
  put(out, session.expiry_interval);
  put(out, session.disconnected_at);
  put(out, session.next_packet_id);
  const bool uncopied = session.uncopied_us != 0;
  put(out, static_cast<uint8_t>((session.will ? kSessionWill : 0) | (uncopied ? kSessionUncopied : 0)));
  put_text(out, session.client_id);
  if (session.will) put_will(out, *session.will);
  put(out, static_cast<uint32_t>(session.marks.size()));
  for (const Mark& mark : session.marks) put_mark(out, mark);
  if (!uncopied) return;
  put(out, session.uncopied_us);
  put(out, session.uncopied_from);
}

bool decode(std::string_view value, SessionRecord& session) {
  session = {};
  Reader reader(value);
  session.epoch = reader.get<uint64_t>();
  session.expiry_interval = reader.get<uint32_t>();
  session.disconnected_at = reader.get<uint64_t>();
  session.next_packet_id = reader.get<uint16_t>();
  const auto flags = reader.get<uint8_t>();
  if (flags > (kSessionWill | kSessionUncopied)) return false;
  session.client_id = reader.text();
  if ((flags & kSessionWill) != 0 && !get_will(reader, session.will.emplace())) return false;
  if (!get_marks(reader, value.size(), session.marks)) return false;
  if ((flags & kSessionUncopied) != 0) {
    session.uncopied_us = reader.get<uint64_t>();
    session.uncopied_from = reader.get<uint64_t>();
    if (session.uncopied_us == 0) return false;
  }
  return reader.at_end();
}

void encode(std::string& out, const SubscriptionRecord& subscription) {
  out.clear();
  const unsigned flags = static_cast<unsigned>(subscription.qos) | (subscription.no_local ? kNoLocal : 0u) |
                         (subscription.retain_as_published ? kRetainAsPublished : 0u) |
                         static_cast<unsigned>(subscription.retain_handling) << kRetainHandlingShift;
  put(out, static_cast<uint8_t>(flags));
  put(out, subscription.identifier);
}

bool decode(std::string_view value, SubscriptionRecord& subscription) {
  Reader reader(value);
  const auto flags = reader.get<uint8_t>();
  const auto qos = qos_of(flags & kQosBits);
  const unsigned handling = static_cast<unsigned>(flags) >> kRetainHandlingShift;
  if (!qos || handling > static_cast<unsigned>(proto::RetainHandling::do_not_send)) return false;
  subscription.qos = *qos;
  subscription.no_local = (flags & kNoLocal) != 0;
  subscription.retain_as_published = (flags & kRetainAsPublished) != 0;
  subscription.retain_handling = static_cast<proto::RetainHandling>(handling);
  subscription.identifier = reader.get<uint32_t>();
  return reader.at_end();
}

void encode(std::string& out, const ProgressRecord& progress) {
  out.clear();
  put_progress(out, progress);
}

bool decode(std::string_view value, ProgressRecord& progress) {
  Reader reader(value);
  return get_progress(reader, progress) && reader.at_end();
}

void append_message(std::string& out, const bus::Message& message, const Now& now) {
  put(out, message.once().incarnation);
  put(out, message.once().sequence);
  put(out, wall_expiry(message.expires_at(), now));
  put(out, static_cast<uint32_t>(message.payload().size()));
  put(out, static_cast<uint32_t>(message.properties().size()));
  put(out, static_cast<uint16_t>(message.topic().size()));
  put(out, static_cast<uint16_t>(message.publisher().size()));
  put(out, static_cast<uint8_t>(static_cast<unsigned>(message.qos()) | (message.retain() ? kMessageRetain : 0u)));
  out.append(message.topic()).append(message.publisher()).append(message.properties()).append(message.payload());
}

bus::MessageRef read_message(std::string_view value, const Now& now) {
  Reader reader(value);
  return get_message(reader, now);
}

void encode(std::string& out, const RetainedRecord& retained, const Now& now) {
  out.clear();
  append_message(out, *retained.message, now);
  if (retained.version == 0) return;
  put(out, retained.version);
  put(out, retained.unconfirmed ? kRetainedUnconfirmed : uint8_t{0});
}

bool decode(std::string_view value, RetainedRecord& retained, const Now& now) {
  retained = {};
  Reader reader(value);
  retained.message = get_leading_message(reader, now);
  if (!retained.message) return false;
  if (reader.at_end()) return true;
  retained.version = reader.get<uint64_t>();
  const auto flags = reader.get<uint8_t>();
  if (retained.version == 0 || flags > kRetainedUnconfirmed) return false;
  retained.unconfirmed = flags != 0;
  return reader.at_end();
}

void encode_delivery(std::string& out, const ProgressRecord& progress, proto::QoS qos, bool retain, const uint32_t* ids,
                     size_t id_count, bool shared, std::string_view group, std::string_view filter,
                     const bus::Message& message, const Now& now) {
  out.clear();
  put_progress(out, progress);
  const unsigned flags = static_cast<unsigned>(qos) | (retain ? kDeliveryRetain : 0u) | (shared ? kDeliveryShared : 0u);
  put(out, static_cast<uint8_t>(flags));
  put(out, static_cast<uint32_t>(id_count));
  for (size_t i = 0; i < id_count; ++i) put(out, ids[i]);
  if (shared) {
    put_text(out, group);
    put_text(out, filter);
  }
  append_message(out, message, now);
}

bool decode(std::string_view value, DeliveryRecord& delivery, const Now& now) {
  delivery = {};
  Reader reader(value);
  if (!get_progress(reader, delivery.progress)) return false;
  const auto flags = reader.get<uint8_t>();
  const auto qos = qos_of(flags & kQosBits);
  if (!qos || flags > (kQosBits | kDeliveryRetain | kDeliveryShared)) return false;
  delivery.qos = *qos;
  delivery.retain = (flags & kDeliveryRetain) != 0;
  delivery.shared = (flags & kDeliveryShared) != 0;
  const auto id_count = reader.get<uint32_t>();
  if (!reader.ok() || id_count > value.size() / sizeof(uint32_t)) return false;
  for (uint32_t i = 0; i < id_count; ++i) delivery.ids.push_back(reader.get<uint32_t>());
  if (delivery.shared) {
    delivery.group = reader.text();
    delivery.filter = reader.text();
  }
  delivery.message = get_message(reader, now);
  return static_cast<bool>(delivery.message);
}

void encode_pending(std::string& out, Purpose purpose, std::string_view group, std::string_view filter,
                    const bus::Message& message, const Now& now, std::string_view node) {
  out.clear();
  put(out, static_cast<uint8_t>(purpose));
  if (is_shared(purpose)) {
    put_text(out, group);
    put_text(out, filter);
  }
  if (purpose == Purpose::shared_far) put_text(out, node);
  append_message(out, message, now);
}

void encode_unsure(std::string& out, uint64_t epoch, const bus::Message& message, const Now& now) {
  out.clear();
  put(out, static_cast<uint8_t>(Purpose::publish_unsure));
  put(out, epoch);
  append_message(out, message, now);
}

void encode(std::string& out, const PendingRecord& p, const Now& now) {
  if (p.purpose == Purpose::publish_unsure) return encode_unsure(out, p.epoch, *p.message, now);
  encode_pending(out, p.purpose, p.group, p.filter, *p.message, now, p.node);
}

bool decode(std::string_view value, PendingRecord& pending, const Now& now) {
  pending = {};
  Reader reader(value);
  const auto purpose = reader.get<uint8_t>();
  if (purpose > static_cast<uint8_t>(Purpose::publish_unsure)) return false;
  pending.purpose = static_cast<Purpose>(purpose);
  if (is_shared(pending.purpose)) {
    pending.group = reader.text();
    pending.filter = reader.text();
  }
  if (pending.purpose == Purpose::shared_far) pending.node = reader.text();
  if (pending.purpose == Purpose::publish_unsure) pending.epoch = reader.get<uint64_t>();
  pending.message = get_message(reader, now);
  return static_cast<bool>(pending.message);
}

void encode_number(std::string& out, uint64_t number) {
  out.clear();
  put(out, number);
}

bool decode_number(std::string_view value, uint64_t& number) {
  Reader reader(value);
  number = reader.get<uint64_t>();
  return reader.at_end();
}

void encode_version(std::string& out, uint32_t version) {
  out.clear();
  put(out, version);
}

bool decode_version(std::string_view value, uint32_t& version) {
  Reader reader(value);
  version = reader.get<uint32_t>();
  return reader.at_end();
}

}  // namespace store
