// Replies made into what cluster::Hub answers. Nothing here trusts the server: a reply of another shape than the
// script's is nullopt, whatever it is.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "shared/cluster/hub.h"
#include "shared/redis/redis_reply.h"

namespace redis {

// The first element of every script's answer.
std::optional<cluster::Status> to_status(const Reply& reply);

// Of the whole answer of a script that says Status::ok.
struct Joined {
  cluster::Membership membership;
  uint64_t number = 0;  // of the join; 0: it was none
};
std::optional<Joined> to_joined(const Reply& reply);
std::optional<cluster::Claimed> to_claimed(const Reply& reply);
std::optional<cluster::Held> to_held(const Reply& reply);
std::optional<std::string> to_holder(const Reply& reply);
std::optional<uint64_t> to_version(const Reply& reply);
std::optional<uint64_t> to_cluster_id(const Reply& reply);
std::optional<std::vector<cluster::Hub::Mine>> to_mine(const Reply& reply);
std::optional<cluster::Hub::Records> to_records(const Reply& reply);
// Where a piece of a copy begins: what Records::next says.
struct CopyCursor {
  uint64_t slot = 0;
  uint64_t cursor = 0;
};
CopyCursor to_copy_cursor(uint64_t next);

// Of join: another host is that node.
bool is_taken(const Reply& reply);
// Of send: the server that has that inbox; empty: this one has, or another answer.
std::string to_elsewhere(const Reply& reply);
// XREVRANGE of an inbox: its newest entry; 0: it is empty.
std::optional<uint64_t> to_inbox_end(const Reply& reply);
// XREAD of an inbox; nil: nothing.
std::optional<std::vector<cluster::Entry>> to_entries(const Reply& reply, const std::string& stream);

// The end of the changes, and whether some before it are missing.
struct ChangesEnd {
  uint64_t last = 0;
  bool gap = false;
};
std::optional<ChangesEnd> to_changes_end(const Reply& reply);

// XREAD of the changes behind `after`. `kept` has the positions of items whose value is not in the stream: it is where
// it is kept.
struct ChangesRead {
  cluster::Changes changes;
  std::vector<size_t> kept;
};
std::optional<ChangesRead> to_changes(const Reply& reply, const std::string& stream, uint64_t after);
// HMGET of what is kept, for read.kept: puts version and value into the items, drops items that are not there any more.
bool fill_kept(const Reply& reply, ChangesRead& read);
// HSCAN of what is kept.
std::optional<cluster::Changes> to_snapshot(const Reply& reply);

// Of INFO, whose lines are "field:value"; empty: there is no such field.
std::string info_field(std::string_view info, std::string_view field);
// True if the server is a master.
std::optional<bool> to_is_master(const Reply& role);
// What CONFIG GET says, as advice to the operator.
std::vector<std::string> configuration_warnings(const Reply& config);

// What an error means to the call that got it.
enum class Severity : uint8_t {
  refused,  // this call was not carried out
  useless,  // the connection, or the server behind it, is of no use
};
Severity severity_of(const std::string& error);

}  // namespace redis
