-- Runs now, archives or deletes one task that is not running, wherever it waits.
--
-- KEYS: task hash, pending, scheduled, retry, archived, completed, groups, active, lease
-- ARGV: id, what to do (`run`, `archive`, `delete`), prefix of groups, queue
-- Returns: the state it was in; `` when there is no such task. Nothing is done to one that is active already, nor to
--          one that is where it should go.

--include misfit

local state = redis.call('HGET', KEYS[1], 'state')
if not state then
  return redis.call('EXISTS', KEYS[1]) == 1 and 'unknown' or ''
end
local wanted = ({run = 'pending', archive = 'archived'})[ARGV[2]]
if state == 'active' or state == wanted then
  return state
end
local group = redis.call('HGET', KEYS[1], 'group')
group = group and group ~= '' and group
local wrong = misfit(KEYS[2], 'list') or misfit(KEYS[7], 'set') or misfit(KEYS[8], 'list') or misfit(KEYS[9], 'zset')
  or group and misfit(ARGV[3] .. group, 'zset')
for at = 3, 6 do
  wrong = wrong or misfit(KEYS[at], 'zset')
end
if wrong then return redis.error_reply(wrong) end
local waited = redis.call('LREM', KEYS[2], 0, ARGV[1])
-- A worker's wait may have taken hold of it a moment ago: it is in active then, but nobody has claimed it yet.
if waited == 0 and state == 'pending' and not redis.call('ZSCORE', KEYS[9], ARGV[1]) then
  redis.call('LREM', KEYS[8], 0, ARGV[1])
end
for at = 3, 6 do
  redis.call('ZREM', KEYS[at], ARGV[1])
end
if group then
  redis.call('ZREM', ARGV[3] .. group, ARGV[1])
  if redis.call('ZCARD', ARGV[3] .. group) == 0 then
    redis.call('SREM', KEYS[7], group)
  end
end
local now = redis.call('TIME')
if wanted then
  redis.call('PERSIST', KEYS[1])
  redis.call('HDEL', KEYS[1], 'token')
end
if ARGV[2] == 'run' then
  local since = string.format('%s%06d000', now[1], tonumber(now[2]))
  redis.call('HSET', KEYS[1], 'state', 'pending', 'pending_since', since)
  redis.call('LPUSH', KEYS[2], ARGV[1])
elseif ARGV[2] == 'archive' then
  redis.call('HSET', KEYS[1], 'state', 'archived')
  redis.call('ZADD', KEYS[5], now[1], ARGV[1])
else
  local unique = redis.call('HGET', KEYS[1], 'unique_key')
  if unique and unique ~= '' and redis.pcall('GET', unique) == ARGV[1] then
    redis.call('DEL', unique)
  end
  redis.call('DEL', KEYS[1])
  local lookup = 'asynq:t:' .. ARGV[1]
  if redis.pcall('HGET', lookup, 'queue') == ARGV[4] then
    redis.call('DEL', lookup)
  end
end
return state
