#include "shared/redis/redis_scripts.h"

#include <array>

namespace redis {
namespace {

// A script that may run when Redis is at its maxmemory: it frees memory, or a lease hangs on it.
constexpr std::string_view kWhenFull = "#!lua flags=allow-oom\n";

// less, inc: of decimal texts. node: an entry of `nodes`, or nil. self: our key, if we are not fenced.
constexpr std::string_view kCommon = R"lua(
local P = ARGV[1]
local call = redis.call
local function now()
  local t = call('TIME')
  return t[1] .. string.rep('0', 6 - #t[2]) .. t[2]
end
local function less(a, b)
  if #a ~= #b then return #a < #b end
  return a < b
end
local function max(a, b) if less(a, b) then return b end return a end
local function inc(s)
  local i = #s
  while i > 0 and string.byte(s, i) == 57 do i = i - 1 end
  local zeros = string.rep('0', #s - i)
  if i == 0 then return '1' .. zeros end
  return string.sub(s, 1, i - 1) .. string.char(string.byte(s, i) + 1) .. zeros
end
local function later(us) return string.format('%.0f', tonumber(now()) + tonumber(us)) end
local function node(key)
  local e = call('HGET', P .. 'nodes', key)
  if not e then return nil end
  local gateway, deadline, born, adopter = string.match(e, '^(%d+) (%d+) (%d+) (.*)$')
  return {gateway = gateway, deadline = deadline, born = born, adopter = adopter}
end
local function put_node(key, n)
  call('HSET', P .. 'nodes', key, n.gateway .. ' ' .. n.deadline .. ' ' .. n.born .. ' ' .. n.adopter)
end
local function self()
  local n = node(ARGV[2])
  if n and n.gateway == ARGV[3] and n.adopter == '' then return ARGV[2], n end
  return nil
end
)lua";

// adopted: 'gone', or true if `key` has adopted `other` (or it is the same).
constexpr std::string_view kAdopted = R"lua(
local function adopted(key, other)
  if key == other then return true end
  local n = node(other)
  if not n then return 'gone' end
  return n.adopter == key
end
)lua";

// The next number of a kind, higher than all before, than the clock and not lower than at_least.
constexpr std::string_view kNumbers = R"lua(
local function next_number(kind, at_least)
  local n = max(max(inc(call('HGET', P .. 'cluster', kind) or '0'), now()), at_least)
  call('HSET', P .. 'cluster', kind, n)
  return n
end
local function raise(kind, least)
  if less(call('HGET', P .. 'cluster', kind) or '0', least) then call('HSET', P .. 'cluster', kind, least) end
end
)lua";

constexpr std::string_view kMembership = R"lua(
local function cluster_id(random)
  call('HSETNX', P .. 'cluster', 'id', random)
  return call('HGET', P .. 'cluster', 'id')
end
local function membership(key, fresh, random)
  local t = tonumber(now())
  local list = {}
  for _, k in ipairs(call('HKEYS', P .. 'nodes')) do
    local n = node(k)
    list[#list + 1] = k
    list[#list + 1] = n.gateway
    list[#list + 1] = string.format('%.0f', math.max(0, math.ceil((tonumber(n.deadline) - t) / 1000)))
    list[#list + 1] = n.adopter
  end
  return {0, key, fresh, cluster_id(random), list}
end
)lua";

constexpr std::string_view kDirectory = R"lua(
local function entry(bucket, client)
  local s = call('HGET', P .. 'dir:' .. bucket, client)
  local e = {epoch = '0', held = '0', claimant = '', previous = '', holder = ''}
  if s then
    e.epoch, e.held, e.claimant, e.previous, e.holder = string.match(s, '^(%d+)\n(%d+)\n([^\n]*)\n([^\n]*)\n([^\n]*)$')
  end
  return e
end
local function put_entry(bucket, client, e)
  if e.claimant == '' and e.holder == '' then
    call('HDEL', P .. 'dir:' .. bucket, client)
  else
    call('HSET', P .. 'dir:' .. bucket, client,
         e.epoch .. '\n' .. e.held .. '\n' .. e.claimant .. '\n' .. e.previous .. '\n' .. e.holder)
  end
end
)lua";

// sweep: forgets deletions that are older than `us`, a few at a time.
constexpr std::string_view kRetained = R"lua(
local function sweep(us, count)
  local old = string.format('%.0f', tonumber(now()) - tonumber(us))
  for _, topic in ipairs(call('ZRANGE', P .. 'tombstones', '-inf', old, 'BYSCORE', 'LIMIT', 0, count)) do
    local kept = call('HGET', P .. 'retained', topic)
    if kept and string.match(kept, '^%d+ $') then call('HDEL', P .. 'retained', topic) end
    call('ZREM', P .. 'tombstones', topic)
  end
end
local function store(topic, value, version, keep)
  call('HSET', P .. 'retained', topic, version .. ' ' .. value)
  if value == '' then
    call('ZADD', P .. 'tombstones', now(), topic)
  else
    call('ZREM', P .. 'tombstones', topic)
  end
  local before = call('HGET', P .. 'cluster', 'change') or '0'
  local id = next_number('change', '0')
  if #value <= INLINE then
    call('XADD', P .. 'changes', 'MAXLEN', '~', keep, id .. '-0', 'p', before, 't', topic, 'n', version, 'v', value)
  else
    call('XADD', P .. 'changes', 'MAXLEN', '~', keep, id .. '-0', 'p', before, 't', topic, 'n', version)
  end
end
)lua";

constexpr std::string_view kHello = R"lua(
if call('HEXISTS', P .. 'cluster', 'change') == 0 then next_number('change', '0') end
return {0, cluster_id(ARGV[2])}
)lua";

constexpr std::string_view kJoin = R"lua(
local name, gateway, lease, random, channel = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local key = call('HGET', P .. 'names', name)
local n = key and node(key)
if n and n.adopter == '' then
  if less(gateway, n.gateway) then return {1} end
else
  key = name .. '.' .. next_number('epoch', '0')
  call('HSET', P .. 'names', name, key)
  n = {born = gateway, adopter = ''}
end
n.gateway = gateway
n.deadline = later(lease .. '000')
put_node(key, n)
call('PUBLISH', channel, key)
return membership(key, n.born == gateway and 1 or 0, random)
)lua";

