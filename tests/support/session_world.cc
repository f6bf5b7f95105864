#include "tests/support/session_world.h"

namespace support {

session::Outlet::Sent RecordingOutlet::send_publish(const session::Delivery& delivery, uint16_t packet_id, bool dup) {
  const std::string_view payload = delivery.message->payload();
  if (payload.size() > largest) return Sent::too_large;
  std::string line(payload);
  line += " qos=" + std::to_string(static_cast<int>(delivery.qos));
  if (packet_id != 0) line += " id=" + std::to_string(packet_id);
  if (dup) line += " dup";
  lines.push_back(line);
  return Sent::yes;
}

session::Outlet::Sent RecordingOutlet::send_unkept(const bus::Message::Fields& message, uint32_t subscription) {
  if (message.payload.size() > largest) return Sent::too_large;
  std::string line(message.payload);
  if (subscription != 0) line += " subscription=" + std::to_string(subscription);
  lines.push_back(line);
  return Sent::yes;
}

}  // namespace support
