-- Looks for tasks that no list and no set holds; with the repair flag, puts them back where their state says.
-- Waiting and running ones become pending; completed and archived ones are kept as such. What expires by itself
-- or waits in a group is left alone.
--
-- KEYS: pending, active, scheduled, retry, archived, completed
-- ARGV: prefix of task hashes, 1 to repair, longest list to search, seconds to keep completed ones, ids
-- Returns: the ids that nothing holds.
local lost = {}
local longest = tonumber(ARGV[3])
local listed

local function in_a_list(id)
  if not listed then
    listed = {}
    for at = 1, 2 do
      for _, member in ipairs(redis.call('LRANGE', KEYS[at], 0, -1)) do
        listed[member] = true
      end
    end
  end
  return listed[id]
end

local function in_a_set(id)
  for at = 3, 6 do
    if redis.call('ZSCORE', KEYS[at], id) then
      return true
    end
  end
  return false
end

if redis.call('LLEN', KEYS[1]) + redis.call('LLEN', KEYS[2]) > longest then
  return lost
end
local now = redis.call('TIME')
local since = string.format('%s%06d000', now[1], tonumber(now[2]))
for at = 5, #ARGV do
  local id = ARGV[at]
  local task = ARGV[1] .. id
  local fields = redis.call('HMGET', task, 'state', 'msg')
  local state = fields[1]
  if state and fields[2] and state ~= 'aggregating' and redis.call('TTL', task) == -1
    and not in_a_set(id) and not in_a_list(id) then
    lost[#lost + 1] = id
    if ARGV[2] == '1' then
      if state == 'completed' then
        redis.call('ZADD', KEYS[6], tonumber(now[1]) + tonumber(ARGV[4]), id)
      elseif state == 'archived' then
        redis.call('ZADD', KEYS[5], now[1], id)
      else
        redis.call('LPUSH', KEYS[1], id)
        redis.call('HSET', task, 'state', 'pending', 'pending_since', since)
        redis.call('HDEL', task, 'token')
      end
    end
  end
end
return lost
