-- Moves one task of the oldest documented form into the proper one.
--
-- KEYS: plain pending list, task hash, pending, plain task hash, set of plain tasks whose result is to be mirrored
-- ARGV: id, msg, queue, seconds to keep it when it is completed
-- Returns: 1 when it was moved; 0 when it was not in the list any more; -1 when the id is in use and was dropped.
local now = redis.call('TIME')
-- A script that fails halfway undoes nothing, so a key of the wrong type must show before anything is written.
for at, kind in pairs({ [3] = 'list', [4] = 'hash', [5] = 'set' }) do
  local found = redis.call('TYPE', KEYS[at]).ok
  if found ~= 'none' and found ~= kind then return redis.error_reply('WRONGTYPE ' .. KEYS[at] .. ' is a ' .. found) end
end
if redis.call('LREM', KEYS[1], -1, ARGV[1]) == 0 then
  return 0
end
if redis.call('EXISTS', KEYS[2]) == 1 then
  return -1
end
local since = string.format('%s%06d000', now[1], tonumber(now[2]))
redis.call('HSET', KEYS[2], 'msg', ARGV[2], 'state', 'pending', 'pending_since', since, 'ttl_completed', ARGV[4])
redis.call('HSET', KEYS[4], 'queue', ARGV[3])
redis.call('SADD', KEYS[5], ARGV[1])
redis.call('LPUSH', KEYS[3], ARGV[1])
return 1
