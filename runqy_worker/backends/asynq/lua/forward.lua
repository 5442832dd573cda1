-- Moves what is due from scheduled and retry to pending, or to its group. A task that is also where its state says only
-- leaves the set. One whose group's key is of another type stays in the set, to be looked at again a minute later.
--
-- KEYS: scheduled, retry, pending, groups, lease, archived, completed
-- ARGV: prefix of task hashes, prefix of groups, most tasks to move per set
-- Returns: tasks moved, milliseconds until the next is due (-1: none), {ids that had no task behind them},
--          {ids of tasks that are elsewhere}, {why tasks were put off: the keys that are of another type}
local now = redis.call('TIME')
local seconds = tonumber(now[1]) + tonumber(now[2]) / 1000000
local since = string.format('%s%06d000', now[1], tonumber(now[2]))
local limit = tonumber(ARGV[3])
local answer = { 0, -1, {}, {}, {} }
local PUT_OFF = 60
local next_due
local HERE = { 'scheduled', 'retry' }
local sets = { scheduled = KEYS[1], retry = KEYS[2], archived = KEYS[6], completed = KEYS[7], active = KEYS[5] }

local function is_elsewhere(id, state)
  if sets[state] then return redis.call('ZSCORE', sets[state], id) end
  return state == 'pending' and redis.call('LPOS', KEYS[3], id)
end

--include misfit

-- Redis checks for memory at a script's first write only. This one takes none, and so tasks are moved when it is short.
redis.call('ZREM', KEYS[1], '')
for set = 1, 2 do
  local due = redis.call('ZRANGEBYSCORE', KEYS[set], '-inf', seconds, 'LIMIT', 0, limit)
  local ready, put_off = {}, {}
  local why = #due > 0 and misfit(KEYS[3], 'list')
  if why then return redis.error_reply(why) end
  for _, id in ipairs(due) do
    local task = ARGV[1] .. id
    local known = redis.pcall('HMGET', task, 'state', 'group')
    local state, group = known[1], known[2]
    if known.err or (not state and redis.call('EXISTS', task) == 0) then
      answer[3][#answer[3] + 1] = id
    elseif state ~= HERE[set] and is_elsewhere(id, state) then
      answer[4][#answer[4] + 1] = id
    elseif group and group ~= '' then
      why = misfit(ARGV[2] .. group, 'zset') or misfit(KEYS[4], 'set')
      if why then
        put_off[#put_off + 1] = now[1] + PUT_OFF
        put_off[#put_off + 1] = id
        answer[5][#answer[5] + 1] = why
      else
        redis.call('ZADD', ARGV[2] .. group, now[1], id)
        redis.call('SADD', KEYS[4], group)
        redis.call('HSET', task, 'state', 'aggregating')
        redis.call('PERSIST', task)
        answer[1] = answer[1] + 1
      end
    else
      ready[#ready + 1] = id
      redis.call('HSET', task, 'state', 'pending', 'pending_since', since)
      redis.call('PERSIST', task)
      answer[1] = answer[1] + 1
    end
  end
  if #ready > 0 then redis.call('LPUSH', KEYS[3], unpack(ready)) end
  if #put_off > 0 then redis.call('ZADD', KEYS[set], unpack(put_off)) end
  local leave = #due - #put_off / 2
  if leave > 0 then redis.call('ZREMRANGEBYRANK', KEYS[set], 0, leave - 1) end -- they are its first
  local first = redis.call('ZRANGE', KEYS[set], 0, 0, 'WITHSCORES')[2]
  if first then
    next_due = math.min(next_due or tonumber(first), tonumber(first))
  end
end
if next_due then
  answer[2] = math.max(0, math.ceil((next_due - seconds) * 1000))
end
return answer
