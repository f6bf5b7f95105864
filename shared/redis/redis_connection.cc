#include "shared/redis/redis_connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "shared/base/check.h"

namespace redis {
namespace {

constexpr size_t kReadSize = 32 * 1024;
constexpr int kReadsPerTurn = 16;
constexpr size_t kWrittenPerTurn = 4 * 1024 * 1024;
// A script with a value of 200 MB takes Redis 2 s, or more on a busy machine.
constexpr size_t kBytesPerMs = 20 * 1024;

std::string error_text(int error) {
  return std::generic_category().message(error);
}

}  // namespace

RedisConnection::RedisConnection(loop::Loop& loop, Options options, Events events)
    : loop_(loop),
      options_(std::move(options)),
      events_(std::move(events)),
      reader_(options_.max_reply_bytes),
      timer_(loop) {}

RedisConnection::~RedisConnection() {
  // Handlers may refer to the owner, which is about to die or to forget us.
  poll_.reset();
}

// --- opening ---

void RedisConnection::open(const HostPort& server) {
  CHECK(state_ == State::fresh);
  state_ = State::opening;
  server_ = server;
  opened_ms_ = moved_ms_ = heard_ms_ = loop_.now_ms();
  const uint64_t every = std::max<uint64_t>(options_.timeout_ms / 4, 10);
  timer_.start(every, every, [this] { check(); });
  greet();
  resolver_ = std::make_unique<loop::Resolver>(
      loop_, server.host, server.port,
      [this](const std::vector<loop::Address>& addresses, const std::string& error) { on_resolved(addresses, error); });
}

void RedisConnection::greet() {
  const auto expect_ok = [](const char* what) {
    return [what](Reply* reply) -> std::string {
      if (reply == nullptr || reply->is_status("OK")) return {};
      return std::string(what) + ": " + (reply->is_error() ? reply->text : "unexpected reply");
    };
  };
  if (!options_.password.empty()) {
    Command auth{"AUTH"};
    if (!options_.user.empty()) auth.add(options_.user);
    call(auth.add(options_.password), expect_ok("AUTH"));
  }
  if (options_.database != 0) call(Command{"SELECT"}.add(options_.database), expect_ok("SELECT"));
  // The first command that every server answers, with what it thinks of us.
  const Command last =
      options_.client_name.empty() ? Command{"PING"} : Command{"CLIENT", "SETNAME", options_.client_name};
  call(last, [this](Reply* reply) -> std::string {
    if (reply == nullptr) return {};
    // A server may forbid CLIENT, and that does not matter. NOAUTH, DENIED, LOADING and the like do.
    const bool forbidden = reply->text.starts_with("NOPERM") || reply->text.starts_with("ERR unknown");
    if (reply->is_error() && !forbidden) return reply->text;
    if (!reply->is_error() && reply->type != Reply::Type::status) return "unexpected reply to the first command";
    state_ = State::ready;
    if (events_.ready) events_.ready();
    return {};
  });
}

void RedisConnection::on_resolved(const std::vector<loop::Address>& addresses, const std::string& error) {
  if (broken()) return;
  if (addresses.empty()) return fail("cannot resolve " + server_.host + ": " + error);
  addresses_.assign(addresses.rbegin(), addresses.rend());
  connect_next();
}

void RedisConnection::connect_next() {
  poll_.reset();
  while (!addresses_.empty()) {
    const loop::Address address = addresses_.back();
    addresses_.pop_back();
    fd_.reset(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd_) {
      last_error_ = error_text(errno);
      continue;
    }
    const int on = 1;
    ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.size) != 0 &&
        errno != EINPROGRESS) {
      last_error_ = error_text(errno);
      continue;
    }
    poll_ = std::make_unique<loop::Poll>(loop_, fd_.get());
    watch();
    return;
  }
  fail("cannot connect to " + to_text(server_) + ": " + last_error_);
}

void RedisConnection::on_connected() {
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error != 0) {
    last_error_ = error_text(error);
    connect_next();
    return;
  }
  connected_ = true;
  moved_ms_ = heard_ms_ = loop_.now_ms();
  write();
}

// --- calls ---

void RedisConnection::call(const Command& command, Handler handler, uint64_t patience_ms) {
  CHECK(!listening_);
  if (broken()) {
    handler(nullptr);
    return;
  }
  if (!waiting()) moved_ms_ = loop_.now_ms();
  const size_t before = out_.size();
  command.write_to(out_);
  const size_t size = out_.size() - before;
  pending_.push_back({std::move(handler), size, patience_ms + size / kBytesPerMs});
  outstanding_ += size;
}

void RedisConnection::listen(std::string_view channel) {
  if (broken()) return;
  if (!waiting()) moved_ms_ = loop_.now_ms();
  listening_ = true;
  ++expected_;
  Command{"SUBSCRIBE", channel}.write_to(out_);
}

void RedisConnection::unlisten(std::string_view channel) {
  if (broken()) return;
  CHECK(listening_);
  if (!waiting()) moved_ms_ = loop_.now_ms();
  ++expected_;
  Command{"UNSUBSCRIBE", channel}.write_to(out_);
}

void RedisConnection::flush() {
  if (connected_ && !broken() && written_ < out_.size()) write();
}