constexpr std::string_view kRenew = R"lua(
local key, n = self()
if not key then return {1} end
n.deadline = later(ARGV[4] .. '000')
put_node(key, n)
sweep(ARGV[6], 100)
call('XTRIM', P .. 'changes', 'MINID', '~', string.format('%.0f', tonumber(now()) - tonumber(ARGV[7])) .. '-0')
return membership(key, 0, ARGV[5])
)lua";

constexpr std::string_view kLeave = R"lua(
local key, n = self()
if not key then return {1} end
n.deadline = now()
put_node(key, n)
call('PUBLISH', ARGV[4], key)
return {0}
)lua";

constexpr std::string_view kSend = R"lua(
local key = self()
if not key then return {1} end
local to, number = ARGV[4], ARGV[5]
if call('HEXISTS', P .. 'nodes', to) == 0 then return {0} end
local last = call('HMGET', P .. 'num:' .. to, key, '#')
if last[1] then
  local gateway, had = string.match(last[1], '^(%d+) (%d+)$')
  if gateway == ARGV[3] and not less(had, number) then return {0} end
end
local id = max(inc(last[2] or '0'), now())
call('XADD', P .. 'in:' .. to, id .. '-0', 'f', key, 'g', ARGV[3], 'd', ARGV[6])
call('HSET', P .. 'num:' .. to, key, ARGV[3] .. ' ' .. number, '#', id)
return {0}
)lua";

constexpr std::string_view kLastEntry = R"lua(
if node(ARGV[2]) and less(call('HGET', P .. 'num:' .. ARGV[2], '#') or '0', ARGV[3]) then
  call('HSET', P .. 'num:' .. ARGV[2], '#', ARGV[3])
end
return {0}
)lua";

constexpr std::string_view kTrim = R"lua(
local key = self()
if not key then return {1} end
local ours = adopted(key, ARGV[4])
if ours == 'gone' then return {0} end
if not ours then return {2} end
call('XTRIM', P .. 'in:' .. ARGV[4], 'MINID', '=', ARGV[5] .. '-0')
return {0}
)lua";

constexpr std::string_view kClaim = R"lua(
local key = self()
if not key then return {1} end
local bucket, client = ARGV[4], ARGV[5]
local e = entry(bucket, client)
if e.claimant ~= key then
  e.previous = e.claimant ~= '' and e.claimant or e.holder
  e.claimant = key
end
e.epoch = next_number('epoch', max(ARGV[6], inc(e.epoch)))
put_entry(bucket, client, e)
return {0, e.epoch, e.previous}
)lua";

