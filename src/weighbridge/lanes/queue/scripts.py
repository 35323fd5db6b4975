"""What the server does in one step: Lua of our own, each script all or nothing, timed by the server's clock.

An entry of the stream has the field ``m`` (a message as Dramatiq encodes it), or ``wake`` (it only wakes a reader).
Scripts check who holds an entry before they write what follows from it or give it back, so a worker whose lease
another has taken does neither. A run that succeeded ends its entry whoever holds it.

A script stops at a command that the server refuses (a permission is missing, a key has another type), and what it has
done by then stands. So what follows from a message is written before the message is taken away, and a mark keeps a
repeated script from writing it again.
"""

from __future__ import annotations

from typing import Final

import redis
from redis.commands.core import Script

from weighbridge.lanes.queue.lease_scripts import ALONE, CLAIM, DISOWN, OWNS, RENEW, REQUEUE, RETIRE

_CLOCK: Final = """
local function now_ms()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end
"""

# A reader that waits for messages does not look at the delayed ones: their keeper does, every `watch` ms. So a
# message that is due before that look, and before all others, sends an entry which wakes one reader. Its place is asked
# for, not what is first: who adds calls need not be allowed to read others.
_WRITE: Final = """
local function write(stream, delayed, wake, body, delay, watch)
  if delay <= 0 then
    redis.call('XADD', stream, '*', 'm', body)
    return
  end
  redis.call('ZADD', delayed, string.format('%.0f', now_ms() + delay), body)
  if delay < watch and redis.call('ZRANK', delayed, body) == 0 and redis.call('SET', wake, 1, 'NX') then
    redis.call('XADD', stream, '*', 'wake', 1)
  end
end
"""

# The mark comes first, so that nothing is written if marks are refused. It is taken back by the command that has just
# been allowed if the write is refused, since a repeated write must not take the message for written.
_WRITE_ONCE: Final = (
    _WRITE
    + """
local function write_once(mark, ttl, stream, delayed, wake, body, delay, watch)
  local written = redis.call('GET', mark) == '1'
  redis.call('SET', mark, 1, 'PX', ttl)
  if written then return 0 end
  local ok, refusal = pcall(write, stream, delayed, wake, body, delay, watch)
  if not ok then
    redis.call('SET', mark, 0, 'PX', ttl)
    error(refusal, 0)
  end
  return 1
end
"""
)

# KEYS: stream, delayed, wake of each queue; then a mark for each message.
# ARGV: number of queues, watch ms, TTL of marks ms; then for each message: queue (from 1), delay ms, body.
# Gives the number of messages that were not there yet.
_ENQUEUE: Final = (
    _CLOCK
    + _WRITE_ONCE
    + """
local queues, watch, ttl = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local written = 0
for i = 1, #KEYS - 3 * queues do
  local queue = 3 * (tonumber(ARGV[3 * i + 1]) - 1)
  local delay = tonumber(ARGV[3 * i + 2])
  local stream, delayed, wake = KEYS[queue + 1], KEYS[queue + 2], KEYS[queue + 3]
  written = written + write_once(KEYS[3 * queues + i], ttl, stream, delayed, wake, ARGV[3 * i + 3], delay, watch)
end
return written
"""
)

# KEYS: a mark. ARGV: its TTL ms. Writes what tells nobody anything, so that a server that takes no writes says so.
_PROBE: Final = "redis.call('SET', KEYS[1], 1, 'PX', ARGV[1])"

# KEYS: stream, delayed, wake. ARGV: most to move.
# Gives how many were due and can now be fetched; then, if more are delayed, when the next is due (ms) and in how
# many ms.
_PROMOTE: Final = (
    _CLOCK
    + """
local now = now_ms()
redis.call('DEL', KEYS[3])
local due = redis.call('ZRANGE', KEYS[2], '-inf', string.format('%.0f', now), 'BYSCORE', 'LIMIT', 0, ARGV[1])
for _, body in ipairs(due) do
  local added = redis.call('XADD', KEYS[1], '*', 'm', body)
  local removed = redis.pcall('ZREM', KEYS[2], body)
  if type(removed) == 'table' then  -- refused: it must not be added again at each look
    redis.call('XDEL', KEYS[1], added)
    error(removed.err, 0)
  end
end
local first = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
if #first == 0 then return {#due} end
return {#due, first[2], string.format('%.0f', math.max(0, tonumber(first[2]) - now))}
"""
)

