-- Deletes completed tasks whose retention is over, and archived ones that are too old, with their locks and the
-- server's record of their queue. Archived ones are looked at one window after the other.
--
-- KEYS: completed, archived
-- ARGV: prefix of task hashes, queue, most tasks to look at per set, seconds to keep archived tasks that say
--       nothing themselves (0: for ever), where the window begins
-- Returns: completed ones deleted, archived ones deleted, where the next window begins, completed ones looked at
local now = tonumber(redis.call('TIME')[1])
local limit = tonumber(ARGV[3])
local deleted = {0, 0}

local function delete(id)
  local task = ARGV[1] .. id
  local unique = redis.call('HGET', task, 'unique_key')
  if unique and unique ~= '' and redis.call('GET', unique) == id then
    redis.call('DEL', unique)
  end
  redis.call('DEL', task)
  local lookup = 'asynq:t:' .. id
  if redis.call('HGET', lookup, 'queue') == ARGV[2] then
    redis.call('DEL', lookup)
  end
end

local over = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, limit)
for _, id in ipairs(over) do
  local state = redis.call('HGET', ARGV[1] .. id, 'state')
  if not state or state == 'completed' then
    delete(id)
    deleted[1] = deleted[1] + 1
  end
  redis.call('ZREM', KEYS[1], id)
end

local from = tonumber(ARGV[5])
local window = redis.call('ZRANGE', KEYS[2], from, from + limit - 1, 'WITHSCORES')
for at = 1, #window, 2 do
  local id = window[at]
  local fields = redis.call('HMGET', ARGV[1] .. id, 'state', 'ttl_archived')
  local keep = tonumber(fields[2] or ARGV[4]) or tonumber(ARGV[4])
  if not fields[1] or (keep > 0 and tonumber(window[at + 1]) + keep <= now) then
    if not fields[1] or fields[1] == 'archived' then
      delete(id)
      deleted[2] = deleted[2] + 1
    end
    redis.call('ZREM', KEYS[2], id)
  end
end
local next_window = from + #window / 2 - deleted[2]
if #window / 2 < limit then
  next_window = 0
end
return {deleted[1], deleted[2], next_window, #over}
