#include "worker/broker/delivery_codec.h"

#include <algorithm>
#include <cstdint>

namespace broker {

void put_delivery(bus::Writer& writer, const session::Delivery& d) {
  const auto ids = static_cast<uint16_t>(std::min<size_t>(d.ids.size(), UINT16_MAX));
  writer.put<uint8_t>(static_cast<uint8_t>(d.qos))
      .put<uint8_t>(static_cast<uint8_t>((d.retain ? 1 : 0) | (d.group ? 2 : 0)))
      .put<uint16_t>(ids);
  for (uint16_t i = 0; i < ids; ++i) writer.put<uint32_t>(d.ids.data()[i]);
  if (d.group) writer.text(d.group->name).text(d.group->filter);
}

bool get_delivery_head(bus::Reader& reader, session::Delivery& d) {
  const auto qos = reader.get<uint8_t>();
  const auto flags = reader.get<uint8_t>();
  const auto ids = reader.get<uint16_t>();
  if (!reader.ok() || qos > 2) return false;
  d.qos = static_cast<proto::QoS>(qos);
  d.retain = (flags & 1) != 0;
  for (uint16_t i = 0; i < ids; ++i) d.ids.add(reader.get<uint32_t>());
  if ((flags & 2) != 0) {
    const std::string_view name = reader.text();
    const std::string_view filter = reader.text();
    d.group = std::make_shared<session::GroupName>(session::GroupName{std::string(filter), std::string(name)});
  }
  return reader.ok();
}

bool get_delivery(bus::Reader& reader, const base::BufferRef& attachment, session::Delivery& d) {
  if (!get_delivery_head(reader, d)) return false;
  d.message = bus::read_message(reader, attachment);
  return static_cast<bool>(d.message);
}

}  // namespace broker
