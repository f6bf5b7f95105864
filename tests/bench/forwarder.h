// The yardstick: what moving the bytes costs when there is no MQTT logic at all.
#pragma once

#include <cstdint>

namespace bench {

// Serves 127.0.0.1:port until SIGTERM. It accepts every CONNECT and SUBSCRIBE; what a connection publishes goes, frame
// by frame and unread, to those who subscribed to the topic of its first PUBLISH. QoS 0 and exact topics only.
int run_forwarder(uint16_t port);

}  // namespace bench
