#include "shared/redis/redis_answers.h"

#include <algorithm>
#include <array>
#include <map>
#include <string_view>

namespace redis {
namespace {

using cluster::Changes;
using cluster::Claimed;
using cluster::Entry;
using cluster::Held;
using cluster::Hub;
using cluster::Membership;
using cluster::Node;
using cluster::Retained;
using cluster::Status;

constexpr unsigned kCursorBits = 40;

// Reads the elements of an array in order; any that is missing or of another type makes the whole of it wrong.
class Fields {
 public:
  explicit Fields(const Reply& reply, size_t first = 0) : items_(reply.items), next_(first), ok_(reply.is_array()) {}
  bool ok() const { return ok_; }
  bool at_end() const { return next_ == items_.size(); }
  bool complete() const { return ok_ && at_end(); }

  const Reply& any(Reply::Type type) {
    static const Reply none;
    if (!ok_ || next_ >= items_.size() || items_[next_].type != type) {
      ok_ = false;
      return none;
    }
    return items_[next_++];
  }
  const std::string& text() { return any(Reply::Type::text).text; }
  const Reply& array() { return any(Reply::Type::array); }
  bool flag() {
    const int64_t value = any(Reply::Type::integer).integer;
    if (value != 0 && value != 1) ok_ = false;
    return value == 1;
  }
  uint64_t count() {
    const int64_t value = any(Reply::Type::integer).integer;
    if (value < 0) ok_ = false;
    return static_cast<uint64_t>(value);
  }
  // A decimal text.
  uint64_t number() {
    const auto value = to_number(text());
    if (!value) ok_ = false;
    return value.value_or(0);
  }