void RedisConnection::abandon() {
  finish("abandoned", false);
}

// --- bytes ---

void RedisConnection::watch() {
  const bool wants_writing = !connected_ || written_ < out_.size();
  poll_->start(
      loop::kReadable | (wants_writing ? loop::kWritable : 0),
      [](void* self, int events) { static_cast<RedisConnection*>(self)->on_events(events); }, this);
}

void RedisConnection::on_events(int events) {
  if (!connected_) {
    on_connected();
    return;
  }
  if ((events & (loop::kReadable | loop::kError)) != 0) receive();
  if (!broken() && (events & loop::kWritable) != 0) write();
}

void RedisConnection::receive() {
  char buffer[kReadSize];
  for (int i = 0; i < kReadsPerTurn && !broken(); ++i) {
    const ssize_t got = ::recv(fd_.get(), buffer, sizeof buffer, 0);
    if (got == 0) return fail("closed by " + to_text(server_));
    if (got < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return;
      return fail(to_text(server_) + ": " + error_text(errno));
    }
    moved_ms_ = heard_ms_ = loop_.now_ms();
    reader_.feed({buffer, static_cast<size_t>(got)});
    if (!consume()) return;
    if (static_cast<size_t>(got) < sizeof buffer) return;
  }
}

bool RedisConnection::consume() {
  while (std::optional<Reply> reply = reader_.next()) {
    if (listening_ && pending_.empty()) {
      on_pushed(std::move(*reply));
    } else {
      on_reply(std::move(*reply));
    }
    if (broken()) return false;
  }
  if (reader_.error().empty()) return true;
  fail("malformed reply: " + reader_.error());
  return false;
}

void RedisConnection::on_reply(Reply reply) {
  // Before it closes a connection a server may say why, without having been asked.
  if (pending_.empty()) return fail(reply.is_error() ? reply.text : "a reply that nobody asked for");
  const Pending call = std::move(pending_.front());
  pending_.pop_front();
  outstanding_ -= call.size;
  const std::string wrong = call.handler(&reply);
  if (!wrong.empty() && !broken()) fail(wrong);
}

void RedisConnection::on_pushed(Reply reply) {
  if (reply.is_error()) return fail(reply.text);
  if (!reply.is_array() || reply.items.empty() || !reply.items[0].is_text()) return fail("malformed push");
  const std::string& kind = reply.items[0].text;
  if (kind == "subscribe" || kind == "unsubscribe" || kind == "pong") {
    if (expected_ == 0) return fail("a confirmation that nobody asked for");
    --expected_;
    if (kind == "pong") return;
  }
  const std::string wrong = events_.pushed(std::move(reply));
  if (!wrong.empty() && !broken()) fail(wrong);
}

void RedisConnection::write() {
  const size_t end = std::min(out_.size(), written_ + kWrittenPerTurn);
  while (written_ < end) {
    const ssize_t sent = ::send(fd_.get(), out_.data() + written_, end - written_, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) break;
      return fail(to_text(server_) + ": " + error_text(errno));
    }
    written_ += static_cast<size_t>(sent);
    moved_ms_ = loop_.now_ms();
  }
  if (written_ == out_.size()) {
    out_.clear();
    written_ = 0;
    if (out_.capacity() > kReadSize * 32) out_.shrink_to_fit();
  } else if (written_ > out_.size() / 2) {
    out_.erase(0, written_);
    written_ = 0;
  }
  watch();
}

// --- time ---

void RedisConnection::check() {
  // After a pause of this process the time has passed for us, but what has arrived is not read yet.
  if (connected_) receive();
  if (broken()) return;
  const uint64_t now = loop_.now_ms();
  const std::string after = " within " + std::to_string(options_.timeout_ms) + " ms";
  if (!ready()) {
    if (now - opened_ms_ > options_.timeout_ms) fail("no connection to " + to_text(server_) + after);
    return;
  }
  if (waiting()) {
    const uint64_t patience = pending_.empty() ? 0 : pending_.front().patience_ms;
    if (now - moved_ms_ > options_.timeout_ms + patience) fail("no answer from " + to_text(server_) + after);
    return;
  }
  if (now - heard_ms_ >= options_.timeout_ms / 2) ask_for_life();
}

void RedisConnection::ask_for_life() {
  const Command ping{"PING"};
  if (listening_) {
    moved_ms_ = loop_.now_ms();
    ++expected_;
    ping.write_to(out_);
  } else {
    call(ping, [](Reply* reply) -> std::string {
      return reply == nullptr || reply->type == Reply::Type::status ? std::string() : "unexpected reply to PING";
    });
  }
  flush();
}

void RedisConnection::finish(const std::string& reason, bool tell) {
  if (broken()) return;
  state_ = State::broken;
  timer_.stop();
  resolver_.reset();
  poll_.reset();
  fd_.reset();
  out_.clear();
  outstanding_ = 0;
  expected_ = 0;
  while (!pending_.empty()) {
    const Pending call = std::move(pending_.front());
    pending_.pop_front();
    call.handler(nullptr);
  }
  if (tell && events_.broken) events_.broken(reason);
}

}  // namespace redis
