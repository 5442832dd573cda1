-- Takes, keeps or gives up the stewardship of a queue: one worker at a time does its chores.
--
-- KEYS: the queue's steward key, a key that never exists
-- ARGV: who asks, milliseconds until it lapses (0: give it up), milliseconds of the longest term that anyone asks for
-- Returns: 0 when the asker is the steward now, else milliseconds until the present one's lapses; seconds and
--          microseconds of the server's clock

-- A server that takes no writes must refuse this, whoever is the steward: others can't renew their leases meanwhile. One
-- that is only short of memory does not, since Redis checks for that at a script's first write only and this one takes none.
redis.call('DEL', KEYS[2])
local now = redis.call('TIME')
local steward = redis.call('GET', KEYS[1])
local left = steward and redis.call('PTTL', KEYS[1]) or -1
-- More than the longest term is left only after the server's clock was set back: then nobody may wait for it to come again.
if steward and steward ~= ARGV[1] and left >= 0 and left <= tonumber(ARGV[3]) then
  return { left + 1, now[1], now[2] }
end
redis.call('DEL', KEYS[1])
if ARGV[2] ~= '0' then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return { 0, now[1], now[2] }
