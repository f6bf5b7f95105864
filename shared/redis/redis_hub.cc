#include "shared/redis/redis_hub.h"

#include <algorithm>
#include <utility>

#include "shared/base/check.h"

namespace redis {

using cluster::Entry;
using cluster::Membership;
using cluster::Status;

namespace {

constexpr size_t kReaders = 2;
constexpr uint64_t kTickMs = 1000;
constexpr uint64_t kLongestLeaseMs = 10'000'000'000;
constexpr uint64_t kTellAgainMs = 30'000;
constexpr std::string_view kNodesChannel = "nodes";

uint64_t random_id() {
  uint64_t id = 0;
  while (id == 0) id = base::entropy();
  return id;
}

bool name_is_fine(const std::string& name) {
  return !name.empty() && name.size() <= 255 &&
         std::none_of(name.begin(), name.end(), [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 127; });
}

// u16 size of the sender's key, the key, frames.
std::string datagram_bytes(const std::string& from, std::string_view frames) {
  std::string bytes;
  bytes.reserve(2 + from.size() + frames.size());
  bytes.push_back(static_cast<char>(from.size() & 0xFF));
  bytes.push_back(static_cast<char>(from.size() >> 8));
  return bytes.append(from).append(frames);
}

bool split_datagram(std::string_view bytes, std::string_view& from, std::string_view& frames) {
  if (bytes.size() < 2) return false;
  const size_t size = static_cast<unsigned char>(bytes[0]) + 256u * static_cast<unsigned char>(bytes[1]);
  if (bytes.size() < 2 + size) return false;
  from = bytes.substr(2, size);
  frames = bytes.substr(2 + size);
  return true;
}

size_t bytes_of(const std::vector<Entry>& entries) {
  size_t bytes = 0;
  for (const Entry& entry : entries) bytes += entry.frames.size();
  return bytes;
}

}  // namespace

RedisHub::Statistics RedisHub::statistics() const {
  return {control_.attempts(), control_.breaks(), calls_.counts()};
}

struct RedisHub::Reading {
  std::string inbox;
  uint64_t after;
  size_t max_bytes;
  Answer<std::vector<Entry>> done;
};

void RedisHub::PieceSize::learn(size_t elements, size_t bytes, size_t wanted) {
  if (bytes > wanted) {
    count_ = std::max<uint64_t>(1, std::min<uint64_t>(count_, elements) * wanted / bytes);
  } else if (elements >= count_ && bytes <= wanted / 2) {
    count_ = std::min(kMost, count_ * 2);
  }
}

bool RedisHub::options_of(const config::Redis& config, Options& options, std::string& error) {
  const auto url = config::parse_redis_url(config.url);
  if (const auto* why = std::get_if<std::string>(&url)) return error = "redis.url: " + *why, false;
  options.url = std::get<config::RedisUrl>(url);
  options.sentinels = {{}, config.sentinel_master, config.sentinel_user, config.sentinel_password};
  for (const std::string& text : config.sentinels) {
    HostPort sentinel;
    if (!config::parse_host_port(text, config::kSentinelPort, sentinel)) {
      return error = "redis.sentinels: " + text + ": host or port is malformed", false;
    }
    options.sentinels.places.push_back(sentinel);
  }
  HostPort inbox;
  if (!config.inbox.empty() && !config::parse_host_port(config.inbox, config::kRedisPort, inbox)) {
    return error = "redis.inbox: host or port is malformed", false;
  }
  options.inbox = config.inbox.empty() ? std::string() : to_text(inbox);
  options.prefix = config.prefix;
  return true;
}

RedisServer::Options RedisHub::server_options(const Options& options) {
  RedisServer::Options of;
  of.url = options.url;
  of.prefix = options.prefix;
  of.client_name = options.client_name;
  of.timeout_ms = options.timeout_ms;
  of.max_pause_ms = options.max_pause_ms;
  of.log = options.log;
  return of;
}

RedisServer::Events RedisHub::control_events() {
  RedisServer::Events events;
  events.hello = [this] { hello(); };
  events.complete = [this] { return listening_; };
  events.up = [this] { on_up(); };
  events.broken = [this] { on_broken(); };
  events.down = [this](const std::string& reason) { calls_.post([this, reason] { events_->on_down(reason); }); };
  return events;
}

RedisInboxes::Events RedisHub::inbox_events() {
  RedisInboxes::Events events;
  events.seen = [this](const std::string& address, const std::string& identity, std::function<void(bool)> done) {
    Command command = fenced_script(Script::seen);
    command.add(address).add(identity).add(random_id()).add(channel(kNodesChannel));
    calls_.tell(control_, command, [done = std::move(done)](Status status) { done(status == Status::ok); });
    control_.flush();
  };
  events.changed = [this](RedisInboxes::Server& server) {
    if (!server.usable())
      std::erase_if(checked_, [&](const std::string& inbox) { return inboxes_.of(inbox) == &server; });
    if (inboxes_.own() == &server) finish_join();
  };
  return events;
}

RedisHub::RedisHub(loop::Loop& loop, Options options)
    : loop_(loop),
      options_(std::move(options)),
      control_(
          loop,
          [this] {
            RedisServer::Options of = server_options(options_);
            of.sentinels = options_.sentinels;
            of.readers = kReaders;
            return of;
          }(),
          control_events()),
      inboxes_(loop, server_options(options_), inbox_events()),
      tick_(loop) {}

RedisHub::~RedisHub() = default;

void RedisHub::start(Events& events) {
  CHECK(events_ == nullptr);
  events_ = &events;
  tick_.start(kTickMs, kTickMs, [this] { tick(); });
  inboxes_.need(options_.inbox);
  control_.start();
}

void RedisHub::tick() {
  old_listeners_.clear();
  inboxes_.tick();
}

// --- connecting ---

void RedisHub::hello() {
  Command command = script(Script::hello);
  command.add(random_id()).add(cluster_id_).add(known_epoch_).add(known_version_);
  control_.call(command, [this](Reply* answer) { return on_hello(answer); });
}

std::string RedisHub::on_hello(Reply* reply) {
  if (reply == nullptr) return {};
  if (reply->is_error()) return "hello: " + reply->text;
  const auto id = to_status(*reply) == Status::ok ? to_cluster_id(*reply) : std::nullopt;
  if (!id || *id == 0) return "malformed answer to hello";
  cluster_id_ = *id;
  open_listener();
  control_.greeted();
  return {};
}

void RedisHub::on_up() {
  checked_.clear();
  changes_checked_ms_ = 0;
  for (PieceSize* size : {&entries_, &changes_, &snapshot_, &records_}) size->forget();
  calls_.post([this, info = cluster::Info{cluster_id_, control_.info().name, control_.info().warnings}] {
    events_->on_up(info);
  });
}

void RedisHub::on_broken() {
  listening_ = false;
  if (listener_ != nullptr) listener_->abandon();
  finish_join();
}

void RedisHub::open_listener() {
  listening_ = false;
  listened_.clear();
  RedisConnection::Events events;
  events.ready = [this] {
    listen_to_own_datagrams();
    listener_->listen(channel(kNodesChannel));  // the last one: when it is confirmed all are
    listener_->flush();
  };
  events.pushed = [this](Reply reply) { return on_pushed(std::move(reply)); };
  events.broken = [this](const std::string& reason) {
    if (!listening_) return control_.fail(reason);
    // Redis closes a listener that does not keep up with what comes. Nothing but datagrams is lost by that.
    old_listeners_.push_back(std::move(listener_));
    open_listener();
  };
  listener_ = std::make_unique<RedisConnection>(loop_, control_.connection_options("listener"), std::move(events));
  listener_->open(control_.address());
}

void RedisHub::listen_to_own_datagrams() {
  if (listener_ == nullptr || !listener_->ready() || key_.empty() || listened_ == key_) return;
  if (!listened_.empty()) listener_->unlisten(channel("q0:" + listened_));
  listened_ = key_;
  listener_->listen(channel("q0:" + key_));
  listener_->flush();
}

std::string RedisHub::on_pushed(Reply reply) {
  const std::vector<Reply>& items = reply.items;
  if (items.size() != 3 || !items[1].is_text()) return "malformed push";
  const std::string& kind = items[0].text;
  if (kind == "message") return items[2].is_text() ? on_message(items[1].text, items[2].text) : "malformed push";
  if (kind == "unsubscribe") return {};
  if (kind != "subscribe") return "unexpected push";
  if (items[1].text != channel(kNodesChannel)) return {};
  listening_ = true;
  // What happened while nobody listened is not known.
  if (up()) calls_.post([this] { events_->on_nodes_changed(); });
  control_.check_up();
  return {};
}

std::string RedisHub::on_message(const std::string& from_channel, const std::string& payload) {
  if (!up()) return {};
  if (from_channel == channel(kNodesChannel)) {
    calls_.post([this] { events_->on_nodes_changed(); });
    return {};
  }
  if (listened_.empty() || from_channel != channel("q0:" + listened_)) return {};
  std::string_view from;
  std::string_view frames;
  if (!split_datagram(payload, from, frames)) {
    calls_.count_malformed();  // whoever has sent it, it was not Redis
    return {};
  }
  calls_.post([this, from = std::string(from), frames = std::string(frames)] { events_->on_datagram(from, frames); });
  return {};
}

// --- calls ---

std::string RedisHub::channel(std::string_view name) const {
  // Channels are common to all databases of a server.
  return options_.prefix + std::to_string(options_.url.database) + ":" + std::string(name);
}

Command RedisHub::fenced_script(const RedisServer& server, Script which) const {
  Command command = server.script(which);
  command.add(key_).add(gateway_);
  return command;
}

void RedisHub::flush() {
  inboxes_.flush();
  if (!up()) return;
  control_.flush();
  if (listener_ != nullptr) listener_->flush();
}

void RedisHub::tell(RedisInboxes::Server& server, Script which, std::function<void(Command&)> add, Done done) {
  if (server.undecided()) {
    server.waiting.push_back([this, &server, which, add = std::move(add), done = std::move(done)] {
      // By now; or it cannot be said.
      tell_now(server, which, add, done);
    });
    return;
  }
  tell_now(server, which, add, std::move(done));
}

void RedisHub::tell_now(RedisInboxes::Server& server, Script which, const std::function<void(Command&)>& add,
                        Done done) {
  const Answer<bool> answer = [done = std::move(done)](Status status, bool) { done(status); };
  if (!server.usable()) {
    if (calls_.begin(server.fenced, answer)) calls_.complete(answer, Status::fenced);
    return;
  }
  Command command = fenced_script(*server.redis, which);
  add(command);
  calls_.ask<bool>(
      *server.redis, command,
      [this, answer, address = server.address](Status status, bool) {
        if (status != Status::fenced) return answer(status, true);
        // It may only have lost what we have announced.
        RedisInboxes::Server* again = inboxes_.announce_again(address);
        if (again == nullptr || !again->undecided()) return answer(Status::lost, false);
        again->waiting.push_back([this, answer, again] {
          calls_.complete(answer, again->fenced ? Status::fenced : Status::refused, false);
        });
      },
      RedisCalls::nothing);
  server.redis->flush();
}

// --- membership ---

void RedisHub::join(const std::string& name, uint64_t gateway, uint64_t lease_ms, Answer<Membership> done) {
  if (!name_is_fine(name)) return calls_.complete(done, Status::refused);
  const Answer<Joined> answer = [this, done = std::move(done)](Status status, Joined joined) {
    if (status != Status::ok || inboxes_.own() == nullptr) return done(status, std::move(joined.membership));
    if (joining_) joining_->done(Status::lost, {});
    joining_ = Joining{std::move(joined.membership), done};
    finish_join();
  };
  if (!calls_.begin(up(), answer)) return;
  Command command = script(Script::join);
  command.add(name).add(gateway).add(std::min(lease_ms, kLongestLeaseMs)).add(random_id()).add(channel(kNodesChannel));
  command.add(options_.inbox.empty() ? "-" : options_.inbox);
  command.add(options_.host.disk.empty() ? "" : options_.host.disk + ' ' + options_.host.boot);
  control_.call(command, [this, answer, gateway, name](Reply* reply) {
    note_taken(reply != nullptr && is_taken(*reply), name);
    return calls_.take<Joined>(reply, answer, [this, gateway](const Reply& from) {
      std::optional<Joined> joined = to_joined(from);
      if (!joined) return joined;
      // A new life stays new for the gateway that began it, in case an answer is lost; it is told once.
      if (joined->membership.key == key_) joined->membership.fresh = false;
      gateway_ = gateway;
      on_joined(*joined);
      return joined;
    });
  });
}

// Said once, and again after a while: it is tried all the time.
void RedisHub::note_taken(bool taken, const std::string& name) {
  const uint64_t now = loop_.now_ms();
  if (!taken || options_.log == nullptr || (taken_told_ms_ != 0 && now - taken_told_ms_ < kTellAgainMs)) return;
  taken_told_ms_ = now;
  options_.log->error("another host has this redis.node_id, and its lease runs: not joining",
                      {{"redis.node_id", name}});
}

void RedisHub::on_joined(const Joined& joined) {
  key_ = joined.membership.key;
  known_epoch_ = std::max(known_epoch_, joined.number);
  listen_to_own_datagrams();
  const auto& nodes = joined.membership.nodes;
  const auto own = std::ranges::find(nodes, key_, &cluster::Node::key);
  const std::string inbox = own == nodes.end() ? std::string() : own->inbox;
  if (inbox != options_.inbox && options_.log != nullptr) {
    options_.log->warn("redis.inbox counts when this host begins another life in the cluster: its inbox stays",
                       {{"inbox", inbox.empty() ? "with everything else" : inbox}, {"redis.inbox", options_.inbox}});
  }
  inboxes_.on_joined({key_, gateway_, joined.number, inbox});
  inboxes_.on_nodes(nodes);
}

// When it is known whether the server that has our inbox can be used: then it says where the inbox ends.
void RedisHub::finish_join() {
  if (!joining_) return;
  RedisInboxes::Server* own = inboxes_.own();
  if (up() && own != nullptr && !own->usable() && (own->announcing || own->redis->undecided())) return;
  Joining joining = std::move(*joining_);
  joining_.reset();
  if (!up()) return calls_.complete(joining.done, Status::lost);
  if (own != nullptr && own->fenced) return calls_.complete(joining.done, Status::fenced);
  if (own == nullptr || !own->usable()) return calls_.complete(joining.done, Status::refused);
  const auto answer = [joining](Status status, uint64_t end) mutable {
    joining.membership.inbox_end = end;
    joining.done(status, std::move(joining.membership));
  };
  calls_.ask<uint64_t>(*own->redis, {"XREVRANGE", key("in:" + key_), "+", "-", "COUNT", "1"}, answer, to_inbox_end,
                       RedisCalls::Kind::plain);
  own->redis->flush();
}

void RedisHub::renew(uint64_t lease_ms, Answer<Membership> done) {
  Command command = fenced_script(Script::renew);
  command.add(std::min(lease_ms, kLongestLeaseMs)).add(random_id());
  command.add(options_.tombstones_ms * 1000).add(options_.changes_ms * 1000);
  calls_.ask<Joined>(
      control_, command,
      [this, done = std::move(done)](Status status, Joined joined) {
        if (status == Status::ok && up()) {
          // Everybody has to tell everything again, as after a restart.
          if (joined.membership.cluster_id != cluster_id_) control_.fail("what the hosts share has been lost in part");
          inboxes_.on_nodes(joined.membership.nodes);
        }
        done(status, std::move(joined.membership));
      },
      to_joined);
}

void RedisHub::leave(Done done) {
  calls_.tell(control_, fenced_script(Script::leave).add(channel(kNodesChannel)), std::move(done));
}

// --- traffic ---

void RedisHub::send(const std::string& to, uint64_t number, std::string frames, Done done) {
  auto add = [to, number, frames = std::move(frames)](Command& command) {
    command.add(to).add(number);
    command.reserve(command.size() + frames.size() + 32);
    command.add(frames);
  };
  if (RedisInboxes::Server* further = inboxes_.of(to)) {
    return tell(*further, Script::send, std::move(add), std::move(done));
  }
  const Answer<bool> answer = [done](Status status, bool) { done(status); };
  if (!calls_.begin(up(), answer)) return;
  Command command = fenced_script(Script::send);
  add(command);
  control_.call(command, [this, to, add = std::move(add), answer, done = std::move(done)](Reply* reply) -> std::string {
    const std::string address = reply == nullptr ? std::string() : to_elsewhere(*reply);
    if (address.empty()) return calls_.take<bool>(reply, answer, RedisCalls::nothing);
    inboxes_.place(to, address);
    RedisInboxes::Server* further = inboxes_.of(to);
    if (further == nullptr) return calls_.complete(answer, Status::refused), std::string();
    tell(*further, Script::send, add, done);
    return {};
  });
}

void RedisHub::datagram(const std::string& to, std::string_view frames) {
  if (!up() || key_.empty()) return;
  calls_.ask<bool>(
      control_, {"PUBLISH", channel("q0:" + to), datagram_bytes(key_, frames)}, [](Status, bool) {},
      [](const Reply& reply) { return reply.is_integer() ? std::optional(true) : std::nullopt; },
      RedisCalls::Kind::plain);
}

void RedisHub::read(const std::string& inbox, uint64_t after, size_t max_bytes, Answer<std::vector<Entry>> done) {
  RedisInboxes::Server* further = inboxes_.of(inbox);
  RedisServer& server = further == nullptr ? control_ : *further->redis;
  if (!calls_.begin(further == nullptr ? up() : further->usable(), done)) return;
  Reader& reader = server.take_reader();
  if (after != 0 && !checked_.contains(inbox)) {
    // If this Redis has an older state than the one we have read before, what comes must not be numbered below that.
    const Command command = server.script(Script::last_entry).add(inbox).add(after);
    reader.connection->call(command, [this, inbox](Reply* reply) {
      if (reply != nullptr && to_status(*reply) == Status::ok) checked_.insert(inbox);
      return std::string();
    });
  }
  read_entries(server, reader, std::make_shared<Reading>(Reading{inbox, after, max_bytes, std::move(done)}));
}

void RedisHub::read_entries(RedisServer& server, Reader& reader, const std::shared_ptr<Reading>& reading) {
  const std::string stream = key("in:" + reading->inbox);
  Command command{"XREAD", "COUNT"};
  command.add(entries_.count()).add("BLOCK").add(options_.block_ms).add("STREAMS").add(stream);
  command.add(std::to_string(reading->after) + "-0");
  reader.connection->call(
      command,
      [this, &server, &reader, reading, stream](Reply* reply) -> std::string {
        server.release_reader(reader);
        auto entries = reply == nullptr ? std::nullopt : to_entries(*reply, stream);
        if (!entries) return calls_.give_up(reply, reading->done);
        entries_.learn(entries->size(), bytes_of(*entries), reading->max_bytes);
        return calls_.complete(reading->done, Status::ok, std::move(*entries)), std::string();
      },
      options_.block_ms);
}

void RedisHub::trim(uint64_t id, Done done) {
  const uint64_t first_to_stay = id == UINT64_MAX ? id : id + 1;
  RedisInboxes::Server* further = inboxes_.own();
  if (further == nullptr) return calls_.tell(control_, fenced_script(Script::trim).add(first_to_stay), std::move(done));
  tell(
      *further, Script::trim, [&](Command& command) { command.add(first_to_stay); }, std::move(done));
}

// --- adoption ---

void RedisHub::adopt(const std::string& node, uint64_t lease_ms, uint64_t within_ms, Answer<std::string> done) {
  Command command = fenced_script(Script::adopt);
  command.add(node).add(std::min(lease_ms, kLongestLeaseMs) * 1000).add(std::min(within_ms, kLongestLeaseMs) * 1000);
  calls_.ask<std::string>(control_, command.add(channel(kNodesChannel)), std::move(done), to_holder);
}

// On further servers first: its own says whether there is something in the inbox.
void RedisHub::bury(Done done) {
  const auto add = [this](Command& command) { command.add(channel(kNodesChannel)); };
  RedisInboxes::Server* own = inboxes_.own();
  inboxes_.for_each_usable([&](RedisInboxes::Server& server) {
    if (&server != own) tell(server, Script::bury, add, [](Status) {});
  });
  if (own == nullptr) return bury_here(done);
  tell(*own, Script::bury, add, [this, done = std::move(done)](Status status) {
    if (status != Status::ok) return done(status);
    bury_here(done);
  });
}

void RedisHub::bury_here(const Done& done) {
  calls_.tell(control_, fenced_script(Script::bury).add(channel(kNodesChannel)), done);
}

}  // namespace redis
