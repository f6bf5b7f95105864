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
  local gateway, deadline, born, inbox, adopter = string.match(e, '^(%d+) (%d+) (%d+) (%S+) (.*)$')
  return {gateway = gateway, deadline = deadline, born = born, inbox = inbox, adopter = adopter}
end
local function put_node(key, n)
  local e = n.gateway .. ' ' .. n.deadline .. ' ' .. n.born .. ' ' .. n.inbox .. ' ' .. n.adopter
  call('HSET', P .. 'nodes', key, e)
end
local function self()
  local n = node(ARGV[2])
  if n and n.gateway == ARGV[3] then return ARGV[2], n end
  return nil
end
)lua";

// name_of: under which a node joins.
constexpr std::string_view kNames = R"lua(
local function name_of(key, n)
  if n.adopter ~= '' then return key .. '@' .. n.adopter end
  return string.match(key, '^(.*)%.%d+$')
end
local function forget_name(key, n)
  local name = name_of(key, n)
  if name and call('HGET', P .. 'names', name) == key then call('HDEL', P .. 'names', name) end
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

constexpr std::string_view kIdentity = R"lua(
local function cluster_id(random)
  call('HSETNX', P .. 'cluster', 'id', random)
  return call('HGET', P .. 'cluster', 'id')
end
)lua";

constexpr std::string_view kMembership = R"lua(
local function inbox_end(key)
  local last = redis.pcall('XREVRANGE', P .. 'in:' .. key, '+', '-', 'COUNT', 1)[1]
  return last and string.match(last[1], '^%d+') or '0'
end
-- ms for which there was no pause of half a lease in which nobody joined or renewed.
local function calm(lease_ms)
  local t = now()
  local had = call('HMGET', P .. 'cluster', 'seen', 'calm')
  call('HSET', P .. 'cluster', 'seen', t)
  if not (had[1] and had[2]) or less(t, had[1]) or tonumber(t) - tonumber(had[1]) > tonumber(lease_ms) * 500 then
    call('HSET', P .. 'cluster', 'calm', t)
    return 0
  end
  return math.floor((tonumber(t) - tonumber(had[2])) / 1000)
