#include "proto/properties.h"

#include "proto/byte_reader.h"
#include "proto/byte_writer.h"
#include "proto/property_fields.h"
#include "proto/property_rules.h"

// The properties that a publication carries from its publisher to its subscribers.

namespace proto {

namespace {

// Skips one property of a validated block; true if it is to be forwarded.
bool skip_property(ByteReader& reader) {
  uint8_t id = 0;
  uint16_t size = 0;
  uint32_t number = 0;
  std::string_view bytes;
  reader.u8(id);
  const PropertyRule& rule = *find_property_rule(id);
  switch (rule.type) {
    case PropertyType::byte:
      reader.take(1, bytes);
      break;
    case PropertyType::two_byte_integer:
      reader.take(2, bytes);
      break;
    case PropertyType::four_byte_integer:
      reader.take(4, bytes);
      break;
    case PropertyType::variable_byte_integer:
      reader.variable(number);
      break;
    case PropertyType::utf8_string_pair:
      reader.prefixed(bytes);
      [[fallthrough]];
    case PropertyType::utf8_string:
    case PropertyType::binary_data:
      reader.u16(size);
      reader.take(size, bytes);
      break;
  }
  return rule.forwarded;
}

// Calls visit(bytes) with each encoded property that is to be forwarded.
template <typename Visit>
void for_each_forwarded(std::string_view block, Visit visit) {
  ByteReader reader(block);
  while (!reader.empty()) {
    const size_t start = block.size() - reader.left();
    const bool forwarded = skip_property(reader);
    const size_t end = block.size() - reader.left();
    if (forwarded) visit(block.substr(start, end - start));
  }
}

template <typename Visit>
void for_each_forwarded(const Properties& properties, Visit visit) {
  for_each_property(properties, [&](const PropertyValue& property) {
    if (property.rule->forwarded) visit(property);
  });
}

}  // namespace

size_t forwarded_properties_size(std::string_view block) {
  size_t size = 0;
  for_each_forwarded(block, [&](std::string_view property) { size += property.size(); });
  return size;
}

char* copy_forwarded_properties(std::string_view block, char* out) {
  for_each_forwarded(block, [&](std::string_view property) { out = put_bytes(out, property); });
  return out;
}

size_t forwarded_properties_size(const Properties& properties) {
  size_t size = 0;
  for_each_forwarded(properties, [&](const PropertyValue& property) {
    switch (property.rule->type) {
      case PropertyType::byte:
        size += 2;
        break;
      case PropertyType::utf8_string_pair:
        size += 5 + property.text.size() + property.value.size();
        break;
      default:
        size += 3 + property.text.size();
    }
  });
  return size;
}

char* write_forwarded_properties(const Properties& properties, char* out) {
  for_each_forwarded(properties, [&](const PropertyValue& property) {
    out = put_u8(out, static_cast<uint8_t>(property.rule->id));
    if (property.rule->type == PropertyType::byte) {
      out = put_u8(out, property.number);
      return;
    }
    out = put_prefixed(out, property.text);
    if (property.rule->type == PropertyType::utf8_string_pair) out = put_prefixed(out, property.value);
  });
  return out;
}

}  // namespace proto
