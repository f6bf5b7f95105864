// The clients of this worker, by (index, generation), so that others can name a client that may be gone.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "worker/connection/mqtt_client.h"

namespace broker {

struct ClientRef {
  uint32_t index = 0;
  uint32_t generation = 0;
  bool operator==(const ClientRef&) const = default;
};
inline ClientRef ref_of(const connection::MqttClient& client) {
  return {client.index(), client.generation()};
}

class ClientTable {
 public:
  connection::MqttClient& open(connection::ClientContext& context, connection::ClientTransport& transport);
  // Null if it has closed.
  connection::MqttClient* find(ClientRef ref) const;
  // The client has closed; it is freed by sweep().
  void retire(const connection::MqttClient& client) { retired_.push_back(client.index()); }
  void sweep();
  template <typename F>
  void for_each(F&& f) {
    for (size_t i = 0; i < slots_.size(); ++i) {
      if (slots_[i].client && !slots_[i].client->closed()) f(*slots_[i].client);
    }
  }
  size_t size() const { return size_; }

 private:
  struct Slot {
    std::unique_ptr<connection::MqttClient> client;
    uint32_t generation = 0;
  };
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
  std::vector<uint32_t> retired_;
  size_t size_ = 0;
};

}  // namespace broker