end
local function membership(key, fresh, random, lease_ms, joined)
  local t = tonumber(now())
  local list = {}
  for _, k in ipairs(call('HKEYS', P .. 'nodes')) do
    local n = node(k)
    list[#list + 1] = k
    list[#list + 1] = n.gateway
    list[#list + 1] = string.format('%.0f', math.max(0, math.ceil((tonumber(n.deadline) - t) / 1000)))
    list[#list + 1] = n.adopter
    list[#list + 1] = n.inbox == '-' and '' or n.inbox
  end
  return {0, key, fresh, cluster_id(random), inbox_end(key), calm(lease_ms), joined, list}
end
)lua";

constexpr std::string_view kDirectory = R"lua(
-- Forgets claims: those that are not to stay.
local function claims_that(e, stays)
  local all = e.claims
  e.claims = {}
  for _, c in ipairs(all) do
    if stays(c) then e.claims[#e.claims + 1] = c end
  end
end
local function entry(bucket, client)
  local s = call('HGET', P .. 'dir:' .. bucket, client)
  local e = {epoch = '0', held = '0', claims = {}, holder = ''}
  if s then
    local claims
    e.epoch, e.held, claims, e.holder = string.match(s, '^(%d+)\n(%d+)\n([^\n]*)\n([^\n]*)$')
    for n, k in string.gmatch(claims, '(%d+) ([^\t]+)\t') do e.claims[#e.claims + 1] = {epoch = n, key = k} end
    local function stays(k) return k == ARGV[2] or not call('ZSCORE', P .. 'buried', k) end
    claims_that(e, function(c) return stays(c.key) end)
    if e.holder ~= '' and not stays(e.holder) then e.holder, e.held = '', '0' end
  end
  return e
end
local function put_entry(bucket, client, e)
  if #e.claims == 0 and e.holder == '' then
    call('HDEL', P .. 'dir:' .. bucket, client)
  else
    local claims = ''
    for _, c in ipairs(e.claims) do claims = claims .. c.epoch .. ' ' .. c.key .. '\t' end
    call('HSET', P .. 'dir:' .. bucket, client, e.epoch .. '\n' .. e.held .. '\n' .. claims .. '\n' .. e.holder)
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

// Who knows of a higher number than there is has seen what has been lost, and says so unless the id does already.
constexpr std::string_view kHello = R"lua(
local lost = false
for kind, known in pairs({epoch = ARGV[4], version = ARGV[5]}) do
  lost = lost or less(call('HGET', P .. 'cluster', kind) or '0', known)
  raise(kind, known)
end
if lost and cluster_id(ARGV[2]) == ARGV[3] then call('HSET', P .. 'cluster', 'id', ARGV[2]) end
if call('HEXISTS', P .. 'cluster', 'change') == 0 then next_number('change', '0') end
return {0, cluster_id(ARGV[2])}
)lua";

// A host is "disk boot" (HostIdentity). While its lease runs nobody else is that node; afterwards who has its disk goes
// on with it, and who has another one begins a life beside it: what the dead one had is in its copies, for who adopts
// it.
constexpr std::string_view kJoin = R"lua(
local name, gateway, lease, random, channel = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local host = ARGV[8]
local key = call('HGET', P .. 'names', name)
local n = key and node(key)
if n and host ~= '' then
  local had = call('HGET', P .. 'hosts', key) or host
  if had ~= host and less(now(), n.deadline) then return {2, 'taken'} end
  if string.match(had, '^%S+') ~= string.match(host, '^%S+') then n = nil end
end
local joined = next_number('epoch', '0')
if n then
  if less(gateway, n.gateway) then return {1} end
else
  key = name .. '.' .. joined
  call('HSET', P .. 'names', name, key)
  n = {born = gateway, inbox = ARGV[7], adopter = ''}
end
n.gateway = gateway
n.deadline = later(lease .. '000')
put_node(key, n)
if host ~= '' then call('HSET', P .. 'hosts', key, host) end
call('PUBLISH', channel, key)
return membership(key, n.born == gateway and 1 or 0, random, lease, joined)
)lua";

constexpr std::string_view kRenew = R"lua(
local key, n = self()
if not key then return {1} end
n.deadline = later(ARGV[4] .. '000')
put_node(key, n)
sweep(ARGV[6], 100)
call('XTRIM', P .. 'changes', 'MINID', '~', string.format('%.0f', tonumber(now()) - tonumber(ARGV[7])) .. '-0')
call('ZREMRANGEBYSCORE', P .. 'buried', '-inf', string.format('%.0f', tonumber(now()) - 86400000000))
return membership(key, 0, ARGV[5], ARGV[4], '0')
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
local there = node(to)
if not there then return {call('ZSCORE', P .. 'buried', to) and 0 or 2} end
if there.inbox ~= '-' then return {2, there.inbox} end
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
call('XTRIM', P .. 'in:' .. key, 'MINID', '=', ARGV[4] .. '-0')
return {0}
)lua";

constexpr std::string_view kClaim = R"lua(
local key = self()
if not key then return {1} end
local bucket, client = ARGV[4], ARGV[5]
local e = entry(bucket, client)
claims_that(e, function(c) return c.key ~= key end)
local previous = #e.claims ~= 0 and e.claims[#e.claims].key or e.holder
e.epoch = next_number('epoch', max(ARGV[6], inc(e.epoch)))
e.claims[#e.claims + 1] = {epoch = e.epoch, key = key}
put_entry(bucket, client, e)
return {0, e.epoch, previous}
)lua";

constexpr std::string_view kHold = R"lua(
local key = self()
if not key then return {1} end
local bucket, client, epoch = ARGV[4], ARGV[5], ARGV[6]
local e = entry(bucket, client)
local previous = ''
claims_that(e, function(c) return c.key ~= key or less(epoch, c.epoch) end)
if e.holder == '' or e.holder == key or less(e.held, epoch) then
  if e.holder ~= key then previous = e.holder end
  e.holder = key
  e.held = max(e.held, epoch)
  claims_that(e, function(c) return less(epoch, c.epoch) end)
  e.epoch = max(e.epoch, epoch)
  raise('epoch', epoch)
end
put_entry(bucket, client, e)
return {0, e.epoch, e.holder, previous}
)lua";

constexpr std::string_view kWithdraw = R"lua(
local key = self()
if not key then return {1} end
local e = entry(ARGV[4], ARGV[5])
claims_that(e, function(c) return c.key ~= key or c.epoch ~= ARGV[6] end)
put_entry(ARGV[4], ARGV[5], e)
return {0}
)lua";

constexpr std::string_view kRelease = R"lua(
local key = self()
if not key then return {1} end
local e = entry(ARGV[4], ARGV[5])
claims_that(e, function(c) return c.key ~= key or less(ARGV[6], c.epoch) end)
if e.holder == key and not less(ARGV[6], e.held) then e.holder = '' end
put_entry(ARGV[4], ARGV[5], e)
return {0}
)lua";

constexpr std::string_view kHolder = R"lua(
return {0, entry(ARGV[2], ARGV[3]).holder}
)lua";

constexpr std::string_view kBefore = R"lua(
local e = entry(ARGV[2], ARGV[3])
local epoch, key = '0', e.holder
for _, c in ipairs(e.claims) do
  if less(c.epoch, ARGV[4]) then epoch, key = c.epoch, c.key end
