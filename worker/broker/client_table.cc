#include "worker/broker/client_table.h"

namespace broker {

connection::MqttClient& ClientTable::open(connection::ClientContext& context, connection::ClientTransport& transport) {
  if (free_.empty()) {
    free_.push_back(static_cast<uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  const uint32_t index = free_.back();
  free_.pop_back();
  Slot& slot = slots_[index];
  slot.client = std::make_unique<connection::MqttClient>(context, transport, index, ++slot.generation);
  ++size_;
  return *slot.client;
}

connection::MqttClient* ClientTable::find(ClientRef ref) const {
  if (ref.index >= slots_.size() || slots_[ref.index].generation != ref.generation) return nullptr;
  connection::MqttClient* client = slots_[ref.index].client.get();
  return client != nullptr && !client->closed() ? client : nullptr;
}

void ClientTable::sweep() {
  for (const uint32_t index : retired_) {
    slots_[index].client.reset();
    free_.push_back(index);
    --size_;
  }
  retired_.clear();
}

}  // namespace broker
