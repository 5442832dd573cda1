-- Deletes completed tasks whose retention is over, and archived ones that are too old, with their locks and the
-- server's record of their queue. Archived ones are looked at one window after the other. A task that is also where its
-- state says only leaves the set.
--
-- KEYS: completed, archived, retry, scheduled, pending, active
-- ARGV: prefix of task hashes, queue, most tasks to look at per set, seconds to keep archived tasks that say
--       nothing themselves (0: for ever), where the window begins
-- Returns: completed ones deleted, archived ones that left the set, where the next window begins, completed ones looked
--          at, then the ids that had no task behind them
local now = tonumber(redis.call('TIME')[1])
local limit = tonumber(ARGV[3])
local deleted, left = 0, 0
local ghosts = {}
local sets = { completed = KEYS[1], archived = KEYS[2], retry = KEYS[3], scheduled = KEYS[4] }

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

local function is_elsewhere(id, state, here)
  if state == here then return false end
  if sets[state] then return redis.call('ZSCORE', sets[state], id) end
  return redis.call('LPOS', KEYS[5], id) or redis.call('LPOS', KEYS[6], id)
end

-- Takes it out of the set, and deletes it if it is nowhere else. Returns whether it was deleted.
local function remove(id, set, state)
  redis.call('ZREM', sets[set], id)
  if is_elsewhere(id, state, set) then return false end
  delete(id)
  return true
end

local function is_ghost(id, set)
  if redis.call('TYPE', ARGV[1] .. id).ok == 'hash' then return false end
  redis.call('ZREM', sets[set], id)
  ghosts[#ghosts + 1] = id
  return true
end

local over = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, limit)
for _, id in ipairs(over) do
  if not is_ghost(id, 'completed') and remove(id, 'completed', redis.call('HGET', ARGV[1] .. id, 'state')) then
    deleted = deleted + 1
  end
end

local from = tonumber(ARGV[5])
local window = redis.call('ZRANGE', KEYS[2], from, from + limit - 1, 'WITHSCORES')
for at = 1, #window, 2 do
  local id = window[at]
  if is_ghost(id, 'archived') then
    left = left + 1
  else
    local fields = redis.call('HMGET', ARGV[1] .. id, 'state', 'ttl_archived')
    local keep = tonumber(fields[2] or ARGV[4]) or tonumber(ARGV[4])
    if keep > 0 and tonumber(window[at + 1]) + keep <= now then
      remove(id, 'archived', fields[1])
      left = left + 1
    end
  end
end
local next_window = from + #window / 2 - left
if #window / 2 < limit then
  next_window = 0
end
return { deleted, left, next_window, #over, unpack(ghosts) }
