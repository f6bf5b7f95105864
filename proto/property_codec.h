// Property lists on the wire. Internal to proto/: the decoders and encoders share it.
#pragma once

#include <optional>
#include <string_view>

#include "proto/byte_reader.h"
#include "proto/byte_writer.h"
#include "proto/codec.h"
#include "proto/property_fields.h"
#include "proto/property_rules.h"

namespace proto {

// Walks a property list (without its length), checking each property against its rule.
class PropertyParser {
 public:
  PropertyParser(std::string_view list, PropertyPlaces place) : reader_(list), place_(place) {}

  bool done() const { return reader_.empty(); }
  // REQUIRES: !done(). After an error the parser is of no further use.
  [[nodiscard]] std::optional<DecodeError> next(PropertyValue& out);

 private:
  ByteReader reader_;
  PropertyPlaces place_;
  uint64_t seen_ = 0;  // a bit per identifier; all are below 64
};

// Reads the property length and the list of that length. MQTT 3.x has neither: an empty list.
[[nodiscard]] std::optional<DecodeError> read_property_list(ByteReader& reader, ProtocolVersion version,
                                                            std::string_view& list);

// Reads length and properties into `out`, replacing what it held.
[[nodiscard]] std::optional<DecodeError> decode_properties(ByteReader& reader, ProtocolVersion version,
                                                           PropertyPlaces place, Properties& out);

// Makes it equal to Properties{}, but keeps the vectors' memory.
void clear(Properties& properties);

// Appends length and properties; nothing for MQTT 3.x.
void encode_properties(const Properties& properties, ProtocolVersion version, ByteWriter& writer);

}  // namespace proto