# KEYS: stream, delayed, wake, crashes; a mark for each follow-up; then, for a dead letter: dead, letter.
# ARGV: group, consumer, entry, TTL of marks ms, number of follow-ups; for each: delay ms, body; then, for a dead
# letter: its id, its TTL ms, fields and values.
# Gives 1, or 0 if the entry is not this consumer's any more: then nothing was written, and the entry was taken away
# only if nothing was to be written. The letter's fields come after its line in the index, and the entry's body goes
# before its lease: where the server stops this, there is no letter half written and no message that runs again.
_FINISH: Final = (
    _CLOCK
    + _WRITE_ONCE
    + OWNS
    + """
local held = owns(KEYS[1], ARGV[1], ARGV[2], ARGV[3])
if not held and #ARGV > 5 then return 0 end
local follow_ups, rest = tonumber(ARGV[5]), 6
for i = 1, follow_ups do
  write_once(KEYS[4 + i], ARGV[4], KEYS[1], KEYS[2], KEYS[3], ARGV[rest + 1], tonumber(ARGV[rest]), 0)
  rest = rest + 2
end
if #ARGV > rest then
  local id, ttl, now = ARGV[rest], tonumber(ARGV[rest + 1]), now_ms()
  local died = string.format('%.0f', now)
  local dead, letter = KEYS[5 + follow_ups], KEYS[6 + follow_ups]
  redis.call('ZREMRANGEBYSCORE', dead, '-inf', string.format('%.0f', now - ttl))
  redis.call('ZADD', dead, died, id)
  redis.call('PEXPIRE', dead, ttl)
  redis.call('DEL', letter)
  redis.call('HSET', letter, 'died_ms', died, unpack(ARGV, rest + 2))
  redis.call('PEXPIRE', letter, ttl)
end
redis.call('XDEL', KEYS[1], ARGV[3])
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
redis.pcall('HDEL', KEYS[4], ARGV[3], 'alone:' .. ARGV[3])  -- left there, it would end with the hash's time to live
return held and 1 or 0
"""
)

# KEYS: stream, crashes. ARGV: group, consumer, entry. As _FINISH where nothing follows, as nearly always.
_END: Final = (
    OWNS
    + """
local held = owns(KEYS[1], ARGV[1], ARGV[2], ARGV[3])
redis.call('XDEL', KEYS[1], ARGV[3])
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
redis.pcall('HDEL', KEYS[2], ARGV[3], 'alone:' .. ARGV[3])  -- left there, it would end with the hash's time to live
return held and 1 or 0
"""
)

# KEYS: stream, delayed, wake. ARGV: group, the orphans' name. Gives the number of messages that could be fetched now.
_WAITING: Final = (
    _CLOCK
    + """
local waiting = redis.call('XLEN', KEYS[1]) - redis.call('EXISTS', KEYS[3])
local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1])
if not pending.err and pending[1] > 0 then
  for _, consumer in ipairs(pending[4]) do
    if consumer[1] ~= ARGV[2] then waiting = waiting - tonumber(consumer[2]) end
  end
end
return math.max(0, waiting) + redis.call('ZCOUNT', KEYS[2], '-inf', string.format('%.0f', now_ms()))
"""
)

# KEYS: stream, dead, letter. ARGV: letter's id, the body that was read, the body to write.
# Gives 0 if the letter is gone or another by now: then nothing was changed.
_REVIVE: Final = """
if redis.call('HGET', KEYS[3], 'body') ~= ARGV[2] then return 0 end
redis.call('XADD', KEYS[1], '*', 'm', ARGV[3])
redis.call('DEL', KEYS[3])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
"""


class Scripts:
    """The scripts, ready for one client. A server that has forgotten them is given them again."""

    def __init__(self, client: redis.Redis) -> None:
        def registered(text: str) -> Script:
            return client.register_script(text)

        self.enqueue = registered(_ENQUEUE)
        self.probe = registered(_PROBE)
        self.promote = registered(_PROMOTE)
        self.finish = registered(_FINISH)
        self.end = registered(_END)
        self.renew = registered(RENEW)
        self.requeue = registered(REQUEUE)
        self.retire = registered(RETIRE)
        self.claim = registered(CLAIM)
        self.disown = registered(DISOWN)
        self.alone = registered(ALONE)
        self.waiting = registered(_WAITING)
        self.revive = registered(_REVIVE)
