-- Takes a task from a Go worker whose lease ran out: asynq's retry or archive, for a lease still as it was seen.
--
-- KEYS: lease, active, the set of the new state (or pending), then for retry and archive the counters:
--       processed today, failed today, processed, failed
-- ARGV: prefix of task hashes, id, lease score as seen, new state (`retry`, `archived`, or `pending`: to the
--       front, uncharged), and unless pending: score in the new set, new msg, Unix seconds when the day's counters
--       expire
-- Returns: 1 when it was taken, 0 when the lease is not the same any more. A counter that can't count stays as it is.

--include misfit

local id = ARGV[2]
local task = ARGV[1] .. id
local score = redis.call('ZSCORE', KEYS[1], id)
if not score or tonumber(score) ~= tonumber(ARGV[3]) then
  return 0
end
local wrong = misfit(KEYS[2], 'list') or misfit(KEYS[3], ARGV[4] == 'pending' and 'list' or 'zset')
if wrong then return redis.error_reply(wrong) end
if redis.call('TYPE', task).ok ~= 'hash' or redis.call('LREM', KEYS[2], 0, id) == 0 then
  return 0
end
redis.call('HSET', task, 'state', ARGV[4])
redis.call('HDEL', task, 'token')
redis.call('ZREM', KEYS[1], id)
if ARGV[4] == 'pending' then
  redis.call('RPUSH', KEYS[3], id)
  return 1
end
redis.call('ZADD', KEYS[3], ARGV[5], id)
redis.call('HSET', task, 'msg', ARGV[6])
for at = 4, 5 do
  if redis.pcall('INCR', KEYS[at]) == 1 then
    redis.call('EXPIREAT', KEYS[at], ARGV[7])
  end
end
local total = redis.pcall('GET', KEYS[6])
if type(total) == 'string' and (tonumber(total) or 0) >= 9223372036854775807 then
  redis.call('SET', KEYS[6], 1)
  redis.call('SET', KEYS[7], 1)
else
  redis.pcall('INCR', KEYS[6])
  redis.pcall('INCR', KEYS[7])
end
return 1
