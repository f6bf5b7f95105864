#include "shared/redis/redis_server.h"

#include <algorithm>
#include <utility>

#include "shared/redis/redis_answers.h"

namespace redis {
namespace {

constexpr uint64_t kTickMs = 1000;
constexpr uint64_t kLeastPauseMs = 50;
constexpr uint64_t kSteadyMs = 5000;  // up for so long: the next attempt may come soon again
constexpr uint64_t kAskSentinelsMs = 3000;
constexpr uint64_t kIdleReaderMs = 5000;  // then one that was made for a while is closed

std::string printable(std::string text) {
  for (char& c : text) {
    if (c <= ' ' || c > '~') c = '_';
  }
  return text;
}

}  // namespace

RedisServer::RedisServer(loop::Loop& loop, Options options, Events events)
    : loop_(loop),
      options_(std::move(options)),
      events_(std::move(events)),
      random_(base::entropy()),
      retry_(loop),
      tick_(loop) {}

RedisServer::~RedisServer() = default;

void RedisServer::start() {
  tick_.start(kTickMs, kTickMs, [this] { tick(); });
  connect();
}

void RedisServer::stop() {
  stopped_ = true;
  up_ = connecting_ = false;
  retry_.stop();
  tick_.stop();
  abandon();
}

// --- connecting ---

// Not from inside a callback of a connection: the old ones die here.
void RedisServer::connect() {
  ++attempts_;
  query_.reset();
  commands_.reset();
  readers_.clear();
  connecting_ = true;
  if (options_.sentinels.places.empty()) return open(options_.url.server);
  ask_sentinels([this](const HostPort& master) { open(master); }, [this](const std::string& why) { fail(why); });
}

void RedisServer::ask_sentinels(std::function<void(const HostPort& master)> found,
                                std::function<void(const std::string&)> failed) {
  sentinels_asked_ms_ = loop_.now_ms();
  query_ = std::make_unique<SentinelQuery>(
      loop_, options_.sentinels, sentinel_++, options_.timeout_ms,
      [this, found = std::move(found), failed = std::move(failed)](const HostPort* master, const std::string& why) {
        if (!connecting_ && !up_) return;
        if (master == nullptr) return failed(why);
        found(*master);
      });
}

RedisConnection::Options RedisServer::connection_options(const char* purpose) const {
  RedisConnection::Options options;
  options.user = options_.url.user;
  options.password = options_.url.password;
  options.database = options_.url.database;
  if (!options_.client_name.empty()) options.client_name = printable(options_.client_name + ":" + purpose);
  options.timeout_ms = options_.timeout_ms;
  return options;
}

void RedisServer::open(const HostPort& server) {
  server_ = server;
  RedisConnection::Events events;
  events.ready = [this] { on_ready(); };
  events.broken = [this](const std::string& reason) { fail(reason); };
  commands_ = std::make_unique<RedisConnection>(loop_, connection_options("commands"), std::move(events));
  commands_->open(server);
}

void RedisServer::on_ready() {
  info_ = {};
  role_asked_ = true;
  commands_->call({"ROLE"}, [this](Reply* reply) { return on_role(reply); });
  commands_->call({"INFO", "server"}, [this](Reply* reply) { return on_info(reply); });
  commands_->call({"CONFIG", "GET", "appendonly", "save", "maxmemory-policy"}, [this](Reply* reply) -> std::string {
    if (reply != nullptr) info_.warnings = configuration_warnings(*reply);
    return {};
  });
  load_scripts();
  commands_->flush();
}

std::string RedisServer::on_info(Reply* reply) {
  if (reply == nullptr) return {};
  const std::string text = reply->is_text() ? reply->text : std::string();
  const std::string version = info_field(text, "redis_version");
  info_.run = info_field(text, "run_id");
  info_.name = to_text(server_) + (version.empty() ? "" : ", Redis " + version);
  const auto major = to_number(std::string_view(version).substr(0, version.find('.')));
  return major && *major < 7 ? "Redis 7.0 or later is needed, and this is " + version : std::string();
}

void RedisServer::load_scripts() {
  for (size_t i = 0; i < kScripts; ++i) {
    const Script which = static_cast<Script>(i);
    commands_->call({"SCRIPT", "LOAD", script_text(which)}, [this, i, which](Reply* reply) -> std::string {
      if (reply == nullptr) return {};
      const std::string name(script_name(which));
      if (reply->is_error()) return "cannot load the script " + name + ": " + reply->text;
      if (!reply->is_text() || reply->text.size() != 40) return "malformed answer to SCRIPT LOAD";
      shas_[i] = reply->text;
      if (i + 1 == kScripts) {
        events_.hello();
        commands_->flush();
      }
      return {};
    });
  }
}

std::string RedisServer::on_role(Reply* reply) {
  role_asked_ = false;
  // Who may not ask is told by READONLY.
  if (reply == nullptr || (reply->is_error() && reply->text.starts_with("NOPERM"))) return {};
  if (reply->is_error()) return "ROLE: " + reply->text;
  const auto master = to_is_master(*reply);
  if (!master) return "malformed answer to ROLE";
  return *master ? std::string() : to_text(server_) + " is not a master";
}

void RedisServer::greeted() {
  greeted_ = true;
  while (readers_.size() < options_.readers) open_reader();
  check_up();
}

void RedisServer::check_up() {
  const auto ready = [](const auto& reader) { return reader->was_ready; };
  if (up_ || !greeted_ || !events_.complete() || !std::all_of(readers_.begin(), readers_.end(), ready)) return;
  connecting_ = false;
  up_ = true;
  told_down_ = false;
  last_reason_.clear();
  up_since_ms_ = loop_.now_ms();
  events_.up();
}

void RedisServer::fail(const std::string& reason) {
  if (stopped_ || retry_.active()) return;
  if (up_) {
    ++breaks_;
    if (loop_.now_ms() - up_since_ms_ >= kSteadyMs) pause_ms_ = 0;
  }
  pause_ms_ = std::min(options_.max_pause_ms, std::max(kLeastPauseMs, pause_ms_ * 2));
  retry_.start(pause_ms_ / 2 + random_.below(pause_ms_ / 2 + 1), 0, [this] { connect(); });
  connecting_ = greeted_ = up_ = false;
  abandon();
  events_.broken();
  if (!told_down_) {
    told_down_ = true;
    events_.down(reason);
  } else if (reason != last_reason_ && options_.log != nullptr) {
    options_.log->warn("redis not reachable", {{"server", to_text(server_)}, {"reason", reason}});
  }
  last_reason_ = reason;
}

void RedisServer::abandon() {
  if (commands_ != nullptr) commands_->abandon();
  for (const auto& reader : readers_) reader->connection->abandon();
}

void RedisServer::tick() {
  if (query_ != nullptr && query_->done()) query_.reset();
  if (!up_) return;
  reap_readers();
  if (!options_.sentinels.places.empty() && loop_.now_ms() - sentinels_asked_ms_ >= kAskSentinelsMs) {
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

// --- calls ---

void RedisServer::call(const Command& command, RedisConnection::Handler handler) {
  commands_->call(command, std::move(handler));
}

Command RedisServer::script(Script which) const {
  return Command{"EVALSHA", shas_[static_cast<size_t>(which)], "0", options_.prefix};
}

void RedisServer::flush() {
  if (!up_) return;
  commands_->flush();
  for (const auto& reader : readers_) reader->connection->flush();
}

size_t RedisServer::outstanding() const {
  size_t bytes = commands_ == nullptr ? 0 : commands_->outstanding();
  for (const auto& reader : readers_) bytes += reader->connection->outstanding();
  return bytes;
}

// --- readers ---

RedisServer::Reader& RedisServer::open_reader() {
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

RedisServer::Reader& RedisServer::take_reader() {
  const auto idle = std::find_if(readers_.begin(), readers_.end(),
                                 [](const auto& reader) { return !reader->busy && !reader->connection->broken(); });
  Reader& reader = idle == readers_.end() ? open_reader() : **idle;
  reader.busy = true;
  return reader;
}

void RedisServer::release_reader(Reader& reader) {
  reader.busy = false;
  reader.idle_since_ms = loop_.now_ms();
}

void RedisServer::reap_readers() {
  const uint64_t now = loop_.now_ms();
  size_t left = readers_.size();
  std::erase_if(readers_, [&](const std::unique_ptr<Reader>& reader) {
    const bool spare = left > options_.readers && !reader->busy && now - reader->idle_since_ms > kIdleReaderMs;
    if (!spare && !reader->connection->broken()) return false;
    --left;
    return true;
  });
}

}  // namespace redis
