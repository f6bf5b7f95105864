// One client connection's MQTT state machine: bytes in, packets handled, bytes out. Sans-IO.
#pragma once

#include <string_view>

namespace connection {

class Client {
 public:
  virtual ~Client() = default;
  // Bytes from the client, any number of them. May call transport.close().
  virtual void on_bytes(std::string_view bytes) = 0;
  // The kernel took bytes of output(); more room for what waits.
  virtual void on_flushed() = 0;
  // The connection ended from outside (end of stream, error). The transport is not touched again.
  virtual void on_transport_closed() = 0;
};

}  // namespace connection
