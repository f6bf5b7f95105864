#include "shared/redis/redis_listener.h"

#include <utility>

namespace redis {
namespace {

bool split_datagram(std::string_view bytes, std::string_view& from, std::string_view& frames) {
  if (bytes.size() < 2) return false;
  const size_t size = static_cast<unsigned char>(bytes[0]) + 256u * static_cast<unsigned char>(bytes[1]);
  if (bytes.size() < 2 + size) return false;
  from = bytes.substr(2, size);
  frames = bytes.substr(2 + size);
  return true;
}

}  // namespace

RedisListener::RedisListener(loop::Loop& loop, std::string channels, Events events)
    : loop_(loop), channels_(std::move(channels)), events_(std::move(events)) {}

// u16 size of the sender's key, the key, frames.
std::string RedisListener::datagram(std::string_view from, std::string_view frames) {
  std::string bytes;
  bytes.reserve(2 + from.size() + frames.size());
  bytes.push_back(static_cast<char>(from.size() & 0xFF));
  bytes.push_back(static_cast<char>(from.size() >> 8));
  return bytes.append(from).append(frames);
}

void RedisListener::open(const HostPort& server, const RedisConnection::Options& options) {
  server_ = server;
  options_ = options;
  connect();
}

void RedisListener::connect() {
  listening_ = false;
  heard_.clear();
  RedisConnection::Events events;
  events.ready = [this] {
    subscribe();
    connection_->listen(nodes_channel());  // the last one: when it is confirmed all are
    connection_->flush();
  };
  events.pushed = [this](Reply reply) { return on_pushed(std::move(reply)); };
  events.broken = [this](const std::string& reason) { on_broken(reason); };
  connection_ = std::make_unique<RedisConnection>(loop_, options_, std::move(events));
  connection_->open(server_);
}

void RedisListener::on_broken(const std::string& reason) {
  if (!listening_) return events_.failed(reason);
  events_.replacing(reason);
  old_.push_back(std::move(connection_));
  connect();
}

void RedisListener::abandon() {
  listening_ = false;
  if (connection_ != nullptr) connection_->abandon();
}

void RedisListener::flush() {
  if (connection_ != nullptr) connection_->flush();
}

void RedisListener::hear(const std::string& key) {
  key_ = key;
  subscribe();
}

void RedisListener::subscribe() {
  if (connection_ == nullptr || !connection_->ready() || key_.empty() || heard_ == key_) return;
  if (!heard_.empty()) connection_->unlisten(channel_of(heard_));
  heard_ = key_;
  connection_->listen(channel_of(key_));
  connection_->flush();
}

std::string RedisListener::on_pushed(Reply reply) {
  const std::vector<Reply>& items = reply.items;
  if (items.size() != 3 || !items[1].is_text()) return "malformed push";
  const std::string& kind = items[0].text;
  if (kind == "message") return items[2].is_text() ? on_message(items[1].text, items[2].text) : "malformed push";
  if (kind == "unsubscribe") return {};
  if (kind != "subscribe") return "unexpected push";
  if (items[1].text != nodes_channel()) return {};
  listening_ = true;
  events_.listening();
  return {};
}

std::string RedisListener::on_message(const std::string& channel, const std::string& payload) {
  if (channel == nodes_channel()) return events_.nodes_changed(), std::string();
  if (heard_.empty() || channel != channel_of(heard_)) return {};
  std::string_view from;
  std::string_view frames;
  if (!split_datagram(payload, from, frames)) return events_.malformed(), std::string();
  return events_.datagram(from, frames), std::string();
}

}  // namespace redis
