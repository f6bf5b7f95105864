#include "shared/redis/redis_sentinel.h"

#include <utility>

#include "shared/base/check.h"

namespace redis {

SentinelQuery::SentinelQuery(loop::Loop& loop, const Sentinels& sentinels, size_t first, uint64_t timeout_ms, Fn fn)
    : loop_(loop), sentinels_(sentinels), first_(first), timeout_ms_(timeout_ms), fn_(std::move(fn)) {
  CHECK(!sentinels_.places.empty());
  ask_next();
}

void SentinelQuery::ask_next() {
  RedisConnection::Options options;
  options.user = sentinels_.user;
  options.password = sentinels_.password;
  options.timeout_ms = timeout_ms_;
  RedisConnection::Events events;
  events.broken = [this](const std::string& reason) { failed(reason); };
  asked_.push_back(std::make_unique<RedisConnection>(loop_, std::move(options), std::move(events)));
  RedisConnection& connection = *asked_.back();
  connection.open(asked_now());
  connection.call({"SENTINEL", "get-master-addr-by-name", sentinels_.master},
                  [this](Reply* reply) { return reply == nullptr ? std::string() : on_answer(reply); });
}

void SentinelQuery::failed(const std::string& reason) {
  if (done_) return;
  errors_ += (errors_.empty() ? "" : "; ") + reason;
  if (asked_.size() < sentinels_.places.size()) return ask_next();
  done_ = true;
  fn_(nullptr, "no sentinel knows the master: " + errors_);
}

// What it returns breaks the connection, and brings us to the next sentinel.
std::string SentinelQuery::on_answer(Reply* reply) {
  if (done_) return {};
  const std::string who = to_text(asked_now());
  if (reply->is_error()) return who + ": " + reply->text;
  if (reply->is_nil()) return who + " does not know \"" + sentinels_.master + "\"";
  if (!reply->is_array() || reply->items.size() != 2 || !reply->items[0].is_text() || !reply->items[1].is_text()) {
    return who + ": malformed answer";
  }
  const auto port = to_number(reply->items[1].text);
  if (!port || *port == 0 || *port > 65535 || reply->items[0].text.empty()) return who + ": malformed address";
  done_ = true;
  const HostPort master{reply->items[0].text, static_cast<uint16_t>(*port)};
  fn_(&master, {});
  return {};
}

}  // namespace redis
