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
constexpr uint64_t kLeastPauseMs = 50;
constexpr uint64_t kSteadyMs = 5000;  // up for so long: the next attempt may come soon again
constexpr uint64_t kAskSentinelsMs = 3000;
constexpr uint64_t kIdleReaderMs = 5000;     // then one that was made for a while is closed
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

std::string printable(std::string text) {
  for (char& c : text) {
    if (c <= ' ' || c > '~') c = '_';
  }
  return text;
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
  std::string why;
  if (!parse_url(config.url, options.url, why, config.sentinels.empty())) return error = "redis.url: " + why, false;
  options.sentinels.clear();
  for (const std::string& text : config.sentinels) {
    HostPort sentinel;
    if (!parse_host_port(text, 26379, sentinel, why)) return error = "redis.sentinels: " + text + ": " + why, false;
    options.sentinels.push_back(sentinel);
  }
  options.sentinel_master = config.sentinel_master;
  options.prefix = config.prefix;
  return true;
}

RedisHub::RedisHub(loop::Loop& loop, Options options)
    : loop_(loop), options_(std::move(options)), random_(base::entropy()), shas_(kScripts), retry_(loop), tick_(loop) {}

RedisHub::~RedisHub() = default;

void RedisHub::start(Events& events) {
  CHECK(events_ == nullptr);
  events_ = &events;
  tick_.start(kTickMs, kTickMs, [this] { tick(); });
  connect();
}

// --- connecting ---

// Not from inside a callback of a connection: the old ones die here.
void RedisHub::connect() {
  ++statistics_.attempts;
  query_.reset();
  commands_.reset();
  listener_.reset();
  readers_.clear();
  connecting_ = true;
  if (options_.sentinels.empty()) return open(options_.url.server);
  ask_sentinels([this](const HostPort& master) { open(master); }, [this](const std::string& why) { fail(why); });
}

void RedisHub::ask_sentinels(std::function<void(const HostPort& master)> found,
                             std::function<void(const std::string&)> failed) {
  sentinels_asked_ms_ = loop_.now_ms();
  query_ = std::make_unique<SentinelQuery>(
      loop_, options_.sentinels, options_.sentinel_master, sentinel_++, options_.timeout_ms,
      [this, found = std::move(found), failed = std::move(failed)](const HostPort* master, const std::string& why) {
        if (!connecting_ && !up_) return;
        if (master == nullptr) return failed(why);
        found(*master);
      });
}

RedisConnection::Options RedisHub::connection_options(const char* purpose) const {
  RedisConnection::Options options;
  options.user = options_.url.user;
  options.password = options_.url.password;
  options.database = options_.url.database;
  if (!options_.client_name.empty()) options.client_name = printable(options_.client_name + ":" + purpose);
  options.timeout_ms = options_.timeout_ms;
  return options;
}

void RedisHub::open(const HostPort& server) {
  server_ = server;
  RedisConnection::Events events;
  events.ready = [this] { on_commands_ready(); };
  events.broken = [this](const std::string& reason) { fail(reason); };
  commands_ = std::make_unique<RedisConnection>(loop_, connection_options("commands"), std::move(events));
  commands_->open(server);
}

void RedisHub::on_commands_ready() {
  info_ = {};
  role_asked_ = true;
  commands_->call({"ROLE"}, [this](Reply* reply) { return on_role(reply); });
  commands_->call({"INFO", "server"}, [this](Reply* reply) -> std::string {
    if (reply == nullptr) return {};
    const std::string version = reply->is_text() ? server_version(reply->text) : std::string();
    info_.server = to_text(server_) + (version.empty() ? "" : ", Redis " + version);
    const auto major = to_number(std::string_view(version).substr(0, version.find('.')));
    return major && *major < 7 ? "Redis 7.0 or later is needed, and this is " + version : std::string();
  });
  commands_->call({"CONFIG", "GET", "appendonly", "save", "maxmemory-policy"}, [this](Reply* reply) -> std::string {
    if (reply != nullptr) info_.warnings = configuration_warnings(*reply);
    return {};
  });
  load_scripts();
  commands_->flush();
}

