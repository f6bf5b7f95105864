#include "tests/bench/handshake.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <stdexcept>

namespace bench {
namespace {

// Bounds a SUBSCRIBE packet: with more filters it would not fit the packet limits of some brokers.
constexpr size_t kFiltersPerPacket = 50;

void send_all(const Fd& socket, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (written < 0) throw_errno("send");
    bytes.remove_prefix(static_cast<size_t>(written));
  }
}

// Reads exactly one packet; its frame points into `buffer`.
Frame read_frame(const Fd& socket, std::string& buffer) {
  buffer.clear();
  Frame frame;
  size_t size = 0;
  while ((size = next_frame(buffer, frame)) == 0) {
    char chunk[4096];
    const ssize_t got = recv(socket.get(), chunk, sizeof chunk, 0);
    if (got < 0) throw_errno("no answer from the broker");
    if (got == 0) throw std::runtime_error("the broker closed the connection");
    buffer.append(chunk, static_cast<size_t>(got));
  }
  if (size != buffer.size()) throw std::runtime_error("the broker sent more than the answer asked for");
  return frame;
}

void subscribe(const Fd& socket, uint16_t packet_id, const std::vector<std::string>& filters, int qos,
               Protocol protocol) {
  send_all(socket, encode_subscribe(packet_id, filters, qos, protocol));
  std::string buffer;
  const Frame frame = read_frame(socket, buffer);
  if (frame.type() != PacketType::kSuback || frame.body.size() < 2 + filters.size() ||
      parse_packet_id(frame) != packet_id) {
    throw std::runtime_error("expected a SUBACK");
  }
  const std::string_view granted = frame.body.substr(frame.body.size() - filters.size());
  if (!std::ranges::all_of(granted, [qos](char code) { return code == qos; })) {
    throw std::runtime_error("a subscription was not granted as asked for");
  }
}

}  // namespace

void check_connack(const Frame& frame) {
  if (frame.type() != PacketType::kConnack || frame.body.size() < 2) throw std::runtime_error("expected a CONNACK");
  if (frame.body[1] != 0) {
    throw std::runtime_error("connection refused, code " + std::to_string(static_cast<uint8_t>(frame.body[1])));
  }
}

Fd open_client(uint16_t port, const std::string& client_id, const std::vector<std::string>& filters, int qos,
               Protocol protocol, bool durable) {
  Fd socket = connect_loopback(port);
  send_all(socket, encode_connect(client_id, protocol, durable));
  std::string buffer;
  check_connack(read_frame(socket, buffer));

  uint16_t packet_id = 1;
  for (auto next = filters.begin(); next != filters.end(); ++packet_id) {
    const auto end = next + std::min<std::ptrdiff_t>(kFiltersPerPacket, filters.end() - next);
    subscribe(socket, packet_id, {next, end}, qos, protocol);
    next = end;
  }
  return socket;
}

}  // namespace bench
