#include "shared/redis/redis_inboxes.h"

#include <algorithm>
#include <utility>

#include "shared/base/random.h"
#include "shared/redis/redis_answers.h"

namespace redis {
namespace {

constexpr uint64_t kAnnounceMs = 3'600'000;
// Who has not announced itself for so long and has nothing in its inbox is forgotten.
constexpr uint64_t kKeepUs = 86'400'000'000;

}  // namespace

RedisInboxes::RedisInboxes(loop::Loop& loop, RedisServer::Options options, Events events)
    : loop_(loop), options_(std::move(options)), events_(std::move(events)) {}

void RedisInboxes::log(const Server& server, bool up, const std::string& text) const {
  if (options_.log == nullptr) return;
  if (up) {
    options_.log->info("an inbox server is there", {{"server", text}});
  } else {
    options_.log->error("an inbox server is not there: hosts with their inbox on it are out of reach",
                        {{"server", server.address}, {"reason", text}});
  }
}

void RedisInboxes::need(const std::string& address) {
  if (address.empty() || servers_.contains(address)) return;
  RedisServer::Options options = options_;
  if (!config::parse_host_port(address, config::kRedisPort, options.url.server)) return;  // whoever has said that
  Server& server = servers_[address];
  server.address = address;
  RedisServer::Events events;
  events.hello = [&server] { server.redis->greeted(); };
  events.complete = [] { return true; };
  events.up = [this, &server] {
    for (const std::string& warning : server.redis->info().warnings) {
      if (options_.log != nullptr) {
        options_.log->warn("an inbox server may lose what it holds", {{"server", server.address}, {"why", warning}});
      }
    }
    log(server, true, server.redis->info().name);
    announce(server);
  };
  events.broken = [this, &server] {
    server.announced = server.announcing = false;
    if (!server.waiting.empty()) changed(server);
  };
  events.down = [this, &server](const std::string& reason) {
    log(server, false, reason);
    changed(server);
  };
  server.redis = std::make_unique<RedisServer>(loop_, std::move(options), std::move(events));
  server.redis->start();
}

void RedisInboxes::on_joined(Self self) {
  self_ = std::move(self);
  need(self_.inbox);
  for (auto& [address, server] : servers_) {
    server.announced = server.announcing = server.fenced = false;
    announce(server);
  }
}

void RedisInboxes::on_nodes(const std::vector<cluster::Node>& nodes) {
  places_.clear();
  for (const cluster::Node& node : nodes) {
    if (!node.inbox.empty()) place(node.key, node.inbox);
  }
}

void RedisInboxes::place(const std::string& node, const std::string& address) {
  need(address);
  places_[node] = address;
}

// Not from a callback of a connection.
void RedisInboxes::tick() {
  for (auto it = servers_.begin(); it != servers_.end();) {
    Server& server = it->second;
    const bool needed = self_.key.empty() || server.address == self_.inbox ||
                        std::ranges::any_of(places_, [&](const auto& place) { return place.second == server.address; });
    if (!needed) {
      server.redis->stop();
      changed(server);
      it = servers_.erase(it);
      continue;
    }
    if (!server.announced || loop_.now_ms() - server.announced_ms > kAnnounceMs) announce(server);
    ++it;
  }
}

void RedisInboxes::flush() {
  for (auto& [address, server] : servers_) server.redis->flush();
}

size_t RedisInboxes::outstanding() const {
  size_t bytes = 0;
  for (const auto& [address, server] : servers_) bytes += server.redis->outstanding();
  return bytes;
}

uint32_t RedisInboxes::missing() const {
  return static_cast<uint32_t>(
      std::ranges::count_if(servers_, [](const auto& entry) { return !entry.second.usable(); }));
}

RedisInboxes::Server* RedisInboxes::find(const std::string& address) {
  const auto it = servers_.find(address);
  return it == servers_.end() ? nullptr : &it->second;
}

RedisInboxes::Server* RedisInboxes::of(std::string_view node) {
  if (node == self_.key) return own();
  const auto place = places_.find(node);
  return place == places_.end() ? nullptr : find(place->second);
}

RedisInboxes::Server* RedisInboxes::announce_again(const std::string& address) {
  Server* server = find(address);
  if (server == nullptr) return nullptr;
  server->announced = false;
  announce(*server);
  return server;
}

void RedisInboxes::announce(Server& server) {
  if (self_.key.empty() || !server.redis->up() || server.announcing || server.fenced) return;
  server.announcing = true;
  Command command = server.redis->script(Script::announce);
  command.add(self_.key).add(self_.gateway).add(self_.joined).add(self_.inbox == server.address ? "-" : "*");
  command.add(kKeepUs).add(base::entropy());
  server.redis->call(command, [this, address = server.address](Reply* reply) { return on_announced(address, reply); });
  server.redis->flush();
}

std::string RedisInboxes::on_announced(const std::string& address, Reply* reply) {
  Server* server = find(address);
  if (reply == nullptr || server == nullptr) return {};
  const auto status = to_status(*reply);
  if (status == cluster::Status::fenced) {
    server->announcing = false;
    server->fenced = true;
    changed(*server);
    return {};
  }
  const auto id = status == cluster::Status::ok ? to_cluster_id(*reply) : std::nullopt;
  if (!id) {
    announced(address, false);
    return reply->is_error() && severity_of(reply->text) == Severity::refused ? "" : "malformed answer to announce";
  }
  events_.seen(address, std::to_string(*id) + ' ' + server->redis->info().run,
               [this, address](bool ok) { announced(address, ok); });
  return {};
}

void RedisInboxes::announced(const std::string& address, bool ok) {
  Server* server = find(address);
  if (server == nullptr || !server->announcing) return;
  server->announcing = false;
  server->announced = ok && server->redis->up();  // if not, it is tried again at the next tick
  server->announced_ms = loop_.now_ms();
  changed(*server);
}

void RedisInboxes::changed(Server& server) {
  events_.changed(server);
  for (const auto& call : std::exchange(server.waiting, {})) call();
}

}  // namespace redis