void RedisHub::load_scripts() {
  for (size_t i = 0; i < kScripts; ++i) {
    const Script which = static_cast<Script>(i);
    commands_->call({"SCRIPT", "LOAD", script_text(which)}, [this, i, which](Reply* reply) -> std::string {
      if (reply == nullptr) return {};
      const std::string name(script_name(which));
      if (reply->is_error()) return "cannot load the script " + name + ": " + reply->text;
      if (!reply->is_text() || reply->text.size() != 40) return "malformed answer to SCRIPT LOAD";
      shas_[i] = reply->text;
      if (i + 1 == kScripts) {
        commands_->call(script(Script::hello).add(random_id()), [this](Reply* answer) { return on_hello(answer); });
        commands_->flush();
      }
      return {};
    });
  }
}

std::string RedisHub::on_role(Reply* reply) {
  role_asked_ = false;
  // Who may not ask is told by READONLY.
  if (reply == nullptr || (reply->is_error() && reply->text.starts_with("NOPERM"))) return {};
  if (reply->is_error()) return "ROLE: " + reply->text;
  const auto master = to_is_master(*reply);
  if (!master) return "malformed answer to ROLE";
  return *master ? std::string() : to_text(server_) + " is not a master";
}

std::string RedisHub::on_hello(Reply* reply) {
  if (reply == nullptr) return {};
  if (reply->is_error()) return "hello: " + reply->text;
  const auto id = to_status(*reply) == Status::ok ? to_cluster_id(*reply) : std::nullopt;
  if (!id || *id == 0) return "malformed answer to hello";
  info_.cluster_id = *id;
  greeted_ = true;
  open_listener();
  while (readers_.size() < kReaders) open_reader();
  return {};
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
    if (!listening_) return fail(reason);
    // Redis closes a listener that does not keep up with what comes. Nothing but datagrams is lost by that.
    old_listeners_.push_back(std::move(listener_));
    open_listener();
  };
  listener_ = std::make_unique<RedisConnection>(loop_, connection_options("listener"), std::move(events));
  listener_->open(server_);
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
  if (up_) post([this] { events_->on_nodes_changed(); });
  check_up();
  return {};
}

