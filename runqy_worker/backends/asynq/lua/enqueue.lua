-- Adds one task: at once, at a time, or to a group. The id is checked before the lock is taken, so that a refused
-- task never keeps a lock.
--
-- KEYS: task hash, pending, scheduled, groups, and the unique lock if there is one
-- ARGV: id, msg, Unix seconds to run at (0: now), group (or empty), key of the group, seconds the lock lasts,
--       queue, key of the server's record of it (or empty), seconds until it is to run (0: as the time above says)
-- Returns: {1}, or {0} when the id is taken, or {-1, id of the task that holds the lock}

--include misfit

local now = redis.call('TIME')
local seconds = tonumber(now[1]) + tonumber(now[2]) / 1000000
local delay = tonumber(ARGV[9])
local at = delay > 0 and seconds + delay or tonumber(ARGV[3])
if redis.call('EXISTS', KEYS[1]) == 1 then
  return {0}
end
local wrong = ARGV[8] ~= '' and misfit(ARGV[8], 'hash')
if at > seconds then
  wrong = wrong or misfit(KEYS[3], 'zset')
elseif ARGV[4] ~= '' then
  wrong = wrong or misfit(ARGV[5], 'zset') or misfit(KEYS[4], 'set')
else
  wrong = wrong or misfit(KEYS[2], 'list')
end
if wrong then return redis.error_reply(wrong) end
if KEYS[5] then
  local lasts = math.ceil(tonumber(ARGV[6]) + math.max(0, at - seconds))
  if not redis.call('SET', KEYS[5], ARGV[1], 'NX', 'EX', lasts) then
    return {-1, redis.call('GET', KEYS[5])}
  end
  redis.call('HSET', KEYS[1], 'unique_key', KEYS[5])
end
redis.call('HSET', KEYS[1], 'msg', ARGV[2])
if ARGV[8] ~= '' then
  redis.call('HSET', ARGV[8], 'queue', ARGV[7])
end
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[1], 'group', ARGV[4])
end
if at > seconds then
  redis.call('HSET', KEYS[1], 'state', 'scheduled')
  redis.call('ZADD', KEYS[3], math.ceil(at), ARGV[1])
elseif ARGV[4] ~= '' then
  redis.call('HSET', KEYS[1], 'state', 'aggregating')
  redis.call('ZADD', ARGV[5], now[1], ARGV[1])
  redis.call('SADD', KEYS[4], ARGV[4])
else
  local since = string.format('%s%06d000', now[1], tonumber(now[2]))
  redis.call('HSET', KEYS[1], 'state', 'pending', 'pending_since', since)
  redis.call('LPUSH', KEYS[2], ARGV[1])
end
return {1}
