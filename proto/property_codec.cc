#include "proto/property_codec.h"

#include <utility>

#include "proto/decode_error.h"
#include "proto/topic.h"
#include "proto/utf8.h"

namespace proto {

namespace {

bool read_value(ByteReader& reader, PropertyValue& out) {
  switch (out.rule->type) {
    case PropertyType::byte: {
      uint8_t value = 0;
      const bool read = reader.u8(value);
      out.number = value;
      return read;
    }
    case PropertyType::two_byte_integer: {
      uint16_t value = 0;
      const bool read = reader.u16(value);
      out.number = value;
      return read;
    }
    case PropertyType::four_byte_integer:
      return reader.u32(out.number);
    case PropertyType::variable_byte_integer:
      return reader.variable(out.number);
    case PropertyType::utf8_string:
      return reader.prefixed(out.text) && is_valid_utf8(out.text);
    case PropertyType::binary_data:
      return reader.prefixed(out.text);
    case PropertyType::utf8_string_pair:
      return reader.prefixed(out.text) && is_valid_utf8(out.text) && reader.prefixed(out.value) &&
             is_valid_utf8(out.value);
  }
  return false;
}

bool is_integer(PropertyType type) {
  return type <= PropertyType::variable_byte_integer;
}

bool is_in_range(const PropertyValue& property) {
  const PropertyRule& rule = *property.rule;
  if (is_integer(rule.type)) return rule.min <= property.number && property.number <= rule.max;
  if (rule.id == PropertyId::response_topic) return is_valid_topic_name(property.text);  // [MQTT-3.3.2-14]
  return true;
}

void write_value(const PropertyValue& property, ByteWriter& writer) {
  writer.u8(static_cast<uint8_t>(property.rule->id));
  switch (property.rule->type) {
    case PropertyType::byte:
      return writer.u8(property.number);
    case PropertyType::two_byte_integer:
      return writer.u16(static_cast<uint16_t>(property.number));
    case PropertyType::four_byte_integer:
      return writer.u32(property.number);
    case PropertyType::variable_byte_integer:
      return writer.variable(property.number);
    case PropertyType::utf8_string:
    case PropertyType::binary_data:
      return writer.prefixed(property.text);
    case PropertyType::utf8_string_pair:
      writer.prefixed(property.text);
      return writer.prefixed(property.value);
  }
}

struct Store {
  const PropertyValue& property;
  void operator()(std::optional<uint8_t>& field) const { field = static_cast<uint8_t>(property.number); }
  void operator()(std::optional<uint16_t>& field) const { field = static_cast<uint16_t>(property.number); }
  void operator()(std::optional<uint32_t>& field) const { field = property.number; }
  void operator()(std::optional<std::string_view>& field) const { field = property.text; }
  void operator()(std::vector<uint32_t>& field) const { field.push_back(property.number); }
  void operator()(std::vector<UserProperty>& field) const { field.push_back({property.text, property.value}); }
};

struct Clear {
  template <typename Value>
  void operator()(std::optional<Value>& field) const {
    field.reset();
  }
  template <typename Value>
  void operator()(std::vector<Value>& field) const {
    field.clear();
  }
};

constexpr size_t kIds = static_cast<size_t>(PropertyId::shared_subscription_available) + 1;

// One store per field: every acknowledgement that is decoded goes through here.
template <size_t... Ids>
void clear_each(Properties& properties, std::index_sequence<Ids...>) {
  (with_field(properties, static_cast<PropertyId>(Ids), Clear{}), ...);
}

}  // namespace

void clear(Properties& properties) {
  clear_each(properties, std::make_index_sequence<kIds>{});
}

std::optional<DecodeError> PropertyParser::next(PropertyValue& out) {
  uint32_t id;
  if (!reader_.variable(id)) return malformed("property identifier");
  out = PropertyValue{find_property_rule(id), 0, {}, {}};
  const PropertyRule* rule = out.rule;
  if (rule == nullptr) return malformed("unknown property identifier");
  // "An Identifier which is not valid for its packet type ... is a Malformed Packet." [MQTT5 2.2.2.2]
  if ((rule->places & place_) == 0) return malformed(rule->misplaced);
  const uint64_t bit = uint64_t{1} << id;
  if ((seen_ & bit) != 0 && (rule->repeats_in & place_) == 0) return protocol_error(rule->repeated);
  seen_ |= bit;
  if (!read_value(reader_, out)) return malformed(rule->malformed);
  if (is_in_range(out)) return std::nullopt;
  const bool alias = rule->id == PropertyId::topic_alias;  // [MQTT-3.3.2-8]
  return DecodeError{alias ? ReasonCode::topic_alias_invalid : ReasonCode::protocol_error, rule->out_of_range};
}

std::optional<DecodeError> read_property_list(ByteReader& reader, ProtocolVersion version, std::string_view& list) {
  list = {};
  if (version != ProtocolVersion::v5) return std::nullopt;
  uint32_t size;
  if (!reader.variable(size)) return malformed("property length");
  if (!reader.take(size, list)) return malformed("property length exceeds the packet");
  return std::nullopt;
}

std::optional<DecodeError> decode_properties(ByteReader& reader, ProtocolVersion version, PropertyPlaces place,
                                             Properties& out) {
  clear(out);
  std::string_view list;
  if (auto error = read_property_list(reader, version, list)) return error;
  PropertyParser parser(list, place);
  for (PropertyValue property; !parser.done();) {
    if (auto error = parser.next(property)) return error;
    with_field(out, property.rule->id, Store{property});
  }
  return std::nullopt;
}

void encode_properties(const Properties& properties, ProtocolVersion version, ByteWriter& writer) {
  if (version != ProtocolVersion::v5) return;
  writer.counted(
      [&] { for_each_property(properties, [&](const PropertyValue& property) { write_value(property, writer); }); });
}

Properties inspect_block(std::string_view block) {
  Properties properties;
  PropertyParser parser(block, in(PacketType::publish));
  for (PropertyValue property; !parser.done() && !parser.next(property);) {
    with_field(properties, property.rule->id, Store{property});
  }
  return properties;
}

}  // namespace proto
