// Brings a client up, step by step and blocking: connect, CONNECT, CONNACK, SUBSCRIBE, SUBACK.
#pragma once

#include <string>
#include <vector>

#include "tests/bench/socket.h"
#include "tests/bench/wire.h"

namespace bench {

// Throws when the broker refuses the connection or a filter, or does not answer in time.
Fd open_client(uint16_t port, const std::string& client_id, const std::vector<std::string>& filters, int qos,
               Protocol protocol, bool durable = false);

// Throws unless the frame is a CONNACK that accepts.
void check_connack(const Frame& frame);

}  // namespace bench
