#include "proto/print.h"

#include <variant>

#include "proto/property_fields.h"

namespace proto {

namespace {

constexpr size_t kLongest = 80;

std::string quoted(std::string_view bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text = "\"";
  for (const char c : bytes.substr(0, kLongest)) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      text += '\\';
      text += c;
    } else if (byte >= 0x20 && byte < 0x7F) {
      text += c;
    } else {
      text += "\\x";
      text += kDigits[byte >> 4];
      text += kDigits[byte & 15];
    }
  }
  text += '"';
  if (bytes.size() > kLongest) text += "... " + std::to_string(bytes.size()) + " bytes";
  return text;
}

std::string value_text(const PropertyValue& property) {
  if (property.rule->id == PropertyId::authentication_data) return std::to_string(property.text.size()) + " bytes";
  switch (property.rule->type) {
    case PropertyType::utf8_string:
    case PropertyType::binary_data:
      return quoted(property.text);
    case PropertyType::utf8_string_pair:
      return quoted(property.text) + ":" + quoted(property.value);
    default:
      return std::to_string(property.number);
  }
}

// Collects " name=value" words.
class Line {
 public:
  explicit Line(PacketType type) : text_(to_string(type)) {}

  Line& word(std::string_view word) {
    text_ += ' ';
    text_ += word;
    return *this;
  }
  Line& flag(bool set, std::string_view name) { return set ? word(name) : *this; }
  Line& number(std::string_view name, unsigned value) {
    word(name);
    text_ += '=' + std::to_string(value);
    return *this;
  }
  Line& string(std::string_view name, std::string_view value) {
    word(name);
    text_ += '=' + quoted(value);
    return *this;
  }
  Line& reason(ReasonCode code, std::string_view success) {
    return word(code == ReasonCode::success ? quoted(success) : quoted(to_string(code)));
  }
  Line& properties(const Properties& properties) {
    std::string list;
    for_each_property(properties, [&](const PropertyValue& property) { add(list, property); });
    return braced(list);
  }
  Line& properties(const PublishProperties& properties) {
    std::string list;
    if (properties.topic_alias != 0) list += "topic alias=" + std::to_string(properties.topic_alias);
    // The block may hold these two as well (decoded) or not (to be encoded).
    Properties block = inspect_block(properties.block);
    block.message_expiry_interval = properties.message_expiry_interval;
    block.subscription_identifiers = properties.subscription_identifiers;
    for_each_property(block, [&](const PropertyValue& property) { add(list, property); });
    return braced(list);
  }

  std::string take() { return std::move(text_); }

 private:
  static void add(std::string& list, const PropertyValue& property) {
    if (!list.empty()) list += ", ";
    list += property.rule->name;
    list += '=';
    list += value_text(property);
  }
  Line& braced(const std::string& list) { return list.empty() ? *this : word("{" + list + "}"); }

  std::string text_;
};

std::string text(const Connect& packet) {
  Line line(PacketType::connect);
  line.word(to_string(packet.version)).flag(packet.bridge, "bridge").flag(packet.clean_start, "clean");
  line.number("keep_alive", packet.keep_alive).string("client", packet.client_id);
  if (packet.user_name) line.string("user", *packet.user_name);
  if (packet.password) line.number("password_bytes", static_cast<unsigned>(packet.password->size()));
  line.properties(packet.properties);
  if (!packet.will) return line.take();
  line.word("will").number("qos", static_cast<unsigned>(packet.will->qos)).flag(packet.will->retain, "retain");
  line.string("topic", packet.will->topic).properties(packet.will->properties);
  return line.string("payload", packet.will->payload).take();
}

std::string text(const Connack& packet) {
  Line line(PacketType::connack);
  line.flag(packet.session_present, "session_present").reason(packet.reason, "Success");
  return line.properties(packet.properties).take();
}

std::string text(const Publish& packet) {
  Line line(PacketType::publish);
  line.number("qos", static_cast<unsigned>(packet.qos)).flag(packet.dup, "dup").flag(packet.retain, "retain");
  if (packet.qos != QoS::at_most_once) line.number("id", packet.packet_id);
  return line.string("topic", packet.topic).properties(packet.properties).string("payload", packet.payload).take();
}

std::string ack_text(PacketType type, const Ack& packet) {
  Line line(type);
  return line.number("id", packet.packet_id).reason(packet.reason, "Success").properties(packet.properties).take();
}
std::string text(const Puback& packet) {
  return ack_text(PacketType::puback, packet);
}
std::string text(const Pubrec& packet) {
  return ack_text(PacketType::pubrec, packet);
}
std::string text(const Pubrel& packet) {
  return ack_text(PacketType::pubrel, packet);
}
std::string text(const Pubcomp& packet) {
  return ack_text(PacketType::pubcomp, packet);
}

std::string text(const Subscribe& packet) {
  Line line(PacketType::subscribe);
  line.number("id", packet.packet_id).properties(packet.properties);
  for (const SubscribeEntry& entry : packet.entries) {
    line.string("filter", entry.filter).number("qos", static_cast<unsigned>(entry.qos));
    line.flag(entry.no_local, "no_local").flag(entry.retain_as_published, "retain_as_published");
    if (entry.retain_handling == RetainHandling::send) continue;
    line.number("retain_handling", static_cast<unsigned>(entry.retain_handling));
  }
  return line.take();
}

std::string text(const Suback& packet) {
  Line line(PacketType::suback);
  line.number("id", packet.packet_id).properties(packet.properties);
  for (const ReasonCode reason : packet.reasons) line.reason(reason, "Granted QoS 0");
  return line.take();
}

std::string text(const Unsubscribe& packet) {
  Line line(PacketType::unsubscribe);
  line.number("id", packet.packet_id).properties(packet.properties);
  for (const std::string_view filter : packet.filters) line.string("filter", filter);
  return line.take();
}

std::string text(const Unsuback& packet) {
  Line line(PacketType::unsuback);
  line.number("id", packet.packet_id).properties(packet.properties);
  for (const ReasonCode reason : packet.reasons) line.reason(reason, "Success");
  return line.take();
}

std::string text(const Pingreq&) {
  return Line(PacketType::pingreq).take();
}
std::string text(const Pingresp&) {
  return Line(PacketType::pingresp).take();
}

std::string text(const Disconnect& packet) {
  Line line(PacketType::disconnect);
  return line.reason(packet.reason, "Normal disconnection").properties(packet.properties).take();
}

std::string text(const Auth& packet) {
  Line line(PacketType::auth);
  return line.reason(packet.reason, "Success").properties(packet.properties).take();
}

}  // namespace

std::string describe(const Packet& packet) {
  return std::visit([](const auto& one) { return text(one); }, packet);
}

}  // namespace proto
