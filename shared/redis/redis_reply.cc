#include "shared/redis/redis_reply.h"

#include <hiredis/read.h>

#include <charconv>
#include <cstring>

namespace redis {
namespace {

constexpr size_t kMaxLine = 64 * 1024;

// The functions by which hiredis makes values. A value goes into the array that is being read, or is the reply itself.
// Null means out of memory to hiredis, which then gives up. No exception may pass through its frames.
Reply* place(const redisReadTask* task, size_t values = 1) noexcept {
  try {
    const redisReadTask* root = task;
    while (root->parent != nullptr) root = root->parent;
    auto* left = static_cast<size_t*>(root->privdata);
    if (*left < values) {
      *left = 0;
      return nullptr;
    }
    --*left;
    if (task->parent == nullptr) return new Reply;
    // No value of the array is referred to any more when the next is made, so the array may move them.
    return &static_cast<Reply*>(task->parent->obj)->items.emplace_back();
  } catch (...) {
    return nullptr;
  }
}

// hiredis forgets what is not placed in an array already, so a root that fails must be deleted here.
void* give_up(const redisReadTask* task, Reply* reply) noexcept {
  if (task->parent == nullptr) delete reply;
  return nullptr;
}

void* create_text(const redisReadTask* task, char* text, size_t size) noexcept {
  Reply* reply = place(task);
  if (reply == nullptr) return nullptr;
  try {
    reply->text.assign(text, size);
  } catch (...) {
    return give_up(task, reply);
  }
  reply->type = task->type == REDIS_REPLY_ERROR    ? Reply::Type::error
                : task->type == REDIS_REPLY_STATUS ? Reply::Type::status
                                                   : Reply::Type::text;
  return reply;
}

void* create_array(const redisReadTask* task, int elements) noexcept {
  Reply* reply = place(task, 1 + static_cast<size_t>(elements));
  if (reply != nullptr) reply->type = Reply::Type::array;
  return reply;
}

void* create_integer(const redisReadTask* task, long long value) noexcept {
  Reply* reply = place(task);
  if (reply == nullptr) return nullptr;
  reply->type = Reply::Type::integer;
  reply->integer = value;
  return reply;
}

void* create_nil(const redisReadTask* task) noexcept {
  return place(task);
}

void free_reply(void* reply) noexcept {
  delete static_cast<Reply*>(reply);
}

redisReplyObjectFunctions kFunctions = {create_text, create_array, create_integer, create_nil, free_reply};

}  // namespace

std::optional<uint64_t> to_number(std::string_view text) {
  uint64_t number = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failed != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

void ReplyReader::Free::operator()(redisReader* reader) const {
  redisReaderFree(reader);
}

ReplyReader::ReplyReader(size_t max_bytes, size_t max_values)
    : max_bytes_(max_bytes),
      values_left_(std::make_unique<size_t>(max_values)),
      max_values_(max_values),
      reader_(redisReaderCreateWithFunctions(&kFunctions)) {
  if (reader_ == nullptr) {
    error_ = "out of memory";
    return;
  }
  reader_->privdata = values_left_.get();
}

void ReplyReader::feed(std::string_view bytes) {
  if (!error_.empty()) return;
  unfinished_ += bytes.size();
  if (redisReaderFeed(reader_.get(), bytes.data(), bytes.size()) != REDIS_OK) error_ = "out of memory";
}

std::optional<Reply> ReplyReader::next() {
  if (!error_.empty()) return std::nullopt;
  void* made = nullptr;
  if (redisReaderGetReply(reader_.get(), &made) != REDIS_OK) {
    error_ = *values_left_ == 0 ? "a reply has too many values" : std::string(reader_->errstr);
    return std::nullopt;
  }
  if (made == nullptr) {
    check_bounds();
    return std::nullopt;
  }
  const std::unique_ptr<Reply> reply(static_cast<Reply*>(made));
  *values_left_ = max_values_;
  unfinished_ = reader_->len - reader_->pos;
  return std::move(*reply);
}

// Of what is not complete. A line that does not end would be searched for its end again and again.
void ReplyReader::check_bounds() {
  if (unfinished_ > max_bytes_) error_ = "a reply is too large";
  const size_t left = reader_->len - reader_->pos;
  if (left > kMaxLine && std::memchr(reader_->buf + reader_->pos, '\n', kMaxLine) == nullptr) {
    error_ = "a line of a reply is too long";
  }
}

}  // namespace redis
