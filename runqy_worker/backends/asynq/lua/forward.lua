-- Moves what is due from scheduled and retry to pending, or to its group.
--
-- KEYS: scheduled, retry, pending, groups
-- ARGV: prefix of task hashes, prefix of groups, most tasks to move per set
-- Returns: tasks moved, milliseconds until the next is due (-1: none), then the ids that had no task behind them.
local now = redis.call('TIME')
local seconds = tonumber(now[1]) + tonumber(now[2]) / 1000000
local since = string.format('%s%06d000', now[1], tonumber(now[2]))
local limit = tonumber(ARGV[3])
local answer = {0, -1}
local next_due

for set = 1, 2 do
  local due = redis.call('ZRANGEBYSCORE', KEYS[set], '-inf', seconds, 'LIMIT', 0, limit)
  for _, id in ipairs(due) do
    local task = ARGV[1] .. id
    if redis.call('EXISTS', task) == 0 then
      answer[#answer + 1] = id
    else
      local group = redis.call('HGET', task, 'group')
      if group and group ~= '' then
        redis.call('ZADD', ARGV[2] .. group, now[1], id)
        redis.call('SADD', KEYS[4], group)
        redis.call('HSET', task, 'state', 'aggregating')
      else
        redis.call('LPUSH', KEYS[3], id)
        redis.call('HSET', task, 'state', 'pending', 'pending_since', since)
      end
      redis.call('PERSIST', task)
      answer[1] = answer[1] + 1
    end
    redis.call('ZREM', KEYS[set], id)
  end
  local first = redis.call('ZRANGE', KEYS[set], 0, 0, 'WITHSCORES')[2]
  if first then
    next_due = math.min(next_due or tonumber(first), tonumber(first))
  end
end
if next_due then
  answer[2] = math.max(0, math.ceil((next_due - seconds) * 1000))
end
return answer
