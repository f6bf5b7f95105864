// What the hosts share, of RedisHub: the directory, retained messages, copies.
#include <algorithm>
#include <unordered_map>
#include <utility>

#include "shared/redis/redis_hub.h"

namespace redis {

using cluster::Changes;
using cluster::Claimed;
using cluster::Held;
using cluster::Retained;
using cluster::Status;

namespace {

constexpr uint64_t kCheckChangesMs = 60000;  // well below Options::changes_ms
constexpr size_t kPieceBytes = 1 << 20;
constexpr size_t kMostCopied = 400'000;  // changes of a batch; Redis takes about a million arguments

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

}  // namespace

struct RedisHub::ChangesReading {
  uint64_t after;
  Answer<Changes> done;
  ChangesRead read;
};

// --- directory ---

void RedisHub::claim(std::string_view client, uint64_t at_least, Answer<Claimed> done) {
  Command command = fenced_script(Script::claim);
  calls_.ask<Claimed>(control_, command.add(bucket_of(client)).add(client).add(at_least), std::move(done),
                      [this](const Reply& reply) {
                        const auto claimed = to_claimed(reply);
                        if (claimed) known_epoch_ = std::max(known_epoch_, claimed->epoch);
                        return claimed;
                      });
}

void RedisHub::hold(std::string_view client, uint64_t epoch, Answer<Held> done) {
  Command command = fenced_script(Script::hold);
  calls_.ask<Held>(control_, command.add(bucket_of(client)).add(client).add(epoch), std::move(done), to_held);
}

void RedisHub::directory(Script which, std::string_view client, uint64_t epoch, Done done) {
  Command command = fenced_script(which);
  calls_.tell(control_, command.add(bucket_of(client)).add(client).add(epoch), std::move(done));
}

void RedisHub::withdraw(std::string_view client, uint64_t epoch, Done done) {
  directory(Script::withdraw, client, epoch, std::move(done));
}

void RedisHub::release(std::string_view client, uint64_t epoch, Done done) {
  directory(Script::release, client, epoch, std::move(done));
}

void RedisHub::holder(std::string_view client, Answer<std::string> done) {
  calls_.ask<std::string>(control_, script(Script::holder).add(bucket_of(client)).add(client), std::move(done),
                          to_holder);
}

void RedisHub::before(std::string_view client, uint64_t epoch, Answer<Claimed> done) {
  Command command = script(Script::before);
  calls_.ask<Claimed>(control_, command.add(bucket_of(client)).add(client).add(epoch), std::move(done), to_claimed);
}

void RedisHub::mine(uint32_t part, Answer<std::vector<Mine>> done) {
  calls_.ask<std::vector<Mine>>(control_, fenced_script(Script::mine).add(part), std::move(done), to_mine);
}

// --- retained messages ---

void RedisHub::retain(std::string_view topic, std::string_view value, uint64_t at_least, Answer<uint64_t> done) {
  Command command = fenced_script(value.empty() ? Script::retain_delete : Script::retain);
  command.add(topic).add(value).add(at_least).add(options_.tombstones_ms * 1000).add(options_.max_changes);
  calls_.ask<uint64_t>(control_, command, std::move(done), [this](const Reply& reply) {
    const auto version = to_version(reply);
    if (version) known_version_ = std::max(known_version_, *version);
    return version;
  });
}

void RedisHub::retain_again(const Retained& item, Answer<uint64_t> done) {
  Command command = fenced_script(Script::retain_again);
  command.add(item.topic).add(item.value).add(item.version);
  calls_.ask<uint64_t>(control_, command.add(options_.tombstones_ms * 1000).add(options_.max_changes), std::move(done),
                       to_version);
}

void RedisHub::changes(uint64_t after, Answer<Changes> done) {
  if (!calls_.begin(up(), done)) return;
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
        return calls_.complete(reading->done, Status::ok, Changes{end->last, end->gap, {}}), std::string();
      }
    }
    control_.release_reader(reader);
    return calls_.give_up(reply, reading->done);
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
        if (!read) return calls_.give_up(reply, reading->done);
        changes_.learn(read->changes.items.size(), bytes_of(read->changes.items), kPieceBytes);
        return calls_.complete(reading->done, Status::ok, std::move(read->changes)), std::string();
      },
      options_.block_ms);
}

void RedisHub::read_kept(Reader& reader, const std::shared_ptr<ChangesReading>& reading) {
  Command command{"HMGET", key("retained")};
  for (const size_t at : reading->read.kept) command.add(reading->read.changes.items[at].topic);
  reader.connection->call(command, [this, &reader, reading](Reply* reply) -> std::string {
    control_.release_reader(reader);
    if (reply == nullptr || !fill_kept(*reply, reading->read)) return calls_.give_up(reply, reading->done);
    const auto& items = reading->read.changes.items;
    changes_.learn(items.size(), bytes_of(items), kPieceBytes);
    return calls_.complete(reading->done, Status::ok, std::move(reading->read.changes)), std::string();
  });
  reader.connection->flush();
}

void RedisHub::snapshot(uint64_t cursor, Answer<Changes> done) {
  Command command{"HSCAN", key("retained")};
  command.add(cursor).add("COUNT").add(snapshot_.count());
  const auto read = [this](const Reply& reply) {
    auto snapshot = to_snapshot(reply);
    if (snapshot) snapshot_.learn(snapshot->items.size(), bytes_of(snapshot->items), kPieceBytes);
    return snapshot;
  };
  calls_.ask<Changes>(control_, command, std::move(done), read, RedisCalls::Kind::plain);
}

// --- copies ---

void RedisHub::begin_copy(uint32_t slot, uint64_t round, Done done) {
  calls_.tell(control_, fenced_script(Script::begin_copy).add(slot).add(round), std::move(done));
}

void RedisHub::copy(uint32_t slot, uint64_t round, const store::Batch& batch, Done done) {
  if (batch.changes() > kMostCopied) {
    return calls_.complete<bool>([done = std::move(done)](Status status, bool) { done(status); }, Status::refused);
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
  calls_.tell(control_, command, std::move(done));
}

void RedisHub::finish_copy(uint32_t slot, uint64_t round, Done done) {
  calls_.tell(control_, fenced_script(Script::finish_copy).add(slot).add(round), std::move(done));
}

void RedisHub::keep_copies(uint32_t slots, Done done) {
  calls_.tell(control_, fenced_script(Script::keep_copies).add(slots), std::move(done));
}

void RedisHub::read_copy(const std::string& node, uint64_t cursor, Answer<Records> done) {
  const CopyCursor at = to_copy_cursor(cursor);
  Command command = script(Script::read_copy);
  command.add(node).add(at.slot).add(at.cursor).add(records_.count());
  calls_.ask<Records>(control_, command, std::move(done), [this](const Reply& reply) {
    auto records = to_records(reply);
    if (records) records_.learn(records->items.size(), bytes_of(records->items), kPieceBytes);
    return records;
  });
}

}  // namespace redis