std::string RedisHub::on_message(const std::string& from_channel, const std::string& payload) {
  if (!up_) return {};
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

RedisHub::Reader& RedisHub::open_reader() {
  readers_.push_back(std::make_unique<Reader>());
  Reader& reader = *readers_.back();
  reader.idle_since_ms = loop_.now_ms();
  RedisConnection::Events events;
  events.ready = [this, &reader] {
    reader.was_ready = true;
    check_up();
  };
  // One that has served before is replaced when it is needed.
  events.broken = [this, &reader](const std::string& reason) {
    if (!reader.was_ready) fail(reason);
  };
  reader.connection = std::make_unique<RedisConnection>(loop_, connection_options("reader"), std::move(events));
  reader.connection->open(server_);
  return reader;
}

void RedisHub::check_up() {
  const auto ready = [](const auto& reader) { return reader->was_ready; };
  if (up_ || !greeted_ || !listening_ || !std::all_of(readers_.begin(), readers_.end(), ready)) return;
  connecting_ = false;
  up_ = true;
  told_down_ = false;
  last_reason_.clear();
  up_since_ms_ = loop_.now_ms();
  checked_.clear();
  changes_checked_ms_ = 0;
  for (PieceSize* size : {&entries_, &changes_, &snapshot_, &records_}) size->forget();
  post([this, info = info_] { events_->on_up(info); });
}

void RedisHub::fail(const std::string& reason) {
  if (retry_.active()) return;
  if (up_) {
    ++statistics_.breaks;
    if (loop_.now_ms() - up_since_ms_ >= kSteadyMs) pause_ms_ = 0;
  }
  pause_ms_ = std::min(options_.max_pause_ms, std::max(kLeastPauseMs, pause_ms_ * 2));
  retry_.start(pause_ms_ / 2 + random_.below(pause_ms_ / 2 + 1), 0, [this] { connect(); });
  connecting_ = greeted_ = listening_ = up_ = false;
  if (commands_ != nullptr) commands_->abandon();
  if (listener_ != nullptr) listener_->abandon();
  for (const auto& reader : readers_) reader->connection->abandon();
  if (!told_down_) {
    told_down_ = true;
    post([this, reason] { events_->on_down(reason); });
  } else if (reason != last_reason_ && options_.log != nullptr) {
    options_.log->warn("redis not reachable", {{"reason", reason}});
  }
  last_reason_ = reason;
}

void RedisHub::tick() {
  old_listeners_.clear();
  if (query_ != nullptr && query_->done()) query_.reset();
  if (!up_) return;
  reap_readers();
  if (!options_.sentinels.empty() && loop_.now_ms() - sentinels_asked_ms_ >= kAskSentinelsMs) {
    ask_sentinels(
        [this](const HostPort& master) {
          if (up_ && master != server_) fail("the sentinels have another master now: " + to_text(master));
        },
        [](const std::string&) {});
  }
  // A master that has become a replica is of no use, and says so only when it is written to.
  if (!role_asked_) {
    role_asked_ = true;
    commands_->call({"ROLE"}, [this](Reply* reply) { return on_role(reply); });
    commands_->flush();
  }
}

void RedisHub::reap_readers() {
  const uint64_t now = loop_.now_ms();
  size_t left = readers_.size();
  std::erase_if(readers_, [&](const std::unique_ptr<Reader>& reader) {
    const bool spare = left > kReaders && !reader->busy && now - reader->idle_since_ms > kIdleReaderMs;
    if (!spare && !reader->connection->broken()) return false;
    --left;
    return true;
  });
}

// --- calls ---

std::string RedisHub::channel(std::string_view name) const {
  // Channels are common to all databases of a server.
  return options_.prefix + std::to_string(options_.url.database) + ":" + std::string(name);
}

Command RedisHub::script(Script which) const {
  return Command{"EVALSHA", shas_[static_cast<size_t>(which)], "0", options_.prefix};
}

Command RedisHub::fenced_script(Script which) const {
  Command command = script(which);
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
  if (!up_) return;
  commands_->flush();
  if (listener_ != nullptr) listener_->flush();
  for (const auto& reader : readers_) reader->connection->flush();
}

size_t RedisHub::outstanding() const {
  size_t bytes = commands_ == nullptr ? 0 : commands_->outstanding();
  for (const auto& reader : readers_) bytes += reader->connection->outstanding();
  return bytes;
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
void RedisHub::ask(const Command& command, Answer<T> done, Read<T> read) {
  ++statistics_.calls;
  if (!up_) return complete(done, Status::lost);
  commands_->call(command, [this, done = std::move(done), read = std::move(read)](Reply* reply) -> std::string {
    if (reply == nullptr) return complete(done, Status::lost), std::string();
    const std::optional<Status> status = to_status(*reply);
    if (!status) return give_up(*reply, done);
    if (*status != Status::ok) return complete(done, *status), std::string();
    std::optional<T> value = read(*reply);
    if (!value) return give_up(*reply, done);
    return complete(done, Status::ok, std::move(*value)), std::string();
  });
}

template <typename T>
void RedisHub::ask_plainly(const Command& command, Answer<T> done, Read<T> read) {
  ++statistics_.calls;
  if (!up_) return complete(done, Status::lost);
  commands_->call(command, [this, done = std::move(done), read = std::move(read)](Reply* reply) -> std::string {
    if (reply == nullptr) return complete(done, Status::lost), std::string();
    std::optional<T> value = read(*reply);
    if (!value) return give_up(*reply, done);
    return complete(done, Status::ok, std::move(*value)), std::string();
  });
}

void RedisHub::tell(const Command& command, Done done) {
  ask<bool>(
      command, [done = std::move(done)](Status status, bool) { done(status); }, nothing);
}

// --- membership ---

void RedisHub::join(const std::string& name, uint64_t gateway, uint64_t lease_ms, Answer<Membership> done) {
  if (!name_is_fine(name)) return complete(done, Status::refused);
  Command command = script(Script::join);
  command.add(name).add(gateway).add(std::min(lease_ms, kLongestLeaseMs)).add(random_id()).add(channel(kNodesChannel));
  ask<Membership>(command, std::move(done), [this, gateway](const Reply& reply) {
    std::optional<Membership> membership = to_membership(reply);
    if (!membership) return membership;
    // A new life stays new for the gateway that began it, in case an answer is lost; it is told once.
    if (membership->key == key_) membership->fresh = false;
    key_ = membership->key;
    gateway_ = gateway;
    listen_to_own_datagrams();
    return membership;
  });
}

void RedisHub::renew(uint64_t lease_ms, Answer<Membership> done) {
  Command command = fenced_script(Script::renew);
  command.add(std::min(lease_ms, kLongestLeaseMs)).add(random_id());
  command.add(options_.tombstones_ms * 1000).add(options_.changes_ms * 1000);
  ask<Membership>(command, std::move(done), to_membership);
}

void RedisHub::leave(Done done) {
  tell(fenced_script(Script::leave).add(channel(kNodesChannel)), std::move(done));
}

// --- traffic ---

void RedisHub::send(const std::string& to, uint64_t number, std::string frames, Done done) {
  Command command = fenced_script(Script::send);
  command.add(to).add(number);
  command.reserve(command.size() + frames.size() + 32);
  tell(command.add(frames), std::move(done));
}

void RedisHub::datagram(const std::string& to, std::string_view frames) {
  if (!up_ || key_.empty()) return;
  ask_plainly<bool>(
      {"PUBLISH", channel("q0:" + to), datagram_bytes(key_, frames)}, [](Status, bool) {},
      [](const Reply& reply) { return reply.is_integer() ? std::optional(true) : std::nullopt; });
}

RedisHub::Reader& RedisHub::take_reader() {
  const auto idle = std::find_if(readers_.begin(), readers_.end(),
                                 [](const auto& reader) { return !reader->busy && !reader->connection->broken(); });
  Reader& reader = idle == readers_.end() ? open_reader() : **idle;
  reader.busy = true;
  return reader;
}

void RedisHub::release_reader(Reader& reader) {
  reader.busy = false;
  reader.idle_since_ms = loop_.now_ms();
}

void RedisHub::read(const std::string& inbox, uint64_t after, size_t max_bytes, Answer<std::vector<Entry>> done) {
  ++statistics_.calls;
  if (!up_) return complete(done, Status::lost);
  Reader& reader = take_reader();
  if (after != 0 && !checked_.contains(inbox)) {
    // If this Redis has an older state than the one we have read before, what comes must not be numbered below that.
    reader.connection->call(script(Script::last_entry).add(inbox).add(after), [this, inbox](Reply* reply) {
      if (reply != nullptr && to_status(*reply) == Status::ok) checked_.insert(inbox);
      return std::string();
    });
  }
  read_entries(reader, std::make_shared<Reading>(Reading{inbox, after, max_bytes, std::move(done)}));
}

void RedisHub::read_entries(Reader& reader, const std::shared_ptr<Reading>& reading) {
  const std::string stream = key("in:" + reading->inbox);
  Command command{"XREAD", "COUNT"};
  command.add(entries_.count()).add("BLOCK").add(options_.block_ms).add("STREAMS").add(stream);
  command.add(std::to_string(reading->after) + "-0");
  reader.connection->call(
      command,
      [this, &reader, reading, stream](Reply* reply) -> std::string {
        release_reader(reader);
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
  tell(fenced_script(Script::trim).add(first_to_stay), std::move(done));
}

// --- directory ---

void RedisHub::claim(std::string_view client, uint64_t at_least, Answer<Claimed> done) {
  Command command = fenced_script(Script::claim);
  ask<Claimed>(command.add(bucket_of(client)).add(client).add(at_least), std::move(done), to_claimed);
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

void RedisHub::mine(uint32_t part, Answer<std::vector<Mine>> done) {
  ask<std::vector<Mine>>(fenced_script(Script::mine).add(part), std::move(done), to_mine);
}

// --- retained messages ---

void RedisHub::retain(std::string_view topic, std::string_view value, uint64_t at_least, Answer<uint64_t> done) {
  Command command = fenced_script(value.empty() ? Script::retain_delete : Script::retain);
  command.add(topic).add(value).add(at_least).add(options_.tombstones_ms * 1000).add(options_.max_changes);
  ask<uint64_t>(command, std::move(done), to_version);
}

void RedisHub::retain_again(const Retained& item, Answer<uint64_t> done) {
  Command command = fenced_script(Script::retain_again);
  command.add(item.topic).add(item.value).add(item.version);
  ask<uint64_t>(command.add(options_.tombstones_ms * 1000).add(options_.max_changes), std::move(done), to_version);
}

void RedisHub::changes(uint64_t after, Answer<Changes> done) {
  ++statistics_.calls;
  if (!up_) return complete(done, Status::lost);
  Reader& reader = take_reader();
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
        release_reader(reader);
        return complete(reading->done, Status::ok, Changes{end->last, end->gap, {}}), std::string();
      }
    }
    release_reader(reader);
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
        release_reader(reader);
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
    release_reader(reader);
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
  ask_plainly<Changes>(command, std::move(done), [this](const Reply& reply) {
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

void RedisHub::bury(Done done) {
  tell(fenced_script(Script::bury).add(channel(kNodesChannel)), std::move(done));
}

}  // namespace redis
