// Messages and deliveries in one line.
#pragma once

#include <string_view>

#include "shared/bus/message.h"
#include "worker/session/delivery.h"

namespace support {

struct MessageText {
  std::string_view topic = "t";
  std::string_view payload = "hi";
  base::MonoMs expires_at = 0;
  std::string_view properties = {};
};

inline bus::MessageRef message(const MessageText& text) {
  bus::Message::Fields fields;
  fields.uid = {1, 1};
  fields.topic = text.topic;
  fields.payload = text.payload;
  fields.expires_at = text.expires_at;
  fields.properties = text.properties;
  return bus::Message::make(fields);
}

inline session::Delivery delivery(bus::MessageRef message, int qos = 0) {
  session::Delivery delivery;
  delivery.message = std::move(message);
  delivery.qos = static_cast<proto::QoS>(qos);
  return delivery;
}

// QoS 0, 1 or 2 of a message whose payload is its name.
inline session::Delivery delivery(std::string_view payload, int qos) {
  return delivery(message({.payload = payload}), qos);
}

inline session::Delivery shared_delivery(std::string_view payload, int qos, std::string_view group) {
  session::Delivery result = delivery(payload, qos);
  result.group = std::make_shared<session::GroupName>("t", std::string(group));
  return result;
}

}  // namespace support
