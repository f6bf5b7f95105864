#include "shared/redis/redis_hub.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "shared/base/check.h"

namespace redis {

using cluster::Changes;
using cluster::Claimed;
using cluster::Entry;
using cluster::Held;
using cluster::Membership;
using cluster::Retained;
using cluster::Status;

namespace {

constexpr size_t kReaders = 2;
constexpr uint64_t kTickMs = 1000;
constexpr uint64_t kCheckChangesMs = 60000;  // well below Options::changes_ms
constexpr size_t kPieceBytes = 1 << 20;
constexpr uint64_t kLongestLeaseMs = 10'000'000'000;
constexpr size_t kMostCopied = 400'000;  // changes of a batch; Redis takes about a million arguments
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

size_t bytes_of(const std::vector<Retained>& items) {
  size_t bytes = 0;
  for (const Retained& item : items) bytes += item.topic.size() + item.value.size();
  return bytes;
}

size_t bytes_of(const std::vector<cluster::Copied>& items) {
  size_t bytes = 0;
  for (const cluster::Copied& item : items) bytes += item.key.size() + item.value.size();
  return bytes;
}

std::optional<bool> nothing(const Reply& reply) {
  if (reply.items.size() != 1) return std::nullopt;
  return true;
}

}  // namespace

RedisHub::Statistics RedisHub::statistics() const {
  Statistics statistics = statistics_;
  statistics.attempts = control_.attempts();
  statistics.breaks = control_.breaks();
  return statistics;
}

struct RedisHub::Reading {
  std::string inbox;
  uint64_t after;
  size_t max_bytes;
  Answer<std::vector<Entry>> done;
};

struct RedisHub::ChangesReading {
  uint64_t after;
  Answer<Changes> done;
  ChangesRead read;
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
  options.sentinels.clear();
  for (const std::string& text : config.sentinels) {
    HostPort sentinel;
    if (!config::parse_host_port(text, config::kSentinelPort, sentinel)) {
      return error = "redis.sentinels: " + text + ": host or port is malformed", false;
    }
    options.sentinels.push_back(sentinel);
  }
  options.sentinel_master = config.sentinel_master;
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
  events.down = [this](const std::string& reason) { post([this, reason] { events_->on_down(reason); }); };
  return events;
}

RedisInboxes::Events RedisHub::inbox_events() {
  RedisInboxes::Events events;
  events.seen = [this](const std::string& address, const std::string& identity, std::function<void(bool)> done) {
    Command command = fenced_script(Script::seen);
    command.add(address).add(identity).add(random_id()).add(channel(kNodesChannel));
    tell(command, [done = std::move(done)](Status status) { done(status == Status::ok); });
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
            of.sentinel_master = options_.sentinel_master;
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
  post([this, info = cluster::Info{cluster_id_, control_.info().name, control_.info().warnings}] {
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
  if (up()) post([this] { events_->on_nodes_changed(); });
  control_.check_up();
  return {};
}

std::string RedisHub::on_message(const std::string& from_channel, const std::string& payload) {
  if (!up()) return {};
  if (from_channel == channel(kNodesChannel)) {
    post([this] { events_->on_nodes_changed(); });
    return {};
  }
  if (listened_.empty() || from_channel != channel("q0:" + listened_)) return {};
  std::string_view from;
  std::string_view frames;
  if (!split_datagram(payload, from, frames)) {
    ++statistics_.malformed;  // whoever has sent it, it was not Redis
    return {};
  }
  post([this, from = std::string(from), frames = std::string(frames)] { events_->on_datagram(from, frames); });
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

void RedisHub::post(std::function<void()> event) {
  const bool first = due_.empty();
  due_.push_back(std::move(event));
  if (first && options_.wake) options_.wake();
}

void RedisHub::run_completions() {
  for (size_t left = due_.size(); left > 0; --left) {
    const std::function<void()> event = std::move(due_.front());
    due_.pop_front();
    event();
  }
  if (!due_.empty() && options_.wake) options_.wake();
}

void RedisHub::flush() {
  inboxes_.flush();
  if (!up()) return;
  control_.flush();
  if (listener_ != nullptr) listener_->flush();
}

template <typename T>
void RedisHub::complete(const Answer<T>& done, Status status, T value) {
  if (status == Status::lost) ++statistics_.lost;
  if (status == Status::refused) ++statistics_.refused;
  post([done, status, value = std::move(value)]() mutable { done(status, std::move(value)); });
}

template <typename T>
std::string RedisHub::give_up(const Reply& reply, const Answer<T>& done) {
  if (reply.is_error() && severity_of(reply.text) == Severity::refused) {
    complete(done, Status::refused);
    return {};
  }
  complete(done, Status::lost);
  if (reply.is_error()) return reply.text;
  ++statistics_.malformed;
  return "malformed answer";
}

template <typename T>
std::string RedisHub::take(const Reply* reply, const Answer<T>& done, const Read<T>& read) {
  if (reply == nullptr) return complete(done, Status::lost), std::string();
  const std::optional<Status> status = to_status(*reply);
  if (!status) return give_up(*reply, done);
  if (*status != Status::ok) return complete(done, *status), std::string();
  std::optional<T> value = read(*reply);
  if (!value) return give_up(*reply, done);
  return complete(done, Status::ok, std::move(*value)), std::string();
}

template <typename T>
void RedisHub::ask(RedisServer& server, const Command& command, Answer<T> done, Read<T> read) {
  ++statistics_.calls;
  if (!server.up()) return complete(done, Status::lost);
  server.call(command,
              [this, done = std::move(done), read = std::move(read)](Reply* reply) { return take(reply, done, read); });
}

template <typename T>
void RedisHub::ask_plainly(RedisServer& server, const Command& command, Answer<T> done, Read<T> read) {
  ++statistics_.calls;
  if (!server.up()) return complete(done, Status::lost);
  server.call(command, [this, done = std::move(done), read = std::move(read)](Reply* reply) -> std::string {
    if (reply == nullptr) return complete(done, Status::lost), std::string();
    std::optional<T> value = read(*reply);
    if (!value) return give_up(*reply, done);
    return complete(done, Status::ok, std::move(*value)), std::string();
  });
}

void RedisHub::tell(RedisServer& server, const Command& command, Done done) {
  ask<bool>(
      server, command, [done = std::move(done)](Status status, bool) { done(status); }, nothing);
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
    ++statistics_.calls;
    return complete(answer, server.fenced ? Status::fenced : Status::lost);
  }
  Command command = fenced_script(*server.redis, which);
  add(command);
  ask<bool>(
      *server.redis, command,
      [this, answer, address = server.address](Status status, bool) {
        if (status != Status::fenced) return answer(status, true);
        // It may only have lost what we have announced.
        RedisInboxes::Server* again = inboxes_.announce_again(address);
        if (again == nullptr || !again->undecided()) return answer(Status::lost, false);
        again->waiting.push_back(
            [this, answer, again] { complete(answer, again->fenced ? Status::fenced : Status::refused, false); });
      },
      nothing);
  server.redis->flush();
}

// --- membership ---

void RedisHub::join(const std::string& name, uint64_t gateway, uint64_t lease_ms, Answer<Membership> done) {
  if (!name_is_fine(name)) return complete(done, Status::refused);
  Command command = script(Script::join);
  command.add(name).add(gateway).add(std::min(lease_ms, kLongestLeaseMs)).add(random_id()).add(channel(kNodesChannel));
  command.add(options_.inbox.empty() ? "-" : options_.inbox);
  ask<Joined>(
      command,
      [this, done = std::move(done)](Status status, Joined joined) {
        if (status != Status::ok || inboxes_.own() == nullptr) return done(status, std::move(joined.membership));
        if (joining_) joining_->done(Status::lost, {});
        joining_ = Joining{std::move(joined.membership), done};
        finish_join();
      },
      [this, gateway](const Reply& reply) {
        std::optional<Joined> joined = to_joined(reply);
        if (!joined) return joined;
        // A new life stays new for the gateway that began it, in case an answer is lost; it is told once.
        if (joined->membership.key == key_) joined->membership.fresh = false;
        gateway_ = gateway;
        on_joined(*joined);
        return joined;
      });
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
  if (!up()) return complete(joining.done, Status::lost);
  if (own != nullptr && own->fenced) return complete(joining.done, Status::fenced);
  if (own == nullptr || !own->usable()) return complete(joining.done, Status::refused);
  const auto answer = [joining](Status status, uint64_t end) mutable {
    joining.membership.inbox_end = end;
    joining.done(status, std::move(joining.membership));
  };
  ask_plainly<uint64_t>(*own->redis, {"XREVRANGE", key("in:" + key_), "+", "-", "COUNT", "1"}, answer, to_inbox_end);
  own->redis->flush();
}

void RedisHub::renew(uint64_t lease_ms, Answer<Membership> done) {
  Command command = fenced_script(Script::renew);
  command.add(std::min(lease_ms, kLongestLeaseMs)).add(random_id());
  command.add(options_.tombstones_ms * 1000).add(options_.changes_ms * 1000);
  ask<Joined>(
      command,
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
  tell(fenced_script(Script::leave).add(channel(kNodesChannel)), std::move(done));
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
  ++statistics_.calls;
  const Answer<bool> answer = [done](Status status, bool) { done(status); };
  if (!up()) return complete(answer, Status::lost);
  Command command = fenced_script(Script::send);
  add(command);
  control_.call(command, [this, to, add = std::move(add), answer, done = std::move(done)](Reply* reply) -> std::string {
    const std::string address = reply == nullptr ? std::string() : to_elsewhere(*reply);
    if (address.empty()) return take<bool>(reply, answer, nothing);
    inboxes_.place(to, address);
    RedisInboxes::Server* further = inboxes_.of(to);
    if (further == nullptr) return complete(answer, Status::refused), std::string();
    tell(*further, Script::send, add, done);
    return {};
  });
}

void RedisHub::datagram(const std::string& to, std::string_view frames) {
  if (!up() || key_.empty()) return;
  ask_plainly<bool>(
      control_, {"PUBLISH", channel("q0:" + to), datagram_bytes(key_, frames)}, [](Status, bool) {},
      [](const Reply& reply) { return reply.is_integer() ? std::optional(true) : std::nullopt; });
}

void RedisHub::read(const std::string& inbox, uint64_t after, size_t max_bytes, Answer<std::vector<Entry>> done) {
  ++statistics_.calls;
  RedisInboxes::Server* further = inboxes_.of(inbox);
  RedisServer& server = further == nullptr ? control_ : *further->redis;
  if (further == nullptr ? !up() : !further->usable()) return complete(done, Status::lost);
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
        if (reply == nullptr) return complete(reading->done, Status::lost), std::string();
        auto entries = to_entries(*reply, stream);
        if (!entries) return give_up(*reply, reading->done);
        entries_.learn(entries->size(), bytes_of(*entries), reading->max_bytes);
        return complete(reading->done, Status::ok, std::move(*entries)), std::string();
      },
      options_.block_ms);
}

void RedisHub::trim(uint64_t id, Done done) {
  const uint64_t first_to_stay = id == UINT64_MAX ? id : id + 1;
  RedisInboxes::Server* further = inboxes_.own();
  if (further == nullptr) return tell(fenced_script(Script::trim).add(first_to_stay), std::move(done));
  tell(
      *further, Script::trim, [&](Command& command) { command.add(first_to_stay); }, std::move(done));
}

// --- directory ---

void RedisHub::claim(std::string_view client, uint64_t at_least, Answer<Claimed> done) {
  Command command = fenced_script(Script::claim);
  ask<Claimed>(command.add(bucket_of(client)).add(client).add(at_least), std::move(done), [this](const Reply& reply) {
    const auto claimed = to_claimed(reply);
    if (claimed) known_epoch_ = std::max(known_epoch_, claimed->epoch);
    return claimed;
  });
}

void RedisHub::hold(std::string_view client, uint64_t epoch, Answer<Held> done) {
  Command command = fenced_script(Script::hold);
  ask<Held>(command.add(bucket_of(client)).add(client).add(epoch), std::move(done), to_held);
}

void RedisHub::directory(Script which, std::string_view client, uint64_t epoch, Done done) {
  Command command = fenced_script(which);
  tell(command.add(bucket_of(client)).add(client).add(epoch), std::move(done));
}

void RedisHub::withdraw(std::string_view client, uint64_t epoch, Done done) {
  directory(Script::withdraw, client, epoch, std::move(done));
}

void RedisHub::release(std::string_view client, uint64_t epoch, Done done) {
  directory(Script::release, client, epoch, std::move(done));
}

void RedisHub::holder(std::string_view client, Answer<std::string> done) {
  ask<std::string>(script(Script::holder).add(bucket_of(client)).add(client), std::move(done), to_holder);
}

void RedisHub::before(std::string_view client, uint64_t epoch, Answer<Claimed> done) {
  Command command = script(Script::before);
  ask<Claimed>(command.add(bucket_of(client)).add(client).add(epoch), std::move(done), to_claimed);
}

void RedisHub::mine(uint32_t part, Answer<std::vector<Mine>> done) {
  ask<std::vector<Mine>>(fenced_script(Script::mine).add(part), std::move(done), to_mine);
}

// --- retained messages ---

void RedisHub::retain(std::string_view topic, std::string_view value, uint64_t at_least, Answer<uint64_t> done) {
  Command command = fenced_script(value.empty() ? Script::retain_delete : Script::retain);
  command.add(topic).add(value).add(at_least).add(options_.tombstones_ms * 1000).add(options_.max_changes);
  ask<uint64_t>(command, std::move(done), [this](const Reply& reply) {
    const auto version = to_version(reply);
    if (version) known_version_ = std::max(known_version_, *version);
    return version;
  });
}

void RedisHub::retain_again(const Retained& item, Answer<uint64_t> done) {
  Command command = fenced_script(Script::retain_again);
  command.add(item.topic).add(item.value).add(item.version);
  ask<uint64_t>(command.add(options_.tombstones_ms * 1000).add(options_.max_changes), std::move(done), to_version);
}

void RedisHub::changes(uint64_t after, Answer<Changes> done) {
  ++statistics_.calls;
  if (!up()) return complete(done, Status::lost);
  Reader& reader = control_.take_reader();
  const auto reading = std::make_shared<ChangesReading>(ChangesReading{after, std::move(done), {}});
  const uint64_t now = loop_.now_ms();
  // Each change names the one before it, so a gap shows as soon as one comes. But all of them may have been trimmed.
  if (after != 0 && changes_checked_ms_ != 0 && now - changes_checked_ms_ < kCheckChangesMs) {
    return read_changes(reader, reading);
  }
  reader.connection->call(script(Script::changes).add(after), [this, &reader, reading, now](Reply* reply) {
    if (reply != nullptr && to_status(*reply) == Status::ok) {
      if (const auto end = to_changes_end(*reply)) {
        changes_checked_ms_ = now;
        if (reading->after != 0 && !end->gap) {
          read_changes(reader, reading);
          reader.connection->flush();
          return std::string();
        }
        control_.release_reader(reader);
        return complete(reading->done, Status::ok, Changes{end->last, end->gap, {}}), std::string();
      }
    }
    control_.release_reader(reader);
    if (reply == nullptr) return complete(reading->done, Status::lost), std::string();
    return give_up(*reply, reading->done);
  });
}

void RedisHub::read_changes(Reader& reader, const std::shared_ptr<ChangesReading>& reading) {
  const std::string stream = key("changes");
  Command command{"XREAD", "COUNT"};
  command.add(changes_.count()).add("BLOCK").add(options_.block_ms).add("STREAMS").add(stream);
  command.add(std::to_string(reading->after) + "-0");
  reader.connection->call(
      command,
      [this, &reader, reading, stream](Reply* reply) -> std::string {
        auto read = reply == nullptr ? std::nullopt : to_changes(*reply, stream, reading->after);
        if (read && !read->kept.empty()) {
          reading->read = std::move(*read);
          read_kept(reader, reading);
          return {};
        }
        control_.release_reader(reader);
        if (reply == nullptr) return complete(reading->done, Status::lost), std::string();
        if (!read) return give_up(*reply, reading->done);
        changes_.learn(read->changes.items.size(), bytes_of(read->changes.items), kPieceBytes);
        return complete(reading->done, Status::ok, std::move(read->changes)), std::string();
      },
      options_.block_ms);
}

void RedisHub::read_kept(Reader& reader, const std::shared_ptr<ChangesReading>& reading) {
  Command command{"HMGET", key("retained")};
  for (const size_t at : reading->read.kept) command.add(reading->read.changes.items[at].topic);
  reader.connection->call(command, [this, &reader, reading](Reply* reply) -> std::string {
    control_.release_reader(reader);
    if (reply == nullptr) return complete(reading->done, Status::lost), std::string();
    if (!fill_kept(*reply, reading->read)) return give_up(*reply, reading->done);
    const auto& items = reading->read.changes.items;
    changes_.learn(items.size(), bytes_of(items), kPieceBytes);
    return complete(reading->done, Status::ok, std::move(reading->read.changes)), std::string();
  });
  reader.connection->flush();
}

void RedisHub::snapshot(uint64_t cursor, Answer<Changes> done) {
  Command command{"HSCAN", key("retained")};
  command.add(cursor).add("COUNT").add(snapshot_.count());
  ask_plainly<Changes>(control_, command, std::move(done), [this](const Reply& reply) {
    auto snapshot = to_snapshot(reply);
    if (snapshot) snapshot_.learn(snapshot->items.size(), bytes_of(snapshot->items), kPieceBytes);
    return snapshot;
  });
}

// --- copies ---

void RedisHub::begin_copy(uint32_t slot, uint64_t round, Done done) {
  tell(fenced_script(Script::begin_copy).add(slot).add(round), std::move(done));
}

void RedisHub::copy(uint32_t slot, uint64_t round, const store::Batch& batch, Done done) {
  if (batch.changes() > kMostCopied) {
    return complete<bool>([done = std::move(done)](Status status, bool) { done(status); }, Status::refused);
  }
  // What a key is in the end is all that shows of a batch.
  std::unordered_map<std::string_view, std::optional<std::string_view>> last;
  batch.for_each([&](bool erase, std::string_view record, std::string_view value) {
    last[record] = erase ? std::nullopt : std::optional(value);
  });
  uint64_t erased = 0;
  for (const auto& [record, value] : last) erased += value ? 0 : 1;
  Command command = fenced_script(erased == last.size() ? Script::copy_erase : Script::copy);
  command.reserve(command.size() + batch.bytes() + 64 + last.size() * 32);
  command.add(slot).add(round).add(erased);
  for (const auto& [record, value] : last) {
    if (!value) command.add(record);
  }
  for (const auto& [record, value] : last) {
    if (value) command.add(record).add(*value);
  }
  tell(command, std::move(done));
}

void RedisHub::finish_copy(uint32_t slot, uint64_t round, Done done) {
  tell(fenced_script(Script::finish_copy).add(slot).add(round), std::move(done));
}

void RedisHub::keep_copies(uint32_t slots, Done done) {
  tell(fenced_script(Script::keep_copies).add(slots), std::move(done));
}

void RedisHub::read_copy(const std::string& node, uint64_t cursor, Answer<Records> done) {
  const CopyCursor at = to_copy_cursor(cursor);
  Command command = script(Script::read_copy);
  command.add(node).add(at.slot).add(at.cursor).add(records_.count());
  ask<Records>(command, std::move(done), [this](const Reply& reply) {
    auto records = to_records(reply);
    if (records) records_.learn(records->items.size(), bytes_of(records->items), kPieceBytes);
    return records;
  });
}

// --- adoption ---

void RedisHub::adopt(const std::string& node, uint64_t lease_ms, uint64_t within_ms, Answer<std::string> done) {
  Command command = fenced_script(Script::adopt);
  command.add(node).add(std::min(lease_ms, kLongestLeaseMs) * 1000).add(std::min(within_ms, kLongestLeaseMs) * 1000);
  ask<std::string>(command.add(channel(kNodesChannel)), std::move(done), to_holder);
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
  tell(fenced_script(Script::bury).add(channel(kNodesChannel)), done);
}

}  // namespace redis