constexpr std::string_view kHold = R"lua(
local key = self()
if not key then return {1} end
local bucket, client, epoch = ARGV[4], ARGV[5], ARGV[6]
local e = entry(bucket, client)
local previous = ''
if e.holder == '' or e.holder == key or less(e.held, epoch) then
  if e.holder ~= key then previous = e.holder end
  e.holder = key
  e.held = max(e.held, epoch)
  if e.claimant ~= '' and not less(epoch, e.epoch) then
    e.claimant = ''
    e.previous = ''
  end
  e.epoch = max(e.epoch, epoch)
  put_entry(bucket, client, e)
  raise('epoch', epoch)
end
return {0, e.epoch, e.holder, previous}
)lua";

constexpr std::string_view kWithdraw = R"lua(
local key = self()
if not key then return {1} end
local e = entry(ARGV[4], ARGV[5])
if e.claimant == key and e.epoch == ARGV[6] then
  e.claimant = ''
  e.previous = ''
  put_entry(ARGV[4], ARGV[5], e)
end
return {0}
)lua";

constexpr std::string_view kRelease = R"lua(
local key = self()
if not key then return {1} end
local e = entry(ARGV[4], ARGV[5])
local holds = e.holder == key and not less(ARGV[6], e.held)
local claims = e.claimant == key and not less(ARGV[6], e.epoch)
if (holds and e.claimant == '') or claims then call('HDEL', P .. 'dir:' .. ARGV[4], ARGV[5]) end
return {0}
)lua";

constexpr std::string_view kHolder = R"lua(
return {0, entry(ARGV[2], ARGV[3]).holder}
)lua";

constexpr std::string_view kPurge = R"lua(
local key = self()
if not key then return {1} end
local gone, bucket = ARGV[4], ARGV[5]
if key == gone or not adopted(key, gone) then return {2} end
for _, client in ipairs(call('HKEYS', P .. 'dir:' .. bucket)) do
  local e = entry(bucket, client)
  if e.claimant == gone or e.holder == gone or e.previous == gone then
    if e.claimant == gone then
      e.claimant = ''
      e.previous = ''
    end
    if e.holder == gone then
      e.holder = ''
      e.held = '0'
    end
    if e.previous == gone then e.previous = e.holder end
    put_entry(bucket, client, e)
  end
end
return {0}
)lua";

constexpr std::string_view kRetain = R"lua(
if not self() then return {1} end
local version = next_number('version', ARGV[6])
store(ARGV[4], ARGV[5], version, ARGV[8])
sweep(ARGV[7], 10)
return {0, version}
)lua";

constexpr std::string_view kRetainAgain = R"lua(
if not self() then return {1} end
local kept = call('HGET', P .. 'retained', ARGV[4])
local version = kept and string.match(kept, '^(%d+) ')
if version and not less(version, ARGV[6]) then return {0, version} end
store(ARGV[4], ARGV[5], ARGV[6], ARGV[8])
raise('version', ARGV[6])
sweep(ARGV[7], 10)
return {0, ARGV[6]}
)lua";

// The end, and whether changes behind ARGV[2] are missing. Each knows the one before it.
constexpr std::string_view kChanges = R"lua(
local after = ARGV[2]
local last = call('HGET', P .. 'cluster', 'change') or next_number('change', '0')
if after == '0' or after == last then return {0, last, 0} end
if less(last, after) then return {0, last, 1} end
local first = call('XRANGE', P .. 'changes', '(' .. after .. '-0', '+', 'COUNT', 1)[1]
return {0, last, first and first[2][2] == after and 0 or 1}
)lua";

constexpr std::string_view kCopy = R"lua(
local key = self()
if not key then return {1} end
local copy = P .. 'copy:' .. key .. ':' .. ARGV[4]
local puts = 6 + tonumber(ARGV[5])
for i = puts, #ARGV, 1000 do call('HSET', copy, unpack(ARGV, i, math.min(i + 999, #ARGV))) end
for i = 6, puts - 1, 1000 do call('HDEL', copy, unpack(ARGV, i, math.min(i + 999, puts - 1))) end
if puts <= #ARGV then call('SADD', P .. 'slots:' .. key, ARGV[4]) end
return {0}
)lua";

constexpr std::string_view kClearCopy = R"lua(
local key = self()
if not key then return {1} end
call('UNLINK', P .. 'copy:' .. key .. ':' .. ARGV[4])
call('SREM', P .. 'slots:' .. key, ARGV[4])
return {0}
)lua";

