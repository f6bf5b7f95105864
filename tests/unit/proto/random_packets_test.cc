// Random packets of every type and version: encoded, decoded, compared. MM_SEED in the environment replays a failure.
#include <cstdlib>
#include <deque>

#include "proto/print.h"
#include "proto/property_fields.h"
#include "proto/reason_rules.h"
#include "tests/unit/proto/wire.h"

using namespace proto;

namespace {

class Generator {
 public:
  explicit Generator(unsigned seed) : random_(seed) {}

  size_t below(size_t bound) { return random_() % bound; }
  bool coin() { return below(2) == 0; }
  uint16_t id() { return static_cast<uint16_t>(1 + below(0xFFFF)); }
  QoS qos() { return static_cast<QoS>(below(3)); }

  // Valid UTF-8 without wildcards, not empty if `least` is 1. Lives as long as the generator.
  std::string_view text(size_t least = 0) {
    static constexpr std::string_view kParts[] = {
        "a", "B", "/", "$", " ", "\xC3\xA4", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\x01", "level/", "0123456789"};
    std::string out;
    const size_t parts = least + below(coin() ? 4 : 40);
    for (size_t i = 0; i < parts; ++i) out += kParts[below(std::size(kParts))];
    return keep(out);
  }
  std::string_view binary() {
    std::string out(below(coin() ? 8 : 400), '\0');
    for (char& c : out) c = static_cast<char>(random_());
    return keep(out);
  }

  Properties properties(PropertyPlaces place) {
    Properties out;
    for (const PropertyRule& rule : property_rules()) {
      if ((rule.places & place) == 0 || coin()) continue;
      const size_t times = (rule.repeats_in & place) != 0 ? 1 + below(4) : 1;
      for (size_t i = 0; i < times; ++i) with_field(out, rule.id, [&](auto& field) { fill(field, rule); });
    }
    return out;
  }

  ReasonCode reason(PacketType packet) {
    for (;;) {
      const auto code = static_cast<ReasonCode>(random_());
      if (may_stand_in(code, packet)) return code;
    }
  }

  Packet packet(PacketType type, ProtocolVersion version) {
    const bool v5 = version == ProtocolVersion::v5;
    const auto list = [&](PropertyPlaces place) { return v5 ? properties(place) : Properties{}; };
    switch (type) {
      case PacketType::connect: {
        Connect out;
        out.version = version;
        out.bridge = !v5 && coin();
        out.clean_start = coin();
        out.keep_alive = static_cast<uint16_t>(random_());
        out.client_id = text();
        out.properties = list(in(type));
        if (!out.properties.authentication_method) out.properties.authentication_data.reset();
        if (coin()) out.will = Will{qos(), coin(), text(1), binary(), list(kInWill)};
        if (coin()) out.user_name = text();
        if ((v5 || out.user_name) && coin()) out.password = binary();
        return out;
      }
      case PacketType::connack: {
        Connack out;
        out.reason = v5 ? reason(type) : coin() ? ReasonCode::success : ReasonCode::not_authorized;
        out.session_present = version != ProtocolVersion::v3_1 && out.reason == ReasonCode::success && coin();
        out.properties = list(in(type));
        return out;
      }
      case PacketType::publish:
        return publish(version);
      case PacketType::puback:
        return Puback{ack(type, version)};
      case PacketType::pubrec:
        return Pubrec{ack(type, version)};
      case PacketType::pubrel:
        return Pubrel{ack(type, version)};
      case PacketType::pubcomp:
        return Pubcomp{ack(type, version)};
      case PacketType::subscribe: {
        Subscribe out{id(), {}, list(in(type))};
        for (size_t i = 1 + below(5); i > 0; --i) {
          SubscribeEntry entry{text(1), qos(), {}, {}, {}};
          if (v5) {
            entry.no_local = coin() && !entry.filter.starts_with("$");
            entry.retain_as_published = coin();
            entry.retain_handling = static_cast<RetainHandling>(below(3));
          }
          out.entries.push_back(entry);
        }
        return out;
      }
      case PacketType::suback: {
        Suback out{id(), {}, list(in(type))};
        for (size_t i = 1 + below(5); i > 0; --i) {
          out.reasons.push_back(v5 ? reason(type) : static_cast<ReasonCode>(coin() ? 0x80 : below(3)));
        }
        return out;
      }
      case PacketType::unsubscribe: {
        Unsubscribe out{id(), {}, list(in(type))};
        for (size_t i = 1 + below(5); i > 0; --i) out.filters.push_back(text(1));
        return out;
      }
      case PacketType::unsuback: {
        Unsuback out{id(), {}, list(in(type))};
        for (size_t i = 1 + below(5); v5 && i > 0; --i) out.reasons.push_back(reason(type));
        return out;
      }
      case PacketType::pingreq:
        return Pingreq{};
      case PacketType::pingresp:
        return Pingresp{};
      case PacketType::disconnect:
        return Disconnect{v5 ? reason(type) : ReasonCode::normal_disconnection, list(in(type))};
      case PacketType::auth: {
        Auth out{reason(type), list(in(type))};
        out.properties.authentication_method = text();
        return out;
      }
    }
    return Pingreq{};
  }

 private:
  std::string_view keep(std::string text) { return kept_.emplace_back(std::move(text)); }

  template <typename Number>
  void fill(std::optional<Number>& field, const PropertyRule& rule) {
    const uint64_t range = uint64_t{std::min<uint32_t>(rule.max, std::numeric_limits<Number>::max())} - rule.min + 1;
    field = static_cast<Number>(rule.min + (uint64_t{random_()} % range));
  }
  void fill(std::optional<std::string_view>& field, const PropertyRule& rule) {
    field = rule.type == PropertyType::binary_data ? binary() : text(1);
  }
  void fill(std::vector<uint32_t>& field, const PropertyRule&) {
    field.push_back(1 + static_cast<uint32_t>(random_() % kMaxVariableByteInteger));
  }
  void fill(std::vector<UserProperty>& field, const PropertyRule&) { field.push_back({text(), text()}); }

  Ack ack(PacketType type, ProtocolVersion version) {
    if (version != ProtocolVersion::v5) return {id(), ReasonCode::success, {}};
    return {id(), reason(type), coin() ? properties(in(type)) : Properties{}};
  }

  Publish publish(ProtocolVersion version) {
    Publish out;
    out.qos = qos();
    const bool acknowledged = out.qos != QoS::at_most_once;
    if (acknowledged) out.packet_id = id();
    out.dup = acknowledged && coin();
    out.retain = coin();
    out.topic = text(1);
    out.payload = binary();
    if (version != ProtocolVersion::v5) return out;
    const Properties forwarded = properties(kInWill);
    std::string block(forwarded_properties_size(forwarded), '\0');
    write_forwarded_properties(forwarded, block.data());
    out.properties.block = keep(block);
    if (coin()) out.properties.topic_alias = id();
    if (coin()) out.properties.message_expiry_interval = static_cast<uint32_t>(random_());
    for (size_t i = below(4); i > 0; --i) {
      out.properties.subscription_identifiers.push_back(1 + static_cast<uint32_t>(random_() % kMaxVariableByteInteger));
    }
    return out;
  }

  std::mt19937 random_;
  std::deque<std::string> kept_;
};

void check_round_trip(const Packet& packet, ProtocolVersion version) {
  const std::string encoded = wire::encoded(packet, version);
  const auto frame = wire::only_frame(encoded);
  const auto decoded = decode_any(frame.view(), version);
  CAPTURE(describe(packet));
  REQUIRE(std::holds_alternative<Packet>(decoded));
  std::string storage;
  const Packet again = wire::to_encode(std::get<Packet>(decoded), storage);
  CHECK((again == packet));
  CHECK(wire::encoded(again, version) == encoded);
}

}  // namespace

TEST_CASE("random packets: decode(encode(x)) == x") {
  const char* given = std::getenv("MM_SEED");
  const unsigned first = given ? static_cast<unsigned>(std::strtoul(given, nullptr, 10)) : 1;
  const unsigned last = given ? first : 150;
  for (unsigned seed = first; seed <= last; ++seed) {
    CAPTURE(seed);
    Generator generator(seed);
    for (const auto version : wire::kVersions) {
      for (unsigned type = 1; type <= 15; ++type) {
        const auto packet_type = static_cast<PacketType>(type);
        if (packet_type == PacketType::auth && version != ProtocolVersion::v5) continue;
        check_round_trip(generator.packet(packet_type, version), version);
      }
    }
  }
}

TEST_CASE("random packets: any flipped bit is decoded or refused, never worse") {
  std::mt19937 random(5);
  Generator generator(5);
  size_t refused = 0;
  for (unsigned round = 0; round < 3000; ++round) {
    const auto version = wire::kVersions[random() % 3];
    const auto type = static_cast<PacketType>(1 + random() % 15);
    std::string encoded = wire::encoded(generator.packet(type, version), version);
    for (size_t flips = 1 + random() % 3; flips > 0; --flips) {
      encoded[random() % encoded.size()] ^= static_cast<char>(1u << random() % 8);
    }
    const wire::Cut cut = wire::cut(encoded, wire::whole());
    if (cut.frames.empty()) continue;
    const auto decoded = decode_any(cut.frames[0].view(), version);
    if (std::holds_alternative<DecodeError>(decoded)) {
      ++refused;
    } else {
      CHECK_FALSE(describe(std::get<Packet>(decoded)).empty());
    }
  }
  CHECK(refused > 100);
}
