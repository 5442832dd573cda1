-- Mends what two sweeps in a row saw: tasks in active without a lease go back to the front, leases of tasks that are
-- not in active are removed. Looks once more at each first.
--
-- KEYS: active, lease, pending
-- ARGV: prefix of task hashes, how many of the ids are active without a lease, those ids (newest first), then the
--       ids of leases only
-- Returns: {returned ids}, {dropped ids: no task behind them}, leases removed
local now = redis.call('TIME')
local since = string.format('%s%06d000', now[1], tonumber(now[2]))
local last = 2 + tonumber(ARGV[2])
local returned, dropped, removed = {}, {}, 0

for at = 3, last do
  local id = ARGV[at]
  local task = ARGV[1] .. id
  if not redis.call('ZSCORE', KEYS[2], id) and redis.call('LREM', KEYS[1], 0, id) > 0 then
    if redis.call('EXISTS', task) == 0 then
      dropped[#dropped + 1] = id
    else
      redis.call('RPUSH', KEYS[3], id)
      redis.call('HSET', task, 'state', 'pending', 'pending_since', since)
      redis.call('HDEL', task, 'token')
      redis.call('PERSIST', task)
      returned[#returned + 1] = id
    end
  end
end

for at = last + 1, #ARGV do
  local id = ARGV[at]
  if not redis.call('LPOS', KEYS[1], id) then
    removed = removed + redis.call('ZREM', KEYS[2], id)
  end
end
return {returned, dropped, removed}
