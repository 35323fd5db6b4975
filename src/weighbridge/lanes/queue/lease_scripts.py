"""Who holds an entry, in one step of the server: renewing, giving back, taking over, and counting crashes.

The hash of crashes has two kinds of fields: ``<entry>``, how often a worker process has died while it ran the entry;
and ``alone:<entry>``, the consumer in whose process the entry runs alone. An entry that was given back carries what
was counted so far in its own field ``c``, since giving back makes a new entry.
"""

from __future__ import annotations

from typing import Final

OWNS: Final = """
local function owns(stream, group, consumer, id)
  local pending = redis.pcall('XPENDING', stream, group, id, id, 1, consumer)
  if pending.err then
    if string.find(pending.err, 'NOGROUP', 1, true) then return false end
    error(pending.err, 0)
  end
  return #pending > 0
end
"""

# KEYS: stream. ARGV: group, consumer, entries. Gives the entries that are not this consumer's any more.
RENEW: Final = (
    OWNS
    + """
local claim, lost = {'XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0}, {}
for i = 3, #ARGV do
  local list = owns(KEYS[1], ARGV[1], ARGV[2], ARGV[i]) and claim or lost
  list[#list + 1] = ARGV[i]
end
if #claim > 5 then
  claim[#claim + 1] = 'JUSTID'
  redis.call(unpack(claim))
end
return lost
"""
)

# KEYS: stream, crashes. ARGV: group, consumer, entries. Puts those that are this consumer's back at the end of the
# queue, with the crashes that were counted.
REQUEUE: Final = (
    OWNS
    + """
local back = 0
for i = 3, #ARGV do
  local id = ARGV[i]
  if owns(KEYS[1], ARGV[1], ARGV[2], id) then
    local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
    if entry then
      local crashes, fields = tonumber(redis.call('HGET', KEYS[2], id) or 0), {}
      for n = 1, #entry[2], 2 do
        if entry[2][n] == 'c' then
          crashes = crashes + (tonumber(entry[2][n + 1]) or 0)
        else
          fields[#fields + 1], fields[#fields + 2] = entry[2][n], entry[2][n + 1]
        end
      end
      if crashes > 0 then
        fields[#fields + 1], fields[#fields + 2] = 'c', crashes
      end
      redis.call('XADD', KEYS[1], '*', unpack(fields))
      back = back + 1
    end
    redis.call('XDEL', KEYS[1], id)
    redis.call('XACK', KEYS[1], ARGV[1], id)
    redis.pcall('HDEL', KEYS[2], id, 'alone:' .. id)
  end
end
return back
"""
)

# KEYS: stream. ARGV: group, consumer or '' for all, idle ms.
# Removes consumers that hold nothing: in one step, since removing one that holds entries would lose them.
RETIRE: Final = """
local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
if consumers.err then return 0 end
local removed = 0
for _, pairs_ in ipairs(consumers) do
  local one = {}
  for i = 1, #pairs_, 2 do one[pairs_[i]] = pairs_[i + 1] end
  if (ARGV[2] == '' or one.name == ARGV[2]) and one.pending == 0 and one.idle >= tonumber(ARGV[3]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], one.name)
    removed = removed + 1
  end
end
return removed
"""

# KEYS: stream, crashes. ARGV: group, consumer, idle ms, most to take, TTL of crashes ms, the orphans' name, and 1 if
# only orphans may be taken.
# Takes over entries whose lease has lapsed. Whoever held one and is not of the orphans has died without anybody to
# say so, so what it may have been running is counted as a crash here. Entries are taken before they are counted: a
# missing permission must not count the same crash at each try.
# Gives for each: id, fields, crashes, and 1 if it was running alone when its process died.
CLAIM: Final = """
local group, me, idle, orphans = ARGV[1], ARGV[2], ARGV[3], ARGV[6]
local look = {'XPENDING', KEYS[1], group, 'IDLE', idle, '-', '+', ARGV[4]}
if ARGV[7] == '1' then look[#look + 1] = orphans end
local pending = redis.call(unpack(look))
if #pending == 0 then return {} end
local claim, owners = {'XCLAIM', KEYS[1], group, me, idle}, {}
for _, each in ipairs(pending) do
  claim[#claim + 1] = each[1]
  owners[each[1]] = each[2]
end
local taken = {}
for _, entry in ipairs(redis.call(unpack(claim))) do
  if entry then
    local id = entry[1]
    local owner = owners[id]
    owners[id] = nil
    local crashes = 0
    if owner == me or owner == orphans then
      crashes = tonumber(redis.call('HGET', KEYS[2], id) or 0)
    else
      crashes = redis.call('HINCRBY', KEYS[2], id, 1)
      redis.call('PEXPIRE', KEYS[2], ARGV[5])
    end
    local alone = redis.call('HGET', KEYS[2], 'alone:' .. id)
    taken[#taken + 1] = {id, entry[2], crashes, alone and (owner ~= me or alone ~= me) and 1 or 0}
  end
end
return taken
"""

# KEYS: stream, crashes, wake. ARGV: group, consumer, the orphans' name, their idle ms, TTL of crashes ms; then the
# entries that count as crashed.
# A consumer whose process has died: what it held can be taken by anybody at once, in the old order, and one waiting
# reader is woken for it. Crashes are counted once: a repeated script finds nothing under this consumer.
DISOWN: Final = """
local crashed, moved = {}, 0
for i = 6, #ARGV do crashed[ARGV[i]] = true end
while true do
  local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], '-', '+', 100, ARGV[2])
  if pending.err then
    if string.find(pending.err, 'NOGROUP', 1, true) then return 0 end
    error(pending.err, 0)
  end
  if #pending == 0 then break end
  local claim = {'XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0}
  for _, each in ipairs(pending) do
    local id = each[1]
    claim[#claim + 1] = id
    if crashed[id] then
      redis.call('HINCRBY', KEYS[2], id, 1)
      redis.call('PEXPIRE', KEYS[2], ARGV[5])
    elseif redis.call('HGET', KEYS[2], 'alone:' .. id) == ARGV[2] then  -- of another, it condemns the entry
      redis.call('HDEL', KEYS[2], 'alone:' .. id)
    end
  end
  for _, word in ipairs({'IDLE', ARGV[4], 'JUSTID'}) do claim[#claim + 1] = word end
  redis.call(unpack(claim))
  moved = moved + #pending
end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
if moved > 0 and redis.call('SET', KEYS[3], 1, 'NX') then
  redis.call('XADD', KEYS[1], '*', 'wake', 1)
end
return moved
"""

# KEYS: stream, crashes. ARGV: group, consumer, entry, TTL of crashes ms.
# Notes that this entry runs alone in its consumer's process; gives 0 if it is not that consumer's any more.
ALONE: Final = (
    OWNS
    + """
if not owns(KEYS[1], ARGV[1], ARGV[2], ARGV[3]) then return 0 end
redis.call('HSET', KEYS[2], 'alone:' .. ARGV[3], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return 1
"""
)
