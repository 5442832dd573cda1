-- Mends what two sweeps in a row saw: tasks in active without a lease go back to the front; tasks with a lease that are
-- marked as active and in no list are in active again, where their worker or a recovery finds them; what only looks
-- like one of these is removed. Looks once more at each first.
--
-- KEYS: active, lease, pending, scheduled, retry, archived, completed
-- ARGV: prefix of task hashes, how many of the ids are active without a lease, those ids (newest first), then the
--       ids of leases only; not more than some hundred in all, since active is searched for each
-- Returns: {returned ids}, {dropped ids: no task behind them}, leases removed, {ids that are in active again},
--          {ids removed from active: the task is where its state says}
local now = redis.call('TIME')
local since = string.format('%s%06d000', now[1], tonumber(now[2]))
local last = 2 + tonumber(ARGV[2])
local sets = { scheduled = KEYS[4], retry = KEYS[5], archived = KEYS[6], completed = KEYS[7] }
local returned, dropped, restored, strayed, removed = {}, {}, {}, {}, 0

local function is_in_a_set(id)
  for _, set in pairs(sets) do
    if redis.call('ZSCORE', set, id) then return true end
  end
end

-- A script that fails halfway undoes nothing, so a key of the wrong type must show before anything is written.
for at, kind in pairs({ 'list', 'zset', 'list' }) do
  local found = redis.call('TYPE', KEYS[at]).ok
  if found ~= 'none' and found ~= kind then return redis.error_reply('WRONGTYPE ' .. KEYS[at] .. ' is a ' .. found) end
end

for at = 3, last do
  local id = ARGV[at]
  local task = ARGV[1] .. id
  if not redis.call('ZSCORE', KEYS[2], id) and redis.call('LREM', KEYS[1], 0, id) > 0 then
    local state = redis.call('TYPE', task).ok == 'hash' and (redis.call('HGET', task, 'state') or '')
    if not state then
      dropped[#dropped + 1] = id
    elseif sets[state] and redis.call('ZSCORE', sets[state], id) then
      strayed[#strayed + 1] = id
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
  local task = ARGV[1] .. id
  if redis.call('ZSCORE', KEYS[2], id) and not redis.call('LPOS', KEYS[1], id) then
    if redis.call('TYPE', task).ok == 'hash' and redis.call('HGET', task, 'state') == 'active' and not is_in_a_set(id) then
      redis.call('LPUSH', KEYS[1], id)
      restored[#restored + 1] = id
    else
      removed = removed + redis.call('ZREM', KEYS[2], id)
    end
  end
end
return { returned, dropped, removed, restored, strayed }
