// The calls of cluster::Hub as Lua scripts, each carried out by Redis in one step, and where they keep what.
//
//   cluster           hash: id (of what is shared), epoch, version, change: the highest number of each kind so far;
//                     seen: when somebody joined or renewed last; calm: since when that was never long ago
//   nodes             hash: node key -> gateway (0: adopted, none yet), deadline, the gateway that began the life,
//                     where its inbox is ("-": here, or the address of another server), adopter
//   inboxes           hash: address of another server with inboxes -> its identity
//   names             hash: node name -> key of its life now
//   hosts             hash: node key -> disk and boot of its host (cluster::HostIdentity); none of one that is adopted
//   buried            sorted set: keys of nodes that are not needed any more, by time
//   in:{node}         stream: the inbox. Entries f (from), g (gateway), d (frames); id "N-0"
//   num:{node}        hash: sender's key -> its gateway and last number; "#" -> the last N
//   dir:{bucket}      hash: client id -> epoch, holder's epoch, claims (epoch and key each, oldest first), holder
//   retained          hash: topic -> version, value (nothing: it was deleted)
//   tombstones        sorted set: deleted topics by time
//   changes           stream: p (id before), t (topic), n (version), v (value, unless it is large); id "N-0"
//   copy:{node}:{slot}:{round}  hash: record -> value
//   slots:{node}      hash: slot -> the round that is whole; slot + "+" -> the round that is under way
//
// A server that has only inboxes (redis_inboxes.h) has these keys of them: cluster, with the id; nodes, those that have
// announced themselves, with the number of their join for the gateway that began the life, when they are forgotten for
// the deadline, and "*" if their inbox is elsewhere; buried; in and num.
//
// All of it under the configured prefix. Nothing that a client chose is in the name of a key or channel. Times are
// microseconds of Redis's own clock. Numbers of 64 bits are decimal texts: a number of Lua has only 53 bits.
//
// Every script answers with an array that begins with 0 (done), 1 (fenced) or 2 (refused: see hub.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace redis {

enum class Script : uint8_t {
  hello,          // random, the id that we know, the highest epoch and version that we know of
  join,           // name, gateway, lease ms, random, channel, where its inbox is
  renew,          // self, lease ms, random, tombstones' time us, changes' time us
  leave,          // self, channel
  send,           // self, to, number, frames
  last_entry,     // inbox, after: nothing that comes may be behind it
  trim,           // self, the first that stays
  claim,          // self, bucket, client, at least
  hold,           // self, bucket, client, epoch
  withdraw,       // self, bucket, client, epoch
  release,        // self, bucket, client, epoch
  holder,         // bucket, client
  before,         // bucket, client, epoch
  mine,           // self, bucket
  retain,         // self, topic, value, at least, tombstones' time us, how many changes to keep
  retain_delete,  // the same for an empty value; when memory is short, too
  retain_again,   // self, topic, value, version, tombstones' time us, how many changes to keep
  changes,        // after
  begin_copy,     // self, slot, round
  copy,           // self, slot, round, number of erased, erased..., key, value...
  copy_erase,     // the same without puts; when memory is short, too
  finish_copy,    // self, slot, round
  keep_copies,    // self, slots
  read_copy,      // node, slot, cursor, count
  adopt,          // self, node, lease us, within us, channel
  bury,           // self, channel
  announce,       // self, number of the join, "-" or "*", for how long us, random; for a server with inboxes
  seen,           // self, address, identity, random, channel
};
inline constexpr size_t kScripts = static_cast<size_t>(Script::seen) + 1;

// What SCRIPT LOAD gets. The arguments above follow the prefix; "self" is the node's key and gateway.
std::string script_text(Script script);
std::string_view script_name(Script script);

// Client ids are spread over the hashes of the directory. Fixed for ever: it is where things are.
inline constexpr uint32_t kBuckets = 1024;
uint32_t bucket_of(std::string_view client);

// Larger values are not in the stream of changes but read from where they are kept.
inline constexpr size_t kInlineValue = 1024;

}  // namespace redis