end
return {0, epoch, key}
)lua";

constexpr std::string_view kMine = R"lua(
local key = self()
if not key then return {1} end
local list = {}
for _, client in ipairs(call('HKEYS', P .. 'dir:' .. ARGV[4])) do
  local e = entry(ARGV[4], client)
  if e.holder == key then
    list[#list + 1] = client
    list[#list + 1] = e.held
    list[#list + 1] = 1
  end
  for _, c in ipairs(e.claims) do
    if c.key == key then
      list[#list + 1] = client
      list[#list + 1] = c.epoch
      list[#list + 1] = 0
    end
  end
end
return {0, list}
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

constexpr std::string_view kBeginCopy = R"lua(
local key = self()
if not key then return {1} end
local slots, slot, round = P .. 'slots:' .. key, ARGV[4], ARGV[5]
local had = call('HMGET', slots, slot, slot .. '+')
if had[1] == round or had[2] == round then return {0} end
if had[2] then call('UNLINK', P .. 'copy:' .. key .. ':' .. slot .. ':' .. had[2]) end
call('HSET', slots, slot .. '+', round)
return {0}
)lua";

constexpr std::string_view kCopy = R"lua(
local key = self()
if not key then return {1} end
local slot, round = ARGV[4], ARGV[5]
local had = call('HMGET', P .. 'slots:' .. key, slot, slot .. '+')
if had[1] ~= round and had[2] ~= round then return {2} end
local copy = P .. 'copy:' .. key .. ':' .. slot .. ':' .. round
local puts = 7 + tonumber(ARGV[6])
for i = puts, #ARGV, 1000 do call('HSET', copy, unpack(ARGV, i, math.min(i + 999, #ARGV))) end
for i = 7, puts - 1, 1000 do call('HDEL', copy, unpack(ARGV, i, math.min(i + 999, puts - 1))) end
return {0}
)lua";

constexpr std::string_view kFinishCopy = R"lua(
local key = self()
if not key then return {1} end
local slots, slot, round = P .. 'slots:' .. key, ARGV[4], ARGV[5]
local had = call('HMGET', slots, slot, slot .. '+')
if had[1] == round then return {0} end
if had[2] ~= round then return {2} end
if had[1] then call('UNLINK', P .. 'copy:' .. key .. ':' .. slot .. ':' .. had[1]) end
call('HSET', slots, slot, round)
call('HDEL', slots, slot .. '+')
return {0}
)lua";

constexpr std::string_view kKeepCopies = R"lua(
local key = self()
if not key then return {1} end
local slots = P .. 'slots:' .. key
local had = call('HGETALL', slots)
for i = 1, #had, 2 do
  local slot = string.match(had[i], '^%d+')
  if tonumber(slot) >= tonumber(ARGV[4]) then
    call('UNLINK', P .. 'copy:' .. key .. ':' .. slot .. ':' .. had[i + 1])
    call('HDEL', slots, had[i])
  end
end
return {0}
)lua";

// Answers with the slot of the records and where to go on: slot and cursor, or nothing at the end.
constexpr std::string_view kReadCopy = R"lua(
local rounds, slots = {}, {}
local had = call('HGETALL', P .. 'slots:' .. ARGV[2])
for i = 1, #had, 2 do
  local slot, under_way = string.match(had[i], '^(%d+)(%+?)$')
  slot = tonumber(slot)
  if slot >= tonumber(ARGV[3]) then
    if not rounds[slot] then slots[#slots + 1] = slot end
    if under_way == '' or not rounds[slot] then rounds[slot] = had[i + 1] end
  end
end
table.sort(slots)
if #slots == 0 then return {0, 0, {}, {}} end
local slot = slots[1]
local cursor = slot == tonumber(ARGV[3]) and ARGV[4] or '0'
local copy = P .. 'copy:' .. ARGV[2] .. ':' .. string.format('%.0f', slot) .. ':' .. rounds[slot]
local r = call('HSCAN', copy, cursor, 'COUNT', ARGV[5])
local following = {}
if r[1] ~= '0' then following = {slot, r[1]} elseif slots[2] then following = {slots[2], '0'} end
return {0, slot, following, r[2]}
)lua";

constexpr std::string_view kAdopt = R"lua(
local key = self()
if not key then return {1} end
local gone, lease = ARGV[4], ARGV[5]
local n = node(gone)
if not n or gone == key then return {0, ''} end
local t = tonumber(now())
if n.adopter ~= key or tonumber(n.deadline) + tonumber(lease) <= t then
  local calm = call('HGET', P .. 'cluster', 'calm')
  if tonumber(n.deadline) + tonumber(lease) > t or not calm then return {0, ''} end
  if t - tonumber(calm) < tonumber(lease) * 1.5 then return {0, ''} end
  forget_name(gone, n)
  n.adopter = key
  n.gateway = '0'
  n.deadline = later(ARGV[6])
  put_node(gone, n)
  call('HSET', P .. 'names', name_of(gone, n), gone)
  call('HDEL', P .. 'hosts', gone)
  call('PUBLISH', ARGV[7], gone)
end
return {0, name_of(gone, n)}
)lua";

constexpr std::string_view kBury = R"lua(
local key, n = self()
if not key then return {1} end
if call('XLEN', P .. 'in:' .. key) > 0 then return {2} end
local slots = P .. 'slots:' .. key
local had = call('HGETALL', slots)
for i = 1, #had, 2 do
  call('UNLINK', P .. 'copy:' .. key .. ':' .. string.match(had[i], '^%d+') .. ':' .. had[i + 1])
end
call('UNLINK', slots, P .. 'in:' .. key, P .. 'num:' .. key)
call('HDEL', P .. 'nodes', key)
call('HDEL', P .. 'hosts', key)
forget_name(key, n)
local used = false
for _, other in ipairs(call('HKEYS', P .. 'nodes')) do
  call('HDEL', P .. 'num:' .. other, key)
  used = used or node(other).inbox == n.inbox
end
if not used then call('HDEL', P .. 'inboxes', n.inbox) end
call('ZADD', P .. 'buried', now(), key)
call('PUBLISH', ARGV[4], key)
return {0}
)lua";