// Answers with the slot of the records and where to go on: slot and cursor, or nothing at the end.
constexpr std::string_view kReadCopy = R"lua(
local slots = {}
for _, s in ipairs(call('SMEMBERS', P .. 'slots:' .. ARGV[2])) do
  if tonumber(s) >= tonumber(ARGV[3]) then slots[#slots + 1] = tonumber(s) end
end
table.sort(slots)
if #slots == 0 then return {0, 0, {}, {}} end
local slot = slots[1]
local cursor = slot == tonumber(ARGV[3]) and ARGV[4] or '0'
local r = call('HSCAN', P .. 'copy:' .. ARGV[2] .. ':' .. string.format('%.0f', slot), cursor, 'COUNT', ARGV[5])
local following = {}
if r[1] ~= '0' then following = {slot, r[1]} elseif slots[2] then following = {slots[2], '0'} end
return {0, slot, following, r[2]}
)lua";

constexpr std::string_view kAdopt = R"lua(
local key = self()
if not key then return {1} end
local n = node(ARGV[4])
if not n or ARGV[4] == key then return {0, 0} end
if n.adopter == key then return {0, 1} end
local t = now()
local function over(m) return not m or m.adopter ~= '' or not less(t, m.deadline) end
if n.adopter == '' then
  if less(t, n.deadline) then return {0, 0} end
elseif not over(node(n.adopter)) then
  return {0, 0}
end
n.adopter = key
put_node(ARGV[4], n)
call('PUBLISH', ARGV[5], ARGV[4])
return {0, 1}
)lua";

constexpr std::string_view kBury = R"lua(
local key = self()
if not key then return {1} end
local gone = ARGV[4]
local ours = adopted(key, gone)
if ours == 'gone' then return {0} end
if key == gone or not ours then return {2} end
for _, slot in ipairs(call('SMEMBERS', P .. 'slots:' .. gone)) do call('UNLINK', P .. 'copy:' .. gone .. ':' .. slot) end
call('UNLINK', P .. 'slots:' .. gone, P .. 'in:' .. gone, P .. 'num:' .. gone)
call('HDEL', P .. 'nodes', gone)
local name = string.match(gone, '^(.*)%.%d+$')
if name and call('HGET', P .. 'names', name) == gone then call('HDEL', P .. 'names', name) end
for _, other in ipairs(call('HKEYS', P .. 'nodes')) do call('HDEL', P .. 'num:' .. other, gone) end
call('PUBLISH', ARGV[5], gone)
return {0}
)lua";

struct Row {
  std::string_view name;
  bool when_full;
  std::array<std::string_view, 3> parts;  // between what is common and the body
  std::string_view body;
};

constexpr std::array<Row, kScripts> kRows = {{
    {"hello", true, {kNumbers, kMembership}, kHello},
    {"join", true, {kNumbers, kMembership}, kJoin},
    {"renew", true, {kNumbers, kMembership, kRetained}, kRenew},
    {"leave", true, {}, kLeave},
    {"send", false, {}, kSend},
    {"last_entry", true, {}, kLastEntry},
    {"trim", true, {kAdopted}, kTrim},
    {"claim", false, {kNumbers, kDirectory}, kClaim},
    {"hold", false, {kNumbers, kDirectory}, kHold},
    {"withdraw", true, {kDirectory}, kWithdraw},
    {"release", true, {kDirectory}, kRelease},
    {"holder", true, {kDirectory}, kHolder},
    {"purge", true, {kAdopted, kDirectory}, kPurge},
    {"retain", false, {kNumbers, kRetained}, kRetain},
    {"retain_delete", true, {kNumbers, kRetained}, kRetain},
    {"retain_again", false, {kNumbers, kRetained}, kRetainAgain},
    {"changes", true, {kNumbers}, kChanges},
    {"copy", false, {}, kCopy},
    {"copy_erase", true, {}, kCopy},
    {"clear_copy", true, {}, kClearCopy},
    {"read_copy", true, {}, kReadCopy},
    {"adopt", true, {}, kAdopt},
    {"bury", true, {kAdopted}, kBury},
}};

}  // namespace

std::string script_text(Script script) {
  const Row& row = kRows[static_cast<size_t>(script)];
  std::string text;
  if (row.when_full) text += kWhenFull;
  text += kCommon;
  for (const std::string_view part : row.parts) text += part;
  text += row.body;
  const std::string_view inline_value = "INLINE";
  for (size_t at = text.find(inline_value); at != std::string::npos; at = text.find(inline_value, at)) {
    text.replace(at, inline_value.size(), std::to_string(kInlineValue));
  }
  return text;
}

std::string_view script_name(Script script) {
  return kRows[static_cast<size_t>(script)].name;
}

uint32_t bucket_of(std::string_view client) {
  uint64_t hash = 14695981039346656037u;  // FNV-1a
  for (const char c : client) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return static_cast<uint32_t>((hash ^ (hash >> 32)) % kBuckets);
}

}  // namespace redis