 private:
  const std::vector<Reply>& items_;
  size_t next_;
  bool ok_;
};

template <typename T>
std::optional<T> if_complete(const Fields& fields, T value) {
  if (!fields.complete()) return std::nullopt;
  return value;
}

// "N-0"
std::optional<uint64_t> to_id(std::string_view text) {
  if (!text.ends_with("-0")) return std::nullopt;
  text.remove_suffix(2);
  return to_number(text);
}

// "version value"
bool to_kept(const std::string& text, uint64_t& version, std::string& value) {
  const size_t space = text.find(' ');
  if (space == std::string::npos) return false;
  const auto number = to_number(std::string_view(text).substr(0, space));
  if (!number) return false;
  version = *number;
  value = text.substr(space + 1);
  return true;
}

// The entries that XREAD has of one stream: [[name, [[id, [field, value, ...]], ...]]]. False: malformed.
// f(uint64_t id, const Reply& fields) says whether it understood an entry.
template <typename F>
bool for_each_entry(const Reply& reply, const std::string& stream, F&& f) {
  if (reply.is_nil()) return true;
  if (!reply.is_array() || reply.items.size() != 1) return false;
  Fields of_stream(reply.items[0]);
  if (of_stream.text() != stream) return false;
  const Reply& entries = of_stream.array();
  if (!of_stream.complete()) return false;
  for (const Reply& entry : entries.items) {
    Fields parts(entry);
    const auto id = to_id(parts.text());
    const Reply& fields = parts.array();
    if (!parts.complete() || !id || !f(*id, fields)) return false;
  }
  return true;
}

}  // namespace

std::optional<Status> to_status(const Reply& reply) {
  constexpr std::array<Status, 3> kStatuses = {Status::ok, Status::fenced, Status::refused};
  Fields fields(reply);
  const uint64_t code = fields.count();
  if (!fields.ok() || code >= kStatuses.size()) return std::nullopt;
  return kStatuses[code];
}

std::optional<Joined> to_joined(const Reply& reply) {
  Fields fields(reply, 1);
  Joined joined;
  Membership& membership = joined.membership;
  membership.key = fields.text();
  membership.fresh = fields.flag();
  membership.cluster_id = fields.number();
  membership.inbox_end = fields.number();
  membership.calm_ms = fields.count();
  joined.number = fields.number();
  Fields nodes(fields.array());
  while (nodes.ok() && !nodes.at_end()) {
    Node node;
    node.key = nodes.text();
    node.gateway = nodes.number();
    node.remaining_ms = nodes.number();
    node.adopter = nodes.text();
    node.inbox = nodes.text();
    membership.nodes.push_back(std::move(node));
  }
  if (!nodes.complete() || membership.key.empty()) return std::nullopt;
  return if_complete(fields, std::move(joined));
}

std::optional<Claimed> to_claimed(const Reply& reply) {
  Fields fields(reply, 1);
  Claimed claimed;
  claimed.epoch = fields.number();
  claimed.previous = fields.text();
  return if_complete(fields, std::move(claimed));
}

std::optional<Held> to_held(const Reply& reply) {
  Fields fields(reply, 1);
  Held held;
  held.epoch = fields.number();
  held.holder = fields.text();
  held.previous = fields.text();
  return if_complete(fields, std::move(held));
}

std::optional<std::string> to_holder(const Reply& reply) {
  Fields fields(reply, 1);
  std::string holder = fields.text();
  return if_complete(fields, std::move(holder));
}

std::optional<uint64_t> to_version(const Reply& reply) {
  Fields fields(reply, 1);
  const uint64_t version = fields.number();
  return if_complete(fields, version);
}

std::optional<uint64_t> to_cluster_id(const Reply& reply) {
  return to_version(reply);
}

std::optional<std::vector<Hub::Mine>> to_mine(const Reply& reply) {
  Fields fields(reply, 1);
  Fields entries(fields.array());
  std::vector<Hub::Mine> mine;
  while (entries.ok() && !entries.at_end()) {
    Hub::Mine entry;
    entry.client = entries.text();
    entry.epoch = entries.number();
    entry.holds = entries.flag();
    mine.push_back(std::move(entry));
  }
  if (!entries.complete()) return std::nullopt;
  return if_complete(fields, std::move(mine));
}

CopyCursor to_copy_cursor(uint64_t next) {
  if (next == 0) return {};
  return {(next >> kCursorBits) - 1, next & ((uint64_t{1} << kCursorBits) - 1)};
}

std::optional<Hub::Records> to_records(const Reply& reply) {
  Fields fields(reply, 1);
  const uint64_t slot = fields.count();
  const Reply& following = fields.array();
  Fields pairs(fields.array());
  Hub::Records records;
  while (pairs.ok() && !pairs.at_end()) {
    cluster::Copied item;
    item.slot = static_cast<uint32_t>(slot);
    item.key = pairs.text();
    item.value = pairs.text();
    records.items.push_back(std::move(item));
  }
  if (!pairs.complete() || slot > UINT32_MAX) return std::nullopt;
  if (!following.items.empty()) {
    Fields next(following);
    const uint64_t next_slot = next.count();
    const uint64_t cursor = next.number();
    const uint64_t highest = (uint64_t{1} << (64 - kCursorBits)) - 2;
    if (!next.complete() || next_slot > highest || cursor >> kCursorBits != 0) return std::nullopt;
    records.next = ((next_slot + 1) << kCursorBits) | cursor;
  }
  return if_complete(fields, std::move(records));
}

bool is_taken(const Reply& reply) {
  Fields fields(reply, 1);
  const std::string why = fields.text();
  return to_status(reply) == Status::refused && fields.complete() && why == "taken";
}

std::string to_elsewhere(const Reply& reply) {
  Fields fields(reply, 1);
  std::string address = fields.text();
  return to_status(reply) == Status::refused && fields.complete() ? address : std::string();
}

std::optional<uint64_t> to_inbox_end(const Reply& reply) {
  Fields entries(reply);
  if (!entries.ok()) return std::nullopt;
  if (entries.at_end()) return 0;
  Fields entry(entries.array());
  return to_id(entry.text());
}

std::optional<std::vector<Entry>> to_entries(const Reply& reply, const std::string& stream) {
  std::vector<Entry> entries;
  const bool understood = for_each_entry(reply, stream, [&](uint64_t id, const Reply& of_entry) {
    Fields fields(of_entry);
    Entry entry;
    entry.id = id;
    const bool from = fields.text() == "f";
    entry.from = fields.text();
    const bool gateway = fields.text() == "g";
    entry.gateway = fields.number();
    const bool frames = fields.text() == "d";
    entry.frames = fields.text();
    entries.push_back(std::move(entry));
    return from && gateway && frames && fields.complete();
  });
  if (!understood) return std::nullopt;
  return entries;
}

std::optional<ChangesEnd> to_changes_end(const Reply& reply) {
  Fields fields(reply, 1);
  ChangesEnd end;
  end.last = fields.number();
  end.gap = fields.flag();
  if (end.last == 0) return std::nullopt;
  return if_complete(fields, end);
}

std::optional<ChangesRead> to_changes(const Reply& reply, const std::string& stream, uint64_t after) {
  ChangesRead read;
  read.changes.next = after;
  const bool understood = for_each_entry(reply, stream, [&](uint64_t id, const Reply& of_entry) {
    Fields fields(of_entry);
    Retained item;
    const bool before = fields.text() == "p";
    if (fields.number() != read.changes.next) read.changes.gap = true;
    const bool topic = fields.text() == "t";
    item.topic = fields.text();
    const bool version = fields.text() == "n";
    item.version = fields.number();
    bool value = true;
    if (fields.ok() && fields.at_end()) {
      read.kept.push_back(read.changes.items.size());
    } else {
      value = fields.text() == "v";
      item.value = fields.text();
    }
    read.changes.items.push_back(std::move(item));
    read.changes.next = id;
    return before && topic && version && value && fields.complete();
  });
  if (!understood) return std::nullopt;
  return read;
}

bool fill_kept(const Reply& reply, ChangesRead& read) {
  if (!reply.is_array() || reply.items.size() != read.kept.size()) return false;
  for (size_t i = read.kept.size(); i-- > 0;) {
    auto& items = read.changes.items;
    const size_t at = read.kept[i];
    const Reply& kept = reply.items[i];
    if (kept.is_nil()) {
      items.erase(items.begin() + static_cast<std::ptrdiff_t>(at));
      continue;
    }
    if (!kept.is_text() || !to_kept(kept.text, items[at].version, items[at].value)) return false;
  }
  read.kept.clear();
  return true;
}

std::optional<Changes> to_snapshot(const Reply& reply) {
  Fields fields(reply);
  Changes snapshot;
  snapshot.next = fields.number();
  Fields pairs(fields.array());
  while (pairs.ok() && !pairs.at_end()) {
    Retained item;
    item.topic = pairs.text();
    if (!to_kept(pairs.text(), item.version, item.value)) return std::nullopt;
    snapshot.items.push_back(std::move(item));
  }
  if (!pairs.complete()) return std::nullopt;
  return if_complete(fields, std::move(snapshot));
}

std::string info_field(std::string_view info, std::string_view field) {
  const std::string key = '\n' + std::string(field) + ':';
  const size_t at = info.find(key);
  if (at == std::string_view::npos) return {};
  const size_t begin = at + key.size();
  return std::string(info.substr(begin, info.find_first_of("\r\n", begin) - begin));
}

std::optional<bool> to_is_master(const Reply& role) {
  if (!role.is_array() || role.items.empty() || !role.items[0].is_text()) return std::nullopt;
  return role.items[0].text == "master";
}

std::vector<std::string> configuration_warnings(const Reply& config) {
  const std::vector<std::string> unknown = {
      "its configuration (appendonly, save, maxmemory-policy) may not be read with CONFIG GET and was not checked"};
  if (!config.is_array() || config.items.size() % 2 != 0) return unknown;
  std::map<std::string, std::string> values;
  for (size_t i = 0; i < config.items.size(); i += 2) values[config.items[i].text] = config.items[i + 1].text;
  for (const char* key : {"appendonly", "save", "maxmemory-policy"}) {
    if (!values.contains(key)) return unknown;
  }
  std::vector<std::string> warnings;
  if (values["appendonly"] != "yes") {
    warnings.push_back(values["save"].empty()
                           ? "appendonly is off and it saves no snapshots: what only Redis has is lost when it restarts"
                           : "appendonly is off: what changed since its last snapshot is lost when it restarts");
  }
  if (const std::string& policy = values["maxmemory-policy"]; policy != "noeviction") {
    warnings.push_back("maxmemory-policy is " + policy + ": at maxmemory it deletes sessions; it should be noeviction");
  }
  return warnings;
}

Severity severity_of(const std::string& error) {
  // NOSCRIPT: somebody has flushed the scripts; they are loaded at connect.
  constexpr std::array<std::string_view, 6> kUseless = {"READONLY", "LOADING",  "MASTERDOWN",
                                                        "NOAUTH",   "NOSCRIPT", "UNBLOCKED"};
  const std::string_view word = std::string_view(error).substr(0, error.find(' '));
  return std::find(kUseless.begin(), kUseless.end(), word) != kUseless.end() ? Severity::useless : Severity::refused;
}

}  // namespace redis