constexpr std::string_view kAnnounce = R"lua(
local key, joined = ARGV[2], ARGV[4]
local n = node(key)
if n and less(joined, n.born) then return {1} end
put_node(key, {gateway = ARGV[3], deadline = later(ARGV[6]), born = joined, inbox = ARGV[5], adopter = ''})
local others, gone, t = {}, {}, now()
for _, k in ipairs(call('HKEYS', P .. 'nodes')) do
  local over = less(node(k).deadline, t) and call('XLEN', P .. 'in:' .. k) == 0
  table.insert(over and gone or others, k)
end
for _, k in ipairs(gone) do
  call('HDEL', P .. 'nodes', k)
  call('UNLINK', P .. 'num:' .. k)
  for _, other in ipairs(others) do call('HDEL', P .. 'num:' .. other, k) end
end
call('ZREMRANGEBYSCORE', P .. 'buried', '-inf', string.format('%.0f', tonumber(t) - tonumber(ARGV[6])))
return {0, cluster_id(ARGV[7])}
)lua";

constexpr std::string_view kSeen = R"lua(
if not self() then return {1} end
local had = call('HGET', P .. 'inboxes', ARGV[4])
if had == ARGV[5] then return {0} end
call('HSET', P .. 'inboxes', ARGV[4], ARGV[5])
if had then
  call('HSET', P .. 'cluster', 'id', ARGV[6])
  call('PUBLISH', ARGV[7], ARGV[4])
end
return {0}
)lua";

struct Row {
  std::string_view name;
  bool when_full;
  std::array<std::string_view, 3> parts;  // between what is common and the body
  std::string_view body;
};

constexpr std::array<Row, kScripts> kRows = {{
    {"hello", true, {kNumbers, kIdentity}, kHello},
    {"join", true, {kNumbers, kIdentity, kMembership}, kJoin},
    {"renew", true, {kIdentity, kMembership, kRetained}, kRenew},
    {"leave", true, {}, kLeave},
    {"send", false, {}, kSend},
    {"last_entry", true, {}, kLastEntry},
    {"trim", true, {}, kTrim},
    {"claim", false, {kNumbers, kDirectory}, kClaim},
    {"hold", false, {kNumbers, kDirectory}, kHold},
    {"withdraw", true, {kDirectory}, kWithdraw},
    {"release", true, {kDirectory}, kRelease},
    {"holder", true, {kDirectory}, kHolder},
    {"before", true, {kNumbers, kDirectory}, kBefore},
    {"mine", true, {kDirectory}, kMine},
    {"retain", false, {kNumbers, kRetained}, kRetain},
    {"retain_delete", true, {kNumbers, kRetained}, kRetain},
    {"retain_again", false, {kNumbers, kRetained}, kRetainAgain},
    {"changes", true, {kNumbers}, kChanges},
    {"begin_copy", false, {}, kBeginCopy},
    {"copy", false, {}, kCopy},
    {"copy_erase", true, {}, kCopy},
    {"finish_copy", true, {}, kFinishCopy},
    {"keep_copies", true, {}, kKeepCopies},
    {"read_copy", true, {}, kReadCopy},
    {"adopt", true, {kNames}, kAdopt},
    {"bury", true, {kNames}, kBury},
    {"announce", true, {kIdentity}, kAnnounce},
    {"seen", true, {}, kSeen},
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
