-- Looks for tasks that no list, no set and no group holds, and for those in a set that is not the one of their state.
-- With the repair flag, puts them back where their state says: waiting and running ones become pending, completed and
-- archived ones are kept as such, those of a group wait in it; one that a set holds gets that set's state. What is left
-- of a deleted task (no message, no payload) is deleted. What expires by itself, or has a lease, is left alone.
--
-- KEYS: pending, active, scheduled, retry, archived, completed, lease, groups, sets that are being aggregated
-- ARGV: prefix of task hashes, 1 to repair, longest list to search, seconds to keep completed ones, prefix of groups, ids
-- Returns: the ids that are not in place, those of them that nothing was left of.
local call = redis.call
local lost, empty = {}, {}
local repair, longest = ARGV[2] == '1', tonumber(ARGV[3])
local STATES = { [3] = 'scheduled', [4] = 'retry', [5] = 'archived', [6] = 'completed' }
local listed

local function in_a_list(id)
  if not listed then
    listed = {}
    for at = 1, 2 do
      for _, member in ipairs(call('LRANGE', KEYS[at], 0, -1)) do
        listed[member] = true
      end
    end
  end
  return listed[id]
end

-- How many of the sets hold it, and the state that goes with the last of them.
local function in_sets(id)
  local count, state = 0, nil
  for at = 3, 6 do
    if call('ZSCORE', KEYS[at], id) then
      count, state = count + 1, STATES[at]
    end
  end
  return count, state
end

local function in_a_group(id, group)
  if call('ZSCORE', ARGV[5] .. group, id) then return true end
  for _, set in ipairs(call('ZRANGE', KEYS[9], 0, -1)) do
    if call('ZSCORE', set, id) then return true end
  end
end

if call('LLEN', KEYS[1]) + call('LLEN', KEYS[2]) > longest then return { lost, empty } end
if repair then
  call('ZREM', KEYS[3], '') -- Redis checks for memory at a script's first write only, and this one takes none
end
local now = call('TIME')
local since = string.format('%s%06d000', now[1], tonumber(now[2]))

local function put_back(id, task, state, group)
  if state == 'completed' then
    call('ZADD', KEYS[6], tonumber(now[1]) + tonumber(ARGV[4]), id)
  elseif state == 'archived' then
    call('ZADD', KEYS[5], now[1], id)
  elseif group then
    call('ZADD', ARGV[5] .. group, now[1], id)
    call('SADD', KEYS[8], group)
  else
    call('LPUSH', KEYS[1], id)
    call('HSET', task, 'state', 'pending', 'pending_since', since)
    call('HDEL', task, 'token')
  end
end

for at = 6, #ARGV do
  local id = ARGV[at]
  local task = ARGV[1] .. id
  local fields = call('HMGET', task, 'state', 'group', 'msg', 'type', 'payload')
  local state = fields[1]
  local count, proper = in_sets(id)
  local known = count > 1 or (count == 1 and proper == state)
  if not known and call('EXISTS', task) == 1 and call('TTL', task) == -1
    and not in_a_list(id) and not call('ZSCORE', KEYS[7], id) then
    local group = state == 'aggregating' and fields[2] and fields[2] ~= '' and fields[2]
    if count == 1 then
      lost[#lost + 1] = id
      if repair then call('HSET', task, 'state', proper) end
    elseif not (fields[3] or fields[4] or fields[5]) then
      lost[#lost + 1] = id
      empty[#empty + 1] = id
      if repair then call('DEL', task) end
    elseif not (group and in_a_group(id, group)) then
      lost[#lost + 1] = id
      if repair then put_back(id, task, state, group) end
    end
  end
end
return { lost, empty }
